// The fixture of the conformance suite: what every engine behind the Catalog interface must do, in the interface's
// own words. One suite, run against each engine; the one on raft in a mesh of voters and observers, where cases
// that say so are disturbed meanwhile.
#pragma once

#include <gtest/gtest.h>

#include "catalog/catalog_testing.h"
#include "catalog/etcd/etcd_testing.h"

namespace corelet::testing {

enum class Engine : u8 { kMemory, kRaft, kEtcd, kEtcdCluster };

// Five corelets of each, but one of that in memory.
[[nodiscard]] inline std::unique_ptr<CatalogUnderTest> make_engine(Engine engine) {
    switch (engine) {
        case Engine::kMemory:
            return std::make_unique<MemoryUnderTest>(1);
        case Engine::kRaft:
            return std::make_unique<RaftUnderTest>(1, 3, 2);
        case Engine::kEtcd:
            return std::make_unique<EtcdUnderTest>(1, 5);
        case Engine::kEtcdCluster:
            break;
    }
    return std::make_unique<EtcdUnderTest>(3, 5);
}

class Conformance : public ::testing::TestWithParam<Engine> {
  protected:
    Conformance() : suite(make_engine(GetParam())) {}
    ~Conformance() override { EXPECT_EQ(suite->failure(), ""); }
    // Where clients sit: a voter, and an observer that asks over the network.
    static constexpr usize k_voter = 1;
    static constexpr usize k_observer = 3;

    Result<TransactionResult> commit(Transaction transaction, usize where = k_observer) {
        return suite->wait(where, suite->at(where).commit(std::move(transaction), suite->in(20_s, where)));
    }
    Result<RangeResult> range(std::string prefix, usize where = k_observer) {
        return suite->wait(where, suite->at(where).range(std::move(prefix), suite->in(20_s, where)));
    }
    std::optional<KeyValue> get(std::string key, usize where = k_observer) {
        auto found = suite->wait(where, suite->at(where).get(std::move(key), suite->in(20_s, where)));
        EXPECT_TRUE(found.has_value()) << found.error().to_string();
        return found.value_or(std::nullopt);
    }
    Revision put(std::string key, std::string value, LeaseId lease = {}, usize where = k_observer) {
        auto done = commit(Transaction().put(std::move(key), std::move(value), lease), where);
        EXPECT_TRUE(done && done->succeeded) << (done ? "a compare failed" : done.error().to_string());
        return done ? done->revision : Revision{};
    }
    LeaseId grant(Duration ttl, usize where = k_observer) {
        auto lease = suite->wait(where, suite->at(where).grant_lease(ttl, suite->in(20_s, where)));
        EXPECT_TRUE(lease.has_value());
        return lease.value_or(LeaseId{});
    }
    Result<void> renew(LeaseId lease, usize where = k_observer) {
        return suite->wait(where, suite->at(where).renew_lease(lease, suite->in(20_s, where)));
    }
    Result<WatchBatch> next(Watch& watch, usize where = k_observer) { return suite->wait(where, watch.next()); }

    std::unique_ptr<CatalogUnderTest> suite;
};

inline std::string engine_name(const ::testing::TestParamInfo<Engine>& info) {
    switch (info.param) {
        case Engine::kMemory:
            return "Memory";
        case Engine::kRaft:
            return "Raft";
        case Engine::kEtcd:
            return "Etcd";
        case Engine::kEtcdCluster:
            break;
    }
    return "EtcdCluster";
}

}  // namespace corelet::testing
