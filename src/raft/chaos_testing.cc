#include "raft/chaos_testing.h"

#include <fmt/format.h>

namespace corelet::raft::testing {
namespace {

enum Reach : u64 {
    kCrashes = 1,
    kPartitions = 2,
    kLoss = 4,
    kLosesMedia = 8,
    kRots = 16,
    kChurns = 32,
    kSnapshots = 64,
    kTransfers = 128,
    kSlowDisk = 256,
    kStragglers = 512,
    kSmallMessages = 1024,
};

}  // namespace

Options Chaos::options(u64 seed) {
    Prng random = Prng(seed).fork("options");
    u64 const reach = Prng(seed).fork("reach").next();
    Options options;
    options.trailing_entries = random.below(50);
    options.trailing_bytes = random.chance(1, 2) ? random.below(2000) : 256 * k_kib;
    options.persist_bytes_max = random.chance(1, 2) ? random.between(1, 400) : 1 * k_mib;
    options.snapshot_due_entries = reach & kSnapshots ? 10 + random.below(200) : 1'000'000;
    options.snapshot_chunk_bytes = 300;
    options.appends_in_flight_max = random.between(1, 8);
    options.read_rounds_max = random.between(1, 4);
    if (reach & kSmallMessages) options.append_bytes_max = random.between(1, 400);
    return options;
}

Weather Chaos::weather(u64 seed) {
    Prng random = Prng(seed).fork("weather");
    u64 const reach = Prng(seed).fork("reach").next();
    Weather weather;
    weather.loss = reach & kLoss ? random.below(200) : 0;
    weather.duplicate = random.below(100);
    weather.straggle = reach & kStragglers ? random.below(50) : 0;
    weather.postpone_turn = random.chance(1, 2) ? random.below(1000) : 0;
    if (reach & kSlowDisk) weather.disk_max = 300_ms;
    weather.batches_max = random.between(1, 4);
    return weather;
}

Chaos::Chaos(u64 seed)
    : cluster(seed, options(seed), weather(seed)),
      random_(Prng(seed).fork("chaos")),
      reach_(Prng(seed).fork("reach").next()) {
    cluster.found(random_.chance(1, 4) ? 5 : 3);
}

CoreletId Chaos::any() {
    return CoreletId(1 + random_.below(cluster.members().size()));
}

bool Chaos::impaired() {
    if (!lost_.is_zero()) return true;
    if (rotten_.is_zero()) return false;
    if (!cluster.runs(rotten_) || cluster.core(rotten_).barred()) return true;
    // Repaired in memory; the media follow with the next batch.
    if (cluster.at(rotten_).media.hard_state.repairing.index > 0) return true;
    rotten_ = CoreletId();
    return false;
}

void Chaos::load() {
    for (auto& [id, member] : cluster.members()) {
        if (!member.core) continue;
        bool const leads = member.core->role() == Role::kLeader;
        if (leads && random_.chance(1, 2)) cluster.propose(id, random_.below(60));
        if (random_.chance(1, leads ? 8 : 32)) cluster.read(id);
    }
}

void Chaos::nodes() {
    for (auto& [id, member] : cluster.members()) {
        if (member.lost) continue;
        if (!member.core) {
            auto const due = down_until_.find(id);
            if (due == down_until_.end() || due->second <= cluster.now()) cluster.start(id, random_.chance(1, 2));
        } else if ((reach_ & kCrashes) && random_.chance(1, 400)) {
            cluster.crash(id);
            down_until_[id] = cluster.now() + Duration{static_cast<i64>(random_.below(5'000'000'000))};
        }
    }
}

void Chaos::network() {
    if (!(reach_ & kPartitions)) return;
    if (random_.chance(1, 60)) cluster.unblock();
    if (random_.chance(1, 120)) cluster.isolate(any());
    if (random_.chance(1, 120)) {
        std::set<CoreletId> side;
        for (auto& [id, member] : cluster.members()) {
            if (random_.chance(1, 2)) side.insert(id);
        }
        cluster.split(side);
    }
    if (random_.chance(1, 60)) {
        CoreletId const from = any();
        CoreletId const to = any();
        if (from != to) cluster.block(from, to);
    }
}

void Chaos::media() {
    CoreletId const leader = cluster.leader();
    if (impaired() || leader.is_zero() || !cluster.core(leader).configuration_committed()) return;
    Configuration const configuration = cluster.core(leader).configuration();
    CoreletId const who = any();
    if (!configuration.is_voter(who) || configuration.voters.size() < 3 || cluster.at(who).lost) return;
    if ((reach_ & kLosesMedia) && random_.chance(1, 300)) {
        cluster.lose(who);
        lost_ = who;
        ++losses;
        cluster.start(cluster.add({}));
    } else if ((reach_ & kRots) && random_.chance(1, 200)) {
        if (cluster.runs(who)) cluster.crash(who);
        down_until_[who] = cluster.now() + 500_ms;
        if (!cluster.rot(who, 1 + random_.below(4))) return;
        rotten_ = who;
        ++rots;
    }
}

bool Chaos::change(CoreletId leader, ChangeKind kind, CoreletId who) {
    bool const taken = cluster.core(leader).propose_change({kind, who}).has_value();
    if (taken) ++changes;
    cluster.turn(leader);
    return taken;
}

// A new identity takes the place of a lost one: learner, promoted, and only then the old one removed.
void Chaos::replace(CoreletId leader) {
    Configuration const configuration = cluster.core(leader).configuration();
    if (!configuration.contains(lost_)) {
        if (cluster.core(leader).configuration_committed()) lost_ = CoreletId();
        return;
    }
    CoreletId const fresh = cluster.members().rbegin()->first;
    if (!configuration.contains(fresh)) {
        change(leader, ChangeKind::kAddLearner, fresh);
    } else if (configuration.is_learner(fresh)) {
        change(leader, ChangeKind::kPromote, fresh);
    } else {
        change(leader, ChangeKind::kRemove, lost_);
    }
}

void Chaos::churn(CoreletId leader) {
    Configuration const configuration = cluster.core(leader).configuration();
    CoreletId const who = any();
    if (cluster.at(who).lost) return;
    if (!configuration.contains(who)) {
        change(leader, ChangeKind::kAddLearner, who);
    } else if (configuration.is_learner(who)) {
        change(leader, ChangeKind::kPromote, who);
    } else if (configuration.voters.size() > 3) {
        change(leader, ChangeKind::kRemove, who);
    } else if (cluster.members().size() < 8 && configuration.learners.empty()) {
        cluster.start(cluster.add({}));
    }
}

void Chaos::manage() {
    CoreletId const leader = cluster.leader();
    if (leader.is_zero()) return;
    if (!lost_.is_zero()) {
        if (random_.chance(1, 8)) replace(leader);
    } else if ((reach_ & kChurns) && !impaired() && random_.chance(1, 40)) {
        churn(leader);
    }
    if ((reach_ & kTransfers) && random_.chance(1, 80)) {
        (void)cluster.core(leader).transfer(any());
        cluster.turn(leader);
    }
    if ((reach_ & kSnapshots) && random_.chance(1, 100)) cluster.snapshot(leader, random_.below(3000));
}

void Chaos::heal() {
    cluster.unblock();
    cluster.set_weather({});
    for (auto& [id, member] : cluster.members()) {
        if (!member.lost && !member.core) cluster.start(id, true);
    }
}

// All voters and learners hold the same state, nobody is barred, no member is a lost one.
bool Chaos::settled() {
    CoreletId const leader = cluster.leader();
    if (leader.is_zero()) return false;
    Core& core = cluster.core(leader);
    if (!core.configuration_committed() || core.commit() != core.log().last().index) return false;
    for (const auto& [id, member] : cluster.members()) {
        if (!core.configuration().contains(id)) continue;
        if (member.lost || !member.core || member.core->barred()) return false;
        if (member.chain != cluster.at(leader).chain || member.chain.index != core.commit()) return false;
        if (!member.reads.empty()) return false;
    }
    return true;
}

std::string Chaos::describe() {
    std::string out = fmt::format(" lost {} rotten {}", lost_.v, rotten_.v);
    for (const auto& [id, member] : cluster.members()) {
        if (!member.core) continue;
        const Core& core = *member.core;
        out += fmt::format(
            "\n  {}: role {} term {} leader {} barred {} log {}..{}@{} commit {} applied {} repairing {}@{}", id.v,
            static_cast<int>(core.role()), core.term().v, core.leader().v, core.barred(), core.log().base().index,
            core.log().last().index, core.log().last().term.v, core.commit(), core.applied(),
            member.media.hard_state.repairing.index, member.media.hard_state.repairing.term.v);
        out += " voters";
        for (CoreletId voter : core.configuration().voters) out += fmt::format(" {}", voter.v);
        out += " learners";
        for (CoreletId learner : core.configuration().learners) out += fmt::format(" {}", learner.v);
    }
    return out;
}

std::string Chaos::run(Duration duration) {
    Instant const end = cluster.now() + duration;
    while (cluster.now() < end && cluster.judge.verdict().empty()) {
        load();
        nodes();
        network();
        media();
        manage();
        cluster.run_for(25_ms);
    }
    heal();
    Instant const bound = cluster.now() + 60_s;
    bool well = false;
    while (!well && cluster.now() < bound && cluster.judge.verdict().empty()) {
        CoreletId const leader = cluster.leader();
        if (!leader.is_zero() && !lost_.is_zero()) replace(leader);
        cluster.run_for(200_ms);
        well = lost_.is_zero() && cluster.works(10_s) && cluster.run_until([this] { return settled(); }, 5_s);
    }
    if (cluster.judge.verdict().empty() && !well) cluster.judge.fail("the group did not come back:" + describe());
    return cluster.judge.verdict();
}

}  // namespace corelet::raft::testing
