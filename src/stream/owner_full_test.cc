// The owner's core when a replica has no room left.
#include <gmock/gmock.h>

#include "stream/owner_core.h"

namespace corelet {
namespace {

constexpr SpaceId k_space{1};
constexpr Instant k_now{1'000'000'000};

LogSegment segment(u64 seq) {
    return LogSegment{SegmentId{k_space, seq}, seq * 7, {CoreletId(1), CoreletId(2)}};
}

LogEntry entry(u8 meta, usize blocks) {
    LogEntry out;
    out.meta = {meta};
    if (blocks == 0) return out;
    out.blocks = BufferChain(Buffer::zeroed(blocks * k_block_bytes));
    out.crcs.assign(blocks, 0);
    return out;
}

template <class Effect>
std::vector<Effect> all_of(const OwnerEffects& effects) {
    std::vector<Effect> out;
    for (const OwnerEffect& effect : effects)
        if (auto const* one = std::get_if<Effect>(&effect)) out.push_back(*one);
    return out;
}

OwnerCore core_with_standby() {
    OwnerStart start;
    start.space = k_space;
    start.epoch = Epoch(1);
    start.open = segment(10);
    start.standbys = {segment(11)};
    return OwnerCore(std::move(start), OwnerOptions{}, k_now);
}

TEST(OwnerFull, RefusesWhatClientsWroteAndGoesOnWithTheRest) {
    OwnerCore core = core_with_standby();
    core.submit(1, entry(1, 4), k_now, true);
    core.submit(2, entry(2, 0), k_now);  // a trim
    OwnerEffects effects;
    core.flush(k_now, effects);
    ASSERT_EQ(all_of<owner_effect::SendRecord>(effects).size(), 2U);
    effects.clear();
    core.failed(SegmentId{k_space, 10}, CoreletId(2), Error{Code::kNoSpace, false, 0, "full"}, k_now, effects);
    auto const refused = all_of<owner_effect::Refused>(effects);
    ASSERT_EQ(refused.size(), 1U);
    EXPECT_EQ(refused[0].request, 1U);
    auto const sent = all_of<owner_effect::SendRecord>(effects);
    ASSERT_EQ(sent.size(), 2U);
    EXPECT_EQ(sent[0].segment.seq, 11U);
    EXPECT_FALSE(core.is_stuck());
    // It is the first record of its segment, of the same number, and bears the trim alone.
    auto const record = decode_record(sent[0].bytes.flatten(), sent[0].segment, 11 * 7, 0);
    ASSERT_TRUE(record) << record.error().to_string();
    EXPECT_FALSE(record->header.client_data);
    ASSERT_EQ(record->entries.size(), 1U);
    EXPECT_EQ(record->entries[0].meta, std::vector<u8>{2});
    effects.clear();
    for (CoreletId id : {CoreletId(1), CoreletId(2)})
        core.appended(sent[0].segment, id, sent[0].number, k_now, effects);
    auto const done = all_of<owner_effect::Acknowledge>(effects);
    ASSERT_EQ(done.size(), 1U);
    EXPECT_EQ(done[0].request, 2U);
}

TEST(OwnerFull, AnyOtherFailureRefusesNothing) {
    OwnerCore core = core_with_standby();
    core.submit(1, entry(1, 4), k_now, true);
    OwnerEffects effects;
    core.flush(k_now, effects);
    effects.clear();
    core.failed(SegmentId{k_space, 10}, CoreletId(2), Error{Code::kReset, false, 0, "gone"}, k_now, effects);
    EXPECT_TRUE(all_of<owner_effect::Refused>(effects).empty());
    EXPECT_TRUE(core.is_stuck());  // the standby needs the one that is gone
    core.standby_listed(LogSegment{SegmentId{k_space, 12}, 5, {CoreletId(1), CoreletId(3)}}, k_now, effects);
    auto const sent = all_of<owner_effect::SendRecord>(effects);
    ASSERT_EQ(sent.size(), 2U);
    auto const record = decode_header(sent[0].bytes.flatten(), sent[0].segment, 5, 0);
    ASSERT_TRUE(record);
    EXPECT_TRUE(record->client_data);
}

}  // namespace
}  // namespace corelet
