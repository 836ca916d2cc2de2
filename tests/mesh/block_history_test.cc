#include "tests/mesh/block_history.h"

#include <gtest/gtest.h>

namespace corelet {
namespace {

BlockState all(u64 value) {
    BlockState out;
    out.fill(value);
    return out;
}

struct Story {
    BlockHistory history;
    u64 now = 1;
    usize write(u64 value, usize first = 0, usize sectors = 8) {
        return history.begin_write(first, sectors, value, now++);
    }
    void wrote(usize operation) { history.end_write(operation, now++); }
    usize read() { return history.begin_read(now++); }
    void got(usize operation, const BlockState& seen) { history.end_read(operation, seen, now++); }
    void write_at_once(u64 value, usize first = 0, usize sectors = 8) { wrote(write(value, first, sectors)); }
    void read_at_once(const BlockState& seen) { got(read(), seen); }
};

TEST(BlockHistory, ReadsSeeTheLastWrite) {
    Story s;
    s.read_at_once(all(0));
    s.write_at_once(1);
    s.read_at_once(all(1));
    s.write_at_once(2, 2, 1);
    BlockState mixed = all(1);
    mixed[2] = 2;
    s.read_at_once(mixed);
    s.write_at_once(0);
    s.read_at_once(all(0));
    EXPECT_FALSE(s.history.judge()) << *s.history.judge();
}

TEST(BlockHistory, AnAcknowledgedWriteThatIsGoneIsFound) {
    Story s;
    s.write_at_once(1);
    s.write_at_once(2);
    s.read_at_once(all(1));
    EXPECT_TRUE(s.history.judge());
}

TEST(BlockHistory, AStaleReadAfterAFresherOneIsFound) {
    Story s;
    s.write_at_once(1);
    usize const pending = s.write(2);
    (void)pending;
    s.read_at_once(all(2));
    s.read_at_once(all(1));
    EXPECT_TRUE(s.history.judge());
}

TEST(BlockHistory, WhatNeverEndedMayHappenLateOnceOrNever) {
    Story s;
    (void)s.write(1);
    (void)s.write(2);
    s.read_at_once(all(0));
    s.write_at_once(3);
    s.read_at_once(all(3));
    s.read_at_once(all(1));
    EXPECT_FALSE(s.history.judge()) << *s.history.judge();
    s.write_at_once(4);
    s.read_at_once(all(4));
    s.read_at_once(all(1));
    EXPECT_TRUE(s.history.judge()) << "one write does not happen twice";
}

TEST(BlockHistory, ConcurrentWritesHaveOneOrder) {
    Story s;
    usize const a = s.write(1);
    usize const b = s.write(2);
    usize const r1 = s.read();
    usize const r2 = s.read();
    s.got(r1, all(1));
    s.got(r2, all(2));
    s.wrote(a);
    s.wrote(b);
    s.read_at_once(all(2));
    EXPECT_FALSE(s.history.judge());
    s.read_at_once(all(1));
    EXPECT_TRUE(s.history.judge());
}

TEST(BlockHistory, HalfAWriteIsFound) {
    Story s;
    s.write_at_once(1);
    (void)s.write(2);
    BlockState torn = all(1);
    torn[0] = 2;
    s.read_at_once(torn);
    EXPECT_TRUE(s.history.judge());
}

TEST(BlockHistory, ManyTrimsWithoutAnEndAreNoBurden) {
    Story s;
    for (u64 i = 1; i <= 40; ++i) {
        (void)s.write(0);
        s.write_at_once(i);
        s.read_at_once(all(i % 3 == 0 ? 0 : i));
    }
    EXPECT_FALSE(s.history.judge()) << *s.history.judge();
}

}  // namespace
}  // namespace corelet
