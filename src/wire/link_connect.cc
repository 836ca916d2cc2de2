// How a link comes to stand: addresses in turn, credentials, hellos.
#include <fmt/format.h>

#include "rt/combine.h"
#include "wire/link.h"
#include "wire/node.h"

namespace corelet {

namespace {

// What a refusal says, callers are told; that nobody can be reached, for whatever reason, is kReset.
Error as_unreachable(Error error) {
    switch (error.code) {
        case Code::kReset:
        case Code::kClosed:
        case Code::kTimeout:
        case Code::kIo:
        case Code::kNotFound:
        case Code::kConflict:
        case Code::kCorrupt:
            error.code = Code::kReset;
            return error;
        default:
            return error;
    }
}

}  // namespace

Task<Result<void>> Link::establish() {
    std::vector<Address> const addresses = node_.addresses_of(target_);
    Error last{Code::kUnavailable, false, 0, fmt::format("no address is known for {}", to_string(target_))};
    for (const Address& address : addresses) {
        if (broken_) break;
        Instant const deadline = node_.now() + node_.options.limits.connect_timeout;
        auto stream =
            co_await with_deadline<std::unique_ptr<FrameStream>>(node_.env.clock, deadline, connect_to(address));
        if (stream) {
            stream_ = *std::move(stream);
            last_heard_ = node_.now();
            co_return {};
        }
        // Whoever was refused may not have hung up in time; the refusal is the reason all the same.
        Error const reason = refusal_ ? *refusal_ : stream.error();
        last = with_context(as_unreachable(reason), "connecting to " + address.to_string());
    }
    co_return std::unexpected(last);
}

Task<Result<std::unique_ptr<FrameStream>>> Link::connect_to(Address address) {
    CO_TRY_VOID(node_.may_use(address));
    CO_TRY(std::unique_ptr<Connection> connection, co_await node_.env.network.connect(address));
    if (!address.is_local() && node_.options.security) {
        CO_TRY(connection, co_await node_.options.security->secure(std::move(connection), false));
    }
    CO_TRY_VOID(check_credentials(*connection, address.kind == Address::Kind::kUnix, node_.options.own_uid));
    auto stream = std::make_unique<FrameStream>(std::move(connection), node_.options.limits, node_.stats);
    CO_TRY_VOID(co_await exchange_hellos(stream.get(), address));
    co_return stream;
}

Task<Result<void>> Link::exchange_hellos(FrameStream* stream, Address address) {
    Hello const mine = node_.hello(lane_);
    stream->encode_hello_frame(mine);
    CO_TRY_VOID(co_await stream->flush());
    CO_TRY(Frame const frame, co_await stream->read_frame());
    CO_TRY(Hello const theirs, hello_of(frame));
    context_ = PeerContext{};
    context_.address = std::move(address);
    context_.credentials = stream->connection().peer_credentials();
    if (const auto* id = std::get_if<CoreletId>(&target_)) context_.expected = *id;
    Result<u16> const version = judge(mine, theirs);
    if (!version) {
        refusal_ = version.error();
        co_await stream->refuse(version.error());
        co_return std::unexpected(version.error());
    }
    stream->agree(*version);
    peer_ = theirs;
    peer_epoch_ = theirs.map_epoch;
    co_return {};
}

Result<u16> Link::judge(const Hello& mine, const Hello& theirs) {
    if (!context_.expected.is_zero() && theirs.corelet != context_.expected)
        return fail(Code::kConflict, fmt::format("corelet {} answers there, not {}", to_string(theirs.corelet),
                                                 to_string(context_.expected)));
    TRY(u16 const version, negotiate_version(mine, theirs));
    TRY_VOID(node_.policy.judge(theirs, context_));
    return version;
}

}  // namespace corelet
