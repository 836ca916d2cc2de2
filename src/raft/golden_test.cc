// The bytes of the consensus journal's records and of messages, for ever (docs/format/consensus.md).
#include <gtest/gtest.h>

#include "base/golden_testing.h"
#include "raft/codec.h"

namespace corelet::raft {
namespace {

using corelet::testing::from_golden;
using corelet::testing::golden;

Configuration some_voters() {
    Configuration configuration;
    configuration.voters = {CoreletId(0x11), CoreletId(0x22), CoreletId(0x33)};
    configuration.learners = {CoreletId(0x44)};
    return configuration;
}

std::vector<Entry> some_entries() {
    return {make_entry({Term(2), 7}, EntryKind::kBarrier, {}),
            make_entry({Term(2), 8}, EntryKind::kConfiguration, encode_configuration(some_voters())),
            make_entry({Term(3), 9}, EntryKind::kCommand, Payload("command"))};
}

TEST(RaftGolden, JournalRecord) {
    constexpr std::string_view k_bytes =
        "0a13080311220000 0000000000180822 040802100512380a 040801100612240a 1811000000000000 0022000000000000 "
        "0033000000000000 0012084400000000 0000001a05737461 746525f490032d18 0120042807320b08 02100718022dbaa5 "
        "7f43323108021008 180322240a181100 0000000000002200 0000000000003300 0000000000001208 4400000000000000 "
        "2d32cc9415321408 0310091801220763 6f6d6d616e642dcf 3655a3";
    Persist batch;
    batch.hard_state = {Term(3), CoreletId(0x22), 8, {Term(2), 5}};
    batch.snapshot = make_snapshot({Term(1), 6}, some_voters(), Payload("state"));
    batch.reset_log = true;
    batch.compact_to = 4;
    batch.truncate_from = 7;
    batch.entries = some_entries();
    EXPECT_EQ(golden(as_bytes(encode(batch))), k_bytes);
    auto const read = decode_persist(from_golden(k_bytes));
    ASSERT_TRUE(read) << read.error().to_string();
    EXPECT_EQ(read->hard_state, batch.hard_state);
    ASSERT_TRUE(read->snapshot);
    EXPECT_EQ(read->snapshot->configuration, some_voters());
    EXPECT_EQ(read->snapshot->state.text(), "state");
    EXPECT_EQ(golden(as_bytes(encode(*read))), k_bytes);
    EXPECT_EQ(decode_configuration(read->entries.at(1).data).value(), some_voters());
}

// One of each kind of message; a new kind belongs here too.
TEST(RaftGolden, Messages) {
    Position const at{Term(2), 8};
    std::vector<std::pair<Body, std::string_view>> const kinds{
        {PreVote{Term(4), at}, "0911000000000000 0011220000000000 0000180352080804 120408021008"},
        {PreVoteResponse{Term(4), true}, "0911000000000000 0011220000000000 000018035a040804 1001"},
        {Vote{at, true}, "0911000000000000 0011220000000000 0000180362080a04 080210081001"},
        {VoteResponse{true}, "0911000000000000 0011220000000000 000018036a020801"},
        {Append{{Term(1), 6}, some_entries(), 5, 12},
         "0911000000000000 0011220000000000 0000180372600a04 08011006120b0802 100718022dbaa57f 4312310802100818 "
         "0322240a18110000 0000000000220000 0000000000330000 0000000000120844 000000000000002d 32cc941512140803 "
         "100918012207636f 6d6d616e642dcf36 55a31805200c"},
        {AppendResponse{true, true, 9, 0, {}}, "0911000000000000 0011220000000000 000018037a080801 100118092a00"},
        {Heartbeat{77}, "0911000000000000 0011220000000000 0000180382010208 4d"},
        {HeartbeatResponse{77, true, 8}, "0911000000000000 0011220000000000 000018038a010608 4d10011808"},
        {SnapshotChunk{at, some_voters(), 100, 0x01020304, 50, Payload("part"), true},
         "0911000000000000 0011220000000000 0000180392013d0a 040802100812240a 1811000000000000 0022000000000000 "
         "0033000000000000 0012084400000000 0000001864250403 0201283232047061 72743801"},
        {SnapshotResponse{at, 54, true}, "0911000000000000 0011220000000000 000018039a010a0a 0408021008103618 01"},
        {TimeoutNow{}, "0911000000000000 0011220000000000 00001803a20100"},
        {ReadRequest{0x2122232425262728, 6},
         "0911000000000000 0011220000000000 00001803aa010b09 2827262524232221 1006"},
        {ReadResponse{0x2122232425262728, 6, true, 9},
         "0911000000000000 0011220000000000 00001803b2010f09 2827262524232221 100618012009"},
        {RepairRequest{{Term(1), 6}, at},
         "0911000000000000 0011220000000000 00001803ba010c0a 0408011006120408 021008"},
        {RepairResponse{{Term(1), 6}, {Term(3), 9}, false, some_voters(), some_entries()},
         "0911000000000000 0011220000000000 00001803c2018801 0a04080110061204 0803100922240a18 1100000000000000 "
         "2200000000000000 3300000000000000 1208440000000000 00002a0b08021007 18022dbaa57f432a 3108021008180322 "
         "240a181100000000 0000002200000000 0000003300000000 0000001208440000 00000000002d32cc 94152a1408031009 "
         "18012207636f6d6d 616e642dcf3655a3"},
    };
    EXPECT_EQ(kinds.size(), std::variant_size_v<Body>);
    for (const auto& [body, bytes] : kinds) {
        Message const message{CoreletId(0x11), CoreletId(0x22), Term(3), body};
        EXPECT_EQ(golden(as_bytes(encode(message))), bytes) << body_name(body);
        auto const read = decode_message(from_golden(bytes));
        ASSERT_TRUE(read) << body_name(body) << ": " << read.error().to_string();
        EXPECT_EQ(golden(as_bytes(encode(*read))), bytes) << body_name(body);
    }
}

}  // namespace
}  // namespace corelet::raft
