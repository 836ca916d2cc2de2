#include "node/door_status.h"

#include <gtest/gtest.h>

namespace corelet {
namespace {

TEST(DoorStatus, IsReadAsItWasSaid) {
    std::vector<BlockStatusExtent> const said{{4096, false, false}, {512, true, true}, {8192, false, true}};
    auto const read = parse_door_status(door_status_reply(said), 12800);
    ASSERT_TRUE(read.has_value());
    ASSERT_EQ(read->size(), said.size());
    for (usize i = 0; i < said.size(); ++i) {
        EXPECT_EQ((*read)[i].length_bytes, said[i].length_bytes);
        EXPECT_EQ((*read)[i].is_hole, said[i].is_hole);
        EXPECT_EQ((*read)[i].reads_zero, said[i].reads_zero);
    }
}

TEST(DoorStatus, ThatSaysNothingOrTooMuchIsRefused) {
    EXPECT_EQ(parse_door_status(door_status_reply({}), 4096).error().code, Code::kIo);
    EXPECT_EQ(parse_door_status(door_status_reply({{8192, false, false}}), 4096).error().code, Code::kIo);
}

}  // namespace
}  // namespace corelet
