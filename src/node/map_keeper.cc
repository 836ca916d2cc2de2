#include "node/map_keeper.h"

#include "mesh/voters.h"

namespace corelet {

MapKeeper::MapKeeper(Env& env, RaftNode& raft, MapService& maps, Duration out_after)
    : env_(env), raft_(raft), maps_(maps), out_after_(out_after), scope_(env.executor) {
    scope_.spawn(run());
}

Task<void> MapKeeper::run() {
    bool busy = false;
    for (;;) {
        co_await env_.clock.sleep(busy ? 50_ms : 500_ms);
        busy = false;
        if (!raft_.is_leader()) {
            down_.clear();
            continue;
        }
        co_await give_up_the_lost();
        busy = co_await keep_voters();
    }
}

// By this leader's own clock, from when it first saw the corelet down: a change of leader only delays it.
Task<void> MapKeeper::give_up_the_lost() {
    auto const map = maps_.current();
    std::vector<CoreletId> lost;
    for (const mesh::Corelet& corelet : map->corelets) {
        if (corelet.presence != mesh::Presence::kDown) {
            down_.erase(corelet.id);
            continue;
        }
        Down& down = down_.try_emplace(corelet.id).first->second;
        // It may have been up again between two looks, in another life.
        if (down.incarnation != corelet.incarnation) down = {corelet.incarnation, env_.clock.now()};
        if (env_.clock.now() - down.since >= out_after_) lost.push_back(corelet.id);
    }
    for (CoreletId id : lost) {
        auto const given_up = co_await maps_.change(mesh::CoreletOut{id, true}, env_.clock.now() + 2_s);
        if (given_up) log_info(env_.log, "mesh.out", to_string(id));
    }
}

// One step at a time: a learner is added, promoted when it has caught up, and only then is a lost voter removed.
Task<bool> MapKeeper::keep_voters() {
    auto const& configuration = raft_.configuration();
    Instant const deadline = env_.clock.now() + 2_s;
    auto const map = maps_.current();
    auto const wanted = mesh::next_voter_change(*map, configuration.voters);
    for (CoreletId learner : configuration.learners) {
        bool const still_wanted = wanted && wanted->kind == mesh::VoterChange::Kind::kAdd && wanted->id == learner;
        raft::Change const change{still_wanted ? raft::ChangeKind::kPromote : raft::ChangeKind::kRemove, learner};
        auto const changed = co_await raft_.change(change, deadline);
        if (changed)
            log_info(env_.log, still_wanted ? "catalog.voter_added" : "catalog.learner_removed",
                     to_string(learner));
        co_return changed.has_value();
    }
    if (!wanted) co_return false;
    if (wanted->kind == mesh::VoterChange::Kind::kAdd) {
        auto const added = co_await raft_.change(raft::Change{raft::ChangeKind::kAddLearner, wanted->id}, deadline);
        co_return added.has_value();
    }
    if (wanted->id == raft_.leader() && configuration.voters.size() > 1) {
        raft_.step_down();
        co_return false;
    }
    auto const removed = co_await raft_.change(raft::Change{raft::ChangeKind::kRemove, wanted->id}, deadline);
    if (removed) log_info(env_.log, "catalog.voter_removed", to_string(wanted->id));
    co_return removed.has_value();
}

}  // namespace corelet
