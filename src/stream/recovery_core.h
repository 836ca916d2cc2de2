// What recovery decides from what the fenced replicas hold: which segments were used and in which order, where each
// ends, what was acknowledged for certain, and what must be written again (protocols 5.3, 7). Pure; the shell is
// stream_recovery.h.
#pragma once

#include <algorithm>
#include <optional>

#include "stream/record.h"
#include "stream/segment.h"

namespace corelet {

// The longest valid chain of a segment over its fenced replicas, each record from whichever replica has it.
class SegmentChain {
  public:
    explicit SegmentChain(LogSegment spec) : spec_(std::move(spec)) {}
    // Offers a verified record from a replica. Returns true if it extends the chain. Others (known already, or
    // beyond a gap) are passed over; offer a replica's records in order of offset, and replicas again after the
    // chain has grown.
    bool offer(const RecordHeader& header);
    [[nodiscard]] const LogSegment& spec() const { return spec_; }
    [[nodiscard]] const std::vector<RecordHeader>& records() const { return records_; }
    [[nodiscard]] u64 end_bytes() const;
    [[nodiscard]] u32 last_crc() const { return records_.empty() ? 0 : records_.back().crc; }
    [[nodiscard]] bool is_used() const { return !records_.empty(); }
    [[nodiscard]] u64 roll() const { return records_.front().roll; }
    // A header found beyond a gap: no part of the chain, but what it knows of acknowledgements is true.
    void note_beyond(const RecordHeader& header) { mark_beyond_ = std::max(mark_beyond_, header.acknowledged); }
    [[nodiscard]] RecordNumber mark_beyond() const { return mark_beyond_; }
    // A fenced replica says that it has written so much. What all of them have may have been acknowledged.
    void note_written(u64 bytes) { written_by_all_ = std::min(written_by_all_.value_or(bytes), bytes); }
    [[nodiscard]] u64 written_by_all() const { return written_by_all_.value_or(0); }

  private:
    LogSegment spec_;
    std::vector<RecordHeader> records_;
    RecordNumber mark_beyond_;
    std::optional<u64> written_by_all_;
};

struct RecoveryPlan {
    u64 roll = 0;                 // highest used
    RecordNumber mark;            // everything up to it was acknowledged, as far as anyone still knows
    RecordNumber last_record;     // the last that is kept: those beyond the mark are written again
    std::vector<StatedEnd> ends;  // of every listed segment that is not dormant, used ones in the order of use; no
                                  // further than the mark
    std::vector<usize> replay;    // indices of chains that count, in the order of use
    std::optional<usize> tail_chain;  // the chain that holds records beyond the mark
};

// `base`: the last record of ended segments: listed ones go on after it. `kept`: the last record that a former
// recovery kept, perhaps in a listed segment; it counts as acknowledged. kLost: something that was acknowledged is
// found nowhere; nothing is shortened then.
[[nodiscard]] Result<RecoveryPlan> plan_recovery(const std::vector<SegmentChain>& chains, RecordNumber base,
                                                 RecordNumber kept, u64 base_roll);

// How many fences of a segment are enough to read it (protocols 7.2): R - W + 1 of those that remember, and one
// more while the session of any replica not counted lives.
[[nodiscard]] usize fences_needed(usize width, usize write_width, usize fenced, usize others_with_session);

}  // namespace corelet
