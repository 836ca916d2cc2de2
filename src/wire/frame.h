// Frames: the bytes between two nodes (docs/format/wire.md). A preamble of 32 bytes, a protobuf header, a body, a
// payload.
//
// Sans-I/O: the parser says where the next bytes should be read to and is told how many came; the encoder gives a
// chain to be written. Neither ever trusts a length that is not within its bounds, nor a byte that is not covered
// by a checksum.
#pragma once

#include <optional>

#include "base/bytes.h"
#include "base/result.h"
#include "wire/hello.h"
#include "wire/rpc.h"
#include "wire/wire.pb.h"

namespace corelet {

inline constexpr u32 k_frame_magic = 0x57544C43;  // "CLTW"
inline constexpr usize k_preamble_bytes = 32;
// Room for the header beside a body of the largest size.
inline constexpr usize k_header_slack_bytes = 8 << 10;

// Fixed for all versions: what a frame is must be known before any version is agreed.
struct Preamble {
    u16 version = 0;
    u16 flags = 0;  // none defined; sent as 0, ignored
    u32 header_bytes = 0;
    u32 body_bytes = 0;
    u32 payload_bytes = 0;
    u64 correlation = 0;  // chosen by the caller; a response and a cancel carry that of their request
    u32 crc = 0;          // CRC32C of the preamble's first 28 bytes, the header and the body
};
void encode_preamble(const Preamble& preamble, u8* out);
// `bytes` holds at least k_preamble_bytes. Empty: not a preamble. Nothing but the magic is checked.
[[nodiscard]] std::optional<Preamble> decode_preamble(Bytes bytes);

enum class FrameKind : u8 { kHello = 1, kRequest = 2, kResponse = 3, kCancel = 4, kOneWay = 5 };

struct FrameHeader {
    FrameKind kind = FrameKind::kRequest;
    Method method;
    TrafficClass traffic = TrafficClass::kClient;
    u32 deadline_ms = 0;
    u32 payload_crc = 0;
    MapEpoch map_epoch;
    u32 reply_bytes_expected = 0;
    std::optional<Error> failure;
};

struct Frame {
    u16 version = 0;
    u64 correlation = 0;
    FrameHeader header;
    Buffer body;     // shares the receive buffer
    Buffer payload;  // of FrameLimits::own_payload_bytes and more: aligned memory of its own

    // The payload is not checked by the parser, so that who has checksums of its own passes over it once only.
    [[nodiscard]] bool payload_verifies() const;
};

struct FrameLimits {
    u32 header_bytes = 1 << 20;  // header and body
    u32 payload_bytes = 65 << 20;
    // The receive buffer is as large as reads of late were, up to this, so that idle connections cost little;
    // larger headers make it grow by doubling.
    u32 staging_bytes = 64 << 10;
    u32 own_payload_bytes = 4 << 10;
};

class FrameParser {
  public:
    explicit FrameParser(const FrameLimits& limits) : limits_(limits) {}

    // Where to read to: target[offset, end), and how many bytes the next step of the parser needs at least.
    struct Space {
        Buffer target;
        usize offset = 0;
        usize at_least = 1;
    };
    // Only when next() has given nothing.
    [[nodiscard]] Space space();
    // `count` bytes were read into the last space.
    void filled(usize count);
    // The next whole frame, or nothing until more is read. An error is final: close the connection.
    [[nodiscard]] Result<std::optional<Frame>> next();

    // From now on only frames of this version.
    void require_version(u16 version) { version_ = version; }
    void set_limits(const FrameLimits& limits) { limits_ = limits; }
    // Nothing of a further frame has been read.
    [[nodiscard]] bool is_between_frames() const { return state_ == State::kPreamble && begin_ == end_; }

  private:
    enum class State : u8 { kPreamble, kHeader, kPayload, kFailed };
    [[nodiscard]] usize buffered() const { return end_ - begin_; }
    [[nodiscard]] usize needed() const;
    [[nodiscard]] bool payload_is_own() const { return preamble_.payload_bytes >= limits_.own_payload_bytes; }
    [[nodiscard]] Result<void> take_preamble();
    [[nodiscard]] Result<void> take_header();
    [[nodiscard]] Result<void> take_fields(const pb::FrameHeader& message);
    void begin_payload();
    [[nodiscard]] bool take_payload();
    void make_room();

    FrameLimits limits_;
    State state_ = State::kPreamble;
    std::optional<u16> version_;
    Buffer staging_;
    usize begin_ = 0, end_ = 0;  // received and not yet consumed part of staging_
    bool shared_ = false;        // slices of staging_ were given out
    usize largest_read_ = 0;     // into this staging_
    Preamble preamble_;
    Frame frame_;
    usize payload_filled_ = 0;
    pb::FrameHeader message_;  // reused, so that parsing costs no allocation
};

class FrameEncoder {
  public:
    void set_version(u16 version) { version_ = version; }
    [[nodiscard]] u16 version() const { return version_; }
    // Small parts of the payload are copied beside the header, large ones shared. header.payload_crc is computed
    // unless `payload_crc` is given.
    void add(u64 correlation, const FrameHeader& header, const Buffer& body, const BufferChain& payload,
             std::optional<u32> payload_crc);
    [[nodiscard]] usize bytes() const { return batch_.size() + (used_ - start_); }
    // All frames added since the last take().
    [[nodiscard]] BufferChain take();

  private:
    void fill_message(const FrameHeader& header);
    u8* reserve(usize size);
    void close_part();
    void put_copy(Bytes bytes);

    u16 version_ = k_wire_version;
    BufferChain batch_;
    Buffer staging_;
    usize start_ = 0, used_ = 0;  // staging_[start_, used_) is not yet in batch_
    usize recent_ = 0;            // bytes copied for the last batches, falling off
    usize copied_ = 0;            // for this one
    pb::FrameHeader message_;
};

[[nodiscard]] Buffer encode_hello(const Hello& hello);
// kCorrupt if it is none or makes no sense.
[[nodiscard]] Result<Hello> decode_hello(Bytes body);
// The same hello, fields of later versions included, passed on by `via`.
[[nodiscard]] Result<Buffer> signed_hello(Bytes body, CoreletId via);

}  // namespace corelet
