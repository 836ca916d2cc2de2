// The log in memory: entries after a base, what of them has been handed out to be persisted, and what is durable.
// The core's only copy of the log; media are the shell's. Not a judge of protocol: it asserts what it is told.
#pragma once

#include <deque>

#include "raft/types.h"

namespace corelet::raft {

class Log {
  public:
    Log() = default;
    // From media: everything given counts as durable. `entries` follow each other; they begin at or before the
    // place after the snapshot (the one in force at index 0 if there is none), and agree with it.
    Log(std::optional<Snapshot> snapshot, std::vector<Entry> entries);

    [[nodiscard]] Position last() const { return entries_.empty() ? base_ : entries_.back().at; }
    // The place before the first entry held.
    [[nodiscard]] Position base() const { return base_; }
    [[nodiscard]] usize bytes() const { return bytes_; }
    [[nodiscard]] const std::optional<Snapshot>& snapshot() const { return snapshot_; }
    // Nothing for what is compacted away or does not exist yet.
    [[nodiscard]] std::optional<Term> term_at(Index index) const;
    [[nodiscard]] bool matches(Position at) const { return term_at(at.index) == at.term; }
    // `index` must be held.
    [[nodiscard]] const Entry& entry_at(Index index) const;
    // Entries [first, last], as many as fit into `bytes_max`, at least one unless the range is empty.
    [[nodiscard]] std::vector<Entry> slice(Index first, Index last, usize bytes_max) const;
    // The last place at or below `index` with a term at or below `term`: where two logs that differ at `index` may
    // agree. The base, if none is.
    [[nodiscard]] Position last_at_or_below(Index index, Term term) const;

    void append(Entry entry);
    // Drops entries from `first` on. `first` is after the base.
    void truncate_from(Index first);
    // What was appended since the last call, and from where stored entries are void (0: none are).
    struct Unissued {
        Index truncate_from = 0;
        std::vector<Entry> entries;
        [[nodiscard]] bool empty() const { return truncate_from == 0 && entries.empty(); }
    };
    // At least one entry, if there is one, more while they fit into `bytes_max`.
    [[nodiscard]] Unissued take_unissued(usize bytes_max);
    [[nodiscard]] bool any_unissued() const { return issued_ < last().index; }
    [[nodiscard]] Index issued() const { return issued_; }
    // Up to `index` it is durable as it stands here.
    void mark_durable(Index index);
    [[nodiscard]] Index durable() const { return durable_; }

    // A snapshot of what is in the log: entries up to `compact_to` go.
    void compact(Snapshot snapshot, Index compact_to);
    // A snapshot that supersedes the whole log; nothing is durable until mark_durable.
    void reset(Snapshot snapshot);

  private:
    void check() const;
    Position base_;
    std::deque<Entry> entries_;
    std::optional<Snapshot> snapshot_;
    usize bytes_ = 0;
    Index issued_ = 0;     // handed out up to here
    Index void_from_ = 0;  // handed out, then truncated, and not yet said
    Index durable_ = 0;
};

}  // namespace corelet::raft
