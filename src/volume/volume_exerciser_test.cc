// A volume under random requests, crashes, and failures of the log and the pool, against a model.
#include <gtest/gtest.h>

#include "base/sanitized_testing.h"
#include "volume/volume_model_testing.h"
#include "volume/volume_testing.h"

namespace corelet {
namespace {

struct Plan {
    u64 seed = 1;
    u32 clients = 6;
    u32 operations = 400;  // in all, between two crashes
    u32 crashes = 4;
    bool faults = true;
    bool adopts = false;
    bool direct = false;  // writes of two blocks and more go straight to chunks
    bool hot = false;     // all on a few blocks, most of it parts of blocks
    u64 capacity_bytes = UINT64_MAX;
    bool random_order = true;  // of ready tasks
};

class EagerAdoption final : public SegmentAdoption {
  public:
    explicit EagerAdoption(FakeWorld& world) : world_(world) {}
    [[nodiscard]] Task<Result<bool>> verify(SegmentId segment, u64 end_bytes) override {
        co_await world_.delay();
        if (world_.fails()) co_return fail(Code::kUnavailable, "replica away");
        auto const found = world_.segments.find(segment.seq);
        if (found == world_.segments.end()) co_return false;
        EXPECT_EQ(found->second.blocks * k_block_bytes, end_bytes);
        co_return world_.prng.chance(3, 4);
    }

  private:
    FakeWorld& world_;
};

class Exerciser {
  public:
    explicit Exerciser(Plan plan) : plan_(plan), rig_(plan.seed, options(plan)), adoption_(rig_.world) {
        Prng draw = Prng(plan.seed).fork("exerciser");
        rig_.world.capacity_bytes = plan.capacity_bytes;
        rig_.stream_options.segment_blocks = static_cast<u32>(draw.between(32, 512));
        if (plan.adopts) rig_.adoption = &adoption_;
        u64 const regions = plan.hot ? 1 : 10;
        for (u64 i = 0; i < regions; ++i) {
            // Some begin just before a border of leaves, all are far apart.
            u64 const leaf = i * 13 + draw.below(12);
            regions_.push_back(leaf * 4 * k_mib +
                               (draw.chance(1, 3) ? 4 * k_mib - 128 * k_kib : draw.below(1024) * 4096));
        }
        if (plan.random_order) {
            order_ = draw.fork("order");
            rig_.executor.set_picker(
                [this](usize candidates) { return static_cast<usize>(order_.below(candidates)); });
        }
    }

    void run() {
        for (u32 round = 0; round <= plan_.crashes && !::testing::Test::HasFailure(); ++round) {
            set_faults(plan_.faults);
            rig_.attach();
            if (::testing::Test::HasFailure()) return;
            verify_all(true);
            requests_round(round);
            if (round < plan_.crashes) {
                rig_.crash();
                model_.crash();
            }
        }
        finish();
    }

    VolumeStats stats;
    usize orphans = 0;
    u64 acknowledged = 0, refused = 0;

  private:
    static constexpr u64 k_region_bytes = 512 * k_kib;
    [[nodiscard]] u64 region_bytes() const { return plan_.hot ? 12 * k_kib : k_region_bytes; }

    static VolumeOptions options(const Plan& plan) {
        VolumeOptions options;
        options.size_bytes = 700 * k_mib;
        options.data_fragments = plan.adopts ? 1 : 4;
        // Small ones: a checkpoint is many chunks, and much happens while it is written.
        options.chunk_bytes = (u64{64} << (plan.seed % 3)) * k_kib;
        options.map_cache_bytes = (40 + plan.seed % 4 * 16) * k_page_bytes;
        options.block_cache_bytes = 1 * k_mib;
        options.checkpoint_log_bytes = 3 * k_mib;
        options.idle_checkpoint = 500_ms;
        options.write_bytes_in_flight = 4 * k_mib + 4 * k_kib;
        options.small_chunks_max = 6;
        options.reclaim_wait = 1_s;
        options.direct_bytes_min = plan.direct ? 8 * k_kib : 0;
        return options;
    }

    void set_faults(bool on) {
        rig_.world.faults.retryable_permille = on ? 30 : 0;
        rig_.world.faults.unknown_permille = on ? 20 : 0;
        rig_.world.faults.slow_permille = on ? 20 : 0;
        rig_.world.faults.lease_permille = on ? 20 : 0;
    }

    void requests_round(u32 round) {
        left_ = plan_.operations;
        Scope clients(rig_.executor);
        for (u32 i = 0; i < plan_.clients; ++i)
            clients.spawn(client(this, Prng(plan_.seed).fork("client", round * 100 + i)));
        // Somewhere in the middle, at any await; the last round runs to its end.
        u64 const crash_at = round < plan_.crashes ? rig_.prng.below(plan_.operations) : 0;
        while (!clients.empty() && !::testing::Test::HasFailure()) {
            if (round < plan_.crashes && left_ <= crash_at) break;
            rig_.step();
            auto& cache = rig_.volume->core().state.map.cache();
            ASSERT_LE(cache.pages() + cache.copies(), cache.pages_max());
        }
    }

    static Task<void> client(Exerciser* self, Prng draw) {
        while (self->left_ > 0 && !::testing::Test::HasFailure()) {
            --self->left_;
            co_await self->one_request(&draw);
        }
    }

    Task<void> one_request(Prng* draw) {
        u64 const base = regions_[draw->below(regions_.size())];
        u64 const kind = draw->below(100);
        u64 length = draw->chance(1, 2) ? 4096 : 512 * draw->between(1, draw->chance(1, 20) ? 512 : 48);
        if (plan_.hot) length = 512 * draw->between(1, 12);
        if (plan_.direct && draw->chance(1, 2)) length = 4096 * draw->between(2, plan_.hot ? 3 : 16);
        u64 offset = base + draw->below(region_bytes() - length + 1) / 512 * 512;
        if (draw->chance(1, plan_.hot ? 5 : 2)) {
            offset = offset / 4096 * 4096;
            length = round_up(length, 4096);
        }
        if (offset + length > base + region_bytes()) co_return;
        if (kind < 50) {
            co_await write(offset, length);
        } else if (kind < 85) {
            co_await read(offset, length);
        } else if (kind < 90) {
            co_await trim(offset, length * 4);
        } else if (kind < 95) {
            co_await zeroes(offset, length, draw->chance(1, 2));
        } else if (kind < 96) {
            (void)co_await rig_.volume->block_status(offset, length);
        } else if (kind < 97) {
            rig_.stream->request_roll();
        } else if (kind < 98) {
            (void)co_await rig_.volume->checkpoint();
        } else {
            co_await rig_.clock.sleep(Duration{static_cast<i64>(draw->below(300'000'000))});
        }
    }

    bool judge(const Result<void>& done) {
        acknowledged += done ? 1 : 0;
        refused += done ? 0 : 1;
        if (!done && !(done.error().code == Code::kNoSpace && plan_.capacity_bytes != UINT64_MAX))
            ADD_FAILURE() << done.error().to_string();
        return done.has_value();
    }

    Task<void> write(u64 offset, u64 length) {
        u64 const stamp = next_stamp_++;
        auto const noted = model_.begin_write(offset, length, stamp);
        auto const done = co_await rig_.volume->write(offset, VolumeRig::pattern(stamp, length), false);
        model_.end_write(noted, judge(done));
    }
    Task<void> trim(u64 offset, u64 length) {
        length = std::min(length, rig_.volume->size_bytes() - offset);
        u64 const first = round_up(offset, 4096), end = round_down(offset + length, 4096);
        auto const noted = model_.begin_write(first, first < end ? end - first : 0, 0);
        auto const done = co_await rig_.volume->trim(offset, length, false);
        model_.end_write(noted, judge(done));
    }
    Task<void> zeroes(u64 offset, u64 length, bool may_trim) {
        auto const noted = model_.begin_write(offset, length, 0);
        auto const done = co_await rig_.volume->write_zeroes(offset, length, may_trim, false);
        model_.end_write(noted, judge(done));
    }
    Task<void> read(u64 offset, u64 length) {
        u64 const begun = model_.tick();
        auto const got = co_await rig_.volume->read(offset, static_cast<u32>(length));
        if (!got) {
            ADD_FAILURE() << got.error().to_string();
            co_return;
        }
        std::string const wrong = model_.check(offset, got->flatten(), begun, false);
        if (!wrong.empty()) ADD_FAILURE() << "seed " << plan_.seed << ": " << wrong;
    }

    void verify_all(bool settle) {
        for (u64 const base : regions_) {
            for (u64 at = base; at < base + 2 * k_region_bytes; at += 256 * k_kib) {
                u64 const begun = model_.tick();
                auto const got = rig_.await(rig_.volume->read(at, 256 * k_kib));
                ASSERT_TRUE(got) << got.error().to_string();
                std::string const wrong = model_.check(at, got->flatten(), begun, settle);
                ASSERT_TRUE(wrong.empty()) << "seed " << plan_.seed << ": " << wrong;
            }
        }
    }

    // Nothing is wrong any more: everything is packed, released, deleted, and then read by another owner.
    void finish() {
        if (::testing::Test::HasFailure()) return;
        set_faults(false);
        rig_.stream->roll();
        rig_.run_for(120_s);
        ASSERT_TRUE(rig_.await(rig_.volume->checkpoint()));
        verify_all(true);
        orphans = rig_.check_no_leak();
        if (plan_.crashes == 0) EXPECT_EQ(orphans, 0U);
        stats = rig_.volume->stats();
        EXPECT_EQ(stats.logical_bytes, stats.live_bytes);
        EXPECT_EQ(stats.unpacked_bytes, 0U);
        EXPECT_TRUE(rig_.log.errors.empty()) << rig_.log.errors.front();
        check_references();
        rig_.crash();
        rig_.attach();
        EXPECT_EQ(rig_.volume->stats().logical_bytes, stats.logical_bytes);
        EXPECT_EQ(rig_.volume->stats().garbage_bytes, stats.garbage_bytes);
        verify_all(true);
    }

    // The live counts are what counting the whole map gives.
    void check_references() {
        std::map<u64, u32> counted;
        BlockMap& map = rig_.volume->core().state.map;
        for (u64 leaf = 0; leaf < 700 * k_mib / (4 * k_mib); ++leaf) {
            auto const page = rig_.await(map.pin_leaf(leaf, false));
            ASSERT_TRUE(page);
            for (u32 i = 0; *page && i < k_leaf_entries; ++i)
                if (page->page().entry(i).has_data()) ++counted[page->page().entry(i).container];
        }
        for (const auto& [seq, live] : counted) {
            const Container* const container = rig_.volume->core().state.containers.find(seq);
            ASSERT_TRUE(container) << hex64(seq);
            EXPECT_EQ(container->live, live);
            EXPECT_TRUE(rig_.world.chunks.contains(seq) || rig_.world.segments.contains(seq));
        }
    }

    Plan plan_;
    VolumeRig rig_;
    EagerAdoption adoption_;
    SectorModel model_;
    std::vector<u64> regions_;
    Prng order_{0};
    u64 next_stamp_ = 1;
    u32 left_ = 0;
};

TEST(VolumeExerciser, WithoutFaults) {
    for (u64 seed = 1; seed <= 6 && !HasFailure(); ++seed) {
        Exerciser exerciser({.seed = seed, .operations = 1500, .crashes = 0, .faults = false});
        exerciser.run();
        EXPECT_GT(exerciser.stats.chunks_packed, 10U);
        EXPECT_GT(exerciser.stats.chunks_removed, 5U);
    }
}

TEST(VolumeExerciser, FaultsAndCrashes) {
    usize orphans = 0;
    for (u64 seed = 100; seed < 100 + testing::seeds_here(40) && !HasFailure(); ++seed) {
        Exerciser exerciser({.seed = seed});
        exerciser.run();
        orphans += exerciser.orphans;
    }
    EXPECT_GT(orphans, 0U) << "no crash ever fell between a put and its record: the test is too tame";
}

TEST(VolumeExerciser, AFewHotBlocks) {
    for (u64 seed = 300; seed < 300 + testing::seeds_here(30) && !HasFailure(); ++seed) {
        Exerciser exerciser({.seed = seed, .clients = 16, .operations = 800, .crashes = 1, .hot = true});
        exerciser.run();
    }
}

// Never more than is there, refusals, cleaning under pressure, and crashes in between.
TEST(VolumeExerciser, NearlyFull) {
    u64 acknowledged = 0, refused = 0;
    for (u64 seed = 400; seed < 400 + testing::seeds_here(20) && !HasFailure(); ++seed) {
        Exerciser exerciser(
            {.seed = seed, .operations = 600, .crashes = 2, .capacity_bytes = (10 + seed % 3 * 4) * k_mib});
        exerciser.run();
        acknowledged += exerciser.acknowledged;
        refused += exerciser.refused;
    }
    EXPECT_GT(refused, 0U);
    EXPECT_GT(acknowledged, refused);
}

TEST(VolumeExerciser, AdoptedInPlace) {
    u64 adopted = 0;
    for (u64 seed = 200; seed < 200 + testing::seeds_here(20) && !HasFailure(); ++seed) {
        Exerciser exerciser({.seed = seed, .adopts = true});
        exerciser.run();
        adopted += exerciser.stats.segments_adopted;
    }
    EXPECT_GT(adopted, 0U);
}

// Beside small ones, parts of blocks, cleaning, refusals and crashes.
TEST(VolumeExerciser, StraightToChunks) {
    u64 placed = 0, orphans = 0;
    for (u64 seed = 500; seed < 500 + testing::seeds_here(40) && !HasFailure(); ++seed) {
        Exerciser exerciser({.seed = seed, .clients = 12, .direct = true});
        exerciser.run();
        placed += exerciser.stats.chunks_placed;
        orphans += exerciser.orphans;
    }
    EXPECT_GT(placed, 12 * testing::seeds_here(40));
    EXPECT_GT(orphans, 0U) << "no crash ever fell between a put and its record: the test is too tame";
}

TEST(VolumeExerciser, StraightToChunksOnAFewHotBlocks) {
    u64 placed = 0;
    for (u64 seed = 600; seed < 600 + testing::seeds_here(30) && !HasFailure(); ++seed) {
        Exerciser exerciser(
            {.seed = seed, .clients = 16, .operations = 800, .crashes = 1, .direct = true, .hot = true});
        exerciser.run();
        placed += exerciser.stats.chunks_placed;
    }
    EXPECT_GT(placed, 3 * testing::seeds_here(30));
}

TEST(VolumeExerciser, StraightToChunksNearlyFull) {
    u64 placed = 0, refused = 0;
    for (u64 seed = 700; seed < 700 + testing::seeds_here(20) && !HasFailure(); ++seed) {
        Exerciser exerciser({.seed = seed,
                             .clients = 12,
                             .operations = 600,
                             .crashes = 2,
                             .direct = true,
                             .capacity_bytes = (10 + seed % 3 * 4) * k_mib});
        exerciser.run();
        placed += exerciser.stats.chunks_placed;
        refused += exerciser.refused;
    }
    EXPECT_GT(placed, 0U);
    EXPECT_GT(refused, 0U);
}

}  // namespace
}  // namespace corelet
