// What only the engine on raft has: journals that fill and rot, voters that come back with less than they promised,
// leases over changes of leader.
#include <gtest/gtest.h>

#include "catalog/catalog_testing.h"

namespace corelet::testing {
namespace {

class RaftCatalogTest : public ::testing::Test {
  protected:
    void make(usize voters = 3, usize observers = 1) {
        suite = std::make_unique<RaftUnderTest>(3, voters, observers);
    }
    ~RaftCatalogTest() override {
        if (suite) EXPECT_FALSE(suite->world().failed()) << suite->world().failure();
    }
    bool put(usize where, std::string key, std::string value, Duration bound = 20_s) {
        auto const done = suite->wait(
            where,
            suite->at(where).commit(Transaction().put(std::move(key), std::move(value)), suite->in(bound, where)));
        return done && done->succeeded;
    }
    std::string get(usize where, std::string key) {
        auto const found = suite->wait(where, suite->at(where).get(std::move(key), suite->in(20_s, where)));
        return found && *found ? (*found)->value : "";
    }
    void change(raft::ChangeKind kind, usize who) {
        for (int turn = 0; turn < 50; ++turn) {
            usize const leads = suite->leader_now();
            auto const done =
                suite->wait(leads, suite->raft(leads).change({kind, suite->id(who)}, suite->in(5_s, leads)));
            if (done) return;
            suite->world().run_for(200_ms);
        }
        ADD_FAILURE() << "corelet " << who << " was not changed";
    }
    // 3, 4 and 5 vote in the place of 0, 1 and 2.
    void replace_all_voters() {
        for (usize who : {3, 4, 5}) {
            change(raft::ChangeKind::kAddLearner, who);
            change(raft::ChangeKind::kPromote, who);
        }
        for (usize who : {0, 1, 2}) change(raft::ChangeKind::kRemove, who);
    }
    // The voter after the leader is removed while it is cut off, as it is left: it has not heard of it.
    void remove_out_of_sight(usize* leads, usize* gone) {
        make();
        ASSERT_TRUE(put(3, "k", "v"));
        suite->settle();
        *leads = suite->leader_now();
        *gone = (*leads + 1) % 3;
        suite->cut_off(*gone);
        ASSERT_TRUE(suite->wait(*leads, suite->raft(*leads).change({raft::ChangeKind::kRemove, suite->id(*gone)},
                                                                   suite->in(20_s, *leads))));
    }
    bool follows(usize who, std::string_view key, std::string_view value) {
        return until([&, this] {
            auto const seen = suite->at(who).local_range(key);
            return seen.items.size() == 1 && seen.items[0].value == value;
        });
    }
    // `who` is cut off while others are made voters, and the former ones die.
    void expect_back_after_all_were_replaced(usize who) {
        ASSERT_TRUE(put(who, "k", "v"));
        suite->cut_off(who);
        replace_all_voters();
        for (usize gone : {0, 1, 2})
            if (gone != who) suite->crash(gone);
        ASSERT_TRUE(put(4, "k", "w"));
        suite->mend();
        EXPECT_TRUE(follows(who, "k", "w"));
        EXPECT_TRUE(put(who, "k", "x"));
    }
    bool until(const std::function<bool()>& done, Duration bound = 60_s) {
        return suite->world().run_until(done, bound);
    }
    std::unique_ptr<RaftUnderTest> suite;
};

// The journal's room is many times less than what is written; the state stays small. It fills for good if snapshots
// come too late, or carry more of the log than it holds.
TEST_F(RaftCatalogTest, AJournalIsNeverFullForLongWhateverIsWritten) {
    make();
    std::string const value(100 * k_kib, 'v');
    for (int i = 0; i < 600; ++i) {
        ASSERT_TRUE(put(3, "k" + std::to_string(i % 8), value + std::to_string(i))) << i;
        if (i % 200 == 100) suite->disturb(static_cast<u64>(i));
    }
    suite->settle();
    for (usize i = 0; i < 3; ++i) {
        EXPECT_FALSE(suite->raft(i).core().failed());
        EXPECT_LE(suite->raft(i).core().log().bytes(), 6 * k_mib);
    }
    for (usize i = 0; i < 3; ++i) suite->crash(i);
    for (usize i = 0; i < 3; ++i) suite->start(i);
    suite->settle();
    EXPECT_EQ(get(3, "k7"), value + "599");
}

// Many commands of one turn are more than a record of the journal takes.
TEST_F(RaftCatalogTest, ManyLargeCommandsAtOnceShareBatchesOfBoundedSize) {
    make();
    struct Ask {
        static Task<void> run(Catalog* catalog, std::string key, Instant deadline, std::shared_ptr<usize> done) {
            auto const result = co_await catalog->commit(
                Transaction().put(std::move(key), std::string(300 * k_kib, 'v')), deadline);
            *done += result && result->succeeded;
        }
    };
    auto done = std::make_shared<usize>(0);
    for (usize i = 0; i < 32; ++i)
        suite->machine(3).spawn(Ask::run(&suite->at(3), "k" + std::to_string(i % 4), suite->in(30_s, 3), done));
    EXPECT_TRUE(until([&] { return *done == 32; }));
    for (usize i = 0; i < 3; ++i) EXPECT_FALSE(suite->raft(i).core().failed());
}

TEST_F(RaftCatalogTest, AVoterThatLagsBehindTheLogTakesASnapshotAndKeepsIt) {
    make();
    usize const behind = (suite->leader_now() + 1) % 3;
    suite->crash(behind);
    std::string const value(100 * k_kib, 'v');
    for (int i = 0; i < 120; ++i) ASSERT_TRUE(put(3, "k" + std::to_string(i % 25), value + std::to_string(i)));
    ASSERT_GT(suite->raft(suite->leader_now()).core().log().base().index, 40U);
    suite->start(behind);
    suite->settle();
    suite->crash(behind);
    suite->start(behind);
    suite->settle();
    // It counts: with it, and without another one, the catalog goes on and has everything.
    suite->crash((behind + 1) % 3);
    EXPECT_TRUE(put(3, "after", "x"));
    EXPECT_EQ(get(3, "k24"), value + "99");
}

// --- rot
// ----------------------------------------------------------------------------------------------------------------------

TEST_F(RaftCatalogTest, ARottenVoterIsSuppliedByTheLeaderAndCountsAgain) {
    for (usize batches : {usize{1}, usize{3}}) {
        make();
        for (int i = 0; i < 20; ++i) ASSERT_TRUE(put(3, "k", std::to_string(i)));
        suite->settle();
        usize const rotten = (suite->leader_now() + 1) % 3;
        suite->crash(rotten);
        suite->rot_last_batch(rotten, batches);
        suite->start(rotten);
        suite->settle();
        EXPECT_TRUE(suite->raft(rotten).forgotten().empty()) << suite->raft(rotten).forgotten();
        usize const other = (rotten + 1) % 3;
        suite->crash(other);
        EXPECT_TRUE(put(3, "k", "with it"));
        EXPECT_EQ(get(3, "k"), "with it");
    }
}

TEST_F(RaftCatalogTest, AVoterWhoseSnapshotRotsIsSuppliedFromNothing) {
    make();
    std::string const value(100 * k_kib, 'v');
    for (int i = 0; i < 120; ++i) ASSERT_TRUE(put(3, "k" + std::to_string(i % 25), value + std::to_string(i)));
    suite->settle();
    usize const rotten = (suite->leader_now() + 1) % 3;
    suite->crash(rotten);
    suite->rot_snapshot(rotten);
    suite->start(rotten);
    suite->settle();
    EXPECT_TRUE(suite->raft(rotten).forgotten().empty()) << suite->raft(rotten).forgotten();
    suite->crash((rotten + 1) % 3);
    EXPECT_EQ(get(3, "k24"), value + "99");
}

// The last entry is on two of three; one of them rots, and only that one and the third are there. They must not go
// on without the entry; the first one brings it back.
TEST_F(RaftCatalogTest, WhatARottenVoterAcknowledgedIsNotForgotten) {
    make();
    usize const leads = suite->leader_now();
    usize const rotten = (leads + 1) % 3, behind = (leads + 2) % 3;
    suite->settle();
    suite->crash(behind);
    ASSERT_TRUE(put(leads, "k", "acknowledged"));
    suite->crash(leads);
    suite->crash(rotten);
    suite->rot_last_batch(rotten);
    // It is known at each start, however often, until it is made good.
    for (int round = 0; round < 3; ++round) {
        suite->start(rotten);
        ASSERT_TRUE(until([&] { return suite->is_up(rotten); }, 10_s));
        suite->world().run_for(Duration{i64{round} * 2'000'000'000});
        suite->crash(rotten);
    }
    suite->start(rotten);
    suite->start(behind);
    EXPECT_FALSE(until([&] { return suite->leader().has_value(); }, 60_s)) << "a majority that forgot";
    EXPECT_TRUE(suite->raft(rotten).core().barred());
    suite->start(leads);
    suite->settle();
    EXPECT_EQ(get(3, "k"), "acknowledged");
}

// Nobody leads until the rotten one votes, and the one that holds the entry cannot be elected by itself: it
// supplies.
TEST_F(RaftCatalogTest, APeerSuppliesARottenVoterWithoutALeader) {
    make();
    usize const leads = suite->leader_now();
    usize const rotten = (leads + 1) % 3, gone = (leads + 2) % 3;
    suite->settle();
    suite->crash(gone);
    ASSERT_TRUE(put(leads, "k", "acknowledged"));
    suite->crash(leads);
    suite->crash(rotten);
    suite->rot_last_batch(rotten);
    suite->start(rotten);
    suite->start(leads);
    ASSERT_TRUE(until([&] { return suite->leader().has_value(); }, 60_s));
    EXPECT_EQ(get(3, "k"), "acknowledged");
    EXPECT_FALSE(suite->raft(rotten).core().barred());
}

// --- leases
// -------------------------------------------------------------------------------------------------------------------

TEST_F(RaftCatalogTest, ANewLeaderGivesEachLeaseItsFullLength) {
    make();
    auto const lease = suite->wait(3, suite->at(3).grant_lease(6_s, suite->in(10_s, 3)));
    ASSERT_TRUE(lease);
    ASSERT_TRUE(suite->wait(3, suite->at(3).commit(Transaction().put("leased", "v", *lease), suite->in(10_s, 3))));
    // Leaders come and go faster than it runs out: each begins anew.
    for (int i = 0; i < 6; ++i) {
        suite->world().run_for(4_s);
        usize const leads = suite->leader_now();
        suite->crash(leads);
        ASSERT_TRUE(until([&] { return suite->leader().has_value(); }));
        suite->start(leads);
        suite->settle();
        ASSERT_EQ(get(3, "leased"), "v") << i;
    }
    suite->world().run_for(12_s);
    EXPECT_EQ(get(3, "leased"), "");
}

// All voters stop for longer than a lease lasts, as virtual machines do, and no other is elected: what the holder
// sent meanwhile lies in their queues.
TEST_F(RaftCatalogTest, AQuorumThatWasPausedEndsNoLeaseItCouldNotHear) {
    make();
    auto const lease = suite->wait(3, suite->at(3).grant_lease(4_s, suite->in(10_s, 3)));
    ASSERT_TRUE(lease);
    for (usize round = 0; round < 40; ++round) {
        usize const led = suite->leader_now();
        // The leader first: answers to its last heartbeats wait for it, and look like a quorum when it wakes.
        suite->machine(led).pause();
        suite->world().run_for(300_ms);
        for (usize i = 0; i < 3; ++i)
            if (i != led) suite->machine(i).pause();
        suite->world().run_for(6_s);
        for (usize i = 0; i < 3; ++i) suite->machine(i).resume();
        suite->world().run_for(2_s);
        auto const renewed = suite->wait(3, suite->at(3).renew_lease(*lease, suite->in(5_s, 3)));
        EXPECT_TRUE(renewed) << round << ": " << (renewed ? "" : renewed.error().to_string());
    }
    // Who does not renew loses it all the same.
    suite->world().run_for(12_s);
    EXPECT_FALSE(suite->wait(3, suite->at(3).renew_lease(*lease, suite->in(5_s, 3))));
}

// Without a quorum nobody ends a lease, however long it takes; and nobody renews one.
TEST_F(RaftCatalogTest, ACutOffLeaderNeitherEndsNorRenewsALease) {
    make();
    usize const leads = suite->leader_now();
    auto const lease = suite->wait(leads, suite->at(leads).grant_lease(4_s, suite->in(10_s, leads)));
    ASSERT_TRUE(lease);
    suite->settle();
    suite->cut_off(leads);
    EXPECT_FALSE(suite->wait(leads, suite->at(leads).renew_lease(*lease, suite->in(1_s, leads))));
    EXPECT_TRUE(suite->raft(leads).state().leases().contains(*lease));
    usize const other = (leads + 1) % 3;
    ASSERT_TRUE(until([&] { return !suite->raft(other).state().leases().contains(*lease); }));
    suite->world().run_for(10_s);
    EXPECT_TRUE(suite->raft(leads).state().leases().contains(*lease)) << "it has not heard of the end";
    suite->mend();
    suite->settle();
    EXPECT_EQ(suite->wait(leads, suite->at(leads).renew_lease(*lease, suite->in(10_s, leads))).error().code,
              Code::kNotFound);
}

// The leader does not answer at once, and of the others nobody can be reached; it is not the next in turn.
TEST_F(RaftCatalogTest, TheLeaderIsAskedAgainBetweenTheOthers) {
    make(5);
    constexpr u32 k_observer = 5;
    ASSERT_TRUE(put(k_observer, "k", "v"));
    u32 const leads = static_cast<u32>(suite->leader_now());
    suite->cut_off(k_observer);
    std::vector<CoreletId> others_first;
    for (usize i = 0; i < 5; ++i)
        if (i != leads) others_first.push_back(suite->id(i));
    others_first.push_back(suite->id(leads));
    suite->catalog(k_observer).set_voter_hints(others_first);
    std::optional<Result<TransactionResult>> done;
    auto const call = [](Catalog* catalog, Instant deadline,
                         std::optional<Result<TransactionResult>>* out) -> Task<void> {
        *out = co_await catalog->commit(Transaction().put("k", "later"), deadline);
    };
    suite->machine(k_observer).spawn(call(&suite->at(k_observer), suite->in(5_s, k_observer), &done));
    suite->world().run_for(2500_ms);
    suite->world().fabric().mend(k_observer, leads);
    suite->world().fabric().mend(leads, k_observer);
    ASSERT_TRUE(until([&] { return done.has_value(); }));
    EXPECT_TRUE(done->has_value()) << done->error().to_string();
}

// A holder that is told "renewed" has its lease for the whole length from there on, also where it asked at the last
// moment.
TEST_F(RaftCatalogTest, ARenewalAtTheLastMomentIsARenewalOrNone) {
    make();
    usize renewed = 0;
    for (int i = 0; i < 40; ++i) {
        auto const lease = suite->wait(3, suite->at(3).grant_lease(1_s, suite->in(10_s, 3)));
        ASSERT_TRUE(lease);
        suite->world().run_for(950_ms + Duration{i * 10'000'000});
        auto const answer = suite->wait(3, suite->at(3).renew_lease(*lease, suite->in(5_s, 3)));
        if (!answer) {
            EXPECT_EQ(answer.error().code, Code::kNotFound);
            continue;
        }
        ++renewed;
        suite->world().run_for(800_ms);
        usize const leads = suite->leader_now();
        EXPECT_TRUE(suite->raft(leads).state().leases().contains(*lease)) << i;
    }
    EXPECT_GT(renewed, 2U);
    EXPECT_LT(renewed, 40U);
}

// --- mount
// --------------------------------------------------------------------------------------------------------------------

TEST_F(RaftCatalogTest, AVoterTalksTwoSecondsToTheOthersBeforeItsFirstVoteAfterAMount) {
    make();
    usize const who = (suite->leader_now() + 1) % 3;
    suite->crash(who);
    suite->start(who);
    ASSERT_TRUE(until([&] { return suite->is_up(who); }, 10_s));
    Instant const up = suite->in(0_s, who);
    ASSERT_TRUE(until([&] { return !suite->raft(who).core().barred(); }, 20_s));
    EXPECT_GE(suite->in(0_s, who) - up, 1900_ms);
    // Alone it is never enough, however long it waits.
    for (usize i = 0; i < 3; ++i) suite->crash(i);
    suite->start(who);
    ASSERT_TRUE(until([&] { return suite->is_up(who); }, 10_s));
    suite->world().run_for(30_s);
    EXPECT_TRUE(suite->raft(who).core().barred());
}

// Its heartbeats go out all the same, and nobody else would lead.
TEST_F(RaftCatalogTest, ALeaderWhoseDeviceHangsMakesRoomForAnotherAndVotesAgainLater) {
    make();
    ASSERT_TRUE(put(3, "k", "v"));
    usize const leads = suite->leader_now();
    suite->machine(leads).media().find("/device")->faults.stuck_until = suite->world().now() + 40_s;
    EXPECT_TRUE(put(3, "k", "w"));
    usize const next = suite->leader_now();
    EXPECT_NE(next, leads);
    EXPECT_TRUE(suite->raft(leads).core().barred());
    suite->world().run_for(45_s);
    EXPECT_FALSE(suite->raft(leads).core().barred());
    suite->crash(next);
    EXPECT_TRUE(put(3, "k", "x")) << "two of three are enough, and it is one of them";
}

TEST_F(RaftCatalogTest, AGroupOfOneServesAtOnceAndAfterARestart) {
    make(1, 1);
    ASSERT_TRUE(put(1, "k", "v"));
    suite->crash(0);
    suite->start(0);
    suite->settle();
    EXPECT_EQ(get(1, "k"), "v");
}

TEST_F(RaftCatalogTest, AVersionThatDoesNotKnowTheCommittedLevelTakesNoPart) {
    make();
    suite->world().expect_error("catalog.too_new");
    usize const leads = suite->leader_now();
    pb::CatalogCommand raise;
    raise.set_raise_level(k_catalog_level_known + 1);
    (void)suite->wait(leads, suite->raft(leads).propose(raise.SerializeAsString(), suite->in(5_s, leads)));
    EXPECT_TRUE(until(
        [&] { return suite->raft(0).has_failed() && suite->raft(1).has_failed() && suite->raft(2).has_failed(); },
        20_s));
    EXPECT_FALSE(put(3, "k", "v", 5_s));
}

// --- who follows
// --------------------------------------------------------------------------------------------------------------

TEST_F(RaftCatalogTest, ARemovedVoterFollowsTheOthersWithoutLosingSight) {
    usize leads = 0, gone = 0;
    ASSERT_NO_FATAL_FAILURE(remove_out_of_sight(&leads, &gone));
    ASSERT_TRUE(put(leads, "k", "w"));
    suite->mend();
    ASSERT_TRUE(until([&] {
        auto const seen = suite->at(gone).local_range("k");
        EXPECT_EQ(seen.items.size(), 1U) << "what it knew stays in sight";
        return seen.items.size() == 1 && seen.items[0].value == "w";
    }));
}

// It hears a leader again, and its log lies far behind what it followed meanwhile, for long: its device is slow.
TEST_F(RaftCatalogTest, ARemovedVoterThatIsAMemberAgainTakesNothingBack) {
    usize leads = 0, gone = 0;
    ASSERT_NO_FATAL_FAILURE(remove_out_of_sight(&leads, &gone));
    for (usize i = 0; i < 20; ++i) ASSERT_TRUE(put(leads, "k", "w" + std::to_string(i)));
    suite->mend();
    ASSERT_TRUE(follows(gone, "k", "w19"));
    Revision shown = suite->at(gone).local_range("").revision;
    bool heard = false;
    auto const shows = [&](std::string_view value) {
        auto const seen = suite->at(gone).local_range("k");
        EXPECT_GE(seen.revision, shown) << "what it has shown stays";
        shown = seen.revision;
        heard |= suite->raft(gone).leader() == suite->id(leads) && suite->raft(gone).state().revision() < shown;
        return seen.items.size() == 1 && seen.items[0].value == value;
    };
    suite->stall_device(gone, 5_s);
    change(raft::ChangeKind::kAddLearner, gone);
    ASSERT_TRUE(put(leads, "k", "x"));
    (void)until([&] { return shows("") || HasFailure(); }, 4_s);
    EXPECT_TRUE(heard) << "it heard the leader while its log lay behind";
    EXPECT_TRUE(until([&] { return shows("x"); }));
    EXPECT_TRUE(put(gone, "k", "y"));
    EXPECT_EQ(suite->at(gone).local_range("k").items.at(0).value, "y") << "what it has done it also sees";
}

// The first hints are those of a time before it voted itself.
TEST_F(RaftCatalogTest, AVoterThatStopsKnowsWhoVotedWithIt) {
    make(3, 4);
    for (usize i = 0; i < suite->size(); ++i) suite->catalog(i).set_acquaintances({});
    replace_all_voters();
    for (usize gone : {0, 1, 2}) suite->crash(gone);
    ASSERT_TRUE(put(6, "k", "v"));
    suite->raft(3).core().fail_device();
    suite->world().run_for(3_s);
    ASSERT_TRUE(put(6, "k", "w"));
    EXPECT_TRUE(follows(3, "k", "w"));
    EXPECT_TRUE(follows(6, "k", "w"));
    EXPECT_TRUE(put(3, "k", "x"));
}

TEST_F(RaftCatalogTest, WhoWasAwayWhileAllVotersWereReplacedFindsTheNewOnes) {
    make(3, 4);
    expect_back_after_all_were_replaced(6);
}

TEST_F(RaftCatalogTest, AVoterThatWasAwayWhileAllWereReplacedFindsTheNewOnes) {
    make(3, 4);
    expect_back_after_all_were_replaced(0);
}

TEST_F(RaftCatalogTest, TwoThatTakeEachOtherForVotersFindTheOnesThatAre) {
    make(3, 2);
    suite->settle();
    for (usize who : {3, 4}) {
        suite->cut_off(who);
        suite->catalog(who).set_acquaintances({});
    }
    suite->catalog(3).set_voter_hints({suite->id(4)});
    suite->catalog(4).set_voter_hints({suite->id(3)});
    suite->world().run_for(5_s);
    suite->mend();
    suite->world().run_for(5_s);
    EXPECT_FALSE(suite->at(3).is_available() || suite->at(4).is_available());
    for (usize who : {3, 4}) suite->catalog(who).set_acquaintances([this] { return std::vector{suite->id(1)}; });
    ASSERT_TRUE(put(0, "k", "v"));
    EXPECT_TRUE(follows(3, "k", "v"));
    EXPECT_TRUE(follows(4, "k", "v"));
}

}  // namespace
}  // namespace corelet::testing
