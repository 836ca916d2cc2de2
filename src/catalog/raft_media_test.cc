// The consensus log on its media: in order, atomic, bounded, across a crash at any disk operation.
#include <gtest/gtest.h>

#include "catalog/limits.h"
#include "catalog/raft_media.h"
#include "device/store.h"
#include "sim/world.h"

namespace corelet::testing {
namespace {

constexpr CoreletId k_self{1};

// Draws batches as a core may hand them out, and knows what lies on media after each.
class Author {
  public:
    explicit Author(Prng random) : random_(random) {
        raft::Configuration voters;
        voters.voters = {CoreletId(1), CoreletId(2), CoreletId(3)};
        fold_.hard_state.term = raft::Term(1);
        folds_.push_back(fold_);
        configuration_ = voters;
    }
    raft::Persist next() {
        raft::Persist batch;
        batch.hard_state = fold_.hard_state;
        u64 const kind = random_.below(20);
        if (kind == 0 && installs) {
            install(batch);
        } else if (kind < 4) {
            batch.hard_state.term = batch.hard_state.term.next();
            batch.hard_state.vote = CoreletId(1 + random_.below(3));
        } else {
            if (kind < 7 && last().index > fold_.hard_state.commit) void_some(batch);
            append(batch);
        }
        raft::absorb(fold_, batch);
        batch.last = last();
        if (random_.chance(1, 2))
            fold_.hard_state.commit = commit_ =
                std::max(commit_, last().index - random_.below(last().index - commit_ + 1));
        folds_.push_back(fold_);
        return batch;
    }
    // Of the own state machine, somewhere at or below what is committed and durable; none if that is not newer.
    std::optional<raft::Snapshot> snapshot(usize durable_batches) {
        const raft::Restored& durable = folds_[durable_batches];
        for (const raft::Entry& entry : durable.entries)
            if (entry.at.index == std::min(durable.hard_state.commit, commit_) &&
                (!durable.snapshot || durable.snapshot->last.index < entry.at.index))
                return raft::make_snapshot(entry.at, configuration_,
                                           raft::Payload(std::string(random_.below(20'000), 's')));
        return std::nullopt;
    }
    [[nodiscard]] const std::vector<raft::Restored>& folds() const { return folds_; }
    bool installs = true;  // whole snapshots come from leaders, too: nothing is taken while one is written

  private:
    [[nodiscard]] raft::Position last() const {
        if (!fold_.entries.empty()) return fold_.entries.back().at;
        return fold_.snapshot ? fold_.snapshot->last : raft::Position{};
    }
    void append(raft::Persist& batch) {
        raft::Index at = batch.truncate_from > 0 ? batch.truncate_from : last().index + 1;
        for (u64 n = 1 + random_.below(4); n > 0; --n, ++at)
            batch.entries.push_back(raft::make_entry({batch.hard_state.term, at}, raft::EntryKind::kCommand,
                                                     raft::Payload(std::string(random_.below(3000), 'e'))));
    }
    void void_some(raft::Persist& batch) {
        raft::Index const floor = fold_.snapshot ? fold_.snapshot->last.index : 0;
        batch.truncate_from = std::max(fold_.hard_state.commit, floor) + 1 +
                              random_.below(last().index - std::max(fold_.hard_state.commit, floor));
        batch.hard_state.term = batch.hard_state.term.next();
    }
    void install(raft::Persist& batch) {
        raft::Position const at{batch.hard_state.term, last().index + 10};
        batch.snapshot =
            raft::make_snapshot(at, configuration_, raft::Payload(std::string(random_.below(50'000), 'i')));
        batch.reset_log = true;
        batch.compact_to = at.index;
        batch.hard_state.commit = commit_ = at.index;
    }
    Prng random_;
    raft::Configuration configuration_;
    raft::Restored fold_;
    raft::Index commit_ = 0;
    std::vector<raft::Restored> folds_;  // after each batch
};

// The promises that both state: term, vote, and the log above what `found` has as a snapshot.
bool says_the_same(const raft::Restored& found, const raft::Restored& expected) {
    if (found.hard_state.term != expected.hard_state.term || found.hard_state.vote != expected.hard_state.vote)
        return false;
    raft::Index floor = found.snapshot ? found.snapshot->last.index : 0;
    if (expected.snapshot) floor = std::max(floor, expected.snapshot->last.index);
    auto const tail = [floor](const raft::Restored& restored) {
        std::vector<std::pair<raft::Position, u32>> out;
        for (const raft::Entry& entry : restored.entries)
            if (entry.at.index > floor) out.emplace_back(entry.at, entry.crc);
        return out;
    };
    if (found.snapshot && expected.snapshot && found.snapshot->last.index < expected.snapshot->last.index)
        return false;
    if (tail(found) != tail(expected)) return false;
    return !found.entries.empty() || found.snapshot || expected.entries.empty();
}

struct Rig {
    explicit Rig(u64 seed) : world(seed), author(Prng(seed).fork("author")) { machine = &world.add_node("m"); }
    ~Rig() { machine->crash(); }
    sim::World world;
    sim::Node* machine;
    Author author;
    // Of the present boot.
    RaftMedia* media = nullptr;
    Store* store = nullptr;
    std::optional<raft::Restored> found;
    usize put = 0;        // batches handed in, over all boots
    usize durable = 0;    // and known to be durable
    bool writes = false;  // goes on writing by itself
    bool compacts = true;
    usize failures = 0;
    usize room_wanted = 0;

    static Task<std::unique_ptr<Store>> mounted(Env* env) {
        if (auto const exists = co_await env->disk.exists("/device"); !exists || !*exists) {
            OpenOptions create;
            create.create = true;
            create.size_bytes = 64 * k_mib;
            auto file = co_await env->disk.open("/device", create);
            FormatOptions format;
            format.mesh = MeshId(7);
            format.identity = k_self;
            format.force = true;
            auto const formatted = co_await format_device(file->get(), StoreEnv::of(*env), format);
            CORELET_ASSERT(formatted.has_value());
        }
        auto file = co_await env->disk.open("/device", OpenOptions{});
        auto store = co_await Store::mount(*std::move(file), StoreEnv::of(*env), StoreOptions{});
        CORELET_ASSERT(store.has_value());
        co_return *std::move(store);
    }
    static Task<void> life(Env& env, Rig* rig) {
        auto const store = co_await mounted(&env);
        auto opened = co_await RaftMedia::open(&store->consensus_journal(), k_self, false);
        CORELET_ASSERT(opened.has_value());
        rig->found = opened->restored;
        RaftMedia::Events events;
        events.durable = [rig](u64 ticket, std::vector<raft::Message>) {
            if (ticket != 0) rig->durable = ticket;
        };
        events.snapshot_saved = [](const raft::Snapshot&) {};
        events.failed = [rig](const Error&) { ++rig->failures; };
        events.wants_room = [rig] { ++rig->room_wanted; };
        RaftMedia media(env, store->consensus_journal(), opened->restored, std::move(events));
        rig->media = &media;
        rig->store = store.get();
        for (;;) {
            rig->step();
            co_await env.clock.sleep(1_ms);
        }
    }
    // Batches are numbered over all boots; a boot goes on from the fold that it found.
    void step() {
        if (compacts && media->may_compact() && (media->wants_snapshot() || put % 40 == 39)) {
            if (auto snapshot = author.snapshot(durable))
                media->compact(*snapshot, snapshot->last.index - std::min<u64>(3, snapshot->last.index));
        }
        for (int i = 0; writes && i < 3 && media->takes_batches(); ++i) {
            raft::Persist batch = author.next();
            media->put(std::move(batch), ++put, {});
        }
    }
    void start() {
        media = nullptr;
        found.reset();
        machine->start([this](Env& env) { return life(env, this); });
        EXPECT_TRUE(world.run_until([this] { return media != nullptr; }, 20_s)) << world.failure();
    }
};

TEST(RaftMedia, ACrashAtAnyDiskOperationLeavesWhatWasDurableAndNoGap) {
    for (u64 seed = 1; seed <= 60; ++seed) {
        Rig rig(seed);
        rig.start();
        rig.writes = true;
        Prng random = Prng(seed).fork("crash");
        rig.machine->crash_after_disk_operations(20 + random.below(1500));
        rig.world.run_until([&] { return !rig.machine->is_up(); }, 60_s);
        ASSERT_FALSE(rig.machine->is_up());
        ASSERT_EQ(rig.failures, 0U);
        rig.writes = false;
        usize const promised = rig.durable;
        rig.start();
        ASSERT_TRUE(rig.found);
        bool known = false;
        for (usize i = promised; i < rig.author.folds().size() && !known; ++i)
            known = says_the_same(*rig.found, rig.author.folds()[i]);
        ASSERT_TRUE(known) << "seed " << seed << ": " << promised << " batches were durable, of " << rig.put;
    }
}

TEST(RaftMedia, NothingIsDurableWhileTheDeviceIsStuck) {
    Rig rig(1);
    rig.author.installs = false;
    rig.start();
    rig.writes = true;
    ASSERT_TRUE(rig.world.run_until([&] { return rig.durable > 5; }, 10_s));
    rig.machine->media().find("/device")->faults.stuck_until = rig.world.now() + 5_s;
    rig.world.run_for(100_ms);
    usize const before = rig.durable;
    usize const handed = rig.put;
    rig.world.run_for(4_s);
    EXPECT_EQ(rig.durable, before);
    EXPECT_GT(rig.put, handed);
    rig.world.run_for(5_s);
    EXPECT_GT(rig.durable, handed);
}

TEST(RaftMedia, AFullJournalWaitsForASnapshotAndGoesOn) {
    Rig rig(2);
    rig.author.installs = false;
    rig.start();
    rig.writes = true;
    rig.compacts = false;
    ASSERT_TRUE(rig.world.run_until([&] { return rig.room_wanted > 3; }, 200_s));
    usize const stuck = rig.put;
    rig.world.run_for(10_s);
    EXPECT_EQ(rig.put, stuck) << "no more is taken";
    EXPECT_EQ(rig.failures, 0U) << "full is not broken";
    rig.compacts = true;
    ASSERT_TRUE(rig.world.run_until([&] { return rig.durable > stuck + 50; }, 100_s));
}

TEST(RaftMedia, AJournalTooSmallForACatalogIsRefused) {
    sim::World world(3);
    sim::Node& machine = world.add_node("m");
    struct Small {
        static Task<void> life(Env& env, std::optional<Error>* refused) {
            OpenOptions create;
            create.create = true;
            create.size_bytes = 64 * k_mib;
            auto file = co_await env.disk.open("/device", create);
            FormatOptions format;
            format.mesh = MeshId(7);
            format.identity = k_self;
            format.consensus_half_bytes = 4 * k_mib;
            CORELET_ASSERT((co_await format_device(file->get(), StoreEnv::of(env), format)).has_value());
            auto store = co_await Store::mount(*std::move(file), StoreEnv::of(env), StoreOptions{});
            auto const opened = co_await RaftMedia::open(&(*store)->consensus_journal(), k_self, true);
            if (!opened) *refused = opened.error();
        }
    };
    std::optional<Error> refused;
    machine.start([&refused](Env& env) { return Small::life(env, &refused); });
    EXPECT_TRUE(world.run_until([&] { return refused.has_value(); }, 10_s));
    EXPECT_EQ(refused->code, Code::kNoSpace);
    machine.crash();
}

}  // namespace
}  // namespace corelet::testing
