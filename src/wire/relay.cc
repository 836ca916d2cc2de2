#include "wire/relay.h"

#include <fmt/format.h>

#include "base/fault_point.h"
#include "rt/combine.h"
#include "wire/node.h"

namespace corelet {

namespace {

Result<void> may_pass_on(const RpcNode::Impl& node, const Hello& hello) {
    if (hello.role != PeerRole::kCorelet)
        return fail(Code::kDenied, "connections are passed on for corelets only; connect to it directly");
    if (!hello.via.is_zero())
        return fail(Code::kDenied,
                    fmt::format("corelet {} passed this connection on: once is enough", to_string(hello.via)));
    if (node.relays >= node.options.limits.relays || FAULT_POINT("wire.relay_refused"))
        return fail(Code::kOverloaded, fmt::format("{} connections are passed on already", node.relays));
    return {};
}

Task<Result<std::unique_ptr<FrameStream>>> hand_on(RpcNode::Impl* node, Address address, Hello hello, Buffer body) {
    CO_TRY(std::unique_ptr<Connection> connection, co_await node->connect(address));
    auto stream = std::make_unique<FrameStream>(std::move(connection), node->options.limits, node->stats);
    stream->encode_hello_frame(hello, std::move(body));
    CO_TRY_VOID(co_await stream->flush());
    co_return stream;
}

Task<void> copy(RpcNode::Impl* node, Connection* from, Connection* to) {
    for (;;) {
        Buffer const piece = Buffer::allocate(k_relay_piece_bytes);
        Result<usize> const count = co_await from->read(piece, 0, 1);
        if (!count) break;
        CORELET_ASSERT(*count > 0 && *count <= k_relay_piece_bytes);
        node->stats.relayed_bytes += *count;
        BufferChain chain;
        chain.append(piece.slice(0, *count));
        Result<void> const written = co_await to->write(std::move(chain));
        if (!written) break;
    }
    from->close();
    to->close();
}

}  // namespace

Task<Result<std::unique_ptr<FrameStream>>> connect_on(RpcNode::Impl* node, Hello hello, Buffer body) {
    CO_TRY_VOID(may_pass_on(*node, hello));
    CO_TRY(Buffer const marked, signed_hello(body, node->id));
    std::vector<Address> const addresses = node->addresses_of(hello.wanted);
    Error last{Code::kUnavailable, false, 0,
               fmt::format("corelet {} knows no address of {}", to_string(node->id), to_string(hello.wanted))};
    for (const Address& address : addresses) {
        auto stream = co_await with_timeout<std::unique_ptr<FrameStream>>(
            node->env.clock, node->options.limits.connect_timeout, hand_on(node, address, hello, marked));
        if (stream) co_return stream;
        last = with_context(stream.error(), fmt::format("corelet {} does not reach {} either", to_string(node->id),
                                                        address.to_string()));
    }
    co_return std::unexpected(last);
}

Task<void> splice(RpcNode::Impl* node, Connection* near, Connection* far) {
    ++node->stats.relayed;
    Scope back(node->env.executor);
    back.spawn(copy(node, far, near));
    co_await copy(node, near, far);
}

}  // namespace corelet
