#include "node/detours.h"

#include <algorithm>

#include "base/hash.h"

namespace corelet {

// A pair has its own order of thirds, so that not all go through one.
std::vector<CoreletId> Detours::connected_thirds(CoreletId peer) const {
    CoreletId const self = rpc_.id();
    std::vector<std::pair<u64, CoreletId>> drawn;
    for (const mesh::Corelet& corelet : maps_.current()->corelets) {
        bool const serves = corelet.id != peer && corelet.id != self && corelet.is_up() &&
                            membership_.health(corelet.id) == mesh::PeerHealth::kReached &&
                            rpc_.is_connected(corelet.id);
        if (serves) drawn.emplace_back(hash64(hash64(self.v, peer.v), corelet.id.v), corelet.id);
    }
    std::sort(drawn.begin(), drawn.end());
    std::vector<CoreletId> thirds;
    for (auto const& [draw, id] : drawn) thirds.push_back(id);
    return thirds;
}

Routes::Advice Detours::advise(CoreletId peer) {
    Advice advice;
    auto const map = maps_.current();
    const mesh::Corelet* const known = map->find(peer);
    if (!known || !known->is_up()) return advice;
    mesh::PeerHealth const health = membership_.health(peer);
    if (health == mesh::PeerHealth::kDown) return advice;
    advice.is_unreached = health == mesh::PeerHealth::kIndirect;
    if (CoreletId const via = membership_.via(peer); !via.is_zero()) advice.through.push_back(via);
    for (CoreletId const third : connected_thirds(peer)) {
        if (advice.through.size() == k_most) break;
        if (std::find(advice.through.begin(), advice.through.end(), third) == advice.through.end())
            advice.through.push_back(third);
    }
    CORELET_ASSERT(advice.through.size() <= k_most);
    return advice;
}

}  // namespace corelet
