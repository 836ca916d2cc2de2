#include "raft/configuration.h"

#include <algorithm>

#include "base/assert.h"

namespace corelet::raft {
namespace {

void insert_sorted(std::vector<CoreletId>& ids, CoreletId id) {
    ids.insert(std::lower_bound(ids.begin(), ids.end(), id), id);
}
void erase_sorted(std::vector<CoreletId>& ids, CoreletId id) {
    std::erase(ids, id);
}

Result<Configuration> with_learner(Configuration next, CoreletId who) {
    if (next.contains(who)) return fail(Code::kExists, "already a member", who.v);
    if (next.learners.size() >= k_learners_max) return fail(Code::kInvalid, "too many learners");
    insert_sorted(next.learners, who);
    return next;
}

Result<Configuration> with_promoted(Configuration next, CoreletId who) {
    if (next.is_voter(who)) return fail(Code::kExists, "already a voter", who.v);
    if (!next.is_learner(who)) return fail(Code::kInvalid, "only a learner can be promoted", who.v);
    if (next.voters.size() >= k_voters_max) return fail(Code::kInvalid, "too many voters");
    erase_sorted(next.learners, who);
    insert_sorted(next.voters, who);
    return next;
}

Result<Configuration> without(Configuration next, CoreletId who) {
    if (!next.contains(who)) return fail(Code::kInvalid, "not a member", who.v);
    if (next.is_voter(who) && next.voters.size() == 1) return fail(Code::kInvalid, "the last voter stays", who.v);
    erase_sorted(next.voters, who);
    erase_sorted(next.learners, who);
    return next;
}

}  // namespace

Result<Configuration> changed(const Configuration& from, Change change) {
    CORELET_ASSERT(from.well_formed());
    if (change.who.is_zero()) return fail(Code::kInvalid, "nobody cannot be a member");
    switch (change.kind) {
        case ChangeKind::kAddLearner:
            return with_learner(from, change.who);
        case ChangeKind::kPromote:
            return with_promoted(from, change.who);
        case ChangeKind::kRemove:
            return without(from, change.who);
    }
    return fail(Code::kInvalid, "unknown kind of change");
}

usize voters_differing(const Configuration& a, const Configuration& b) {
    std::vector<CoreletId> difference;
    std::set_symmetric_difference(a.voters.begin(), a.voters.end(), b.voters.begin(), b.voters.end(),
                                  std::back_inserter(difference));
    return difference.size();
}

const Configuration& Configurations::at(Index index) const {
    CORELET_ASSERT(stages_.front().index <= index, "that configuration is compacted away");
    auto const after =
        std::find_if(stages_.begin(), stages_.end(), [index](const Stage& stage) { return stage.index > index; });
    return std::prev(after)->configuration;
}

const Configuration& Configurations::previous() const {
    return stages_.size() > 1 ? stages_[stages_.size() - 2].configuration : current();
}

void Configurations::append(Index index, Configuration configuration) {
    CORELET_ASSERT(index > current_index() && configuration.well_formed());
    CORELET_ASSERT(current().voters.empty() || voters_differing(current(), configuration) <= 1,
                   "one voter at a time");
    stages_.push_back({index, std::move(configuration)});
}

void Configurations::truncate_from(Index index) {
    while (stages_.size() > 1 && stages_.back().index >= index) stages_.pop_back();
    CORELET_ASSERT(stages_.back().index < index);
}

void Configurations::compact(Index up_to) {
    while (stages_.size() > 1 && stages_[1].index <= up_to) stages_.erase(stages_.begin());
}

void Configurations::reset(Index index, Configuration configuration) {
    CORELET_ASSERT(configuration.well_formed());
    stages_.clear();
    stages_.push_back({index, std::move(configuration)});
}

}  // namespace corelet::raft
