// Some hundred random histories. CORELET_RAFT_SEED=n runs one of them alone, CORELET_RAFT_SEEDS=n runs that many.
// CORELET_RAFT_TRACE, with the former, tells the history.
#include <gtest/gtest.h>

#include <cstdlib>

#include "raft/chaos_testing.h"

namespace corelet::raft::testing {
namespace {

constexpr u64 k_blocks = 8;

u64 from_environment(const char* name, u64 otherwise) {
    const char* const text = std::getenv(name);  // host: to replay one seed
    return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

class Random : public ::testing::TestWithParam<u64> {};

TEST_P(Random, HistoriesKeepRaftsPromises) {
    u64 const seeds = from_environment("CORELET_RAFT_SEEDS", 320);
    u64 const only = from_environment("CORELET_RAFT_SEED", 0);
    u64 committed = 0;
    for (u64 seed = 1 + GetParam(); seed <= seeds; seed += k_blocks) {
        if (only != 0 && seed != only) continue;
        Chaos chaos(seed);
        if (only != 0 && std::getenv("CORELET_RAFT_TRACE")) {  // host: to replay one seed
            chaos.cluster.trace = [](const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); };
        }
        ASSERT_EQ(chaos.run(30_s), "") << "seed " << seed;
        committed += chaos.cluster.judge.committed_count();
    }
    EXPECT_TRUE(only != 0 || committed > seeds) << "nothing happened";
}

INSTANTIATE_TEST_SUITE_P(Blocks, Random, ::testing::Range(u64{0}, k_blocks));

// A run is a function of its seed.
TEST(Random, SameSeedSameHistory) {
    for (u64 seed : {3u, 7u, 11u}) {
        Chaos first(seed);
        Chaos second(seed);
        EXPECT_EQ(first.run(5_s), second.run(5_s));
        EXPECT_EQ(first.cluster.random.draws(), second.cluster.random.draws());
        EXPECT_EQ(first.cluster.now(), second.cluster.now());
    }
}

}  // namespace
}  // namespace corelet::raft::testing
