// The conformance suite while leaders change, voters crash and the network is cut.
#include "catalog/conformance_testing.h"

namespace corelet::testing {
namespace {

class ConformanceDisturbed : public Conformance {};

// --- reads, and what goes on beneath
// ------------------------------------------------------------------------------------------

TEST_P(ConformanceDisturbed, WithoutQuorumCallsEndAtTheirDeadlineAndTheLocalViewStays) {
    put("k", "v");
    LeaseId const lease = grant(30_s);
    suite->settle();
    suite->lose_quorum();
    EXPECT_FALSE(suite->at(k_observer).is_available());
    Instant const before = suite->in(0_s, k_observer);
    auto const failed = suite->wait(
        k_observer, suite->at(k_observer).commit(Transaction().put("k", "w"), suite->in(3_s, k_observer)));
    ASSERT_FALSE(failed);
    EXPECT_TRUE(failed.error().code == Code::kUnavailable || failed.error().code == Code::kTimeout)
        << failed.error().to_string();
    EXPECT_FALSE(suite->wait(k_observer, suite->at(k_observer).range("", suite->in(3_s, k_observer))));
    EXPECT_FALSE(suite->wait(k_observer, suite->at(k_observer).renew_lease(lease, suite->in(3_s, k_observer))));
    EXPECT_LE(suite->in(0_s, k_observer) - before, 12_s) << "each ends at about its deadline";
    auto const local = suite->at(k_observer).local_range("k");
    ASSERT_EQ(local.items.size(), 1U);
    suite->regain_quorum();
    EXPECT_TRUE(suite->run_until([&] { return suite->at(k_observer).is_available(); }, 10_s));
    put("k", "x");
}

struct Counter {
    bool stop = false;
    u64 attempted = 0, acknowledged = 0, refused = 0;
};

Task<void> count_up(CatalogUnderTest* suite, usize where, std::shared_ptr<Counter> counter) {
    Catalog& catalog = suite->at(where);
    Clock& clock = suite->clock(where);
    while (!counter->stop) {
        co_await clock.sleep(20_ms);
        auto const found = co_await catalog.get("counter", clock.now() + 5_s);
        if (!found) continue;
        u64 const value = *found ? std::stoull((*found)->value) : 0;
        Transaction transaction;
        transaction.require_revision("counter", *found ? (*found)->mod_revision : Revision{})
            .put("counter", std::to_string(value + 1));
        ++counter->attempted;
        auto const done = co_await catalog.commit(std::move(transaction), clock.now() + 5_s);
        if (!done) continue;
        (done->succeeded ? counter->acknowledged : counter->refused) += 1;
    }
}

// A transaction that was applied and whose answer was lost is found again, not tried against its own effect.
TEST_P(ConformanceDisturbed, SuccessesAreCountedOnceWhateverHappens) {
    auto counter = std::make_shared<Counter>();
    for (usize where : {k_observer, k_observer + 1}) suite->spawn(where, count_up(suite.get(), where, counter));
    Prng random = suite->fork("disturb");
    for (int i = 0; i < 12; ++i) {
        suite->run_for(2_s);
        suite->disturb(random.next());
    }
    suite->settle();
    counter->stop = true;
    suite->run_for(12_s);
    u64 const value = std::stoull(get("counter")->value);
    EXPECT_GE(counter->acknowledged, 100U);
    EXPECT_GE(value, counter->acknowledged);
    EXPECT_LE(value, counter->attempted - counter->refused) << "a refused transaction took effect";
}

struct Register {
    bool stop = false;
    u64 begun = 0, acknowledged = 0;
    u64 reads = 0;
    std::string broken;
};

Task<void> write_register(CatalogUnderTest* suite, usize where, std::shared_ptr<Register> shared) {
    Catalog& catalog = suite->at(where);
    Clock& clock = suite->clock(where);
    while (!shared->stop) {
        co_await clock.sleep(10_ms);
        u64 const value = ++shared->begun;
        auto const done =
            co_await catalog.commit(Transaction().put("register", std::to_string(value)), clock.now() + 30_s);
        if (done) shared->acknowledged = value;
    }
}

Task<void> read_register(CatalogUnderTest* suite, usize where, bool by_range, std::shared_ptr<Register> shared) {
    Catalog& catalog = suite->at(where);
    Clock& clock = suite->clock(where);
    u64 last = 0;
    while (!shared->stop) {
        co_await clock.sleep(7_ms);
        u64 const floor = std::max(shared->acknowledged, last);
        std::string text = "0";
        if (by_range) {
            auto const found = co_await catalog.range("register", clock.now() + 5_s);
            if (!found) continue;
            if (!found->items.empty()) text = found->items[0].value;
        } else {
            auto const found = co_await catalog.get("register", clock.now() + 5_s);
            if (!found) continue;
            if (*found) text = (*found)->value;
        }
        u64 const value = std::stoull(text);
        if (value < floor)
            shared->broken = "read " + text + " after " + std::to_string(floor) + " was known at corelet " +
                             std::to_string(where);
        if (value > shared->begun) shared->broken = "read " + text + " from the future";
        last = value;
        ++shared->reads;
    }
}

TEST_P(ConformanceDisturbed, ReadsAreLinearizableWhateverHappens) {
    auto shared = std::make_shared<Register>();
    suite->spawn(k_observer, write_register(suite.get(), k_observer, shared));
    for (usize where = 0; where < suite->size(); ++where)
        suite->spawn(where, read_register(suite.get(), where, where % 2 == 0, shared));
    Prng random = suite->fork("disturb");
    for (int i = 0; i < 12; ++i) {
        suite->run_for(1500_ms);
        suite->disturb(random.next());
        ASSERT_EQ(shared->broken, "");
    }
    shared->stop = true;
    suite->settle();
    suite->run_for(6_s);
    EXPECT_EQ(shared->broken, "");
    EXPECT_GE(shared->reads, 200U);
    EXPECT_GE(shared->acknowledged, 100U);
}

Task<void> follow(CatalogUnderTest* suite, usize where, std::shared_ptr<std::vector<std::string>> seen,
                  std::shared_ptr<bool> missed) {
    auto watch = suite->at(where).watch("steps/", {});
    Revision last;
    for (;;) {
        auto const batch = co_await watch->next();
        if (!batch || batch->revision <= last) {
            *missed = true;
            co_return;
        }
        last = batch->revision;
        for (const WatchEvent& event : batch->events) seen->push_back(event.item.value);
    }
}

TEST_P(ConformanceDisturbed, AWatchMissesNothingWhateverHappens) {
    auto seen = std::make_shared<std::vector<std::string>>();
    auto missed = std::make_shared<bool>(false);
    put("start", "x");
    suite->settle();
    suite->spawn(k_observer + 1, follow(suite.get(), k_observer + 1, seen, missed));
    suite->run_for(10_ms);
    Prng random = suite->fork("disturb");
    std::vector<std::string> made;
    for (int i = 0; i < 60; ++i) {
        made.push_back(std::to_string(i));
        put("steps/one", made.back());
        if (i % 6 == 5) suite->disturb(random.next());
    }
    suite->settle();
    suite->run_until([&] { return seen->size() >= made.size(); }, 20_s);
    EXPECT_FALSE(*missed);
    EXPECT_EQ(*seen, made);
}

INSTANTIATE_TEST_SUITE_P(Engines, ConformanceDisturbed,
                         ::testing::Values(Engine::kMemory, Engine::kRaft, Engine::kEtcdCluster), engine_name);

}  // namespace
}  // namespace corelet::testing
