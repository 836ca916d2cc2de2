// What must hold of a group of cores at every step, whatever the schedule: Raft's four (election safety, log
// matching, leader completeness, state machine safety), durable promises (protocols 12.9), committed means durable
// at a majority, and linearizable reads. It sees everything, by true time; cores see nothing of it.
#pragma once

#include <map>
#include <set>
#include <string>

#include "raft/core.h"

namespace corelet::raft::testing {

// A state machine whose state is a chained hash of what it applied.
struct Chain {
    Index index = 0;
    u64 hash = 0;
    void apply(const Entry& entry);
    // As a snapshot's state; `padding` bytes longer than it must be.
    [[nodiscard]] Payload save(usize padding) const;
    void load(const Snapshot& snapshot);
    friend bool operator==(const Chain&, const Chain&) = default;
};

class Judge {
  public:
    // The first thing that went wrong; empty: nothing.
    [[nodiscard]] const std::string& verdict() const { return verdict_; }

    // What a core hands to its journal, and how it stands after each turn. `media` is of all members, by identity.
    void saw_persist(const Core& core, const Persist& batch);
    void saw_state(const Core& core, const std::map<CoreletId, const Restored*>& media);
    // A message leaves a member with this on media.
    void saw_send(const Message& message, const Restored& media);
    void saw_apply(CoreletId who, const Entry& entry, const Chain& after);
    void saw_install(CoreletId who, const Chain& after);
    // A group is begun anew from this state: what its first snapshot holds.
    void generation_begins(Position at, const Chain& state) { applied_.try_emplace(at.index, at.term, state.hash); }
    // A member begins to run with what is on its media.
    void saw_start(CoreletId who) { commits_[who] = 0; }
    // Its media are gone, or have lost what was promised: it counts no more where durability is judged.
    void saw_impaired(CoreletId who) { impaired_.insert(who); }

    // A client was told that its command took effect at this place.
    void acknowledged(Position at);
    // A read begins: the token is for its end.
    [[nodiscard]] Index read_begins() const { return seen_; }
    void read_ends(CoreletId who, Index floor, Index index);

    [[nodiscard]] u64 committed_count() const { return committed_.size(); }
    [[nodiscard]] Index acknowledged_index() const { return seen_; }
    [[nodiscard]] usize leaders() const { return leader_of_.size(); }
    void fail(std::string what);

  private:
    struct Written {
        u32 crc = 0;
        Term prev_term;
    };
    struct Committed {
        Term term;     // of the entry
        Term seen_in;  // the term of the first member known to hold it committed
    };
    void check_leader(const Core& core);
    void check_commit(const Core& core, const std::map<CoreletId, const Restored*>& media);
    void check_has(const Core& leader, Index index, const Committed& committed);
    void check_durable(const Core& leader, Index index, const std::map<CoreletId, const Restored*>& media);

    std::string verdict_;
    std::map<Position, Written> written_;
    std::map<Term, CoreletId> leader_of_;
    std::map<Index, Committed> committed_;
    std::map<CoreletId, Index> commits_;
    std::map<CoreletId, Term> checked_as_leader_;
    std::map<std::pair<CoreletId, Term>, CoreletId> votes_;
    std::map<Index, std::pair<Term, u64>> applied_;  // term, and chain after it
    std::set<CoreletId> impaired_;
    Index seen_ = 0;  // the greatest index acknowledged to a client or returned by a read
};

}  // namespace corelet::raft::testing
