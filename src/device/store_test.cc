#include "device/store_fixture_testing.h"

namespace corelet {
namespace {

using namespace corelet::testing;

TEST_F(StoreTest, KeepsWhoItIsAndCountsItsMounts) {
    EXPECT_EQ(store->identity(), CoreletId(7));
    EXPECT_EQ(store->label().mesh, MeshId(42));
    EXPECT_EQ(store->label().location, "z1/r1/c1");
    EXPECT_EQ(store->incarnation(), Incarnation(1));
    u64 const nonce = store->boot_nonce();
    u64 const seq = store->durable_seq();
    remount();
    EXPECT_EQ(store->began_seq(), seq) << "nothing is lost between two mounts";
    EXPECT_EQ(store->incarnation(), Incarnation(2));
    EXPECT_NE(store->boot_nonce(), nonce);
    EXPECT_GT(store->durable_seq(), seq);
    ASSERT_TRUE(rig.run(store->raise_incarnation()).has_value());
    EXPECT_EQ(store->began_seq(), store->durable_seq());
    ASSERT_TRUE(rig.run(store->set_location("z2/r1/c1")).has_value());
    remount();
    EXPECT_EQ(store->incarnation(), Incarnation(4));
    EXPECT_EQ(store->label().location, "z2/r1/c1");
}

TEST_F(StoreTest, FormatRefusesWhatIsFormattedAlreadyUnlessForced) {
    store.reset();
    media.kill();
    Result<void> const again = format(rig, media, small_format(8));
    ASSERT_FALSE(again.has_value());
    EXPECT_EQ(again.error().code, Code::kExists);
    EXPECT_NE(again.error().message.find("000000000000002a"), std::string::npos) << again.error().message;
    FormatOptions forced = small_format(8);
    forced.force = true;
    ASSERT_TRUE(format(rig, media, forced).has_value());
    remount();
    EXPECT_EQ(store->identity(), CoreletId(8));
    EXPECT_EQ(store->incarnation(), Incarnation(1));
    EXPECT_EQ(store->fragment_count(), 0U);
}

TEST(Format, SaysWhatIsWrong) {
    Rig rig;
    FakeMedia tiny(1 * k_mib);
    FormatOptions options = small_format();
    Result<void> const small = format(rig, tiny, options);
    ASSERT_FALSE(small.has_value());
    EXPECT_EQ(small.error().code, Code::kNoSpace);
    FakeMedia medium(32 * k_mib);
    options.metadata_half_bytes = options.consensus_half_bytes = 0;
    EXPECT_EQ(format(rig, medium, options).error().code, Code::kNoSpace);
    options = small_format();
    options.identity = {};
    EXPECT_EQ(format(rig, medium, options).error().code, Code::kInvalid);
    options = small_format();
    options.metadata_half_bytes = 1000;
    EXPECT_EQ(format(rig, medium, options).error().code, Code::kInvalid);
    EXPECT_EQ(mount(rig, medium).error().code, Code::kNotFound) << "nothing was written by refused formats";
}

TEST(Format, DefaultLayoutsFitTheSmallestDevices) {
    Rig rig;
    FakeMedia device(k_device_bytes_min);
    FormatOptions options;
    options.mesh = MeshId(1);
    options.identity = CoreletId(2);
    ASSERT_TRUE(format(rig, device, options).has_value());
    auto const store = mount(rig, device);
    ASSERT_TRUE(store.has_value());
    EXPECT_GT((*store)->space().capacity_bytes, 30 * k_mib) << "half of it is for journals";
    FakeMedia file(k_witness_bytes_min);
    options.witness = true;
    ASSERT_TRUE(format(rig, file, options).has_value());
    auto const witness = mount(rig, file);
    ASSERT_TRUE(witness.has_value());
    EXPECT_TRUE((*witness)->label().witness);
    EXPECT_EQ((*witness)->space().capacity_bytes, 0U);
    EXPECT_TRUE(rig.run((*witness)->put_note("last_map", std::vector<u8>(100 * k_kib, 1))).has_value());
    Buffer const data = pattern(1, 1);
    EXPECT_EQ(rig.run((*witness)->put_fragment(fragment(1, 1), {}, data, crcs_of(data), {})).error().code,
              Code::kNoSpace);
    EXPECT_TRUE(rig.run((*witness)->consensus_journal().append({{1, 2, 3}})).has_value());
}

TEST_F(StoreTest, ReturnsTheBytesOfAFragment) {
    ASSERT_TRUE(put(fragment(1, 10), 5, 40).has_value());
    for (int round = 0; round < 2; ++round, remount()) {
        auto const all = read(fragment(1, 10), 0, 40 * k_block_bytes);
        ASSERT_TRUE(all.has_value()) << all.error().to_string();
        EXPECT_TRUE(std::ranges::equal(all->data.flatten().bytes(), pattern(5, 40).bytes()));
        EXPECT_EQ(all->block_crcs, crcs_of(pattern(5, 40)));
        auto const part = read(fragment(1, 10), 8192, 4096);
        ASSERT_TRUE(part.has_value());
        EXPECT_TRUE(std::ranges::equal(part->data.flatten().bytes(), pattern(5, 40).bytes().subspan(8192, 4096)));
        auto const header = rig.run(store->read_fragment_header(fragment(1, 10), IoClass::kClient));
        ASSERT_TRUE(header.has_value());
        EXPECT_EQ(header->k, 4);
        EXPECT_EQ(header->chunk_data_bytes, 40 * k_block_bytes * 4);
        EXPECT_EQ(header->map_epoch, MapEpoch(3));
        EXPECT_EQ(header->opaque, (std::vector<u8>{1, 2, 3}));
    }
    EXPECT_EQ(read(fragment(1, 11), 0, 4096).error().code, Code::kUnknown);
    EXPECT_EQ(read(fragment(1, 10), 40 * k_block_bytes, 4096).error().code, Code::kInvalid);
    EXPECT_EQ(read(fragment(1, 10), 1, 4096).error().code, Code::kInvalid);
}

TEST_F(StoreTest, AnIdHasOneContent) {
    ASSERT_TRUE(put(fragment(1, 1), 1, 3).has_value());
    u64 const seq = store->durable_seq();
    EXPECT_TRUE(put(fragment(1, 1), 1, 3).has_value());
    EXPECT_EQ(store->durable_seq(), seq) << "the same again changes nothing";
    EXPECT_EQ(put(fragment(1, 1), 2, 3).error().code, Code::kExists);
    EXPECT_EQ(put(fragment(1, 1), 1, 2).error().code, Code::kExists);
    EXPECT_TRUE(put(fragment(1, 1, 1), 2, 3).has_value()) << "another position is another fragment";
    Buffer const data = pattern(3, 2);
    auto wrong = crcs_of(data);
    wrong[1] ^= 1;
    EXPECT_EQ(rig.run(store->put_fragment(fragment(1, 2), {}, data, wrong, {})).error().code, Code::kCorrupt);
    EXPECT_FALSE(store->fragment_info(fragment(1, 2)).has_value());
}

// The place of a fragment that is being read may be another's before the read comes back.
TEST_F(StoreTest, AReadThatIsOvertakenIsNotTakenForDamage) {
    for (bool const removed : {true, false}) {
        FragmentId const id = fragment(1, removed ? 1 : 2);
        ASSERT_TRUE(put(id, 1, 15).has_value());
        ASSERT_TRUE(read(id, 0, 4096).has_value());
        media.hold_reads(k_data_offset, k_data_end);
        std::optional<Result<FragmentData>> late;
        rig.scope.spawn(
            detail::store_result<Result<FragmentData>>(store->read_fragment(id, 4096, 4096, {}), &late));
        rig.settle();
        PutOptions repair;
        repair.repair = true;
        if (removed)
            ASSERT_TRUE(rig.run(store->remove_fragment(id)).has_value());
        else
            ASSERT_TRUE(put(id, 1, 15, repair).has_value());
        u64 n = removed ? 1000 : 5000;
        while (put(fragment(7, ++n), 100, 15)) {
        }
        media.release();
        rig.settle();
        ASSERT_TRUE(late.has_value() && !late->has_value());
        EXPECT_EQ(late->error().code, removed ? Code::kUnknown : Code::kUnavailable);
        EXPECT_EQ(store->telemetry().corrupt_blocks, 0U);
        for (const FragmentInfo& info : store->list_fragments(std::nullopt, 10'000))
            if (info.id.chunk.space == SpaceId(7))
                ASSERT_TRUE(rig.run(store->remove_fragment(info.id)).has_value());
    }
}

TEST_F(StoreTest, ListsInOrderAndDigestsAgree) {
    for (u64 i = 0; i < 30; ++i) ASSERT_TRUE(put(fragment(1 + i % 3, 1000 - i), i, 1).has_value());
    ASSERT_TRUE(rig.run(store->remove_fragment(fragment(1, 1000))).has_value());
    EXPECT_EQ(rig.run(store->remove_fragment(fragment(1, 1000))).error().code, Code::kUnknown);
    std::vector<FragmentInfo> all;
    for (std::optional<FragmentId> after;;) {
        auto const some = store->list_fragments(after, 7);
        if (some.empty()) break;
        all.insert(all.end(), some.begin(), some.end());
        after = some.back().id;
    }
    EXPECT_EQ(all.size(), 29U);
    EXPECT_TRUE(std::ranges::is_sorted(all, {}, &FragmentInfo::id));
    FragmentDigest sum;
    for (usize b = 0; b < Store::k_digest_buckets; ++b) {
        sum.count += store->digest_bucket(b).count;
        sum.sum += store->digest_bucket(b).sum;
    }
    EXPECT_EQ(sum, store->digest_if([](const FragmentId&) { return true; }));
    EXPECT_EQ(store->digest_if([](const FragmentId& id) { return id.chunk.space == SpaceId(2); }).count, 10U);
}

TEST_F(StoreTest, QuarantineIsRemembered) {
    ASSERT_TRUE(put(fragment(1, 1), 1, 1).has_value());
    ASSERT_TRUE(rig.run(store->set_quarantine(fragment(1, 1), true)).has_value());
    remount();
    EXPECT_TRUE(store->fragment_info(fragment(1, 1))->quarantined);
    ASSERT_TRUE(rig.run(store->set_quarantine(fragment(1, 1), false)).has_value());
    EXPECT_FALSE(store->fragment_info(fragment(1, 1))->quarantined);
    EXPECT_EQ(rig.run(store->set_quarantine(fragment(9, 9), true)).error().code, Code::kUnknown);
}

TEST_F(StoreTest, NotesAreKept) {
    EXPECT_FALSE(store->note("map").has_value());
    ASSERT_TRUE(rig.run(store->put_note("map", {1, 2})).has_value());
    ASSERT_TRUE(rig.run(store->put_note("peers", {3})).has_value());
    ASSERT_TRUE(rig.run(store->put_note("map", {4, 5, 6})).has_value());
    remount();
    EXPECT_EQ(store->note("map"), (std::vector<u8>{4, 5, 6}));
    ASSERT_TRUE(rig.run(store->put_note("peers", {})).has_value());
    remount();
    EXPECT_FALSE(store->note("peers").has_value());
    EXPECT_EQ(rig.run(store->put_note("", {1})).error().code, Code::kInvalid);
    Result<void> last;
    for (int i = 0; i < 100 && last; ++i)
        last = rig.run(store->put_note("n" + std::to_string(i), std::vector<u8>(4000, 1)));
    EXPECT_EQ(last.error().code, Code::kNoSpace) << "notes have a bound";
}

TEST_F(StoreTest, FullIsNotBroken) {
    u64 n = 0;
    Result<void> last;
    while ((last = put(fragment(1, ++n), 1, 15))) {
    }
    ASSERT_EQ(last.error().code, Code::kNoSpace);
    SpaceUse const use = store->space();
    EXPECT_LT(use.client_free_bytes(), k_unit_bytes * 2);
    EXPECT_GE(use.capacity_bytes - use.used_bytes, use.system_reserve_bytes);
    EXPECT_EQ(prepare(segment(1, 1)).error().code, Code::kNoSpace);
    PutOptions system;
    system.space = SpaceClass::kPacking;
    EXPECT_TRUE(put(fragment(1, ++n), 1, 15, system).has_value()) << "healing goes on";
    while (put(fragment(1, ++n), 1, 15, system)) {
    }
    EXPECT_TRUE(read(fragment(1, 1), 0, 4096).has_value());
    EXPECT_TRUE(rig.run(store->remove_fragment(fragment(1, 1))).has_value());
    EXPECT_TRUE(put(fragment(1, ++n), 1, 15, system).has_value());
    PutOptions checkpoint;
    checkpoint.space = SpaceClass::kCheckpoint;
    EXPECT_TRUE(put(fragment(1, ++n), 1, 15, checkpoint).has_value()) << "what frees space has the last of it";
    remount();
    EXPECT_TRUE(read(fragment(1, 2), 0, 4096).has_value());
}

TEST_F(StoreTest, ReservationsHoldSpaceForTheirOwners) {
    SpaceUse const before = store->space();
    u64 const most = before.client_free_bytes() / k_unit_bytes;
    {
        auto held = store->reserve((most - 1) * k_unit_bytes, SpaceClass::kClient);
        ASSERT_TRUE(held.has_value());
        EXPECT_EQ(store->reserve(2 * k_unit_bytes, SpaceClass::kClient).error().code, Code::kNoSpace);
        EXPECT_TRUE(put(fragment(1, 1), 1, 15).has_value());
        EXPECT_EQ(put(fragment(1, 2), 1, 15).error().code, Code::kNoSpace);
        PutOptions promised;
        promised.reservation = &*held;
        EXPECT_TRUE(put(fragment(1, 2), 1, 15, promised).has_value());
        EXPECT_EQ(held->bytes(), (most - 2) * k_unit_bytes);
    }
    EXPECT_EQ(store->space().reserved_bytes, 0U);
    ASSERT_TRUE(prepare(segment(5, 1), 64 * k_kib, 128 * k_kib).has_value());
    EXPECT_EQ(store->space().reserved_bytes, 128 * k_kib);
    PutOptions packed;
    packed.reserved_by = segment(5, 1);
    EXPECT_TRUE(put(fragment(5, 9), 1, 15, packed).has_value());
    EXPECT_EQ(store->space().reserved_bytes, 64 * k_kib);
    remount();
    EXPECT_EQ(store->space().reserved_bytes, 128 * k_kib) << "what was used is not remembered: careful, not wrong";
    ASSERT_TRUE(rig.run(store->drop_segment(segment(5, 1))).has_value());
    EXPECT_EQ(store->space().reserved_bytes, 0U);
}

TEST_F(StoreTest, ScatteredSpaceIsUsedToo) {
    u64 n = 0;
    while (put(fragment(1, ++n), 1, 15)) {
    }
    for (u64 i = 1; i < n; i += 2) ASSERT_TRUE(rig.run(store->remove_fragment(fragment(1, i))).has_value());
    ASSERT_TRUE(put(fragment(2, 1), 77, 100).has_value());
    SegmentId const id = segment(3, 1);
    ASSERT_TRUE(prepare(id, 512 * k_kib).has_value());
    ASSERT_TRUE(write(id, 0, 5, 128).has_value());
    remount();
    auto const data = read(fragment(2, 1), 0, 100 * k_block_bytes);
    ASSERT_TRUE(data.has_value()) << data.error().to_string();
    EXPECT_TRUE(std::ranges::equal(data->data.flatten().bytes(), pattern(77, 100).bytes()));
    auto const log = rig.run(store->read_segment(id, 0, 512 * k_kib, IoClass::kClient));
    EXPECT_TRUE(std::ranges::equal(log->flatten().bytes(), pattern(5, 128).bytes()));
}

TEST_F(StoreTest, TheConsensusJournalIsTheConsensusCoresOwn) {
    Journal& log = store->consensus_journal();
    for (u8 i = 1; i <= 5; ++i) EXPECT_EQ(*rig.run(log.append({{i}})), i);
    ASSERT_TRUE(rig.run(log.snapshot(3, {9, 9})).has_value());
    remount();
    std::vector<u64> numbers;
    u64 through = 0;
    store->consensus_journal().replay(
        [&](u64 upto, Bytes state) {
            through = upto;
            EXPECT_EQ(state.size(), 2U);
        },
        [&](u64 number, Bytes record) {
            numbers.push_back(number);
            EXPECT_EQ(record[0], number);
        });
    EXPECT_EQ(through, 3U);
    EXPECT_EQ(numbers, (std::vector<u64>{4, 5}));
    EXPECT_EQ(*rig.run(store->consensus_journal().append({{6}})), 6U);
}

TEST_F(StoreTest, DroppingTheCallerStopsNothingHalfWay) {
    media.set_latency(Prng(5), 30);
    {
        Scope caller(rig.executor);
        std::optional<Result<void>> never;
        Buffer const data = pattern(6, 20);
        caller.spawn(detail::store_result<Result<void>>(
            store->put_fragment(fragment(1, 1), {}, data, crcs_of(data), {}), &never));
        rig.executor.run_ready(40);
        EXPECT_FALSE(never.has_value());
    }
    rig.settle();
    EXPECT_TRUE(read(fragment(1, 1), 0, 20 * k_block_bytes).has_value());
}

TEST_F(StoreTest, CloseWaitsForWhatIsUnderWay) {
    media.set_latency(Prng(5), 30);
    std::optional<Result<void>> done;
    Buffer const data = pattern(6, 20);
    rig.scope.spawn(detail::store_result<Result<void>>(
        store->put_fragment(fragment(1, 1), {}, data, crcs_of(data), {}), &done));
    rig.executor.run_ready(10);
    rig.run(store->close());
    EXPECT_TRUE(done.has_value() && done->has_value());
    EXPECT_EQ(put(fragment(1, 2), 1, 1).error().code, Code::kShutdown);
}

}  // namespace
}  // namespace corelet
