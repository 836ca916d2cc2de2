// Who votes: one change at a time, and the configurations of a log by the index where each begins to count.
#pragma once

#include "base/result.h"
#include "raft/types.h"

namespace corelet::raft {

inline constexpr usize k_voters_max = 9;
inline constexpr usize k_learners_max = 9;

enum class ChangeKind : u8 {
    kAddLearner = 1,  // receives the log, does not count
    kPromote = 2,     // learner to voter
    kRemove = 3,      // voter or learner
};
struct Change {
    ChangeKind kind = ChangeKind::kAddLearner;
    CoreletId who;
};
// kInvalid where it makes no sense (unknown member, last voter, beyond the bounds), kExists where it is so already.
[[nodiscard]] Result<Configuration> changed(const Configuration& from, Change change);
// Voters that are in one of the two and not in the other.
[[nodiscard]] usize voters_differing(const Configuration& a, const Configuration& b);

// A configuration counts from the entry that carries it, committed or not, and is undone with it.
class Configurations {
  public:
    Configurations() { stages_.push_back({}); }
    [[nodiscard]] const Configuration& current() const { return stages_.back().configuration; }
    [[nodiscard]] Index current_index() const { return stages_.back().index; }
    // In force at `index`; that must not lie before what was compacted.
    [[nodiscard]] const Configuration& at(Index index) const;
    // The one before the current one, or the current one if there is none.
    [[nodiscard]] const Configuration& previous() const;
    void append(Index index, Configuration configuration);
    void truncate_from(Index index);
    void compact(Index up_to);
    void reset(Index index, Configuration configuration);

  private:
    struct Stage {
        Index index = 0;
        Configuration configuration;
    };
    std::vector<Stage> stages_;  // never empty; indexes grow
};

}  // namespace corelet::raft
