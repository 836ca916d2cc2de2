#include "mesh/slow_devices.h"

#include <algorithm>

namespace corelet::mesh {
namespace {

// What a log can choose from.
struct Choice {
    usize corelets = 0;
    usize domains = 0;  // of the pool's level
    usize zones = 0;
};

Choice choice(const Map& map, const Pool& pool, const std::set<CoreletId>& without) {
    Choice out;
    std::set<std::string> domains, zones;
    for (const Corelet& corelet : map.corelets) {
        bool const there = corelet.role == Role::kStorage && corelet.duty == Duty::kServe && corelet.is_up();
        if (!there || without.contains(corelet.id)) continue;
        ++out.corelets;
        zones.insert(corelet.location.domain(Level::kZone));
        domains.insert(pool.spec.level == Level::kCorelet ? to_string(corelet.id)
                                                          : corelet.location.domain(pool.spec.level));
    }
    out.domains = domains.size();
    out.zones = zones.size();
    return out;
}

bool can_spare(const Map& map, const Pool& pool, const std::set<CoreletId>& absent,
               const std::set<CoreletId>& without) {
    usize const width = pool.spec.redundancy.m + 1U;
    Choice const all = choice(map, pool, absent), left = choice(map, pool, without);
    return left.corelets > width && left.domains >= std::min(width, all.domains) &&
           left.zones >= std::min(width, all.zones);
}

}  // namespace

std::set<CoreletId> devices_to_avoid(const Map& map, const std::set<CoreletId>& slow,
                                     const std::set<CoreletId>& absent) {
    std::set<CoreletId> avoided, without = absent;
    for (CoreletId id : slow) {
        if (absent.contains(id)) continue;
        without.insert(id);
        bool const spared = std::all_of(map.pools.begin(), map.pools.end(),
                                        [&](const Pool& pool) { return can_spare(map, pool, absent, without); });
        if (spared) {
            avoided.insert(id);
        } else {
            without.erase(id);
        }
    }
    return avoided;
}

}  // namespace corelet::mesh
