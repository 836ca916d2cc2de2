#include "mesh/voters.h"

#include <algorithm>
#include <compare>
#include <map>

#include "base/assert.h"
#include "base/hash.h"

namespace corelet::mesh {
namespace {

bool may_vote(const Corelet& corelet) {
    return corelet.has_media() && corelet.presence != Presence::kOut && corelet.duty != Duty::kFailing;
}

// Votes on until there is somebody else, and the mesh is to do without it.
bool leaves(const Corelet& corelet) {
    return corelet.duty == Duty::kDrain;
}

// Lower is better: fewer that are no witnesses, then evenness (sum of squares) over zones, racks, chassis.
struct Quality {
    usize no_witness = 0;
    u64 crowding[3] = {};
    auto operator<=>(const Quality&) const = default;
};

Quality quality(const std::vector<const Corelet*>& voters) {
    Quality out;
    for (usize i = 0; i < 3; ++i) {
        std::map<std::string, u64> in;
        for (const Corelet* voter : voters) ++in[voter->location.domain(static_cast<Level>(3 - i))];
        for (const auto& [domain, count] : in) out.crowding[i] += count * count;
    }
    for (const Corelet* voter : voters) out.no_witness += voter->role != Role::kWitness;
    return out;
}

Quality quality_with(std::vector<const Corelet*> voters, const Corelet* added) {
    voters.push_back(added);
    return quality(voters);
}

Quality quality_without(std::vector<const Corelet*> voters, const Corelet* removed) {
    std::erase(voters, removed);
    return quality(voters);
}

class Chooser {
  public:
    Chooser(const Map& map, std::span<const CoreletId> voters) : map_(map), voters_(voters) {
        for (CoreletId id : voters) {
            const Corelet* corelet = map.find(id);
            if (corelet != nullptr && may_vote(*corelet)) {
                good_.push_back(corelet);
            } else {
                lost_.push_back(id);
            }
        }
        for (const Corelet& corelet : map.corelets) {
            bool const votes = std::find(voters.begin(), voters.end(), corelet.id) != voters.end();
            if (!votes && corelet.is_up() && corelet.duty == Duty::kServe && may_vote(corelet))
                candidates_.push_back(&corelet);
            media_ += corelet.has_media() && !leaves(corelet);
        }
        wanted_ = std::max(voters_wanted(map), voters.size() >= 3 ? least() : 1);
    }

    [[nodiscard]] std::optional<VoterChange> next() const {
        if (good_.size() < wanted_) {
            // A seventh's replacement makes eight for a while, no more.
            if (const Corelet* best = best_candidate(good_); best != nullptr && voters_.size() <= wanted_) {
                return VoterChange{VoterChange::Kind::kAdd, best->id};
            }
        }
        if (!lost_.empty()) return remove_lost();
        if (good_.size() > wanted_) return VoterChange{VoterChange::Kind::kRemove, worst_voter()->id};
        return exchange();
    }

  private:
    // Three, where the mesh has three.
    [[nodiscard]] usize least() const { return media_ >= 3 ? 3 : 1; }

    [[nodiscard]] std::optional<VoterChange> remove_lost() const {
        // Without a replacement at hand it stays: one voter fewer tolerates no loss more.
        if (voters_.size() <= wanted_) return std::nullopt;
        return VoterChange{VoterChange::Kind::kRemove, lost_.front()};
    }
    [[nodiscard]] const Corelet* best_candidate(const std::vector<const Corelet*>& voters) const {
        const Corelet* best = nullptr;
        auto const key = [&](const Corelet* c) {
            return std::tuple(quality_with(voters, c), hash64(map_.mesh.v, c->id.v), c->id);
        };
        for (const Corelet* candidate : candidates_) {
            if (best == nullptr || key(candidate) < key(best)) best = candidate;
        }
        return best;
    }
    // Whose going leaves the best group; one that is down or drains before one that is up.
    [[nodiscard]] const Corelet* worst_voter() const {
        CORELET_ASSERT(!good_.empty());
        auto const key = [&](const Corelet* c) {
            bool const sound = c->is_up() && c->duty == Duty::kServe;
            return std::tuple(sound, quality_without(good_, c), hash64(map_.mesh.v, c->id.v), c->id);
        };
        return *std::min_element(good_.begin(), good_.end(),
                                 [&](const Corelet* a, const Corelet* b) { return key(a) < key(b); });
    }
    // A draining voter, or a worse one, goes for a better one: first the newcomer, then (as there is one too many)
    // the worst.
    [[nodiscard]] std::optional<VoterChange> exchange() const {
        if (good_.size() != wanted_) return std::nullopt;
        bool const one_leaves = std::any_of(good_.begin(), good_.end(), [](auto voter) { return leaves(*voter); });
        if (wanted_ < 3 && !one_leaves) return std::nullopt;
        for (const Corelet* voter : good_) {
            if (!voter->is_up()) return std::nullopt;  // wait until it is back or out
        }
        const Corelet* best = best_candidate(good_);
        if (best == nullptr) return std::nullopt;
        std::vector<const Corelet*> larger = good_;
        larger.push_back(best);
        Chooser after = *this;
        after.good_ = larger;
        const Corelet* leaving = after.worst_voter();
        if (leaving == best) return std::nullopt;
        if (!leaves(*leaving) && !(quality_without(larger, leaving) < quality(good_))) return std::nullopt;
        return VoterChange{VoterChange::Kind::kAdd, best->id};
    }

    const Map& map_;
    std::span<const CoreletId> voters_;
    std::vector<const Corelet*> good_;
    std::vector<CoreletId> lost_;
    std::vector<const Corelet*> candidates_;
    usize media_ = 0;
    usize wanted_ = 0;
};

}  // namespace

usize voters_wanted(const Map& map) {
    usize media = 0;
    for (const Corelet& corelet : map.corelets)
        media += may_vote(corelet) && !leaves(corelet) && corelet.presence != Presence::kJoining;
    usize promise = 2;
    for (const Pool& pool : map.pools) promise = std::max<usize>(promise, pool.spec.redundancy.m);
    usize const most = std::min({media, 2 * promise + 1, k_voters_max});
    return most == 0 ? 0 : most - (most + 1) % 2;
}

std::optional<VoterChange> next_voter_change(const Map& map, std::span<const CoreletId> voters) {
    if (voters.empty()) return std::nullopt;  // the first voter is made at the mesh's birth
    return Chooser(map, voters).next();
}

}  // namespace corelet::mesh
