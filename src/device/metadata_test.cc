#include "device/metadata.h"

#include <gtest/gtest.h>

#include "base/prng.h"
#include "device/metadata_records.h"

namespace corelet {
namespace {

SegmentEntry segment(u64 seq) {
    SegmentEntry e;
    e.id = {SpaceId(4), seq};
    e.salt = 9;
    e.opened_epoch = e.epoch = Epoch(2);
    e.owner = CoreletId(3);
    e.reserved_units = 5;
    e.opaque = {1, 2, 3};
    e.extents = {{100, 2}, {200, 3}};
    return e;
}
FragmentEntry fragment(u64 seq) {
    FragmentEntry e;
    e.space = 1;
    e.seq = seq;
    e.blocks = 10;
    e.first_unit = 7;
    return e;
}

void must(Metadata& meta, const records::Record& record) {
    ASSERT_TRUE(meta.apply(record).has_value());
}

TEST(Metadata, ASnapshotIsTheWholeState) {
    Metadata meta;
    must(meta, records::mount(Incarnation(3), 1));
    must(meta, records::frontier(1234));
    for (u64 i = 0; i < 300; ++i) must(meta, records::put(fragment(i), {{7, 1}}));
    FragmentEntry wide = fragment(1000);
    wide.blocks = 30;
    must(meta, records::put(wide, {{7, 1}, {70, 1}}));
    must(meta, records::quarantine(wide.id(), true));
    must(meta, records::prepare(segment(1)));
    must(meta, records::prepare(segment(2)));
    must(meta, records::grow(segment(2).id, {{203, 4}, {300, 1}}));
    must(meta, records::fence(segment(2).id, Epoch(7), CoreletId(8)));
    must(meta, records::seal(segment(1).id, 96 * k_kib));
    must(meta, records::prepare(segment(3)));
    must(meta, records::drop(segment(3).id));
    must(meta, records::note("k", as_bytes("value")));
    std::vector<u8> const state = meta.encode();
    EXPECT_LE(state.size(), meta.encoded_bytes());
    EXPECT_GT(state.size() + 2000, meta.encoded_bytes()) << "the bound is close";
    Result<Metadata> const back = Metadata::decode(state);
    ASSERT_TRUE(back.has_value());
    EXPECT_EQ(back->encode(), state);
    EXPECT_EQ(back->encoded_bytes(), meta.encoded_bytes());
    EXPECT_EQ(back->segments(), meta.segments());
    EXPECT_EQ(back->dropped(), meta.dropped());
    EXPECT_EQ(back->mounted(), Incarnation(3));
    EXPECT_EQ(back->segment(segment(2).id)->extents, (std::vector<UnitExtent>{{100, 2}, {200, 7}, {300, 1}}));
    EXPECT_EQ(back->segment(segment(1).id)->extents, (std::vector<UnitExtent>{{100, 2}}));
    EXPECT_TRUE(back->fragments().find(wide.id())->is(FragmentEntry::k_quarantined));
    // Cut short or with another byte it is refused or it is another state, never a crash.
    for (usize cut = 1; cut < state.size(); cut += 17)
        EXPECT_FALSE(Metadata::decode(Bytes(state).first(state.size() - cut)).has_value());
    Prng random{3};
    for (int i = 0; i < 2000; ++i) {
        std::vector<u8> damaged = state;
        damaged[random.below(damaged.size())] ^= static_cast<u8>(random.between(1, 255));
        static_cast<void>(Metadata::decode(damaged));
    }
}

TEST(Metadata, RefusesWhatMakesNoSense) {
    Metadata meta;
    must(meta, records::put(fragment(1), {{7, 1}}));
    must(meta, records::prepare(segment(1)));
    EXPECT_FALSE(meta.apply(records::put(fragment(2), {{7, 9}})).has_value()) << "units and blocks disagree";
    EXPECT_FALSE(meta.apply(records::remove(fragment(2).id())).has_value());
    EXPECT_FALSE(meta.apply(records::prepare(segment(1))).has_value());
    EXPECT_FALSE(meta.apply(records::fence(segment(1).id, Epoch(1), CoreletId(1))).has_value());
    EXPECT_FALSE(meta.apply(records::seal(segment(1).id, 10 * k_mib)).has_value());
    EXPECT_FALSE(meta.apply(records::adopt(segment(1).id, fragment(5), {{7, 1}})).has_value()) << "not sealed";
    EXPECT_EQ(meta.apply(std::vector<u8>{200, 1}).error().code, Code::kUnsupported);
    EXPECT_EQ(meta.fragments().size(), 1U);
}

TEST(DroppedSegments, RemembersWithinBounds) {
    DroppedSegments dropped;
    usize const many = 3 * DroppedSegments::k_names_max;
    for (u64 i = 1; i <= many; ++i) dropped.add({SpaceId(1 + i % 2), i});
    EXPECT_EQ(dropped.names().size(), DroppedSegments::k_names_max);
    for (u64 i = 1; i <= many; ++i) ASSERT_TRUE(dropped.has({SpaceId(1 + i % 2), i})) << i;
    EXPECT_FALSE(dropped.has({SpaceId(1), many + 1}));
    EXPECT_FALSE(dropped.has({SpaceId(3), 1}));
    for (u64 space = 10; space < 10 + 2 * DroppedSegments::k_spaces_max; ++space) dropped.add({SpaceId(space), 1});
    for (u64 i = 0; i < DroppedSegments::k_names_max; ++i) dropped.add({SpaceId(5), i});
    EXPECT_LE(dropped.floors().size(), DroppedSegments::k_spaces_max);
}

}  // namespace
}  // namespace corelet
