// Keys, transactions, watches and leases, while nothing else happens.
#include "catalog/conformance_testing.h"
#include "catalog/limits.h"

namespace corelet::testing {
namespace {

// --- keys and revisions
// -----------------------------------------------------------------------------------------------------

TEST_P(Conformance, KeysCarryTheRevisionsOfTheirCreationAndLastChange) {
    Revision const first = put("k", "one");
    auto item = get("k");
    ASSERT_TRUE(item);
    EXPECT_EQ(item->value, "one");
    EXPECT_EQ(item->create_revision, first);
    EXPECT_EQ(item->mod_revision, first);

    Revision const second = put("k", "two", {}, k_voter);
    EXPECT_GT(second, first);
    item = get("k", k_voter);
    EXPECT_EQ(item->create_revision, first);
    EXPECT_EQ(item->mod_revision, second);

    ASSERT_TRUE(commit(Transaction().remove("k")));
    EXPECT_FALSE(get("k"));
    Revision const again = put("k", "three");
    EXPECT_EQ(get("k")->create_revision, again);
    EXPECT_GT(again, second);
}

TEST_P(Conformance, ATransactionIsOneRevisionAndWhatChangesNothingIsNone) {
    auto const done = commit(Transaction().put("a", "1").put("b", "2"));
    ASSERT_TRUE(done);
    EXPECT_EQ(get("a")->mod_revision, done->revision);
    EXPECT_EQ(get("b")->mod_revision, done->revision);
    auto const refused = commit(Transaction().require_missing("a").put("b", "3"));
    ASSERT_TRUE(refused);
    EXPECT_FALSE(refused->succeeded);
    EXPECT_EQ(refused->revision, done->revision);
    auto const read = commit(Transaction().read("a"));
    ASSERT_TRUE(read);
    EXPECT_EQ(read->revision, done->revision);
}

TEST_P(Conformance, RangesAreByPrefixAndInOrder) {
    for (const char* key : {"b/2", "b/10", "a", "b", "c", "b/1"}) put(key, key);
    auto const found = range("b/");
    ASSERT_TRUE(found);
    ASSERT_EQ(found->items.size(), 3U);
    EXPECT_EQ(found->items[0].key, "b/1");
    EXPECT_EQ(found->items[1].key, "b/10");
    EXPECT_EQ(found->items[2].key, "b/2");
    EXPECT_EQ(range("", k_voter)->items.size(), 6U);
    EXPECT_TRUE(range("zz")->items.empty());
}

TEST_P(Conformance, APrefixIsDeletedAtOnce) {
    for (const char* key : {"d/1", "d/2", "d", "e"}) put(key, "x");
    Transaction transaction;
    transaction.operations.push_back({Operation::Kind::kDeletePrefix, "d/", {}, {}});
    ASSERT_TRUE(commit(std::move(transaction)));
    auto const left = range("");
    ASSERT_EQ(left->items.size(), 2U);
    EXPECT_EQ(left->items[0].key, "d");
}

// --- bounds
// -----------------------------------------------------------------------------------------------------------------

TEST_P(Conformance, WhatIsTooLargeForOneTransactionIsRefusedWithTheReason) {
    put("k", "v");
    Transaction large;
    large.put("large", std::string(k_catalog_transaction_bytes_max, 'x'));
    Transaction many;
    for (usize i = 0; i <= k_catalog_operations_max; ++i) many.put("many/" + std::to_string(i), "v");
    struct Case {
        Transaction transaction;
        std::string word;
    };
    for (Case& each : std::vector<Case>{{large, std::to_string(k_catalog_transaction_bytes_max)},
                                        {many, "split it"},
                                        {Transaction().put(std::string(k_catalog_key_bytes_max + 1, 'k'), "v"),
                                         std::to_string(k_catalog_key_bytes_max)},
                                        {Transaction().put("", "v"), "between 1 and"}}) {
        auto const refused = commit(std::move(each.transaction));
        ASSERT_FALSE(refused) << each.word;
        EXPECT_EQ(refused.error().code, Code::kInvalid);
        EXPECT_NE(refused.error().message.find(each.word), std::string::npos) << refused.error().message;
    }
    EXPECT_EQ(range("")->items.size(), 1U) << "nothing of them stands";
    // At the bounds they pass.
    ASSERT_TRUE(commit(Transaction().put(std::string(k_catalog_key_bytes_max, 'k'), "v")));
    ASSERT_TRUE(commit(
        Transaction().put("large", std::string(k_catalog_transaction_bytes_max - k_catalog_item_bytes - 5, 'x'))));
}

// --- transactions
// -----------------------------------------------------------------------------------------------------------

TEST_P(Conformance, EachKindOfCompareHoldsAndFails) {
    Revision const revision = put("k", "v");
    struct Case {
        Compare compare;
        bool holds;
    };
    std::vector<Case> const cases = {
        {{Compare::Kind::kExists, "k", {}, {}}, true},
        {{Compare::Kind::kExists, "none", {}, {}}, false},
        {{Compare::Kind::kMissing, "none", {}, {}}, true},
        {{Compare::Kind::kMissing, "k", {}, {}}, false},
        {{Compare::Kind::kModRevision, "k", revision, {}}, true},
        {{Compare::Kind::kModRevision, "k", revision.next(), {}}, false},
        {{Compare::Kind::kModRevision, "none", revision, {}}, false},
        {{Compare::Kind::kValue, "k", {}, "v"}, true},
        {{Compare::Kind::kValue, "k", {}, "w"}, false},
        {{Compare::Kind::kValue, "none", {}, ""}, false},
    };
    for (usize i = 0; i < cases.size(); ++i) {
        Transaction transaction;
        transaction.compares = {cases[i].compare};
        transaction.put("probe/" + std::to_string(i), "there");
        auto const done = commit(std::move(transaction), i % 2 == 0 ? k_voter : k_observer);
        ASSERT_TRUE(done) << i;
        EXPECT_EQ(done->succeeded, cases[i].holds) << i;
        EXPECT_EQ(get("probe/" + std::to_string(i)).has_value(), cases[i].holds) << i;
    }
}

TEST_P(Conformance, AllComparesOverSeveralKeysMustHoldOrNothingHappens) {
    Revision const a = put("a", "1");
    put("b", "2");
    auto const refused = commit(
        Transaction().require_revision("a", a).require_missing("b").put("a", "9").remove("b").read("a").read("b"));
    ASSERT_TRUE(refused);
    EXPECT_FALSE(refused->succeeded);
    ASSERT_EQ(refused->values.size(), 2U) << "what is there is told to the loser";
    EXPECT_EQ(refused->find("a")->value, "1");
    EXPECT_EQ(get("b")->value, "2");
    auto const done = commit(
        Transaction().require_revision("a", a).require_exists("b").put("a", "9").remove("b").read("a").read("b"));
    ASSERT_TRUE(done && done->succeeded);
    ASSERT_EQ(done->values.size(), 1U) << "values are those after the operations";
    EXPECT_EQ(done->find("a")->value, "9");
    EXPECT_FALSE(get("b"));
    EXPECT_TRUE(commit(Transaction().require_revision("b", {}).put("b", "new"))->succeeded)
        << "revision 0: missing";
}

TEST_P(Conformance, OfManyThatCompareTheSameRevisionOneWins) {
    Revision const seen = put("k", "0");
    std::vector<std::shared_ptr<std::optional<Result<TransactionResult>>>> answers;
    struct Ask {
        static Task<void> run(Catalog* catalog, Transaction transaction, Instant deadline,
                              std::shared_ptr<std::optional<Result<TransactionResult>>> out) {
            out->emplace(co_await catalog->commit(std::move(transaction), deadline));
        }
    };
    for (usize i = 0; i < 8; ++i) {
        answers.push_back(std::make_shared<std::optional<Result<TransactionResult>>>());
        usize const where = i % suite->size();
        suite->spawn(where,
                     Ask::run(&suite->at(where),
                              Transaction().require_revision("k", seen).put("k", std::to_string(i + 1)).read("k"),
                              suite->in(20_s, where), answers.back()));
    }
    ASSERT_TRUE(suite->run_until(
        [&] { return std::all_of(answers.begin(), answers.end(), [](auto& a) { return a->has_value(); }); }, 30_s));
    usize winners = 0;
    std::string const value = get("k")->value;
    for (usize i = 0; i < answers.size(); ++i) {
        ASSERT_TRUE(**answers[i]);
        bool const won = (**answers[i])->succeeded;
        winners += won;
        if (won) EXPECT_EQ(value, std::to_string(i + 1));
        EXPECT_EQ((**answers[i])->find("k")->value, value) << "winner and losers see the winner's value";
    }
    EXPECT_EQ(winners, 1U);
}

TEST_P(Conformance, RefusesWhatIsBeyondItsBoundsAndSaysSo) {
    put("k", "v");
    std::vector<Transaction> bad;
    bad.push_back(Transaction().put("", "v"));
    bad.push_back(Transaction().put(std::string(k_catalog_key_bytes_max + 1, 'k'), "v"));
    bad.push_back(Transaction().put("k", std::string(k_catalog_transaction_bytes_max, 'v')));
    bad.push_back(Transaction().put("k", "new", LeaseId(12345)));
    Transaction many;
    for (usize i = 0; i <= k_catalog_operations_max; ++i) many.read("k");
    bad.push_back(std::move(many));
    for (usize i = 0; i < bad.size(); ++i) {
        auto const refused = commit(bad[i]);
        ASSERT_FALSE(refused) << i;
        EXPECT_EQ(refused.error().code, Code::kInvalid) << i << ": " << refused.error().to_string();
        EXPECT_FALSE(refused.error().message.empty());
    }
    EXPECT_EQ(get("k")->value, "v");
    std::string const large(k_catalog_transaction_bytes_max - 1000, 'v');
    put("large", large);
    EXPECT_EQ(get("large")->value.size(), large.size()) << "the largest that is allowed goes all the way";
}

// Full is not broken: reads and deletes go on, and after them writes.
TEST_P(Conformance, AFullCatalogRefusesGrowthAndNothingElse) {
    std::string const large(800 * k_kib, 'v');
    usize stored = 0;
    Result<TransactionResult> last = TransactionResult{};
    while (stored < 20 && last) {
        last = commit(Transaction().put("fill/" + std::to_string(stored), large));
        stored += last.has_value();
    }
    ASSERT_FALSE(last);
    EXPECT_EQ(last.error().code, Code::kNoSpace) << last.error().to_string();
    EXPECT_GE(stored, 3U);
    EXPECT_EQ(range("fill/")->items.size(), stored) << "whole ranges are read, however large";
    put("fill/0", std::string(700 * k_kib, 'w'));
    EXPECT_TRUE(commit(Transaction().remove("fill/1")));
    put("fill/new", large);
    EXPECT_EQ(suite->wait(k_voter, suite->at(k_voter).range("fill/", suite->in(20_s, k_voter)))->items.size(),
              stored);
}

// --- watches
// ----------------------------------------------------------------------------------------------------------------

TEST_P(Conformance, AWatchTellsEachRevisionOnceAndInOrder) {
    Revision const start = put("w/0", "zero");
    suite->settle();
    auto watch = suite->at(k_observer).watch("w/", start);
    Revision const one = commit(Transaction().put("w/1", "a").put("x", "not watched").put("w/2", "b"))->revision;
    put("x", "again");
    Revision const two = commit(Transaction().remove("w/1").put("w/0", "changed"))->revision;

    auto batch = next(*watch);
    ASSERT_TRUE(batch);
    EXPECT_EQ(batch->revision, one);
    ASSERT_EQ(batch->events.size(), 2U);
    EXPECT_EQ(batch->events[0].item.key, "w/1");
    EXPECT_EQ(batch->events[0].item.mod_revision, one);
    EXPECT_EQ(batch->events[1].item.value, "b");
    batch = next(*watch);
    ASSERT_TRUE(batch);
    EXPECT_EQ(batch->revision, two);
    ASSERT_EQ(batch->events.size(), 2U);
    EXPECT_TRUE(batch->events[0].deleted);
    EXPECT_EQ(batch->events[0].item.key, "w/1");
    EXPECT_EQ(batch->events[1].item.value, "changed");
}

TEST_P(Conformance, AWatchResumesFromARevisionWithoutAGap) {
    Revision const start = put("w/0", "0");
    std::vector<Revision> made;
    for (int i = 1; i <= 20; ++i) made.push_back(put("w/0", std::to_string(i)));
    suite->settle();
    for (usize from = 0; from < made.size(); from += 7) {
        auto watch = suite->at(k_voter).watch("w/", from == 0 ? start : made[from - 1]);
        for (usize i = from; i < made.size(); ++i) {
            auto const batch = next(*watch, k_voter);
            ASSERT_TRUE(batch);
            EXPECT_EQ(batch->revision, made[i]);
            EXPECT_EQ(batch->events.at(0).item.value, std::to_string(i + 1));
        }
    }
}

TEST_P(Conformance, AWatchThatFellBehindSaysSoAndGoesOnFromThePresent) {
    Revision const start = put("w/0", "0");
    std::string const large(700 * k_kib, 'v');
    for (usize bytes = 0; bytes <= k_catalog_history_bytes + large.size(); bytes += large.size())
        put("w/big", large);
    suite->settle();
    for (usize where : {k_voter, k_observer}) {
        suite->settle();
        auto watch = suite->at(where).watch("w/", start);
        auto const missed = next(*watch, where);
        ASSERT_FALSE(missed);
        EXPECT_EQ(missed.error().code, Code::kOverloaded);
        Revision const later = put("w/0", "later at " + std::to_string(where));
        auto const batch = next(*watch, where);
        ASSERT_TRUE(batch);
        EXPECT_EQ(batch->revision, later);
    }
}

// --- leases
// -----------------------------------------------------------------------------------------------------------------

TEST_P(Conformance, ALeaseThatIsNotRenewedTakesItsKeysAlong) {
    LeaseId const lease = grant(3_s);
    put("leased", "v", lease);
    put("other", "v");
    auto watch = suite->at(k_observer).watch("leased", suite->at(k_observer).local_range("").revision);
    suite->settle();
    for (int i = 0; i < 5; ++i) {
        suite->run_for(1500_ms);
        ASSERT_TRUE(renew(lease)) << i;
        ASSERT_TRUE(get("leased")) << "it lives as long as it is renewed";
    }
    suite->run_for(12_s);
    EXPECT_FALSE(get("leased"));
    EXPECT_TRUE(get("other"));
    EXPECT_EQ(renew(lease).error().code, Code::kNotFound);
    suite->run_for(5_s);
    EXPECT_EQ(renew(lease).error().code, Code::kNotFound) << "a lapsed one is never revived";
    auto const refused = commit(Transaction().put("leased", "v", lease));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::kInvalid);
    for (;;) {
        auto const batch = next(*watch);
        ASSERT_TRUE(batch);
        if (batch->events.at(0).deleted) break;
    }
}

TEST_P(Conformance, ALeaseLivesAtLeastItsLengthFromTheLastRenewal) {
    LeaseId const lease = grant(4_s);
    put("leased", "v", lease);
    for (int i = 0; i < 3; ++i) {
        Instant const sent = suite->in(0_s, k_observer);
        ASSERT_TRUE(renew(lease));
        suite->run_for(3700_ms);
        bool const lives = get("leased").has_value();
        // A machine that is busy with other things may take longer for all that than the lease's time.
        ASSERT_TRUE(lives || suite->in(0_s, k_observer) - sent >= 4_s) << i;
        if (!lives) break;
    }
}

TEST_P(Conformance, ARevokedLeaseEndsAtOnceAndAPutMovesAKeyBetweenLeases) {
    LeaseId const first = grant(1000_s), second = grant(1000_s, k_voter);
    EXPECT_NE(first, second);
    put("moves", "v", first);
    put("stays", "v", first);
    put("moves", "v", second);
    put("freed", "v", first);
    put("freed", "v");
    ASSERT_TRUE(suite->wait(k_observer, suite->at(k_observer).revoke_lease(first, suite->in(20_s, k_observer))));
    EXPECT_FALSE(get("stays"));
    EXPECT_TRUE(get("moves"));
    EXPECT_TRUE(get("freed"));
    EXPECT_EQ(renew(first).error().code, Code::kNotFound);
    EXPECT_TRUE(renew(second));
}

INSTANTIATE_TEST_SUITE_P(Engines, Conformance, ::testing::Values(Engine::kMemory, Engine::kRaft, Engine::kEtcd),
                         engine_name);

}  // namespace
}  // namespace corelet::testing
