// Bytes of messages and of journal records (raft.proto). Decoding accepts only what is well formed and verifies:
// kInvalid for what does not parse or makes no sense, kCorrupt where a checksum fails.
#pragma once

#include "base/result.h"
#include "raft/effects.h"
#include "raft/message.h"

namespace corelet::raft {

[[nodiscard]] std::string encode(const Message& message);
[[nodiscard]] Result<Message> decode_message(Bytes bytes);
[[nodiscard]] std::string encode(const Persist& batch);
[[nodiscard]] Result<Persist> decode_persist(Bytes bytes);
// What a configuration entry carries.
[[nodiscard]] Payload encode_configuration(const Configuration& configuration);
[[nodiscard]] Result<Configuration> decode_configuration(const Payload& payload);

}  // namespace corelet::raft
