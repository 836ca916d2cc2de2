// How a volume's block status travels through a door (node/door.proto, DoorReply): each extent is a number, its
// length in bytes times four, plus 2 for a hole, plus 1 for what reads as zeros. Pure.
#pragma once

#include <vector>

#include "volume/block_device.h"
#include "wire/rpc.h"

namespace corelet {

[[nodiscard]] Reply door_status_reply(const std::vector<BlockStatusExtent>& extents);
// The error of what does not parse; kIo: it says nothing, or more than the `length` bytes that were asked about.
[[nodiscard]] Result<std::vector<BlockStatusExtent>> parse_door_status(const Reply& reply, u64 length);

}  // namespace corelet
