#include "mesh/spares.h"

#include <algorithm>

#include "base/assert.h"
#include "mesh/retable.h"

namespace corelet::mesh {
namespace {

bool is_ready(const Corelet& corelet) {
    return corelet.role == Role::kSpare && corelet.is_up() && corelet.takes_new() && corelet.weight > 0;
}

}  // namespace

const Corelet* choose_spare(const Map& map, const Corelet& lost) {
    auto const key = [&](const Corelet& spare) {
        bool const too_small = spare.capacity_bytes < lost.capacity_bytes;
        u64 const size = too_small ? ~spare.capacity_bytes : spare.capacity_bytes;
        return std::tuple(spare.location.distance(lost.location), too_small, size, spare.id);
    };
    const Corelet* best = nullptr;
    for (const Corelet& spare : map.corelets) {
        if (!is_ready(spare) || spare.device_class != lost.device_class) continue;
        if (best == nullptr || key(spare) < key(*best)) best = &spare;
    }
    return best;
}

bool call_spare(Map& map, const Corelet& lost) {
    const Corelet* const chosen = choose_spare(map, lost);
    if (chosen == nullptr) return false;
    Corelet& heir = map.corelets[static_cast<usize>(chosen - map.corelets.data())];
    CORELET_ASSERT(heir.id != lost.id);
    heir.role = Role::kStorage;
    for (Pool& pool : map.pools) inherit_places(map, pool, lost.id, heir.id);
    return true;
}

}  // namespace corelet::mesh
