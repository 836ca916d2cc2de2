#include "mesh/quota.h"

#include <gtest/gtest.h>

#include <numeric>

#include "base/prng.h"

namespace corelet::mesh {
namespace {

QuotaRequest make_request(u32 slots, u64 total, u32 cap, std::vector<QuotaEntry> entries) {
    return {slots, total, cap, std::move(entries), 1};
}

TEST(Quota, ExactSharesByWeight) {
    auto const request = make_request(64, 192, 1, {{10, 0}, {20, 1}, {30, 2}, {40, 3}, {20, 4}});
    EXPECT_EQ(share_out(request), (std::vector<u32>{16, 32, 48, 64, 32}));
}

TEST(Quota, TheFullOverflowsToTheOthers) {
    EXPECT_EQ(share_out(make_request(64, 128, 1, {{1000, 0}, {10, 1}, {10, 2}})), (std::vector<u32>{64, 32, 32}));
    // A domain of two of four is capped at one place a slot.
    EXPECT_EQ(share_out(make_request(64, 128, 1, {{50, 0}, {50, 0}, {10, 1}, {30, 2}})),
              (std::vector<u32>{32, 32, 16, 48}));
}

TEST(Quota, FixedKeepTheirs) {
    EXPECT_EQ(share_out(make_request(64, 128, 1, {{10, 0, 50, true}, {10, 1}, {10, 2}})),
              (std::vector<u32>{50, 39, 39}));
    // Fixed beyond all bounds: nothing is left for the rest of its domain.
    EXPECT_EQ(share_out(make_request(64, 64, 1, {{10, 0, 100, true}, {10, 0}})), (std::vector<u32>{100, 0}));
}

TEST(Quota, TheOddPlaceGoesToWhoHasIt) {
    auto const request = make_request(64, 64, 1, {{1, 0, 21}, {1, 1, 22}, {1, 2, 21}});
    EXPECT_EQ(share_out(request), (std::vector<u32>{21, 22, 21}));
    auto const other = make_request(64, 64, 1, {{1, 0, 21}, {1, 1, 21}, {1, 2, 22}});
    EXPECT_EQ(share_out(other), (std::vector<u32>{21, 21, 22}));
}

TEST(Quota, CapsHoldAndNothingIsLeftThatFits) {
    Prng rng(5);
    for (int round = 0; round < 300; ++round) {
        QuotaRequest request;
        request.slots = 64U << rng.below(5);
        request.domain_cap = static_cast<u32>(rng.between(1, 3));
        usize const domains = rng.between(1, 6);
        usize const n = rng.between(1, 30);
        for (usize i = 0; i < n; ++i) {
            request.entries.push_back({rng.chance(1, 8) ? 0 : rng.between(1, 1U << rng.between(1, 24)),
                                       static_cast<u32>(rng.below(domains)),
                                       static_cast<u32>(rng.below(request.slots))});
        }
        request.total = static_cast<u64>(request.slots) * rng.between(1, 14);
        auto const shares = share_out(request);
        std::vector<u64> sums(domains);
        for (usize i = 0; i < n; ++i) {
            ASSERT_LE(shares[i], request.slots);
            sums[request.entries[i].domain] += shares[i];
        }
        u64 const sum = std::accumulate(sums.begin(), sums.end(), u64{0});
        ASSERT_LE(sum, request.total);
        u64 const capacity = static_cast<u64>(request.domain_cap) * request.slots;
        for (usize i = 0; i < n; ++i) {
            bool const room = request.entries[i].weight > 0 && shares[i] < request.slots &&
                              sums[request.entries[i].domain] < capacity;
            ASSERT_FALSE(sum < request.total && room);
        }
        for (u64 domain_sum : sums) ASSERT_LE(domain_sum, capacity);
    }
}

}  // namespace
}  // namespace corelet::mesh
