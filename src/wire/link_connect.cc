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

// A third's own reasons to refuse are no word of the target's.
Error as_not_passed_on(Error error) {
    bool const own =
        error.code == Code::kDenied || error.code == Code::kOverloaded || error.code == Code::kUnavailable;
    if (own) error.code = Code::kReset;
    return as_unreachable(std::move(error));
}

}  // namespace

Task<Result<void>> Link::establish() {
    std::vector<Way> const ways = node_.ways_to(target_, std::exchange(direct_first_, false));
    Error last{Code::kUnavailable, false, 0, fmt::format("no address is known for {}", to_string(target_))};
    for (const Way& way : ways) {
        if (broken_) break;
        refusal_.reset();
        Instant const deadline = node_.now() + node_.options.limits.connect_timeout;
        auto stream =
            co_await with_deadline<std::unique_ptr<FrameStream>>(node_.env.clock, deadline, connect_to(way));
        if (stream) {
            stream_ = *std::move(stream);
            last_heard_ = node_.now();
            co_return {};
        }
        // Whoever was refused may not have hung up in time; the refusal is the reason all the same.
        Error const reason = refusal_ ? *refusal_ : stream.error();
        Error const told = with_context(way.through.is_zero() ? as_unreachable(reason) : as_not_passed_on(reason),
                                        "connecting to " + way.address.to_string());
        // Why the first way failed, unless somebody has more to say than that there is none.
        if (last.code == Code::kUnavailable || told.code != Code::kReset) last = told;
    }
    co_return std::unexpected(last);
}

Task<Result<std::unique_ptr<FrameStream>>> Link::connect_to(Way way) {
    CO_TRY(std::unique_ptr<Connection> connection, co_await node_.connect(way.address));
    auto stream = std::make_unique<FrameStream>(std::move(connection), node_.options.limits, node_.stats);
    CO_TRY_VOID(co_await exchange_hellos(stream.get(), way));
    co_return stream;
}

Task<Result<void>> Link::exchange_hellos(FrameStream* stream, Way way) {
    Hello mine = node_.hello(lane_);
    if (const auto* id = std::get_if<CoreletId>(&target_); id && !way.through.is_zero()) mine.wanted = *id;
    stream->encode_hello_frame(mine);
    CO_TRY_VOID(co_await stream->flush());
    CO_TRY(Frame const frame, co_await stream->read_frame());
    CO_TRY(Hello const theirs, hello_of(frame));
    context_ = PeerContext{};
    context_.address = way.address;
    context_.via = way.through;
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
