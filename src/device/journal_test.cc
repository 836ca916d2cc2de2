#include "device/journal.h"

#include <gtest/gtest.h>

#include "base/hash.h"
#include "device/device_testing.h"
#include "device/journal_core.h"

namespace corelet {
namespace {

using namespace corelet::testing;

JournalArea area() {
    JournalArea a;
    a.half_offset = {64 * k_kib, 320 * k_kib};
    a.half_bytes = 256 * k_kib;
    a.ring_offset = 1 * k_mib;
    a.key = 0x1234;
    return a;
}

Journal::Record record(u64 number, u64 bytes = 100) {
    Journal::Record out(bytes);
    for (u64 i = 0; i < bytes; ++i) out[i] = static_cast<u8>(hash64(number, i));
    return out;
}

// A journal on a device of its own; what it holds is mirrored here.
class JournalTest : public ::testing::Test {
  protected:
    JournalTest() {
        DeviceIo formatting(media.open(), rig.clock, 4);
        EXPECT_TRUE(rig.run(format_journal(&formatting, area())).has_value());
        open();
    }
    void open() {
        journal.reset();
        io.reset();
        io = std::make_unique<DeviceIo>(media.open(), rig.clock, 4);
        journal = std::make_unique<Journal>(std::make_unique<JournalCore>(*io, area(), rig.executor));
        rig.run(journal->core().recover({}, true));
        EXPECT_TRUE(rig.run(journal->core().start(++session)).has_value());
        state.clear();
        through = 0;
        records.clear();
        journal->replay(
            [&](u64 upto, Bytes bytes) {
                through = upto;
                state.assign(bytes.begin(), bytes.end());
            },
            [&](u64 number, Bytes bytes) { records[number].assign(bytes.begin(), bytes.end()); });
    }
    void reopen() {
        journal.reset();
        media.kill();
        open();
    }
    u64 append(u64 bytes = 100) {
        auto const number = rig.run(journal->append({record(journal->submitted_number() + 1, bytes)}));
        EXPECT_TRUE(number.has_value()) << number.error().to_string();
        return number.value_or(0);
    }
    // All records from `first` to `last` are there with their bytes, and no others.
    void expect_records(u64 first, u64 last) {
        EXPECT_EQ(records.size(), last + 1 - first);
        for (const auto& [number, bytes] : records) EXPECT_EQ(bytes, record(number, bytes.size())) << number;
        if (!records.empty()) {
            EXPECT_EQ(records.begin()->first, first);
            EXPECT_EQ(records.rbegin()->first, last);
        }
    }
    // Where batch n (from 0, one block each) lies in the first half.
    static u64 batch_offset(u64 n) { return area().half_offset[0] + (1 + n) * k_block_bytes; }
    static u64 ring_slot(u64 batch) { return area().ring_offset + batch % k_ring_slots * k_block_bytes; }

    Rig rig;
    FakeMedia media{2 * k_mib};
    u64 session = 0;
    std::unique_ptr<DeviceIo> io;
    std::unique_ptr<Journal> journal;
    std::map<u64, Journal::Record> records;
    Journal::Record state;
    u64 through = 0;
};

TEST_F(JournalTest, GivesBackWhatWasAppendedInOrder) {
    EXPECT_TRUE(records.empty());
    for (u64 i = 1; i <= 20; ++i) EXPECT_EQ(append(i * 37), i);
    reopen();
    EXPECT_EQ(journal->report().condition, JournalCondition::kClean) << journal->report().what;
    expect_records(1, 20);
    EXPECT_EQ(append(), 21U);
    reopen();
    expect_records(1, 21);
}

TEST_F(JournalTest, AppendsThatComeTogetherShareABatch) {
    u64 const before = media.writes();
    std::vector<Task<Result<u64>>> many;
    for (u64 i = 1; i <= 50; ++i) many.push_back(journal->append({record(i)}));
    auto const done = rig.run(join_all(std::move(many)));
    for (u64 i = 0; i < 50; ++i) EXPECT_EQ(*done[i], i + 1);
    EXPECT_LE(media.writes() - before, 4U) << "a batch and its identifier, perhaps twice";
    reopen();
    expect_records(1, 50);
}

TEST_F(JournalTest, ASnapshotReplacesWhatItCoversAndKeepsTheRest) {
    for (u64 i = 1; i <= 10; ++i) append();
    ASSERT_TRUE(rig.run(journal->snapshot(7, record(1007, 5000))).has_value());
    append();
    reopen();
    EXPECT_EQ(through, 7U);
    EXPECT_EQ(state, record(1007, 5000));
    expect_records(8, 11);
    EXPECT_EQ(rig.run(journal->snapshot(6, {})).error().code, Code::kInvalid) << "never backward";
    EXPECT_EQ(rig.run(journal->snapshot(12, {})).error().code, Code::kInvalid) << "not beyond what is durable";
    ASSERT_TRUE(rig.run(journal->snapshot(11, record(1011, 10))).has_value());
    reopen();
    EXPECT_EQ(through, 11U);
    expect_records(12, 11);
}

TEST_F(JournalTest, FullUntilASnapshot) {
    Result<u64> last = 0;
    u64 count = 0;
    while ((last = rig.run(journal->append({record(count + 1, 3000)})))) ++count;
    EXPECT_EQ(last.error().code, Code::kNoSpace);
    EXPECT_TRUE(journal->wants_snapshot());
    EXPECT_GT(count, 40U);
    ASSERT_TRUE(rig.run(journal->snapshot(count, record(9, 9))).has_value());
    EXPECT_FALSE(journal->wants_snapshot());
    append();
    reopen();
    EXPECT_EQ(through, count);
    expect_records(count + 1, count + 1);
    EXPECT_EQ(rig.run(journal->append({record(1, 200 * k_kib)})).error().code, Code::kInvalid);
    EXPECT_EQ(rig.run(journal->snapshot(count, record(1, 200 * k_kib))).error().code, Code::kNoSpace);
}

TEST_F(JournalTest, AppendsGoOnDuringASnapshot) {
    media.set_latency(Prng(9), 8);
    rig.shuffle();
    u64 number = 0;
    for (u32 round = 0; round < 30; ++round) {
        std::vector<Task<Result<u64>>> work;
        for (u32 i = 0; i < 12; ++i) work.push_back(journal->append({record(++number, 50)}));
        std::optional<Result<void>> snapshot;
        rig.scope.spawn(detail::store_result<Result<void>>(
            journal->snapshot(journal->durable_number() - std::min<u64>(journal->durable_number(), round % 4),
                              record(round, 300)),
            &snapshot));
        // Coroutines may begin in any order: the records' bytes follow the numbers they got.
        for (const auto& result : rig.run(join_all(std::move(work)))) EXPECT_TRUE(result.has_value());
        rig.settle();
        ASSERT_TRUE(snapshot.has_value());
    }
    u64 const last = journal->durable_number();
    EXPECT_EQ(last, number);
    reopen();
    EXPECT_FALSE(journal->is_rotten()) << journal->report().what;
    EXPECT_EQ(through + records.size(), last);
}

TEST_F(JournalTest, ATornTailIsCutAndARottenOneIsNamed) {
    for (u64 i = 1; i <= 6; ++i) append();
    FakeMedia::Image const whole = [&] {
        media.kill();
        return media.image();
    }();
    // The last batch damaged, its identifier not there: torn.
    media.fill(batch_offset(5) + 80, 10, 0xEE);
    media.fill(ring_slot(6), k_block_bytes, 0);
    open();
    EXPECT_EQ(journal->report().condition, JournalCondition::kTorn);
    EXPECT_EQ(journal->report().device_offset, batch_offset(5));
    expect_records(1, 5);
    EXPECT_EQ(append(), 6U) << "the number is used again: nobody was told of it";
    reopen();
    EXPECT_EQ(journal->report().condition, JournalCondition::kClean);
    expect_records(1, 6);
    // The same damage with the identifier standing: it was promised.
    media.restore(whole);
    media.fill(batch_offset(5) + 80, 10, 0xEE);
    open();
    EXPECT_EQ(journal->report().condition, JournalCondition::kRotten);
    EXPECT_EQ(journal->report().device_offset, batch_offset(5));
    EXPECT_EQ(journal->report().record, 5U);
    EXPECT_EQ(journal->report().promised, 6U);
    expect_records(1, 5);
    EXPECT_EQ(rig.run(journal->append({record(1)})).error().code, Code::kForgotten);
    EXPECT_EQ(rig.run(journal->snapshot(3, {})).error().code, Code::kForgotten);
    // A good batch whose identifier is gone was durable: it counts, and is a promise from then on.
    media.restore(whole);
    media.fill(ring_slot(6), k_block_bytes, 0);
    open();
    EXPECT_EQ(journal->report().condition, JournalCondition::kClean);
    expect_records(1, 6);
    journal.reset();
    media.kill();
    media.fill(batch_offset(5), k_block_bytes, 0);
    open();
    EXPECT_EQ(journal->report().condition, JournalCondition::kRotten);
}

TEST_F(JournalTest, ALostWriteIsRot) {
    append();
    // The device answers and does not write the batch; its identifier arrives.
    media.kill();
    auto const before = media.image();
    open();
    append();
    media.kill();
    auto image = media.image();
    u64 const page = batch_offset(1) / k_block_bytes;
    image.erase(page);
    if (auto const old = before.find(page); old != before.end()) image[page] = old->second;
    media.restore(image);
    open();
    EXPECT_TRUE(journal->is_rotten());
    expect_records(1, 1);
}

TEST_F(JournalTest, AnOlderLogUnderNewerIdentifiersIsRot) {
    append();
    media.kill();
    auto const old = media.image();
    open();
    for (int i = 0; i < 3; ++i) append();
    media.kill();
    auto image = media.image();
    for (u64 offset = area().half_offset[0]; offset < area().ring_offset; offset += k_block_bytes) {
        auto const at = old.find(offset / k_block_bytes);
        if (at == old.end())
            image.erase(offset / k_block_bytes);
        else
            image[at->first] = at->second;
    }
    media.restore(image);
    open();
    EXPECT_TRUE(journal->is_rotten());
}

// Every block that holds anything, damaged in each of these ways: never wrong records, and what was promised is
// either there or said to be rotten.
TEST_F(JournalTest, AnyDamageIsFound) {
    for (u64 i = 1; i <= 8; ++i) append(i * 700);
    ASSERT_TRUE(rig.run(journal->snapshot(5, record(1005, 6000))).has_value());
    for (u64 i = 9; i <= 12; ++i) append(2000);
    journal.reset();
    media.kill();
    auto const whole = media.image();
    u64 rotten = 0, harmless = 0;
    for (u64 const block : media.used_blocks()) {
        for (u64 const byte :
             {u64{0}, u64{9}, u64{17}, u64{30}, u64{60}, u64{70}, u64{500}, u64{3000}, k_block_bytes - 4}) {
            media.restore(whole);
            media.flip_bit(block * k_block_bytes + byte, static_cast<u32>(byte % 8));
            open();
            for (const auto& [number, bytes] : records) ASSERT_EQ(bytes, record(number, bytes.size()));
            if (through != 0) ASSERT_TRUE((through == 5 && state == record(1005, 6000)));
            bool const complete = through + records.size() >= 12;
            ASSERT_TRUE(complete || journal->is_rotten()) << "block " << block << " byte " << byte;
            (journal->is_rotten() ? rotten : harmless) += 1;
            journal.reset();
            media.kill();
        }
        media.restore(whole);
        media.make_unreadable(block * k_block_bytes);
        open();
        ASSERT_TRUE(through + records.size() >= 12 || journal->is_rotten()) << "block " << block;
        journal.reset();
        media = FakeMedia(2 * k_mib);
    }
    EXPECT_GT(rotten, 20U);
    EXPECT_GT(harmless, 20U);
}

TEST_F(JournalTest, ARottenJournalStartsAnewFromWhatOthersKnow) {
    for (u64 i = 1; i <= 4; ++i) append();
    journal.reset();
    media.kill();
    media.fill(batch_offset(2), 100, 1);
    open();
    ASSERT_TRUE(journal->is_rotten());
    EXPECT_EQ(journal->durable_number(), 2U);
    ASSERT_TRUE(rig.run(journal->restart(record(77, 500))).has_value());
    EXPECT_FALSE(journal->is_rotten());
    EXPECT_EQ(append(), 5U) << "above all that was promised";
    for (int round = 0; round < 2; ++round) {
        reopen();
        ASSERT_FALSE(journal->is_rotten()) << journal->report().what;
        EXPECT_EQ(through, 4U);
        EXPECT_EQ(state, record(77, 500));
        expect_records(5, 5 + static_cast<u64>(round));
        append();
    }
}

// What was promised is known from the identifier, though the records that promised it have rotted.
TEST_F(JournalTest, AMemoOutlivesItsRecords) {
    auto const append_with = [&](std::vector<u8> memo) {
        EXPECT_TRUE(
            rig.run(journal->append({record(journal->submitted_number() + 1)}, std::move(memo))).has_value());
    };
    append_with({1, 2, 3});
    append_with({4, 5});
    append();  // says nothing of its own: what was promised before still is
    reopen();
    EXPECT_EQ(journal->report().memo, (std::vector<u8>{4, 5}));
    append_with({6});
    append_with({7});
    journal.reset();
    media.kill();
    media.fill(batch_offset(3), 100, 1);
    open();
    ASSERT_TRUE(journal->is_rotten());
    EXPECT_EQ(journal->report().record, 3U);
    EXPECT_EQ(journal->report().promised, 5U);
    EXPECT_EQ(journal->report().memo, (std::vector<u8>{7}));
    ASSERT_TRUE(rig.run(journal->restart({})).has_value());
    append();
    reopen();
    EXPECT_EQ(journal->report().memo, std::vector<u8>{}) << "of the former life nothing is said any more";
}

// A batch that was durable and whose identifier was not is relied upon after the mount; an older memo would say too
// little.
TEST_F(JournalTest, AMemoIsNeverOlderThanItsIdentifier) {
    EXPECT_TRUE(rig.run(journal->append({record(1)}, {1})).has_value());
    EXPECT_TRUE(rig.run(journal->append({record(2)}, {2})).has_value());
    journal.reset();
    media.kill();
    media.fill(ring_slot(2), k_block_bytes, 0);
    open();
    expect_records(1, 2);
    reopen();
    EXPECT_EQ(journal->report().promised, 2U);
    EXPECT_EQ(journal->report().memo, std::vector<u8>{});
}

TEST_F(JournalTest, AFailedWriteIsFinal) {
    append();
    media.fail_next_write();
    EXPECT_EQ(rig.run(journal->append({record(2)})).error().code, Code::kIo);
    EXPECT_TRUE(io->is_failing());
    EXPECT_EQ(rig.run(journal->append({record(2)})).error().code, Code::kIo);
    EXPECT_EQ(rig.run(journal->snapshot(1, {})).error().code, Code::kIo);
    EXPECT_EQ(media.writes_after_failure(), 0U);
}

// Batches of an earlier mount that lie beyond a cut never follow the new ones.
TEST_F(JournalTest, LeftoversOfAnotherSessionDoNotParse) {
    // The first pass over each half writes zeros ahead; the third is over what was there before.
    for (int pass = 0; pass < 2; ++pass) ASSERT_TRUE(rig.run(journal->snapshot(0, {})).has_value());
    for (u64 i = 1; i <= 5; ++i) append();
    journal.reset();
    media.kill();
    // Batches 3 to 5 lose their identifiers, 3 is torn: cut at 3, with good 4 and 5 behind.
    for (u64 b = 3; b <= 5; ++b) media.fill(ring_slot(b), k_block_bytes, 0);
    auto const third = media.bytes(batch_offset(2), k_block_bytes);
    media.fill(batch_offset(2) + 100, 4, 0x55);
    open();
    expect_records(1, 2);
    // The very same record goes to the very same place.
    append();
    reopen();
    expect_records(1, 3);
    EXPECT_EQ(journal->report().condition, JournalCondition::kTorn) << "the old fourth batch still lies behind";
    EXPECT_NE(media.bytes(batch_offset(2), k_block_bytes), third) << "another session, another batch";
}

TEST_F(JournalTest, ReplayGivesItsMemoryBackOnce) {
    append();
    reopen();
    EXPECT_EQ(records.size(), 1U);
    u64 again = 0;
    journal->replay([&](u64, Bytes) { ++again; }, [&](u64, Bytes) { ++again; });
    EXPECT_EQ(again, 0U);
}

}  // namespace
}  // namespace corelet
