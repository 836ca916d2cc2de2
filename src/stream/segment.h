// What the catalog, the owner and recovery say of one segment of a stream.
#pragma once

#include <string>
#include <vector>

#include "stream/log_stream.h"

namespace corelet {

// A listed segment as its owner uses it. The replica set is fixed when it is listed (protocols 4.3).
struct LogSegment {
    SegmentId id;
    u64 salt = 0;
    std::vector<CoreletId> replicas;
    friend bool operator==(const LogSegment&, const LogSegment&) = default;
};

// Times of the log's protocols (design section 15); replicas and owners share them.
struct StreamTimes {
    Duration lease = 2_s;  // T: what a replica promises
    Duration lease_margin =
        60_ms;                    // the owner's own clock counts this much less: 1 % drift of two clocks, and slack
    Duration heartbeat = 700_ms;  // renewal when idle
    Duration no_answer = 500_ms;  // a request out this long without an answer is a failure
    Duration lag_least = 100_ms;  // lag that rolls: at least this, and 4 x the median
    Duration lag_roll_interval = 10_s;
};

}  // namespace corelet
