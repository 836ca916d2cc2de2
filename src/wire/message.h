// Protobuf messages as bodies of requests and replies.
#pragma once

#include <google/protobuf/message_lite.h>

#include "base/bytes.h"
#include "base/result.h"

namespace corelet {

[[nodiscard]] inline Buffer encode_message(const google::protobuf::MessageLite& message) {
    usize const size = message.ByteSizeLong();
    Buffer out = Buffer::allocate(size);
    if (size != 0) message.SerializeWithCachedSizesToArray(out.mutable_data());
    return out;
}

// Fields that this version does not know are kept in the message. kCorrupt: not such a message.
template <class M>
[[nodiscard]] Result<M> decode_message(Bytes bytes) {
    M message;
    if (bytes.size() > INT32_MAX || !message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
        return fail(Code::kCorrupt, "malformed message of " + std::to_string(bytes.size()) + " bytes");
    return message;
}

}  // namespace corelet
