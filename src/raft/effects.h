// What the core asks its shell to do. The shell's duties, in order, are in README.md beside this file.
#pragma once

#include "base/result.h"
#include "raft/message.h"
#include "raft/types.h"

namespace corelet::raft {

// One batch of the journal, atomic: all of it becomes durable or none. Taken in this order: snapshot, truncation,
// entries.
struct Persist {
    HardState hard_state;
    std::optional<Snapshot> snapshot;  // replaces the former one; from a leader or a peer
    bool reset_log = false;            // with the snapshot: no entry stored before counts any more
    Index compact_to = 0;              // with the snapshot: entries up to here are dropped
    Index truncate_from = 0;           // not zero: entries from here on, stored before, are void
    std::vector<Entry> entries;        // follow each other
    Position last;                     // where the log ends with it; for the shell's Promise, not encoded
};

// What lies on media: the fold of all durable batches. Also what a core starts from.
struct Restored {
    HardState hard_state;
    std::optional<Snapshot> snapshot;
    std::vector<Entry> entries;  // contiguous; begin at or before the place after the snapshot
    // Found at this start: the journal was promised up to here, and its end (beyond `entries`) has rotted. Found
    // again at every start until a batch is durable: that says it in its hard state.
    Position rotten;
    // What the state machine holds already; 0: it is blank, and snapshot and entries come as effects.
    Index applied = 0;
};
// The batch becomes part of what lies on media.
void absorb(Restored& durable, const Persist& batch);
// A snapshot of the own state machine becomes part of it, and entries up to `compact_to` go. It says nothing new,
// so its place among the batches is free; an older one than there is changes nothing.
void absorb(Restored& durable, const Snapshot& snapshot, Index compact_to);
// What the first voters of a group start from, to be persisted before the core is made: one entry with their names.
[[nodiscard]] Restored bootstrap(const Configuration& configuration);

// The end of a read: with `index`, everything acknowledged before the read began is applied here; or why not.
struct ReadState {
    u64 context = 0;
    Result<Index> index;
};

struct Effects {
    std::optional<Persist> persist;
    // Number of the newest batch handed out so far, this one included.
    u64 ticket = 0;
    std::vector<Message> send_now;
    std::vector<Message> send_after;  // only when batch `ticket` and all before it are durable
    std::optional<Snapshot> install;  // the state machine becomes this; before `apply`
    std::vector<Entry> apply;         // committed and durable here, in order, of every kind
    std::vector<ReadState> reads;
    [[nodiscard]] bool empty() const {
        return !persist && send_now.empty() && send_after.empty() && !install && apply.empty() && reads.empty();
    }
};

}  // namespace corelet::raft
