#include "wire/stream.h"

#include <fmt/format.h>

namespace corelet {

namespace {
// Before hellos are exchanged nobody may make us hold more than this.
constexpr FrameLimits k_hello_limits{.header_bytes = 16 << 10, .payload_bytes = 0, .staging_bytes = 16 << 10};
}  // namespace

FrameStream::FrameStream(std::unique_ptr<Connection> connection, const RpcLimits& limits, RpcStats& stats)
    : parser(k_hello_limits), connection_(std::move(connection)), limits_(limits), stats_(stats) {
    CORELET_ASSERT(connection_ != nullptr);
}

Task<Result<void>> FrameStream::fill() {
    auto space = parser.space();
    CO_TRY(usize const count, co_await connection_->read(std::move(space.target), space.offset, space.at_least));
    stats_.bytes_received += count;
    parser.filled(count);
    co_return {};
}

Task<Result<void>> FrameStream::flush() {
    BufferChain batch = encoder.take();
    ++stats_.writes;
    stats_.bytes_sent += batch.size();
    co_return co_await connection_->write(std::move(batch));
}

Task<Result<Frame>> FrameStream::read_frame() {
    for (;;) {
        CO_TRY(std::optional<Frame> frame, parser.next());
        if (frame) co_return *std::move(frame);
        CO_TRY_VOID(co_await fill());
    }
}

void FrameStream::encode_hello_frame(const Hello& hello) {
    encode_hello_frame(hello, encode_hello(hello));
}

void FrameStream::encode_hello_frame(const Hello& hello, Buffer body) {
    encoder.set_version(hello.version_max);
    FrameHeader header;
    header.kind = FrameKind::kHello;
    header.map_epoch = hello.map_epoch;
    encoder.add(0, header, std::move(body), {}, {});
    ++stats_.frames_sent;
}

Task<void> FrameStream::refuse(Error reason) {
    FrameHeader header;
    header.kind = FrameKind::kHello;
    header.failure = std::move(reason);
    encoder.add(0, header, {}, {}, {});
    ++stats_.frames_sent;
    Result<void> const told = co_await flush();
    if (!told) co_return;
    Buffer const scratch = Buffer::allocate(1024);
    for (;;) {
        Result<usize> const ignored = co_await connection_->read(scratch, 0, 1);
        if (!ignored) co_return;
    }
}

void FrameStream::agree(u16 version) {
    CORELET_ASSERT(version <= encoder.version(), "agreed is no later version than the one this side's hello named");
    parser.require_version(version);
    parser.set_limits(FrameLimits{.header_bytes = limits_.header_bytes, .payload_bytes = limits_.payload_bytes});
    encoder.set_version(version);
}

Result<Hello> hello_of(const Frame& frame) {
    if (frame.header.kind != FrameKind::kHello) return fail(Code::kCorrupt, "expected a hello");
    if (frame.header.failure)
        return std::unexpected(with_context(*frame.header.failure, "refused by the other side"));
    return decode_hello(frame.body);
}

Result<void> check_credentials(const Connection& connection, bool is_unix, const std::optional<u32>& own_uid) {
    if (!is_unix || !own_uid) return {};
    auto const credentials = connection.peer_credentials();
    if (!credentials) return fail(Code::kDenied, "the kernel does not say who is at the other end of the socket");
    if (credentials->uid == *own_uid || credentials->uid == 0) return {};
    return fail(Code::kDenied, fmt::format("process {} of uid {} is not allowed here: only uid {} and root are",
                                           credentials->pid, credentials->uid, *own_uid));
}

}  // namespace corelet
