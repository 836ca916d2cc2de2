#include "mesh/observers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/prng.h"

namespace corelet::mesh {
namespace {

std::vector<ObserverRing::Member> members(u64 n) {
    std::vector<ObserverRing::Member> out;
    for (u64 i = 1; i <= n; ++i) out.push_back({CoreletId(i), true});
    return out;
}

TEST(ObserverRing, SubjectsAndObserversAreTwoSidesOfOneThing) {
    Prng rng(3);
    for (u64 n : {1u, 2u, 5u, 6u, 7u, 40u}) {
        auto all = members(n);
        for (auto& member : all) member.observes = !rng.chance(1, 4);
        ObserverRing const ring(all, 5);
        std::map<CoreletId, std::set<CoreletId>> by_subject, by_observer;
        usize const watching =
            static_cast<usize>(std::count_if(all.begin(), all.end(), [](auto& m) { return m.observes; }));
        for (auto const& member : all) {
            for (CoreletId observer : ring.observers_of(member.id)) by_subject[member.id].insert(observer);
            for (CoreletId subject : ring.subjects_of(member.id)) by_observer[subject].insert(member.id);
            EXPECT_EQ(by_subject[member.id].size(), std::min<usize>(5, watching - member.observes));
            EXPECT_FALSE(by_subject[member.id].contains(member.id));
            if (!member.observes) EXPECT_TRUE(ring.subjects_of(member.id).empty());
        }
        for (auto const& member : all) EXPECT_EQ(by_subject[member.id], by_observer[member.id]) << n;
    }
}

TEST(ObserverRing, OneThatComesOrGoesChangesFewRows) {
    ObserverRing const before(members(100), 5), after(members(101), 5);
    usize changed = 0;
    for (u64 i = 1; i <= 100; ++i) changed += before.observers_of(CoreletId(i)) != after.observers_of(CoreletId(i));
    EXPECT_EQ(changed, 5u);
}

TEST(ObserverRing, StrangersAreInNoRow) {
    ObserverRing const ring(members(9), 5);
    EXPECT_TRUE(ring.observers_of(CoreletId(77)).empty());
    EXPECT_TRUE(ring.subjects_of(CoreletId(77)).empty());
    EXPECT_TRUE(ObserverRing().observers_of(CoreletId(1)).empty());
}

// Everybody must draw the same ring, in every version.
TEST(ObserverRing, IsPinned) {
    ObserverRing const ring(members(12), 5);
    std::vector<u64> row;
    for (CoreletId id : ring.observers_of(CoreletId(1))) row.push_back(id.v);
    EXPECT_EQ(row, (std::vector<u64>{7, 3, 4, 10, 5}));
}

}  // namespace
}  // namespace corelet::mesh
