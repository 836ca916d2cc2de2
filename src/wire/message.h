// Protobuf messages as bodies of requests and replies.
#pragma once

#include <google/protobuf/message_lite.h>

#include <cstring>

#include "base/bytes.h"
#include "base/fault_point.h"
#include "base/result.h"

namespace corelet {

// Field 127, of three bytes: none of ours has that number.
inline constexpr std::string_view k_later_field = "\xfa\x07\x03new";

[[nodiscard]] inline Buffer encode_message(const google::protobuf::MessageLite& message) {
    usize const size = message.ByteSizeLong();
    std::string_view const more = FAULT_POINT("wire.later_field") ? k_later_field : std::string_view();
    Buffer out = Buffer::allocate(size + more.size());
    if (size != 0) message.SerializeWithCachedSizesToArray(out.mutable_data());
    if (!more.empty()) std::memcpy(out.mutable_data() + size, more.data(), more.size());
    return out;
}

// Fields that this version does not know are kept in the message. kCorrupt: not such a message.
[[nodiscard]] inline Result<void> decode_into(google::protobuf::MessageLite& message, Bytes bytes) {
    if (bytes.size() > INT32_MAX || !message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
        return fail(Code::kCorrupt, "malformed message of " + std::to_string(bytes.size()) + " bytes");
    return {};
}

template <class M>
[[nodiscard]] Result<M> decode_message(Bytes bytes) {
    M message;
    TRY_VOID(decode_into(message, bytes));
    return message;
}

}  // namespace corelet
