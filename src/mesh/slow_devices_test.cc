#include "mesh/slow_devices.h"

#include "mesh/mesh_testing.h"

namespace corelet::mesh {
namespace {

using namespace testing;

std::set<CoreletId> ids(std::initializer_list<u64> list) {
    std::set<CoreletId> out;
    for (u64 id : list) out.insert(CoreletId(id));
    return out;
}

TEST(SlowDevices, OneOfManyIsAvoided) {
    Map const map = with_pool(make_map(6), "ec:2+1");
    EXPECT_EQ(devices_to_avoid(map, ids({3}), {}), ids({3}));
    EXPECT_EQ(devices_to_avoid(map, {}, {}), ids({}));
}

TEST(SlowDevices, OnlyAsManyAsCanBeSpared) {
    Map const map = with_pool(make_map(6), "rep:3");  // a log of three, and one more
    EXPECT_EQ(devices_to_avoid(map, ids({1, 2, 3, 4}), {}), ids({1, 2}));
    EXPECT_EQ(devices_to_avoid(map, ids({3, 4}), ids({5})), ids({3})) << "who is absent is none to choose";
    EXPECT_EQ(devices_to_avoid(map, ids({3, 5}), ids({5})), ids({3})) << "and none to avoid";
}

TEST(SlowDevices, InASmallMeshAllAreNeeded) {
    Map const map = with_pool(make_map(3), "rep:3");
    EXPECT_EQ(devices_to_avoid(map, ids({2}), {}), ids({}));
    EXPECT_EQ(devices_to_avoid(make_map(3), ids({2}), {}), ids({2})) << "without a pool nobody needs it";
}

TEST(SlowDevices, ADomainIsNotGivenUp) {
    auto const zone = [](u64 id) {
        return "z" + std::to_string(id <= 4 ? 1 : id - 3) + "/r/c" + std::to_string(id);
    };
    Map const map = with_pool(make_map(6, zone), "rep:3", Level::kZone);  // zones 1 (four), 2, 3
    EXPECT_EQ(devices_to_avoid(map, ids({1, 5, 6}), {}), ids({1}));
    Map const flat = with_pool(make_map(6, zone), "rep:2", Level::kCorelet);
    EXPECT_EQ(devices_to_avoid(flat, ids({5}), {}), ids({5})) << "two zones are left for two copies";
    EXPECT_EQ(devices_to_avoid(flat, ids({5, 6}), {}), ids({5}));
}

TEST(SlowDevices, WhoIsDownOrDrainsIsNoneToChoose) {
    Map map = after(with_pool(make_map(5), "rep:3"), CoreletDown{CoreletId(5), Incarnation(1)});
    EXPECT_EQ(devices_to_avoid(map, ids({1}), {}), ids({}));
}

}  // namespace
}  // namespace corelet::mesh
