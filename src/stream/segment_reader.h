// Reads records of a log's segments from the replicas that have them: for a recovery, which goes through whole
// segments. One task at a time.
#pragma once

#include "stream/ports.h"
#include "stream/record.h"

namespace corelet {

class SegmentReader {
  public:
    static constexpr u64 k_read_bytes = k_mib;  // at once
    explicit SegmentReader(ReplicaPort& replicas) : replicas_(replicas) {}

    // What a replica holds at this place. What rotted, or is gone, is nothing; but no answer is no end of a chain:
    // an error then, and the recovery begins anew with whoever answers.
    [[nodiscard]] Task<Result<Buffer>> read_or_nothing(SegmentId segment, CoreletId replica, u64 offset,
                                                       u64 length);
    // The record at this place, from the first of these replicas where it verifies. What was read behind it is
    // kept: records are read one after the other.
    [[nodiscard]] Task<Result<DecodedRecord>> read_record(LogSegment segment, std::vector<CoreletId> from,
                                                          u64 offset);

  private:
    struct Window {
        SegmentId segment;
        u64 offset = 0;
        Buffer bytes;
    };
    ReplicaPort& replicas_;
    Window window_;
};

}  // namespace corelet
