#include <fmt/format.h>

#include "base/checksum.h"
#include "wire/frame.h"

namespace corelet {

namespace {
constexpr usize k_read_bytes_min = 4096;  // less room than this is not worth a read
constexpr usize k_crc_offset = 28;

Code code_of(u32 number) {
    return number <= UINT16_MAX ? static_cast<Code>(number) : Code::kIo;
}

// Classes of a later version are served last.
TrafficClass traffic_of(u32 number) {
    if (number < 1 || number > static_cast<u32>(TrafficClass::kScrub)) return TrafficClass::kScrub;
    return static_cast<TrafficClass>(number);
}
}  // namespace

bool Frame::payload_verifies() const {
    return crc32c(payload) == header.payload_crc;
}

std::optional<Preamble> decode_preamble(Bytes bytes) {
    CORELET_ASSERT(bytes.size() >= k_preamble_bytes);
    u32 magic = 0;
    std::memcpy(&magic, bytes.data(), 4);
    if (magic != k_frame_magic) return std::nullopt;
    Preamble p;
    std::memcpy(&p.version, bytes.data() + 4, 2);
    std::memcpy(&p.flags, bytes.data() + 6, 2);
    std::memcpy(&p.header_bytes, bytes.data() + 8, 4);
    std::memcpy(&p.body_bytes, bytes.data() + 12, 4);
    std::memcpy(&p.payload_bytes, bytes.data() + 16, 4);
    std::memcpy(&p.correlation, bytes.data() + 20, 8);
    std::memcpy(&p.crc, bytes.data() + k_crc_offset, 4);
    return p;
}

// How many bytes the staging buffer must hold from begin_ on for the next step.
usize FrameParser::needed() const {
    switch (state_) {
        case State::kPreamble:
            return k_preamble_bytes;
        case State::kHeader:
            return k_preamble_bytes + preamble_.header_bytes + preamble_.body_bytes;
        case State::kPayload:
        case State::kFailed:
            break;
    }
    return preamble_.payload_bytes;
}

FrameParser::Space FrameParser::space() {
    CORELET_ASSERT(state_ != State::kFailed, "a failed parser takes nothing");
    if (state_ == State::kPayload && payload_is_own()) {
        CORELET_ASSERT(payload_filled_ < frame_.payload.size());
        return Space{frame_.payload, payload_filled_, frame_.payload.size() - payload_filled_};
    }
    CORELET_ASSERT(buffered() < needed());
    make_room();
    // What is announced but not yet there may exceed the room: it grows with what really comes.
    return Space{staging_, end_, std::min(needed() - buffered(), staging_.size() - end_)};
}

// Moves to another staging buffer when this one has no room for the rest of the step. An announced length alone
// never makes it allocate more than twice what has arrived.
void FrameParser::make_room() {
    if (begin_ == end_ && !shared_) begin_ = end_ = 0;
    usize const wanted = needed();
    usize const room = staging_.size() - end_;
    bool const fits_whole = staging_.size() - begin_ >= wanted;
    if (fits_whole && (room >= k_read_bytes_min || begin_ == 0)) return;
    if (!fits_whole && room >= buffered() + k_read_bytes_min) return;
    usize const most = std::max<usize>(limits_.staging_bytes, 2 * k_read_bytes_min);
    usize const recent = std::clamp(4 * std::exchange(largest_read_, 0), 2 * k_read_bytes_min, most);
    usize const size =
        std::max(round_up(recent, k_read_bytes_min), std::min(wanted, 2 * (buffered() + k_read_bytes_min)));
    Buffer larger = Buffer::allocate(size);
    if (buffered() != 0) std::memcpy(larger.mutable_data(), staging_.data() + begin_, buffered());
    end_ = buffered();
    begin_ = 0;
    staging_ = std::move(larger);
    shared_ = false;
    CORELET_ASSERT(end_ < staging_.size());
}

void FrameParser::filled(usize count) {
    if (state_ == State::kPayload && payload_is_own()) {
        CORELET_ASSERT(count <= frame_.payload.size() - payload_filled_);
        payload_filled_ += count;
        return;
    }
    CORELET_ASSERT(count <= staging_.size() - end_);
    end_ += count;
    largest_read_ = std::max(largest_read_, count);
}

Result<std::optional<Frame>> FrameParser::next() {
    CORELET_ASSERT(state_ != State::kFailed, "a failed parser yields nothing");
    while (state_ == State::kPayload || buffered() >= needed()) {
        if (state_ == State::kPayload) {
            if (!take_payload()) return std::nullopt;
            state_ = State::kPreamble;
            return std::exchange(frame_, Frame{});
        }
        Result<void> const taken = state_ == State::kPreamble ? take_preamble() : take_header();
        if (!taken) {
            state_ = State::kFailed;
            return std::unexpected(taken.error());
        }
    }
    return std::nullopt;
}

Result<void> FrameParser::take_preamble() {
    auto const preamble = decode_preamble(staging_.bytes().subspan(begin_, k_preamble_bytes));
    if (!preamble) return fail(Code::kCorrupt, "no frame begins here (bad magic)");
    if (version_ && preamble->version != *version_)
        return fail(Code::kCorrupt,
                    fmt::format("frame of version {} where {} was agreed", preamble->version, *version_));
    u64 const header = u64{preamble->header_bytes} + preamble->body_bytes;
    if (header > limits_.header_bytes)
        return fail(Code::kCorrupt, fmt::format("header of {} bytes, at most {}", header, limits_.header_bytes));
    if (preamble->payload_bytes > limits_.payload_bytes)
        return fail(Code::kCorrupt,
                    fmt::format("payload of {} bytes, at most {}", preamble->payload_bytes, limits_.payload_bytes));
    preamble_ = *preamble;
    state_ = State::kHeader;
    return {};
}

Result<void> FrameParser::take_header() {
    Bytes const all = staging_.bytes().subspan(begin_, needed());
    u32 const crc = crc32c(all.subspan(k_preamble_bytes), crc32c(all.first(k_crc_offset)));
    if (crc != preamble_.crc) return fail(Code::kCorrupt, "header checksum does not match");
    Bytes const header = all.subspan(k_preamble_bytes, preamble_.header_bytes);
    if (!message_.ParseFromArray(header.data(), static_cast<int>(header.size())))
        return fail(Code::kCorrupt, "header is not a header");
    TRY_VOID(take_fields(message_));
    frame_.version = preamble_.version;
    frame_.correlation = preamble_.correlation;
    if (preamble_.body_bytes != 0) {
        frame_.body = staging_.slice(begin_ + k_preamble_bytes + preamble_.header_bytes, preamble_.body_bytes);
        shared_ = true;
    }
    begin_ += all.size();
    begin_payload();
    return {};
}

Result<void> FrameParser::take_fields(const pb::FrameHeader& message) {
    FrameHeader& header = frame_.header;
    if (message.kind() < 1 || message.kind() > static_cast<u32>(FrameKind::kOneWay))
        return fail(Code::kCorrupt, fmt::format("frame of unknown kind {}", message.kind()));
    if (message.method() > UINT16_MAX) return fail(Code::kCorrupt, fmt::format("method {}", message.method()));
    header.kind = static_cast<FrameKind>(message.kind());
    header.method = Method(static_cast<u16>(message.method()));
    header.traffic = traffic_of(message.traffic());
    header.deadline_ms = message.deadline_ms();
    header.payload_crc = message.payload_crc();
    header.map_epoch = MapEpoch(message.map_epoch());
    header.reply_bytes_expected = message.reply_bytes_expected();
    header.failure.reset();
    if (!message.has_failure()) return {};
    const pb::Failure& failure = message.failure();
    header.failure = Error{code_of(failure.code()), false, failure.detail(), failure.message()};
    return {};
}

void FrameParser::begin_payload() {
    state_ = State::kPayload;
    payload_filled_ = 0;
    if (preamble_.payload_bytes == 0 || !payload_is_own()) return;
    frame_.payload = Buffer::allocate(preamble_.payload_bytes);
    usize const here = std::min<usize>(buffered(), preamble_.payload_bytes);
    if (here != 0) std::memcpy(frame_.payload.mutable_data(), staging_.data() + begin_, here);
    begin_ += here;
    payload_filled_ = here;
}

bool FrameParser::take_payload() {
    if (payload_is_own() && preamble_.payload_bytes != 0) return payload_filled_ == frame_.payload.size();
    if (buffered() < preamble_.payload_bytes) return false;
    if (preamble_.payload_bytes == 0) return true;
    frame_.payload = staging_.slice(begin_, preamble_.payload_bytes);
    shared_ = true;
    begin_ += preamble_.payload_bytes;
    return true;
}

}  // namespace corelet
