#include "base/checksum.h"
#include "wire/frame.h"

namespace corelet {

namespace {
constexpr usize k_staging_bytes_min = 4 << 10;
constexpr usize k_staging_bytes_max = 64 << 10;
constexpr usize k_copy_bytes_max = 2048;        // parts up to this are cheaper copied than as an entry of their own
constexpr usize k_message_bytes_max = 4 << 10;  // of an error's text
}  // namespace

void encode_preamble(const Preamble& p, u8* out) {
    std::memcpy(out, &k_frame_magic, 4);
    std::memcpy(out + 4, &p.version, 2);
    std::memcpy(out + 6, &p.flags, 2);
    std::memcpy(out + 8, &p.header_bytes, 4);
    std::memcpy(out + 12, &p.body_bytes, 4);
    std::memcpy(out + 16, &p.payload_bytes, 4);
    std::memcpy(out + 20, &p.correlation, 8);
    std::memcpy(out + 28, &p.crc, 4);
}

void FrameEncoder::fill_message(const FrameHeader& header) {
    message_.Clear();
    message_.set_kind(static_cast<u32>(header.kind));
    if (header.kind == FrameKind::kCancel) return;
    message_.set_method(header.method.v);
    message_.set_traffic(static_cast<u32>(header.traffic));
    message_.set_deadline_ms(header.deadline_ms);
    message_.set_payload_crc(header.payload_crc);
    message_.set_map_epoch(header.map_epoch.v);
    message_.set_reply_bytes_expected(header.reply_bytes_expected);
    if (!header.failure) return;
    pb::Failure& failure = *message_.mutable_failure();
    failure.set_code(static_cast<u32>(header.failure->code));
    failure.set_detail(header.failure->detail);
    failure.set_message(header.failure->message.substr(0, k_message_bytes_max));
}

// `size` contiguous bytes of staging memory.
u8* FrameEncoder::reserve(usize size) {
    if (staging_.size() - used_ < size) {
        close_part();
        usize const recent = std::clamp(2 * std::max(recent_, copied_), k_staging_bytes_min, k_staging_bytes_max);
        staging_ = Buffer::allocate(std::max(size, recent));
        start_ = used_ = 0;
    }
    u8* const out = staging_.mutable_data() + used_;
    used_ += size;
    copied_ += size;
    return out;
}

void FrameEncoder::close_part() {
    if (used_ != start_) batch_.append(staging_.slice(start_, used_ - start_));
    start_ = used_;
}

void FrameEncoder::put_copy(Bytes bytes) {
    if (!bytes.empty()) std::memcpy(reserve(bytes.size()), bytes.data(), bytes.size());
}

void FrameEncoder::add(u64 correlation, const FrameHeader& header, const Buffer& body, const BufferChain& payload,
                       std::optional<u32> payload_crc) {
    fill_message(header);
    if (!payload.empty()) message_.set_payload_crc(payload_crc ? *payload_crc : crc32c_chain(payload));
    usize const header_bytes = message_.ByteSizeLong();
    usize const fixed = k_preamble_bytes + header_bytes + body.size();
    CORELET_ASSERT(fixed <= UINT32_MAX && payload.size() <= UINT32_MAX,
                   "callers check sizes before they queue a frame");
    u8* const out = reserve(fixed);
    message_.SerializeWithCachedSizesToArray(out + k_preamble_bytes);
    if (!body.empty()) std::memcpy(out + k_preamble_bytes + header_bytes, body.data(), body.size());
    Preamble preamble{version_,
                      0,
                      static_cast<u32>(header_bytes),
                      static_cast<u32>(body.size()),
                      static_cast<u32>(payload.size()),
                      correlation,
                      0};
    encode_preamble(preamble, out);
    preamble.crc = crc32c({out + k_preamble_bytes, fixed - k_preamble_bytes}, crc32c({out, k_preamble_bytes - 4}));
    std::memcpy(out + k_preamble_bytes - 4, &preamble.crc, 4);
    for (const Buffer& part : payload.parts()) {
        if (part.size() <= k_copy_bytes_max) {
            put_copy(part);
            continue;
        }
        close_part();
        batch_.append(part);
    }
}

BufferChain FrameEncoder::take() {
    close_part();
    recent_ = std::max(recent_ - recent_ / 8, copied_);
    copied_ = 0;
    return std::exchange(batch_, BufferChain{});
}

}  // namespace corelet
