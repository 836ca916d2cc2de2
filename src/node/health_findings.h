// What makes a corelet, device, volume or pool other than healthy. Pure: each takes what is known and says what it
// means.
#pragma once

#include "device/telemetry.h"
#include "mesh/map.h"
#include "mesh/membership.h"
#include "node/health.h"
#include "stream/stream_owner.h"

namespace corelet {

// A peer as membership has it at `observer`.
[[nodiscard]] Finding reachable_finding(const mesh::PeerView& peer, CoreletId observer);

// Its loop should have had its turn so much earlier, so long ago. It has hung, or its machine was paused.
inline constexpr Duration k_loop_late = 500_ms;
inline constexpr Duration k_loop_late_told = 10_s;
[[nodiscard]] Finding loop_finding(Duration late, Duration ago);

// Little room is left for clients: full is not broken, and nothing of it fails.
[[nodiscard]] Finding space_finding(const SpaceUse& space);
// What is to be rebuilt here finds no room on this device.
[[nodiscard]] Finding room_finding(bool full, u64 fragments, u64 bytes);
// A write that has been under way for so long.
[[nodiscard]] Finding stuck_finding(Duration under_way);
// Reads that did not verify, or that the device refused, in the last minute.
[[nodiscard]] Finding error_finding(u64 corrupt_blocks, u64 refused_reads);

// By its owner's word.
// Nothing while it is about to be exported.
[[nodiscard]] std::optional<Finding> volume_serving(const std::string& uri, const std::string& export_error);
[[nodiscard]] Finding volume_storing(const StreamStatus& stream);
// One that is attached, and nobody serves.
[[nodiscard]] Finding unowned_finding();

// By the map.
[[nodiscard]] Finding pool_finding(const mesh::Map& map, const mesh::Pool& pool);
[[nodiscard]] Finding presence_finding(const mesh::Corelet& corelet);
[[nodiscard]] Finding mesh_finding(const mesh::Map& map);

}  // namespace corelet
