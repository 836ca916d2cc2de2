// Damage at rest, failing devices, forgetting: what is found is named, what can be survived is, and nothing wrong
// is ever served.
#include <gtest/gtest.h>

#include <iostream>

#include "device/device_testing.h"

namespace corelet {
namespace {

using namespace corelet::testing;

constexpr u64 k_size = 16 * k_mib;
constexpr u64 k_metadata_half = 64 * k_kib;  // where the first one begins
FragmentId fragment(u64 seq) {
    return {{SpaceId(1), seq}, 2};
}
SegmentId const k_segment{SpaceId(2), 1};

class DamageTest : public ::testing::Test {
  protected:
    DamageTest() { EXPECT_TRUE(format(rig, media, small_format()).has_value()); }
    Result<void> remount() {
        store.reset();
        media.kill();
        auto mounted = mount(rig, media);
        if (!mounted) return std::unexpected(mounted.error());
        store = *std::move(mounted);
        return {};
    }
    Result<void> put(u64 seq, u64 blocks = 10, PutOptions options = {}) {
        Buffer const data = pattern(seq, blocks);
        return rig.run(store->put_fragment(fragment(seq), {}, data, crcs_of(data), options));
    }
    Result<FragmentData> read(u64 seq) {
        auto const info = store->fragment_info(fragment(seq));
        return rig.run(store->read_fragment(fragment(seq), 0, info ? info->bytes : k_block_bytes, {}));
    }
    bool reads_right(u64 seq) {
        auto const data = read(seq);
        return data && std::ranges::equal(data->data.flatten().bytes(),
                                          pattern(seq, data->data.size() / k_block_bytes).bytes());
    }
    void prepare() {
        SegmentSpec spec;
        spec.epoch = Epoch(5);
        spec.owner = CoreletId(1);
        spec.initial_bytes = 256 * k_kib;
        ASSERT_TRUE(rig.run(store->prepare_segment(k_segment, spec)).has_value());
    }
    Result<void> write(u64 block) {
        return rig.run(
            store->write_segment(k_segment, Epoch(5), CoreletId(1), block * k_block_bytes, pattern(block, 1)));
    }
    // Some of everything.
    void populate() {
        ASSERT_TRUE(remount().has_value());
        for (u64 seq = 1; seq <= 6; ++seq) ASSERT_TRUE(put(seq, seq * 4).has_value());
        prepare();
        for (u64 block = 0; block < 5; ++block) ASSERT_TRUE(write(block).has_value());
        ASSERT_TRUE(rig.run(store->put_note("map", {1, 2, 3})).has_value());
        ASSERT_TRUE(rig.run(store->consensus_journal().append({{1}, {2}})).has_value());
        ASSERT_TRUE(rig.run(store->fence_segment(k_segment, Epoch(6), CoreletId(2))).has_value());
        store.reset();
        media.kill();
    }
    // The device offset at which these bytes lie.
    u64 find(Bytes wanted) {
        for (u64 const page : media.used_blocks())
            if (std::ranges::equal(media.bytes(page * k_block_bytes, wanted.size()), wanted))
                return page * k_block_bytes;
        ADD_FAILURE() << "not on the media";
        return 0;
    }
    Rig rig;
    FakeMedia media{k_size};
    std::unique_ptr<Store> store;
};

// One bit in each block that holds anything, at several places in it.
TEST_F(DamageTest, EveryBitOfEveryStructureCounts) {
    populate();
    auto const whole = media.image();
    u64 mounts = 0, forgotten = 0, corrupt = 0, unharmed = 0;
    Prng random{5};
    for (u64 const block : media.used_blocks()) {
        for (u64 const at :
             {u64{0}, u64{20}, u64{40}, u64{64}, u64{90}, random.below(k_block_bytes), k_block_bytes - 1}) {
            media.restore(whole);
            media.flip_bit(block * k_block_bytes + at, static_cast<u32>(random.below(8)));
            std::string const where = "block " + std::to_string(block) + " byte " + std::to_string(at);
            Result<void> const mounted = remount();
            ASSERT_TRUE(mounted.has_value())
                << where << ": one superblock is enough; " << mounted.error().to_string();
            ++mounts;
            bool harmed = false;
            for (u64 seq = 1; seq <= 6; ++seq) {
                auto const data = read(seq);
                if (data) {
                    ASSERT_TRUE(reads_right(seq)) << where;
                    ASSERT_EQ(data->data.size(), seq * 4 * k_block_bytes);
                    continue;
                }
                // A rotten journal alone costs no fragment: its header names it.
                harmed = true;
                ASSERT_TRUE(data.error().code == Code::kCorrupt) << where << data.error().to_string();
                ++corrupt;
            }
            if (store->has_forgotten()) {
                ++forgotten;
                ASSERT_NE(store->forgotten_reason(), "");
                ASSERT_EQ(store->segment_info(k_segment).error().code, Code::kForgotten);
                ASSERT_EQ(rig.run(store->fence_segment(k_segment, Epoch(9), CoreletId(2))).error().code,
                          Code::kForgotten);
            } else {
                ASSERT_EQ(store->segment_info(k_segment)->epoch, Epoch(6)) << where;
                ASSERT_EQ(store->note("map"), (std::vector<u8>{1, 2, 3})) << where;
                unharmed += harmed ? 0 : 1;
            }
            Journal& log = store->consensus_journal();
            ASSERT_TRUE(log.is_rotten() || log.durable_number() == 2) << where;
        }
    }
    EXPECT_GT(forgotten, 10U);
    EXPECT_GT(corrupt, 100U);
    EXPECT_GT(unharmed, 20U);
    EXPECT_GT(mounts, forgotten + unharmed);
}

TEST_F(DamageTest, OneSuperblockIsEnoughAndIsRestored) {
    populate();
    auto const whole = media.image();
    for (u64 const place : {u64{0}, k_size - k_block_bytes}) {
        media.restore(whole);
        media.fill(place, k_block_bytes, 0xAB);
        ASSERT_TRUE(remount().has_value());
        EXPECT_EQ(store->incarnation(), Incarnation(2));
        EXPECT_FALSE(store->has_forgotten());
        store.reset();
        media.kill();
        media.fill(k_size - k_block_bytes - place, k_block_bytes, 0xAB);  // the other one
        ASSERT_TRUE(remount().has_value()) << "the first was written again";
        EXPECT_EQ(store->incarnation(), Incarnation(3));
    }
    media.restore(whole);
    media.fill(0, 600, 0xAB);
    media.flip_bit(k_size - k_block_bytes + 50, 1);
    Result<void> const none = remount();
    ASSERT_FALSE(none.has_value());
    EXPECT_EQ(none.error().code, Code::kCorrupt);
    EXPECT_NE(none.error().message.find("superblock"), std::string::npos);
}

TEST_F(DamageTest, TruncatedAndForeignDevicesAreNamed) {
    populate();
    media.resize(k_size - 64 * k_kib);
    Result<void> const cut = remount();
    ASSERT_FALSE(cut.has_value());
    EXPECT_EQ(cut.error().code, Code::kCorrupt);
    EXPECT_NE(cut.error().message.find("truncated"), std::string::npos) << cut.error().message;
    media.resize(k_size + 1 * k_mib);
    EXPECT_TRUE(remount().has_value()) << "a device that has grown";
    FakeMedia empty(k_size);
    EXPECT_EQ(mount(rig, empty).error().code, Code::kNotFound);
}

TEST_F(DamageTest, RottenMetadataIsForgottenPromisesAndFragmentsComeBackAsStrays) {
    populate();
    // The third batch of the metadata journal.
    media.fill(k_metadata_half + 3 * k_block_bytes + 100, 8, 0x77);
    ASSERT_TRUE(remount().has_value());
    ASSERT_TRUE(store->has_forgotten());
    EXPECT_NE(store->forgotten_reason().find("batch 3"), std::string::npos) << store->forgotten_reason();
    EXPECT_EQ(store->metadata_report().condition, JournalCondition::kRotten);
    EXPECT_EQ(store->metadata_report().device_offset, k_metadata_half + 3 * k_block_bytes);
    EXPECT_EQ(store->fragment_count(), 6U);
    for (u64 seq = 1; seq <= 6; ++seq) EXPECT_TRUE(reads_right(seq)) << seq;
    EXPECT_EQ(put(9).error().code, Code::kForgotten);
    EXPECT_EQ(write(9).error().code, Code::kForgotten);
    EXPECT_EQ(rig.run(store->put_note("x", {1})).error().code, Code::kForgotten);
    EXPECT_TRUE(store->list_segments().empty());
    ASSERT_TRUE(remount().has_value());
    EXPECT_TRUE(store->has_forgotten()) << "it stays so";
    EXPECT_EQ(rig.run(store->take_identity(store->identity())).error().code, Code::kInvalid);
    // As somebody else it goes on, with what it holds.
    ASSERT_TRUE(rig.run(store->take_identity(CoreletId(99))).has_value());
    for (int round = 0; round < 2; ++round) {
        EXPECT_FALSE(store->has_forgotten());
        EXPECT_EQ(store->identity(), CoreletId(99));
        EXPECT_EQ(store->incarnation(), Incarnation(1 + static_cast<u64>(round)));
        EXPECT_EQ(store->fragment_count(), 6U + static_cast<u64>(round));
        EXPECT_EQ(store->segment_info(k_segment).error().code, Code::kUnknown);
        EXPECT_FALSE(store->note("map").has_value());
        EXPECT_EQ(store->consensus_journal().durable_number() > 2, false);
        for (u64 seq = 1; seq <= 6; ++seq) EXPECT_TRUE(reads_right(seq)) << seq;
        EXPECT_TRUE(put(20).has_value());
        ASSERT_TRUE(remount().has_value());
    }
}

TEST_F(DamageTest, BothMetadataHalvesLostIsFoundOutByScanning) {
    populate();
    ASSERT_TRUE(remount().has_value());
    ASSERT_TRUE(rig.run(store->remove_fragment(fragment(3))).has_value());
    PutOptions repair;
    repair.repair = true;
    media.flip_bit(find(pattern(4, 16).bytes().subspan(k_block_bytes, 64)), 1);
    ASSERT_TRUE(put(4, 16, repair).has_value()) << "its older, damaged copy is still on the media";
    store.reset();
    media.kill();
    media.fill(k_metadata_half, 2 * 256 * k_kib, 0);
    ASSERT_TRUE(remount().has_value());
    EXPECT_TRUE(store->has_forgotten());
    for (u64 const seq : {1, 2, 4, 5, 6}) EXPECT_TRUE(reads_right(seq)) << seq;
    ASSERT_TRUE(rig.run(store->take_identity(CoreletId(100))).has_value());
    ASSERT_TRUE(remount().has_value());
    EXPECT_FALSE(store->has_forgotten());
    for (u64 const seq : {1, 2, 4, 5, 6}) EXPECT_TRUE(reads_right(seq)) << seq;
}

TEST_F(DamageTest, AForgettingThatOthersSawIsDurable) {
    populate();
    ASSERT_TRUE(remount().has_value());
    u64 const seq = store->durable_seq();
    // An old image of the device is put back: alone it cannot know.
    media.kill();
    auto const old = media.image();
    ASSERT_TRUE(remount().has_value());
    ASSERT_TRUE(put(50).has_value());
    u64 const seen = store->durable_seq();
    EXPECT_GT(seen, seq);
    store.reset();
    media.restore(old);
    ASSERT_TRUE(remount().has_value());
    EXPECT_FALSE(store->has_forgotten());
    EXPECT_LT(store->durable_seq(), seen) << "what the catalog compares";
    for (u64 fresh = 60; store->durable_seq() <= seen; ++fresh) ASSERT_TRUE(put(fresh).has_value());
    EXPECT_LT(store->began_seq(), seen) << "and goes on comparing, whatever is written since";
    ASSERT_TRUE(rig.run(store->mark_forgotten("the catalog has seen more")).has_value());
    EXPECT_EQ(rig.run(store->fence_segment(k_segment, Epoch(9), CoreletId(2))).error().code, Code::kForgotten);
    EXPECT_EQ(rig.run(store->read_segment(k_segment, 0, 4096, IoClass::kClient)).error().code, Code::kForgotten);
    ASSERT_TRUE(remount().has_value());
    EXPECT_EQ(store->forgotten_reason(), "the catalog has seen more");
    EXPECT_TRUE(reads_right(2));
    u64 const used = store->space().used_bytes;
    ASSERT_TRUE(rig.run(store->take_identity(CoreletId(5))).has_value());
    EXPECT_LT(store->space().used_bytes, used) << "the segments' space is free again";
    EXPECT_TRUE(put(60).has_value());
}

TEST_F(DamageTest, TakingAnIdentityMayBeCutOffAnywhere) {
    populate();
    media.fill(k_metadata_half + 3 * k_block_bytes + 100, 8, 0x77);
    auto const rotten = media.image();
    for (u64 stop = 0; stop < 40; ++stop) {
        media.restore(rotten);
        ASSERT_TRUE(remount().has_value());
        media.stop_after_writes(stop);
        bool const ended = rig.try_run(store->take_identity(CoreletId(99))).has_value();
        store.reset();
        Prng fate(stop);
        media.crash(fate);
        ASSERT_TRUE(remount().has_value());
        if (ended) {
            EXPECT_FALSE(store->has_forgotten());
        } else if (store->has_forgotten()) {
            ASSERT_TRUE(rig.run(store->take_identity(CoreletId(100))).has_value());
        } else {
            EXPECT_EQ(store->identity(), CoreletId(99)) << stop;
        }
        EXPECT_NE(store->identity(), CoreletId(7));
        for (u64 seq = 1; seq <= 6; ++seq) ASSERT_TRUE(reads_right(seq)) << seq << " stop " << stop;
        EXPECT_EQ(store->segment_info(k_segment).error().code, Code::kUnknown);
        if (ended) return;
    }
    FAIL() << "never ended";
}

TEST_F(DamageTest, ADamagedBlockIsNamedAndRepairedInPlaceOfTheOldOne) {
    ASSERT_TRUE(remount().has_value());
    ASSERT_TRUE(put(1, 10).has_value());
    ASSERT_TRUE(put(2, 10).has_value());
    media.kill();
    u64 const at = find(pattern(1, 10).bytes().subspan(7 * k_block_bytes, 64));
    ASSERT_TRUE(remount().has_value());
    media.flip_bit(at + 100, 3);
    auto const bad = read(1);
    ASSERT_FALSE(bad.has_value());
    EXPECT_EQ(bad.error().code, Code::kCorrupt);
    EXPECT_EQ(bad.error().detail, 7U);
    EXPECT_TRUE(rig.run(store->read_fragment(fragment(1), 0, 7 * k_block_bytes, {})).has_value())
        << "the rest reads";
    Result<void> const scrubbed = rig.run(store->verify_fragment(fragment(1), IoClass::kScrub));
    ASSERT_FALSE(scrubbed.has_value());
    EXPECT_EQ(scrubbed.error().detail, 7U);
    EXPECT_EQ(store->telemetry().corrupt_blocks, 2U);
    EXPECT_TRUE(rig.run(store->verify_fragment(fragment(2), IoClass::kScrub)).has_value());
    PutOptions repair;
    repair.repair = true;
    Buffer const other = pattern(55, 10);
    EXPECT_EQ(rig.run(store->put_fragment(fragment(1), {}, other, crcs_of(other), repair)).error().code,
              Code::kExists)
        << "a repair brings the same bytes";
    u64 const used = store->space().used_bytes;
    ASSERT_TRUE(put(1, 10, repair).has_value());
    EXPECT_EQ(store->space().used_bytes, used);
    EXPECT_TRUE(reads_right(1));
    ASSERT_TRUE(remount().has_value());
    EXPECT_TRUE(reads_right(1));
}

TEST_F(DamageTest, ADamagedHeaderCanBeRepairedToo) {
    ASSERT_TRUE(remount().has_value());
    ASSERT_TRUE(put(1, 10).has_value());
    media.kill();
    u64 const header = find(pattern(1, 10).bytes().first(64)) - k_block_bytes;
    ASSERT_TRUE(remount().has_value());
    media.flip_bit(header + 1200, 1);
    EXPECT_EQ(read(1).error().code, Code::kCorrupt);
    EXPECT_EQ(put(1, 10).error().code, Code::kCorrupt) << "it cannot be told whether this is the same";
    PutOptions repair;
    repair.repair = true;
    ASSERT_TRUE(put(1, 10, repair).has_value());
    EXPECT_TRUE(reads_right(1));
}

TEST_F(DamageTest, MisdirectedWritesAreDetected) {
    ASSERT_TRUE(remount().has_value());
    ASSERT_TRUE(put(1, 10).has_value());
    ASSERT_TRUE(put(2, 10).has_value());
    media.kill();
    u64 const one = find(pattern(1, 10).bytes().first(64)), two = find(pattern(2, 10).bytes().first(64));
    auto const whole = media.image();
    // A block of one in the place of the other, and a block of the same fragment in another place.
    media.copy_block(one + 3 * k_block_bytes, two + 3 * k_block_bytes);
    ASSERT_TRUE(remount().has_value());
    EXPECT_EQ(read(2).error().detail, 3U);
    media.restore(whole);
    media.copy_block(one + 3 * k_block_bytes, one + 4 * k_block_bytes);
    ASSERT_TRUE(remount().has_value());
    EXPECT_EQ(read(1).error().detail, 4U);
    // Header and data of one over the other: all its checksums are right, but it is somebody else.
    media.restore(whole);
    for (u64 block = 0; block <= 10; ++block)
        media.copy_block(one + block * k_block_bytes - k_block_bytes, two + block * k_block_bytes - k_block_bytes);
    ASSERT_TRUE(remount().has_value());
    EXPECT_EQ(read(2).error().code, Code::kCorrupt);
    EXPECT_TRUE(reads_right(1));
    // A superblock that strayed over the other copy's place.
    media.restore(whole);
    media.copy_block(0, k_size - k_block_bytes);
    ASSERT_TRUE(remount().has_value());
    EXPECT_FALSE(store->has_forgotten());
}

TEST_F(DamageTest, LatentErrorsAreReadErrorsAndCounted) {
    ASSERT_TRUE(remount().has_value());
    ASSERT_TRUE(put(1, 10).has_value());
    media.kill();
    u64 const at = find(pattern(1, 10).bytes().first(64));
    ASSERT_TRUE(remount().has_value());
    media.make_unreadable(at + 2 * k_block_bytes);
    EXPECT_EQ(read(1).error().code, Code::kIo);
    EXPECT_EQ(store->telemetry().latent_errors, 1U);
    EXPECT_EQ(store->telemetry().reads[0].errors, 1U);
    EXPECT_FALSE(store->is_failing()) << "a read that fails ends nothing";
    EXPECT_TRUE(put(2, 10).has_value());
}

TEST_F(DamageTest, AFailedWriteIsFinal) {
    populate();
    ASSERT_TRUE(remount().has_value());
    media.fail_next_write();
    EXPECT_EQ(put(10).error().code, Code::kIo);
    EXPECT_TRUE(store->is_failing());
    EXPECT_TRUE(store->failed().is_set());
    EXPECT_NE(store->failure(), "");
    rig.settle();
    EXPECT_EQ(media.writes_after_failure(), 2U) << "the mark in both superblocks, and nothing else";
    EXPECT_EQ(put(11).error().code, Code::kIo);
    EXPECT_EQ(rig.run(store->remove_fragment(fragment(1))).error().code, Code::kIo);
    EXPECT_EQ(rig.run(store->fence_segment(k_segment, Epoch(9), CoreletId(2))).error().code, Code::kIo);
    EXPECT_EQ(rig.run(store->put_note("x", {1})).error().code, Code::kIo);
    EXPECT_EQ(rig.run(store->consensus_journal().append({{1}})).error().code, Code::kIo);
    EXPECT_EQ(rig.run(store->raise_incarnation()).error().code, Code::kIo);
    SegmentSpec spec;
    spec.epoch = Epoch(1);
    EXPECT_EQ(rig.run(store->prepare_segment({SpaceId(9), 9}, spec)).error().code, Code::kIo);
    EXPECT_EQ(media.writes_after_failure(), 2U);
    for (u64 seq = 1; seq <= 6; ++seq) EXPECT_TRUE(reads_right(seq)) << "reads go on";
    EXPECT_TRUE(rig.run(store->read_segment(k_segment, 0, 4096, IoClass::kHeal)).has_value());
    // It stays so over restarts, though the device would take writes again.
    u64 const nonce = store->boot_nonce();
    Incarnation const incarnation = store->incarnation();
    ASSERT_TRUE(remount().has_value());
    EXPECT_TRUE(store->is_failing());
    EXPECT_TRUE(store->label().failed);
    EXPECT_EQ(store->incarnation(), incarnation);
    EXPECT_NE(store->boot_nonce(), nonce) << "it does not pass for its former mount";
    EXPECT_EQ(put(12).error().code, Code::kIo);
    EXPECT_TRUE(reads_right(3));
}

// The write of a superblock fails and leaves it torn; power is lost while the mark is being written over the other
// one.
TEST_F(DamageTest, TheMarkOfAFailingDeviceNeverCostsTheLastSuperblock) {
    ASSERT_TRUE(remount().has_value());
    store.reset();
    media.kill();
    auto const whole = media.image();
    for (u64 seed = 0; seed < 60; ++seed) {
        media.restore(whole);
        media.never_stop();
        ASSERT_TRUE(remount().has_value());
        if (seed % 2 == 1) media.fail_write_after(1);
        if (seed % 2 == 0) media.fail_next_write();
        media.stop_after_writes(seed % 2 + 1 + seed / 2 % 2);
        static_cast<void>(rig.try_run(store->raise_incarnation()));
        rig.settle();
        store.reset();
        Prng fate(seed);
        media.crash(fate);
        media.never_stop();
        ASSERT_TRUE(remount().has_value()) << seed;
    }
}

TEST_F(DamageTest, AFailedFlushIsFinal) {
    ASSERT_TRUE(remount().has_value());
    Journal& log = store->consensus_journal();
    ASSERT_TRUE(rig.run(log.append({{1}})).has_value());
    media.fail_next_flush();
    EXPECT_EQ(rig.run(log.snapshot(1, {1})).error().code, Code::kIo);
    EXPECT_TRUE(store->is_failing());
    EXPECT_EQ(put(1).error().code, Code::kIo);
    EXPECT_EQ(store->telemetry().flushes.errors, 1U);
}

TEST_F(DamageTest, ADeviceThatTakesNoWriteIsMountedForReading) {
    populate();
    media.fail_all_writes();
    ASSERT_TRUE(remount().has_value());
    EXPECT_TRUE(store->is_failing());
    EXPECT_TRUE(reads_right(1));
    EXPECT_EQ(put(10).error().code, Code::kIo);
}

// Any write of a run may be the one that fails: nothing acknowledged is lost by it, and nothing is written
// afterwards.
TEST_F(DamageTest, AnyWriteMayBeTheOneThatFails) {
    for (u64 fail_at = 0; fail_at < 40; ++fail_at) {
        media = FakeMedia(k_size);
        ASSERT_TRUE(format(rig, media, small_format()).has_value());
        ASSERT_TRUE(remount().has_value());
        std::set<u64> acknowledged;
        for (u64 seq = 1; seq <= 30; ++seq) {
            if (seq == 1 + fail_at % 30) media.fail_next_write();
            if (put(seq, 3)) acknowledged.insert(seq);
        }
        ASSERT_TRUE(store->is_failing());
        rig.settle();
        ASSERT_EQ(media.writes_after_failure(), 2U);
        for (u64 const seq : acknowledged) ASSERT_TRUE(reads_right(seq));
        ASSERT_EQ(acknowledged.size(), fail_at % 30);
        ASSERT_TRUE(remount().has_value());
        for (u64 const seq : acknowledged) ASSERT_TRUE(reads_right(seq));
    }
}

}  // namespace
}  // namespace corelet
