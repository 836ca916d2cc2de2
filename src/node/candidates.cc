#include "node/candidates.h"

#include "base/hash.h"
#include "rt/network.h"

namespace corelet {

bool same_host(const mesh::Corelet& a, const mesh::Corelet& b) {
    if (a.location.domain(mesh::Level::kChassis) == b.location.domain(mesh::Level::kChassis)) return true;
    for (const std::string& left : a.addresses)
        for (const std::string& right : b.addresses) {
            auto const x = Address::parse(left), y = Address::parse(right);
            if (!x || !y || x->kind != y->kind) continue;
            // A unix socket is reached from its own machine only.
            if (x->kind == Address::Kind::kUnix || x->host == y->host) return true;
        }
    return false;
}

namespace {
bool may_own(const mesh::Corelet& corelet) {
    return corelet.role == mesh::Role::kStorage && corelet.duty == mesh::Duty::kServe &&
           corelet.presence != mesh::Presence::kOut;
}
}  // namespace

bool another_may_own(const mesh::Map& map, CoreletId self, const std::function<bool(CoreletId)>& has_session) {
    return std::ranges::any_of(map.corelets, [&](const mesh::Corelet& corelet) {
        return corelet.id != self && may_own(corelet) && has_session(corelet.id);
    });
}

std::optional<usize> candidate_rank(const CandidateView& view, CoreletId self) {
    const mesh::Corelet* const attached = view.map.find(view.attached_to);
    auto const key = [&](const mesh::Corelet& corelet) {
        bool const near = attached && same_host(*attached, corelet);
        // Clients find the next owner at the same path, so the host counts more.
        return std::tuple(attached && !near, view.slow.contains(corelet.id), corelet.id != view.attached_to,
                          corelet.cordoned, !view.holders.contains(corelet.id), hash64(view.space, corelet.id.v),
                          corelet.id);
    };
    const mesh::Corelet* const own = view.map.find(self);
    bool const takes_back = view.named && own && own->role == mesh::Role::kStorage;
    if (!own || !(may_own(*own) || takes_back)) return std::nullopt;
    usize before = 0;
    for (const mesh::Corelet& corelet : view.map.corelets) {
        if (corelet.id == self || !may_own(corelet) || !view.has_session(corelet.id)) continue;
        before += key(corelet) < key(*own);
    }
    return before;
}

}  // namespace corelet
