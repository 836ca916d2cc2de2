// The map as bytes: for the catalog, for gossip, for the device.
//
// Envelope: magic "CLMP", version u32, payload length u32, CRC32C of the payload u32, payload (protobuf,
// map.proto); all little-endian. Bytes come from outside and from disks: everything is checked, nothing is
// believed.
#pragma once

#include <functional>
#include <vector>

#include "base/bytes.h"
#include "mesh/map.h"

namespace corelet::mesh {

// Everything in one piece.
[[nodiscard]] std::vector<u8> encode_map(const Map& map);
// Without the tables' rows, a few hundred bytes a corelet at most: what is committed and gossiped. Tables are kept
// and fetched one by one.
[[nodiscard]] std::vector<u8> encode_outline(const Map& map);
[[nodiscard]] std::vector<u8> encode_table(const SlotTable& table);

// Finds a table that a map names, so that it need not come along or be built again; null if it is not known here.
using TableFinder = std::function<TablePtr(MapEpoch epoch, u64 hash)>;

// kCorrupt: bytes damaged. kInvalid: they verify but make no map. kUnsupported: a newer version. kUnknown: an
// outline names a table that `find` does not have (detail: its epoch); without `find`, any.
[[nodiscard]] Result<Map> decode_map(Bytes bytes, const TableFinder& find = {});
[[nodiscard]] Result<TablePtr> decode_table(Bytes bytes);

}  // namespace corelet::mesh
