// The frame around what stands in the catalog, on devices and in answers: magic u32, version u32, payload length
// u32, CRC32C of the payload u32, payload; all little-endian. Bytes come from outside and from disks: everything is
// checked, nothing is believed.
#pragma once

#include <google/protobuf/message_lite.h>

#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace corelet::mesh {

inline constexpr usize k_envelope_bytes = 16;

// What lies in an envelope; the name is for errors.
struct EnvelopeKind {
    u32 magic = 0;
    u32 version = 0;
    const char* name = "";
};

[[nodiscard]] std::vector<u8> seal(const EnvelopeKind& kind, const std::string& payload);
// The payload. kCorrupt: damaged, or something else; kUnsupported: a newer version.
[[nodiscard]] Result<Bytes> unseal(const EnvelopeKind& kind, Bytes bytes);
// The magic of whatever it is; 0 if there is none.
[[nodiscard]] u32 magic_of(Bytes bytes);

// The payload as a message. The same errors; kInvalid: it verifies but is no such message.
template <class Message>
[[nodiscard]] Result<Message> unseal_message(const EnvelopeKind& kind, Bytes bytes) {
    TRY(Bytes const payload, unseal(kind, bytes));
    Message message;
    if (payload.size() > INT32_MAX || !message.ParseFromArray(payload.data(), static_cast<int>(payload.size())))
        return fail(Code::kInvalid, std::string(kind.name) + ": not the message it should be");
    return message;
}

}  // namespace corelet::mesh
