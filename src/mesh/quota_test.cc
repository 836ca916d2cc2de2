#include "mesh/quota.h"

#include <gtest/gtest.h>

#include <numeric>

#include "base/prng.h"

namespace corelet::mesh {
namespace {

QuotaRequest make_request(u32 slots, u64 total, u32 cap, std::vector<QuotaEntry> entries) {
    std::vector<QuotaDomain> domains;
    for (const QuotaEntry& entry : entries)
        if (entry.domain >= domains.size()) domains.resize(entry.domain + 1, {cap, QuotaDomain::k_none});
    return {slots, total, std::move(domains), std::move(entries), 1};
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

TEST(Quota, DomainsWithinDomainsAreCappedToo) {
    constexpr u32 k_none = QuotaDomain::k_none;
    // A zone of two racks, each of one place a slot, and a third rack by itself: the heavy one is full, and what it
    // cannot take goes first to whoever has room by weight, in the zone and outside of it.
    QuotaRequest request{
        64, 128, {{2, k_none}, {1, 0}, {1, 0}, {1, k_none}}, {{300, 1}, {100, 1}, {50, 2}, {50, 3}}, 1};
    EXPECT_EQ(share_out(request), (std::vector<u32>{48, 16, 32, 32}));
    // The zone is full before its racks are.
    request.domains[0].cap = 1;
    EXPECT_EQ(share_out(request), (std::vector<u32>{43, 14, 7, 64}));
    // In no domain at all.
    request.entries[3].domain = k_none;
    EXPECT_EQ(share_out(request), (std::vector<u32>{43, 14, 7, 64}));
    // Who keeps its places takes them from all that is around it.
    request.entries[0] = {300, 1, 60, true};
    EXPECT_EQ(share_out(request), (std::vector<u32>{60, 3, 1, 64}));
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

// Domains in up to three layers, each with a cap of its own.
std::vector<QuotaDomain> random_domains(Prng& rng) {
    std::vector<QuotaDomain> out;
    usize const count = rng.between(1, 12);
    for (u32 i = 0; i < count; ++i) {
        bool const outermost = i == 0 || rng.chance(1, 3);
        out.push_back({static_cast<u32>(rng.between(1, 4)),
                       outermost ? QuotaDomain::k_none : static_cast<u32>(rng.below(i))});
    }
    return out;
}

TEST(Quota, CapsHoldAndNothingIsLeftThatFits) {
    Prng rng(5);
    for (int round = 0; round < 300; ++round) {
        QuotaRequest request;
        request.slots = 64U << rng.below(5);
        request.domains = random_domains(rng);
        usize const n = rng.between(1, 30);
        for (usize i = 0; i < n; ++i) {
            request.entries.push_back({rng.chance(1, 8) ? 0 : rng.between(1, 1U << rng.between(1, 24)),
                                       static_cast<u32>(rng.below(request.domains.size())),
                                       static_cast<u32>(rng.below(request.slots))});
        }
        request.total = static_cast<u64>(request.slots) * rng.between(1, 14);
        auto const shares = share_out(request);
        std::vector<u64> sums(request.domains.size());
        auto const around = [&](usize entry) {
            std::vector<u32> out;
            for (u32 d = request.entries[entry].domain; d != QuotaDomain::k_none; d = request.domains[d].around)
                out.push_back(d);
            return out;
        };
        for (usize i = 0; i < n; ++i) {
            ASSERT_LE(shares[i], request.slots);
            for (u32 domain : around(i)) sums[domain] += shares[i];
        }
        auto const capacity = [&](u32 domain) { return u64{request.domains[domain].cap} * request.slots; };
        u64 const sum = std::accumulate(shares.begin(), shares.end(), u64{0});
        ASSERT_LE(sum, request.total);
        for (usize i = 0; i < n; ++i) {
            bool room = request.entries[i].weight > 0 && shares[i] < request.slots;
            for (u32 domain : around(i)) room = room && sums[domain] < capacity(domain);
            ASSERT_FALSE(sum < request.total && room);
        }
        for (u32 domain = 0; domain < sums.size(); ++domain) ASSERT_LE(sums[domain], capacity(domain));
    }
}

}  // namespace
}  // namespace corelet::mesh
