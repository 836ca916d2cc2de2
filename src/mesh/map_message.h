// Parts of a map as messages: what the codecs of maps and of their changes have in common. Decoding checks ranges,
// not the references between parts (check_map).
#pragma once

#include "base/assert.h"
#include "mesh/map.pb.h"
#include "mesh/map_codec.h"

namespace corelet::mesh {

void encode(const Corelet& from, pb::Corelet& to);
void encode(const SlotTable& from, bool with_rows, pb::Table& to);
void encode(const Pool& from, bool with_rows, pb::Pool& to);
// kInvalid: out of range. The messages are spent.
[[nodiscard]] Result<Corelet> decode(pb::Corelet& from);
[[nodiscard]] Result<Pool> decode(pb::Pool& from, const TableFinder& find);
// kUnknown: `find` does not have it, and rows do not come along.
[[nodiscard]] Result<TablePtr> decode(const pb::Table& from, const TableFinder& find);

// The lite runtime keeps fields it does not know but has no name for them: they are what is left of a message
// without all that it does know.
void clear_known(pb::Corelet& message);
void clear_known(pb::Pool& message);
void clear_known(pb::Map& message);

// The message is spent: there may be tables of a hundred thousand cells in it, which are not copied for this.
template <class Message>
[[nodiscard]] std::string take_unknown(Message& message) {
    clear_known(message);
    return message.SerializeAsString();
}

template <class Message>
void restore_unknown(const std::string& unknown, Message& message) {
    bool const parsed = message.ParseFromString(unknown);
    CORELET_ASSERT(parsed, "unknown fields were parsed before");
}

}  // namespace corelet::mesh
