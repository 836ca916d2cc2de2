// Who comes forward for a stream that has lost its owner, and in which order: the same everywhere (design section
// 10, "who owns"). Pure.
#pragma once

#include <functional>
#include <optional>
#include <set>

#include "mesh/map.h"

namespace corelet {

struct CandidateView {
    const mesh::Map& map;
    CoreletId attached_to;        // zero: nobody is named
    std::set<CoreletId> holders;  // of replicas of the stream's log
    u64 space = 0;
    std::function<bool(CoreletId)> has_session;
    std::set<CoreletId> slow{};  // whose devices are avoided
    bool named = false;  // the record still has `self` as owner: while it lives nobody else may take the stream
};

// How many come before `self`: first the corelet that the volume is attached to, then corelets on its host, then
// those that hold replicas of the log, then all others; each group by a pinned hash; cordoned ones last. Of those
// on its host, and of the others, whoever has a slow device comes last. Only who stores, serves and has a session
// counts. Nothing: `self` is none.
[[nodiscard]] std::optional<usize> candidate_rank(const CandidateView& view, CoreletId self);

// Somebody else stores, serves and has a session: one that is to leave the mesh may let go of its streams.
[[nodiscard]] bool another_may_own(const mesh::Map& map, CoreletId self,
                                   const std::function<bool(CoreletId)>& has_session);

// Both listen on this very machine's sockets, on one address, or stand in one chassis.
[[nodiscard]] bool same_host(const mesh::Corelet& a, const mesh::Corelet& b);

}  // namespace corelet
