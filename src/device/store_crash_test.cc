// Random operations against a model, with clean remounts, kills, and loss of power at every write.
#include <gtest/gtest.h>

#include "base/hash.h"
#include "device/store_model_testing.h"

namespace corelet {
namespace {

using namespace corelet::testing;

constexpr u64 k_size = 12 * k_mib;

TEST(StoreModel, RandomOperationsWithRemountsAgreeWithTheModel) {
    u64 acknowledged = 0;
    for (u64 seed = 1; seed <= 6; ++seed) {
        Rig rig(seed);
        rig.shuffle();
        FakeMedia media(k_size);
        media.set_latency(Prng(seed), 4);
        ASSERT_TRUE(format(rig, media, small_format()).has_value());
        StoreModel model(rig, media, seed);
        ASSERT_TRUE(model.mount_and_check()) << model.complaint();
        for (u32 round = 0; round < 60; ++round) {
            model.begin(10);
            rig.settle();
            ASSERT_EQ(model.complaint(), "") << "seed " << seed << " round " << round;
            if (round % 6 != 5) continue;
            u64 const used = model.store().space().used_bytes;
            model.drop();
            media.kill();
            ASSERT_TRUE(model.mount_and_check()) << "seed " << seed << " round " << round << "\n"
                                                 << model.complaint();
            ASSERT_EQ(model.store().space().used_bytes, used) << "space leaked";
        }
        acknowledged += model.acknowledged();
        model.drop();
    }
    EXPECT_GT(acknowledged, 1000U);
}

// The same run again and again, stopped one write later each time; then power is lost, and what was acknowledged is
// there. The metadata journal is nearly full when the first stop may come, so that a snapshot lies within the
// stretch.
void crash_at_each_write(u64 seed) {
    u64 reached = 0;
    for (u64 stop = 0;; ++stop) {
        Rig rig(seed);
        rig.shuffle();
        FakeMedia media(k_size);
        media.set_latency(Prng(seed), 3);
        ASSERT_TRUE(format(rig, media, small_format()).has_value());
        StoreModel model(rig, media, seed);
        ASSERT_TRUE(model.mount_and_check()) << model.complaint();
        model.begin(20);
        rig.settle();
        for (u8 i = 1; i <= 38; ++i) ASSERT_TRUE(rig.run(model.store().put_note("filler", {i})).has_value());
        auto const header_of_second_half = [&] { return media.bytes(320 * k_kib, 64); };
        auto const before = header_of_second_half();
        media.stop_after_writes(stop);
        for (u32 round = 0; round < 28 && !media.has_stopped(); ++round) {
            model.begin(5);
            rig.settle();
            ASSERT_EQ(model.complaint(), "") << "seed " << seed << " stop " << stop;
        }
        if (!media.has_stopped()) {
            EXPECT_NE(header_of_second_half(), before) << "no snapshot was made in the stretch";
            break;
        }
        reached = stop;
        model.drop();
        Prng fate(hash64(seed, stop));
        media.crash(fate);
        ASSERT_TRUE(model.mount_and_check()) << "seed " << seed << " stop " << stop << "\n" << model.complaint();
        // Life goes on, and what is found once stays.
        model.begin(10);
        rig.settle();
        model.drop();
        media.crash(fate);
        ASSERT_TRUE(model.mount_and_check()) << "seed " << seed << " stop " << stop << "\n" << model.complaint();
        model.drop();
    }
    EXPECT_GT(reached, 100U);
}

TEST(StoreModel, PowerMayBeLostAtAnyWrite) {
    for (u64 seed = 1; seed <= 4; ++seed) crash_at_each_write(seed);
}

// Many crashes in a row on one device, and mounts that are cut off themselves.
TEST(StoreModel, CrashesInARow) {
    for (u64 seed = 1; seed <= 4; ++seed) {
        Rig rig(seed);
        rig.shuffle();
        FakeMedia media(k_size);
        media.set_latency(Prng(seed), 3);
        ASSERT_TRUE(format(rig, media, small_format()).has_value());
        StoreModel model(rig, media, seed);
        ASSERT_TRUE(model.mount_and_check()) << model.complaint();
        Prng fate(seed + 100);
        for (u32 round = 0; round < 60; ++round) {
            media.stop_after_writes(fate.below(120));
            for (u32 i = 0; i < 12 && !media.has_stopped(); ++i) {
                model.begin(12);
                rig.settle();
                ASSERT_EQ(model.complaint(), "") << "seed " << seed << " round " << round;
            }
            model.drop();
            media.crash(fate);
            for (u64 cut = fate.below(3); cut > 0; --cut) {
                media.stop_after_writes(fate.below(8));
                auto half = rig.try_run(Store::mount(media.open(), rig.env(), small_store()));
                rig.settle();
                half.reset();
                media.crash(fate);
            }
            ASSERT_TRUE(model.mount_and_check()) << "seed " << seed << " round " << round << "\n"
                                                 << model.complaint();
        }
        model.drop();
    }
}

// One superblock torn by a crash, the other one in the middle of being written at the next.
TEST(Mount, MayBeCutOffAgainAndAgain) {
    for (u64 seed = 1; seed <= 20; ++seed) {
        Rig rig(seed);
        FakeMedia media(k_size);
        ASSERT_TRUE(format(rig, media, small_format()).has_value());
        Prng fate(seed);
        Incarnation last;
        for (u32 round = 0; round < 60; ++round) {
            media.stop_after_writes(fate.below(3));
            auto half = rig.try_run(Store::mount(media.open(), rig.env(), small_store()));
            half.reset();
            media.crash(fate);
            if (round % 20 != 19) continue;
            auto const mounted = mount(rig, media);
            ASSERT_TRUE(mounted.has_value()) << "seed " << seed << ": " << mounted.error().to_string();
            ASSERT_GT((*mounted)->incarnation(), last);
            last = (*mounted)->incarnation();
        }
    }
}

// A process is killed when a batch had reached the kernel and nothing had made it durable; the next one builds on
// it; then power is lost. What was promised on top of it stands.
TEST(Mount, WhatAKilledProcessWroteIsDurableBeforeItCounts) {
    for (u64 stop = 0; stop < 12; ++stop) {
        for (u64 seed = 1; seed <= 4; ++seed) {
            Rig rig(seed);
            FakeMedia media(k_size);
            ASSERT_TRUE(format(rig, media, small_format()).has_value());
            auto first = mount(rig, media);
            ASSERT_TRUE(first.has_value());
            media.stop_after_writes(stop);
            for (u8 i = 1; i <= 6 && !media.has_stopped(); ++i) (void)rig.try_run((*first)->put_note("first", {i}));
            first->reset();
            media.kill_unflushed();
            {
                auto const second = mount(rig, media);
                ASSERT_TRUE(second.has_value()) << second.error().to_string();
                for (u8 i = 1; i <= 3; ++i) ASSERT_TRUE(rig.run((*second)->put_note("second", {i})).has_value());
            }
            Prng fate(hash64(seed, stop));
            media.crash(fate);
            auto const third = mount(rig, media);
            ASSERT_TRUE(third.has_value()) << third.error().to_string();
            EXPECT_FALSE((*third)->has_forgotten()) << "stop " << stop << ": " << (*third)->forgotten_reason();
        }
    }
}

// Formatting over a device that was in use, cut off at any write: it is the old device, no device, or the new one.
TEST(StoreModel, AFormatCutOffIsNoDevice) {
    for (u64 stop = 0;; ++stop) {
        Rig rig;
        FakeMedia media(k_size);
        ASSERT_TRUE(format(rig, media, small_format(7)).has_value());
        FormatOptions again = small_format(8);
        again.force = true;
        media.stop_after_writes(stop);
        auto const file = media.open();
        bool const ended = rig.try_run(format_device(file.get(), rig.env(), again)).has_value();
        if (ended) break;
        Prng fate(stop);
        media.crash(fate);
        auto const mounted = mount(rig, media);
        if (mounted) {
            EXPECT_FALSE((*mounted)->has_forgotten());
            EXPECT_EQ((*mounted)->identity(), stop == 0 ? CoreletId(7) : CoreletId(8)) << stop;
        } else {
            EXPECT_EQ(mounted.error().code, stop == 0 ? Code::kCorrupt : Code::kNotFound)
                << mounted.error().to_string();
        }
    }
}

}  // namespace
}  // namespace corelet
