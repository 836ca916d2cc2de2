#include "node/departure.h"

#include "mesh/mesh_testing.h"

namespace corelet {
namespace {

using mesh::CoreletDown;
using mesh::DutyChanged;
using mesh::testing::after;
using mesh::testing::all_clean;
using mesh::testing::make_map;
using mesh::testing::with_pool;

pb::Stream stream_on(std::initializer_list<u64> replicas, pb::Segment::State state = pb::Segment::LISTED) {
    pb::Stream stream;
    stream.set_space(3);
    pb::Segment* const segment = stream.add_segments();
    segment->set_seq(7);
    segment->set_state(state);
    for (u64 id : replicas) segment->add_replicas(id);
    return stream;
}

mesh::Map drained_map() {
    mesh::Map map = all_clean(with_pool(make_map(4), "rep:2"));
    return all_clean(after(map, DutyChanged{CoreletId(1), mesh::Duty::kDrain}));
}

TEST(Departure, WhoIsEmptyMayGo) {
    mesh::Map const map = drained_map();
    DepartureView view{map, CoreletId(1), false, {}, 0, false};
    EXPECT_TRUE(departure(view).is_safe());
    EXPECT_TRUE(departure(view).lost.empty());
    view.streams.push_back({"volume v", stream_on({2, 3})});
    EXPECT_TRUE(departure(view).is_safe());
}

TEST(Departure, EachThingThatNeedsItIsNamed) {
    mesh::Map const map = drained_map();
    DepartureView view{map, CoreletId(1), true, {}, std::nullopt, false};
    view.streams.push_back({"volume v", stream_on({1, 3}, pb::Segment::ENDED)});
    view.streams.back().record.set_owner(1);
    Departure const found = departure(view);
    EXPECT_EQ(found.left, (std::vector<std::string>{"1 log segment of volume v", "volume v, which it serves",
                                                    "a vote in the catalog",
                                                    "what it holds outside its places, as it does not answer"}));
    EXPECT_TRUE(found.lost.empty()) << "another copy is there";
    EXPECT_NE(found.next.find("drain 0000000000000001 --wait"), std::string::npos);
    view.healing_paused = true;
    EXPECT_NE(departure(view).next.find("corelet resume"), std::string::npos);
    DepartureView const strays{map, CoreletId(1), false, {}, 2, false};
    EXPECT_EQ(departure(strays).left, std::vector<std::string>{"2 fragments outside its places"});
}

TEST(Departure, PlacesCountUntilEverybodyIsClean) {
    mesh::Map map = all_clean(with_pool(make_map(4), "rep:2"));
    DepartureView const serving{map, CoreletId(1), false, {}, 0, false};
    EXPECT_EQ(departure(serving).left, std::vector<std::string>{"fragments of pool 'main'"});
    EXPECT_NE(departure(serving).next.find("drain it first"), std::string::npos);
    mesh::Map const moving = after(map, DutyChanged{CoreletId(1), mesh::Duty::kDrain});
    DepartureView const leaving{moving, CoreletId(1), false, {}, 0, false};
    EXPECT_EQ(departure(leaving).left,
              std::vector<std::string>{"fragments of pool 'main' that are on their way to others"});
}

TEST(Departure, WhatIsLostWithTheLastCopyIsSaid) {
    mesh::Map map = all_clean(with_pool(make_map(4), "rep:2"));
    for (u64 id : {1, 2}) map = after(map, CoreletDown{CoreletId(id), Incarnation(1)});
    DepartureView view{map, CoreletId(1), false, {}, std::nullopt, false};
    view.streams.push_back({"volume v", stream_on({1, 2})});
    view.streams.push_back({"volume w", stream_on({1, 3})});
    Departure const found = departure(view);
    ASSERT_EQ(found.lost.size(), 2u);
    EXPECT_NE(found.lost[0].find("volume v"), std::string::npos);
    EXPECT_NE(found.lost[1].find("pool 'main'"), std::string::npos) << "rows of the two that are down";
    EXPECT_NE(found.next.find("--force"), std::string::npos);
}

}  // namespace
}  // namespace corelet
