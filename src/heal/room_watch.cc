#include "heal/room_watch.h"

#include <algorithm>

namespace corelet {

void RoomWatch::refused(u64 bytes, u64 free_bytes, Instant now) {
    // Several that were under way at once are refused by one and the same fullness.
    if (full_ && now < full_->until && free_bytes <= full_->free_bytes) return;
    Duration const pause = full_ ? std::min(full_->pause * 2, k_longest_pause) : k_first_pause;
    full_ = Full{pause, now + pause, bytes, free_bytes};
}

bool RoomWatch::waits(u64 free_bytes, Instant now) const {
    if (!full_ || now >= full_->until) return false;
    return free_bytes < full_->free_bytes + full_->bytes;
}

}  // namespace corelet
