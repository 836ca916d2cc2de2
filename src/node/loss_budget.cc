#include "node/loss_budget.h"

#include <algorithm>
#include <climits>
#include <functional>
#include <map>

#include "mesh/survival.h"
#include "mesh/voters.h"

namespace corelet {

namespace {

// The smallest of several numbers, and what it comes from.
struct Least {
    int value = INT_MAX;
    std::string by;
    void limit(int candidate, const std::string& what) {
        if (candidate >= value) return;
        value = candidate;
        by = what;
    }
};

// The map as it is in truth: who is no help is down.
mesh::Map without(const mesh::Map& map, const std::function<bool(const mesh::Corelet&)>& gone) {
    mesh::Map out = map;
    for (mesh::Corelet& corelet : out.corelets)
        if (corelet.is_up() && gone(corelet)) corelet.presence = mesh::Presence::kDown;
    return out;
}

// How many groups, the worst ones, may go with `needed` members left. -1: there are fewer now.
int survivable(const mesh::Map& map, const std::vector<CoreletId>& members, usize needed, mesh::Level level) {
    std::map<std::string, usize> by_group;
    usize alive = 0;
    for (CoreletId id : members) {
        const mesh::Corelet* const corelet = map.find(id);
        if (!corelet || !corelet->is_up()) continue;
        ++alive;
        ++by_group[level == mesh::Level::kCorelet ? to_string(id) : corelet->location.domain(level)];
    }
    if (alive < needed) return -1;
    std::vector<usize> sizes;
    for (auto const& [name, size] : by_group) sizes.push_back(size);
    std::sort(sizes.rbegin(), sizes.rend());
    int losses = 0;
    for (usize size : sizes) {
        if (alive - size < needed) break;
        alive -= size;
        ++losses;
    }
    return losses;
}

std::vector<CoreletId> log_corelets(const mesh::Map& map) {
    std::vector<CoreletId> out;
    for (const mesh::Corelet& corelet : map.corelets)
        if (corelet.role == mesh::Role::kStorage && corelet.duty == mesh::Duty::kServe) out.push_back(corelet.id);
    return out;
}

std::string counted(usize n, const char* what) {
    return std::to_string(n) + " " + what + (n == 1 ? "" : "s");
}

class Budget {
  public:
    explicit Budget(const LossView& view)
        : view_(view), map_(without(view.map, [&](const mesh::Corelet& c) {
              return c.duty == mesh::Duty::kFailing || view.lost.contains(c.id);
          })) {
        for (const LossView::Stream& stream : view.streams) used_.insert(stream.pool);
    }

    [[nodiscard]] Least losses(mesh::Level level) const {
        Least least;
        if (view_.own_catalog) catalog(level, least);
        if (!view_.own_catalog) others_left(level, least);
        for (PoolId id : used_)
            if (const mesh::Pool* const pool = map_.find(id)) {
                fragments(*pool, level, least);
                // Recovery writes a segment of its own, of at least so many copies.
                int const writable = survivable(map_, log_corelets(map_), pool->spec.copies_min(), level);
                least.limit(writable, "pool " + pool->spec.name + ": its log needs " +
                                          counted(pool->spec.copies_min(), "corelet"));
            }
        segments(level, least);
        return least;
    }

    // With what is there now, whoever may be trusted to have it.
    [[nodiscard]] std::string unreadable() const {
        Least least{0, {}};
        for (PoolId id : used_)
            if (const mesh::Pool* const pool = map_.find(id)) {
                least.limit(mesh::can_lose(map_, *pool, mesh::Level::kCorelet).losses, "pool " + pool->spec.name);
                degraded(*pool, mesh::Level::kCorelet, least);
            }
        segments(mesh::Level::kCorelet, least);
        return least.by;
    }

    [[nodiscard]] bool narrow() const {
        for (const LossView::Stream& stream : view_.streams) {
            const mesh::Pool* const pool = map_.find(stream.pool);
            for (const LossView::Segment& segment : stream.segments)
                if (pool && segment.replicas.size() < pool->spec.redundancy.m + 1U) return true;
        }
        return false;
    }

    [[nodiscard]] int possible() const {
        Least least;
        for (PoolId id : used_)
            if (const mesh::Pool* const pool = map_.find(id)) pool_limits(view_.map, *pool, least);
        if (view_.own_catalog) voter_limit(view_.map, least);
        least.limit(static_cast<int>(view_.map.corelets.size()) - 1, "a corelet that serves");
        return std::max(least.value, 0);
    }

    // What the size of the mesh allows of a pool's promise.
    static void pool_limits(const mesh::Map& map, const mesh::Pool& pool, Least& least) {
        int expected = 0;
        for (const mesh::Corelet& corelet : map.corelets) expected += corelet.in_service();
        mesh::Redundancy const redundancy = pool.spec.redundancy;
        std::string const name = "pool " + pool.spec.name;
        least.limit(redundancy.m, name + ": " + redundancy.to_string());
        least.limit(std::min<int>(expected, static_cast<int>(redundancy.width())) - redundancy.k,
                    name + ": " + counted(static_cast<usize>(expected), "corelet"));
        least.limit(expected - static_cast<int>(pool.spec.copies_min()),
                    name + ": its log needs " + counted(pool.spec.copies_min(), "corelet"));
    }

    static void voter_limit(const mesh::Map& map, Least& least) {
        usize const wanted = mesh::voters_wanted(map);
        least.limit((static_cast<int>(wanted) - 1) / 2, "catalog: " + counted(wanted, "voter"));
    }

  private:
    void catalog(mesh::Level level, Least& least) const {
        std::vector<CoreletId> voting;
        for (CoreletId id : view_.voters)
            if (!view_.barred.contains(id)) voting.push_back(id);
        usize const there = static_cast<usize>(
            std::count_if(voting.begin(), voting.end(), [&](CoreletId id) { return map_.is_up(id); }));
        std::string what = "catalog: " + counted(view_.voters.size(), "voter");
        if (there < view_.voters.size()) what += ", " + std::to_string(there) + " of them there";
        least.limit(survivable(map_, voting, view_.voters.size() / 2 + 1, level), what);
    }

    // Who keeps no catalog needs one corelet only that still answers.
    void others_left(mesh::Level level, Least& least) const {
        std::vector<CoreletId> all;
        for (const mesh::Corelet& corelet : map_.corelets) all.push_back(corelet.id);
        least.limit(survivable(map_, all, 1, level), "a corelet that serves");
    }

    void fragments(const mesh::Pool& pool, mesh::Level level, Least& least) const {
        mesh::Map const proven =
            without(map_, [&](const mesh::Corelet& c) { return view_.unproven.contains({pool.id, c.id}); });
        least.limit(mesh::can_lose(proven, pool, level).losses, "pool " + pool.spec.name + ": fragments");
        degraded(pool, level, least);
    }

    void degraded(const mesh::Pool& pool, mesh::Level level, Least& least) const {
        for (const LossView::Degraded& chunk : view_.degraded)
            if (chunk.pool == pool.id)
                least.limit(survivable(map_, chunk.holders, pool.spec.redundancy.k, level),
                            "pool " + pool.spec.name + ": fragments not yet rebuilt");
    }

    // One survivor of each is enough to recover (W = R).
    void segments(mesh::Level level, Least& least) const {
        for (const LossView::Stream& stream : view_.streams)
            for (const LossView::Segment& segment : stream.segments)
                least.limit(survivable(map_, segment.replicas, 1, level),
                            stream.name + (segment.ended ? ": a segment not yet packed" : ": an open segment"));
    }

    const LossView& view_;
    mesh::Map map_;
    std::set<PoolId> used_;
};

}  // namespace

LossBudget loss_budget(const LossView& view) {
    Budget const budget(view);
    Least const corelets = budget.losses(mesh::Level::kCorelet);
    Least const zones = budget.losses(mesh::Level::kZone);
    LossBudget out;
    out.can_lose = std::max(corelets.value, 0);
    out.limited_by = corelets.by;
    out.can_lose_zones = std::max(zones.value, 0);
    out.zones_limited_by = zones.by;
    out.possible = budget.possible();
    out.unreadable_what = budget.unreadable();
    out.unreadable = !out.unreadable_what.empty();
    out.narrow = budget.narrow();
    return out;
}

PoolPromise pool_promise(const mesh::Map& map, const mesh::Pool& pool, bool own_catalog) {
    Least least;
    Budget::pool_limits(map, pool, least);
    least.limit(mesh::can_lose(map, pool, mesh::Level::kCorelet).losses, "pool " + pool.spec.name + ": fragments");
    if (own_catalog) Budget::voter_limit(map, least);
    return {std::max(least.value, 0), least.by};
}

std::string health_of(const LossBudget& budget, const HealthView& view) {
    if (view.unserved || budget.unreadable) return "unavailable";
    if ((budget.can_lose == 0 && budget.possible > 0) || budget.narrow) return "at_risk";
    if (view.unfinished || budget.can_lose < budget.possible) return "degraded";
    return "ok";
}

}  // namespace corelet
