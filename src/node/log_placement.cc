#include "node/log_placement.h"

#include "base/hash.h"
#include "mesh/slot_choice.h"

namespace corelet {

LogPolicy MapLogPlacement::policy(PoolId id) const {
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(id);
    if (!pool) return {};
    return LogPolicy{pool->spec.redundancy.m + 1U, pool->spec.copies_min()};
}

void MapLogPlacement::set_avoided(std::set<CoreletId> avoided) {
    if (avoided == avoided_) return;
    avoided_ = std::move(avoided);
    choices_.clear();
}

namespace {
bool stores(const mesh::Corelet& corelet) {
    return corelet.role == mesh::Role::kStorage && corelet.duty == mesh::Duty::kServe;
}
}  // namespace

usize MapLogPlacement::count_up() const {
    auto const map = maps_.current();
    return static_cast<usize>(std::ranges::count_if(
        map->corelets, [](const mesh::Corelet& corelet) { return stores(corelet) && corelet.is_up(); }));
}

// As even over the failure domains as they allow: each next one is of the domain least used so far, at the largest
// level first; among equals a pinned hash decides.
std::vector<CoreletId> MapLogPlacement::choose(PoolId id, usize width, const std::vector<CoreletId>& avoid,
                                               u64 salt) const {
    auto const map = maps_.current();
    std::vector<const mesh::Corelet*> candidates;
    for (const mesh::Corelet& corelet : map->corelets) {
        bool const avoided = std::find(avoid.begin(), avoid.end(), corelet.id) != avoid.end();
        if (stores(corelet) && !avoided && is_up(corelet.id)) candidates.push_back(&corelet);
    }
    std::vector<const mesh::Corelet*> chosen;
    auto const crowding = [&](const mesh::Corelet& corelet) {
        std::array<usize, 3> used{};
        for (const mesh::Corelet* other : chosen) {
            used[0] += other->location.domain(mesh::Level::kZone) == corelet.location.domain(mesh::Level::kZone);
            used[1] += other->location.domain(mesh::Level::kRack) == corelet.location.domain(mesh::Level::kRack);
            used[2] +=
                other->location.domain(mesh::Level::kChassis) == corelet.location.domain(mesh::Level::kChassis);
        }
        return used;
    };
    while (chosen.size() < width && !candidates.empty()) {
        auto const rank = [&](const mesh::Corelet* corelet) {
            // Fewer copies would be worse than one on a cordoned corelet.
            return std::tuple(corelet->cordoned, chosen.empty() && corelet->id != self_, crowding(*corelet),
                              hash64(id.v, salt, corelet->id.v));
        };
        auto const best = std::min_element(candidates.begin(), candidates.end(),
                                           [&](auto a, auto b) { return rank(a) < rank(b); });
        chosen.push_back(*best);
        candidates.erase(best);
    }
    std::vector<CoreletId> out;
    for (const mesh::Corelet* corelet : chosen) out.push_back(corelet->id);
    return out;
}

std::vector<CoreletId> ElsewherePlacement::choose(PoolId id, usize width, const std::vector<CoreletId>& avoid,
                                                  u64 salt) const {
    std::vector<CoreletId> others = avoid;
    others.push_back(self_);
    auto chosen = inner_.choose(id, width, others, salt);
    bool const enough = chosen.size() == width || inner_.choose(id, width, {self_}, salt).size() == width;
    return enough ? chosen : inner_.choose(id, width, avoid, salt);
}

std::vector<CoreletId> MapLogPlacement::homes(PoolId id, SegmentId segment) const {
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(id);
    if (!pool || !pool->spec.redundancy.is_replicated() || pool->tables.size() > 1) return {};
    auto const row = pool->current().row(pool->slot(segment));
    bool const whole = std::none_of(row.begin(), row.end(), [](CoreletId member) { return member.is_zero(); });
    return whole ? row : std::vector<CoreletId>{};
}

bool MapLogPlacement::suits(PoolId id, ChunkId chunk) const {
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(id);
    if (!pool) return true;
    auto& [epoch, choice] = choices_[id];
    if (epoch != map->epoch) {
        epoch = map->epoch;
        choice = mesh::choice_of_slots(*map, *pool, self_, avoided_);
    }
    return choice[pool->slot(chunk)];
}

std::vector<CoreletId> MapLogPlacement::domain_of(PoolId id, CoreletId of) const {
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(id);
    const mesh::Corelet* const corelet = map->find(of);
    std::vector<CoreletId> out{of};
    if (!pool || !corelet || pool->spec.level == mesh::Level::kCorelet) return out;
    std::string const domain = corelet->location.domain(pool->spec.level);
    for (const mesh::Corelet& other : map->corelets)
        if (other.id != of && other.location.domain(pool->spec.level) == domain) out.push_back(other.id);
    return out;
}

bool MapLogPlacement::is_up(CoreletId corelet) const {
    const auto map = maps_.current();
    const mesh::Corelet* const found = map->find(corelet);
    // A failing device stores no fence any more (protocols 10.2): for a log it is lost.
    if (!found || !found->is_up() || found->duty == mesh::Duty::kFailing || avoids(corelet)) return false;
    return corelet == self_ || !membership_ || membership_->health(corelet) == mesh::PeerHealth::kReached;
}

bool MapLogPlacement::is_leaving(CoreletId id) const {
    auto const map = maps_.current();
    const mesh::Corelet* const corelet = map->find(id);
    return corelet && corelet->duty == mesh::Duty::kDrain;
}

bool MapLogPlacement::is_confirmed_dead(CoreletId id) const {
    const auto map = maps_.current();
    const mesh::Corelet* const corelet = map->find(id);
    return !corelet || corelet->presence == mesh::Presence::kDown || corelet->presence == mesh::Presence::kOut;
}

// Its share of k + m fragments over the replicas that reserve: each keeps free what the chunk takes on one corelet,
// at most.
u64 MapLogPlacement::packed_reservation(PoolId id, u64 segment_bytes) const {
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(id);
    if (!pool || pool->spec.redundancy.is_replicated()) return 0;  // adopted in place
    return round_up(segment_bytes / pool->spec.redundancy.k, k_block_bytes);
}

}  // namespace corelet
