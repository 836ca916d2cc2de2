#include "mesh/departure.h"

#include "mesh/mesh_testing.h"

namespace corelet::mesh {
namespace {

using namespace testing;

TEST(Departure, NeedsRoomInEveryPoolThatItServes) {
    Map map = with_pool(make_map(4), "rep:3");
    EXPECT_TRUE(check_departure(map, CoreletId(1)));
    map = after(map, DutyChanged{CoreletId(2), Duty::kDrain});
    auto const refused = check_departure(map, CoreletId(1));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::kInvalid);
    EXPECT_NE(
        refused.error().message.find("'main' is rep:3 and takes 3 corelets; without this one there are 2. Add 1"),
        std::string::npos)
        << refused.error().message;
    EXPECT_TRUE(check_departure(map, CoreletId(2))) << "the one that drains already is not in its own way";
    EXPECT_EQ(check_departure(map, CoreletId(9)).error().code, Code::kNotFound);
}

TEST(Departure, WhoServesNoPlacesMayGo) {
    Map map = with_pool(make_map(3), "rep:3");
    map = with_corelet(map, make_corelet(20, "z/r/w", Role::kWitness));
    EXPECT_TRUE(check_departure(map, CoreletId(20)));
    EXPECT_FALSE(check_departure(map, CoreletId(1)));
}

TEST(Departure, BoundIsAPoolThatCannotDoWithout) {
    Map const map = with_pool(with_pool(make_map(3), "rep:3", Level::kChassis, "wide"), "rep:2");
    EXPECT_EQ(pools_bound_to(map, CoreletId(1)), std::vector<std::string>{"wide"});
    EXPECT_TRUE(pools_bound_to(map, CoreletId(7)).empty());
}

}  // namespace
}  // namespace corelet::mesh
