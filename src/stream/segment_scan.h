// Finds how far the records of a segment on the device verify and follow each other. Reads it, changes nothing.
#pragma once

#include "device/store.h"
#include "stream/replica_core.h"

namespace corelet {

// Gives `core` record after record until one does not verify, or does not follow. Both outlive the task. An error:
// the device did not give the bytes.
[[nodiscard]] Task<Result<void>> scan_segment(Store* store, SegmentInfo info, ReplicaCore* core, IoClass io);

}  // namespace corelet
