#include "node/map_keeper.h"

#include "mesh/thin_rows.h"
#include "mesh/voters.h"

namespace corelet {

namespace {
constexpr Duration k_pieces_kept = 5_s;
// Most of those that are down are being restarted.
constexpr Duration k_thin_for_most = 30_s;
}  // namespace

MapKeeper::MapKeeper(Env& env, CoreletId self, RaftNode* raft, MapService& maps, Duration out_after,
                     std::function<bool()> healing_paused)
    : env_(env),
      self_(self),
      raft_(raft),
      maps_(maps),
      out_after_(out_after),
      healing_paused_(std::move(healing_paused)),
      scope_(env.executor) {
    scope_.spawn(run());
}

Task<void> MapKeeper::run() {
    bool busy = false;
    for (;;) {
        co_await env_.clock.sleep(busy ? 50_ms : 500_ms);
        busy = false;
        if (!has_its_turn()) {
            down_.clear();
            thin_.clear();
            pieces_unused_since_.reset();
            continue;
        }
        co_await give_up_the_lost();
        co_await fill_thin_rows();
        co_await remove_old_pieces();
        if (raft_) busy = co_await keep_voters();
    }
}

bool MapKeeper::has_its_turn() const {
    if (raft_) return raft_->is_leader();
    auto const map = maps_.current();
    auto const first = std::find_if(map->corelets.begin(), map->corelets.end(),
                                    [](const mesh::Corelet& corelet) { return corelet.is_up(); });
    return first != map->corelets.end() && first->id == self_;
}

// By this corelet's own clock, from when it first saw the other one down: that another has the turn only delays it.
Task<void> MapKeeper::give_up_the_lost() {
    if (healing_paused_()) {
        down_.clear();
        co_return;
    }
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

// Each map is looked at once: of a large mesh that takes a while.
Task<void> MapKeeper::fill_thin_rows() {
    if (healing_paused_()) {
        thin_.clear();
        co_return;
    }
    auto const map = maps_.current();
    std::erase_if(thin_, [&](const auto& each) { return !map->find(each.first); });
    Instant const now = env_.clock.now();
    Duration const wait = std::min(Duration{out_after_.ns / 4}, k_thin_for_most);
    std::vector<PoolId> due;
    for (const mesh::Pool& pool : map->pools) {
        Thin& thin = thin_[pool.id];
        if (thin.seen != map->epoch) {
            bool const was_thin = std::exchange(thin.is_thin, mesh::has_thin_rows(*map, pool));
            if (!was_thin) thin.since = now;
            thin.seen = map->epoch;
        }
        if (thin.is_thin && now - thin.since >= wait) due.push_back(pool.id);
    }
    for (PoolId id : due) {
        auto const filled = co_await maps_.change(mesh::ThinRowsFilled{id}, env_.clock.now() + 2_s);
        if (filled) log_info(env_.log, "mesh.thin_rows_filled", "pool " + std::to_string(id.v));
    }
}

// Not at once: somebody may be about to make a map of them.
Task<void> MapKeeper::remove_old_pieces() {
    if (maps_.unused_pieces().empty()) {
        pieces_unused_since_.reset();
        co_return;
    }
    if (!pieces_unused_since_) pieces_unused_since_ = env_.clock.now();
    if (env_.clock.now() - *pieces_unused_since_ < k_pieces_kept) co_return;
    if (co_await maps_.remove_unused_pieces(env_.clock.now() + 2_s)) pieces_unused_since_.reset();
}

// One step at a time: a learner is added, promoted when it has caught up, and only then is a lost voter removed.
Task<bool> MapKeeper::keep_voters() {
    auto const& configuration = raft_->configuration();
    Instant const deadline = env_.clock.now() + 2_s;
    auto const map = maps_.current();
    auto const wanted = mesh::next_voter_change(*map, configuration.voters);
    for (CoreletId learner : configuration.learners) {
        bool const still_wanted = wanted && wanted->kind == mesh::VoterChange::Kind::kAdd && wanted->id == learner;
        raft::Change const change{still_wanted ? raft::ChangeKind::kPromote : raft::ChangeKind::kRemove, learner};
        auto const changed = co_await raft_->change(change, deadline);
        if (changed)
            log_info(env_.log, still_wanted ? "catalog.voter_added" : "catalog.learner_removed",
                     to_string(learner));
        co_return changed.has_value();
    }
    if (!wanted) co_return false;
    if (wanted->kind == mesh::VoterChange::Kind::kAdd) {
        auto const added =
            co_await raft_->change(raft::Change{raft::ChangeKind::kAddLearner, wanted->id}, deadline);
        co_return added.has_value();
    }
    if (wanted->id == raft_->leader() && configuration.voters.size() > 1) {
        raft_->step_down();
        co_return false;
    }
    auto const removed = co_await raft_->change(raft::Change{raft::ChangeKind::kRemove, wanted->id}, deadline);
    if (removed) log_info(env_.log, "catalog.voter_removed", to_string(wanted->id));
    co_return removed.has_value();
}

}  // namespace corelet
