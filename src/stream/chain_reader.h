// Reads what the fenced replicas of a segment have of it, as a recovery needs it (protocols 7.3).
#pragma once

#include <vector>

#include "stream/recovery_core.h"
#include "stream/segment_reader.h"

namespace corelet {

class ChainReader {
  public:
    explicit ChainReader(SegmentReader& reader) : reader_(reader) {}

    // Extends `chain` to the longest over the replicas in `fenced`, and notes what headers behind its end tell.
    // `written`: as far as any of them says that it was written. What is not there, or has rotted, is no error;
    // others, a replica that does not answer say, are returned. Both pointers outlive the task.
    [[nodiscard]] Task<Result<void>> read(SegmentChain* chain, const std::vector<CoreletId>* fenced, u64 written);

  private:
    [[nodiscard]] Task<Result<bool>> extend(SegmentChain* chain, CoreletId replica);
    [[nodiscard]] Task<Result<void>> look_beyond(SegmentChain* chain, CoreletId replica);
    static void note_headers(SegmentChain* chain, const Buffer& bytes, u64 offset);

    SegmentReader& reader_;
};

}  // namespace corelet
