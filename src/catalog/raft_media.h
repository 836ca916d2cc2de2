// What a voter keeps of the consensus core on its media: batches in order, snapshots instead of what they cover,
// and what is left after rot. One executor. Destroying it is a crash and safe.
//
// A batch is a record of the journal; its promise (raft/promise.h) goes into the identifier. A snapshot of one's
// own state machine is a snapshot of the journal and says nothing new, so batches go on meanwhile. One that a
// leader sent replaces the log: batches wait for it, and a record after it gives the journal an identifier that
// speaks of it.
#pragma once

#include <deque>
#include <functional>

#include "device/journal.h"
#include "raft/core.h"
#include "rt/env.h"
#include "rt/sync.h"

namespace corelet {

class RaftMedia {
  public:
    struct Opened {
        raft::Restored restored;
        // Not empty: the journal has rotted and does not say what it had promised. The voter must never vote again.
        std::string forgotten;
        bool repaired_rot = false;  // has rotted, and the core is told what to get from the others
    };
    // Reads the journal. With `first` and nothing in it, `self` becomes the only voter of a new group, durably. A
    // rotten journal is started anew with what it still has. kCorrupt: the log contradicts itself. kNoSpace: the
    // journal is too small for a catalog (catalog/limits.h).
    [[nodiscard]] static Task<Result<Opened>> open(Journal* journal, CoreletId self, bool first);

    // The voter becomes another: what the journal held is replaced by `start`, durably and at once. kForgotten: a
    // rotten journal is nothing to begin from.
    [[nodiscard]] static Task<Result<void>> replace(Journal* journal, raft::Restored start);

    struct Events {
        // Batch `ticket` and all before it are durable (0: none of its own); `after` may leave now.
        std::function<void(u64 ticket, std::vector<raft::Message> after)> durable;
        std::function<void(const raft::Snapshot&)> snapshot_saved;
        std::function<void(const Error&)> failed;  // for ever
        std::function<void()> wants_room;          // a snapshot would let the journal go on
    };
    RaftMedia(Env& env, Journal& journal, raft::Restored durable, Events events);

    // Whether another batch may be handed in: not while one waits for room or replaces the log.
    [[nodiscard]] bool takes_batches() const { return unsubmitted_ == 0; }
    // Nothing is on its way to the media; and how much has got there so far.
    [[nodiscard]] bool is_idle() const { return pending_.empty(); }
    [[nodiscard]] u64 finished() const { return finished_; }
    // In the order of the core.
    void put(std::optional<raft::Persist> batch, u64 ticket, std::vector<raft::Message> after);

    // The journal has little room left and nothing is being done about it.
    [[nodiscard]] bool wants_snapshot() const { return may_compact() && journal_.wants_snapshot(); }
    // Not while one is under way, and not soon after one that failed.
    [[nodiscard]] bool may_compact() const { return !compacting_ && env_.clock.now() >= compact_after_; }
    // Replaces the journal's content by its fold; with `snapshot`, and without the entries up to `floor` that it
    // covers.
    void compact(std::optional<raft::Snapshot> snapshot, raft::Index floor);

  private:
    // On its way to the media, with what may leave once it is there.
    struct Pending {
        std::optional<raft::Persist> batch;
        u64 ticket = 0;
        std::vector<raft::Message> after;
        std::optional<u64> number;  // of the journal's record, once it has taken it
    };
    [[nodiscard]] Task<void> run();
    [[nodiscard]] Task<Result<void>> make_durable(Pending* pending);
    [[nodiscard]] Task<Result<void>> submit_patiently(Pending* pending);
    [[nodiscard]] Task<Result<void>> install(const raft::Persist* batch);
    [[nodiscard]] Task<void> run_compaction(std::optional<raft::Snapshot> snapshot, raft::Index floor);

    Env& env_;
    Journal& journal_;
    raft::Restored durable_;  // the fold of all durable batches
    u64 durable_number_ = 0;  // of the journal's record that it ends with
    Events events_;
    std::deque<Pending> pending_;
    usize unsubmitted_ = 0;
    u64 finished_ = 0;
    Notify pending_wanted_;
    bool compacting_ = false;
    Instant compact_after_{};
    Notify compacted_;
    Scope scope_;
};

}  // namespace corelet
