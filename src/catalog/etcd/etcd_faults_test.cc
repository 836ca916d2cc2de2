// The engine on etcd, in the simulator, where answers are lost and requests linger just when it hurts.
#include <gtest/gtest.h>

#include "base/base64.h"
#include "catalog/etcd/etcd_catalog.h"
#include "catalog/etcd/fake_etcd_testing.h"
#include "sim/world.h"

namespace corelet {
namespace {

using etcd::Fate;

etcd::KeySpace const k_keys(MeshId(7));

struct EtcdFaults : ::testing::Test {
    EtcdFaults() : world(1) {
        server = &world.add_node("etcd");
        server->start([this](Env& env) { return etcd::FakeMember::run(&env, &member, at("etcd")); });
        node = &world.add_node("c");
        node->start([this](Env& env) { return life(&env, this, {at("gone"), at("etcd")}); });
        EXPECT_TRUE(world.run_until([this] { return catalog && catalog->is_available(); }, 20_s))
            << world.failure();
        put("k", "0");
    }
    ~EtcdFaults() override {
        node->crash();
        server->crash();
        EXPECT_FALSE(world.failed()) << world.failure();
    }
    static Address at(const char* host) { return Address::tcp(host, 2379); }
    static Task<void> life(Env* env, EtcdFaults* self, std::vector<Address> endpoints) {
        EtcdCatalog own(*env, std::move(endpoints), MeshId(7));
        self->catalog = &own;
        Event never;
        co_await never.wait();
    }
    template <class T>
    T wait(Task<T> task) {
        auto result = world.run(*node, std::move(task), 120_s);
        CORELET_ASSERT(result.has_value());
        return *std::move(result);
    }
    Instant in(Duration time) { return node->env().clock.now() + time; }
    Result<TransactionResult> commit(Transaction transaction, Duration patience = 20_s) {
        return wait(catalog->commit(std::move(transaction), in(patience)));
    }
    void put(std::string key, std::string value) {
        auto const done = commit(Transaction().put(std::move(key), std::move(value)));
        EXPECT_TRUE(done && done->succeeded) << (done ? "" : done.error().to_string());
    }
    [[nodiscard]] std::string stored(const std::string& key) {
        return store.value(k_keys.data(key)).value_or("nothing");
    }
    // Of the next transaction that puts `key`.
    void fate_of(const std::string& key, Fate fate) {
        member.fate = [this, name = to_padded_base64(k_keys.data(key)), fate](const std::string& path,
                                                                              const Json& request) {
            if (path != "/v3/kv/txn") return Fate::kArrives;
            for (const Json& operation : request.at("success"))
                if (etcd::text(etcd::member(operation, "request_put"), "key") == name) {
                    ++tried;
                    return tried == 1 ? fate : Fate::kArrives;
                }
            return Fate::kArrives;
        };
    }

    sim::World world;
    etcd::FakeStore store;
    etcd::FakeMember member{store, {}, {}, {}};
    sim::Node* server = nullptr;
    sim::Node* node = nullptr;
    EtcdCatalog* catalog = nullptr;
    usize tried = 0;
};

TEST_F(EtcdFaults, ASuccessWhoseAnswerWasLostIsFoundAndNotTriedAgain) {
    auto const before = wait(catalog->get("k", in(5_s)));
    fate_of("k", Fate::kAnswerLost);
    auto const done = commit(Transaction().require_revision("k", (*before)->mod_revision).put("k", "1").read("k"));
    ASSERT_TRUE(done) << done.error().to_string();
    EXPECT_TRUE(done->succeeded) << "against its own effect it would have failed";
    EXPECT_EQ(tried, 1U);
    EXPECT_EQ(done->find("k")->value, "1");
    EXPECT_EQ(done->find("k")->mod_revision, done->revision);
}

TEST_F(EtcdFaults, ARequestThatWasLostIsTriedAgain) {
    fate_of("k", Fate::kLost);
    auto const done = commit(Transaction().put("k", "1"));
    ASSERT_TRUE(done && done->succeeded);
    EXPECT_EQ(tried, 2U);
    EXPECT_EQ(stored("k"), "1");
}

// The first one arrives when all is over, and its compares would hold.
TEST_F(EtcdFaults, ARequestThatLingersHasNoEffectOnceItWasTriedAgain) {
    fate_of("k", Fate::kLingers);
    auto const done = commit(Transaction().require_exists("k").put("k", "1"));
    ASSERT_TRUE(done && done->succeeded) << (done ? "" : done.error().to_string());
    put("k", "2");
    ASSERT_EQ(member.lingering.size(), 1U);
    u64 const revision = store.revision();
    member.release();
    EXPECT_EQ(stored("k"), "2");
    EXPECT_EQ(store.revision(), revision);
}

TEST_F(EtcdFaults, OneThatWasGivenUpMayStillHappenButOnlyUntilItsSlotIsUsedAgain) {
    fate_of("k", Fate::kLingers);
    auto const given_up = commit(Transaction().put("k", "1"), 1_s);
    ASSERT_FALSE(given_up);
    EXPECT_EQ(given_up.error().code, Code::kTimeout);
    member.fate = {};
    put("other", "x");  // settles the slot first
    member.release();
    EXPECT_EQ(stored("k"), "0");
    EXPECT_EQ(stored("other"), "x");
}

// Then nobody can say whether it happened, and nobody does.
TEST_F(EtcdFaults, ASlotThatWentWithItsLeaseLeavesTheOutcomeUnknown) {
    bool ended = false;
    member.fate = [&](const std::string& path, const Json& request) {
        if (ended || path != "/v3/kv/txn" || !etcd::member(request, "success").is_array()) return Fate::kArrives;
        for (const Json& operation : request.at("success"))
            if (etcd::text(etcd::member(operation, "request_put"), "key") == to_padded_base64(k_keys.data("k")))
                ended = true;
        if (!ended) return Fate::kArrives;
        store.end_lease(store.lease_below(k_keys.root() + "r/"));
        return Fate::kLost;
    };
    auto const done = commit(Transaction().put("k", "1"));
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, Code::kTimeout);
    EXPECT_EQ(stored("k"), "0");
    put("k", "2");
    EXPECT_EQ(stored("k"), "2") << "a new slot on a new lease";
}

TEST_F(EtcdFaults, ARenewalThatOnlyADeposedLeaderKnowsOfDoesNotCount) {
    auto const lease = wait(catalog->grant_lease(3_s, in(5_s)));
    ASSERT_TRUE(lease);
    ASSERT_TRUE(wait(catalog->renew_lease(*lease, in(5_s))));
    // Each keep-alive is answered by one that does not yet know of the term that the read after it belongs to.
    member.change = [](const std::string& path, Json& answer) {
        if (path == "/v3/lease/keepalive") answer["result"]["header"]["raft_term"] = "1";
    };
    auto const unproven = wait(catalog->renew_lease(*lease, in(2_s)));
    ASSERT_FALSE(unproven);
    EXPECT_EQ(unproven.error().code, Code::kUnavailable);
    member.change = [this](const std::string& path, Json&) {
        if (path == "/v3/lease/keepalive") ++store.term;  // an election between the two
    };
    EXPECT_FALSE(wait(catalog->renew_lease(*lease, in(2_s))));
    member.change = {};
    EXPECT_TRUE(wait(catalog->renew_lease(*lease, in(2_s))));
}

TEST_F(EtcdFaults, ThatALeaseIsGoneIsBelievedTheSecondTime) {
    auto const lease = wait(catalog->grant_lease(3_s, in(5_s)));
    ASSERT_TRUE(lease);
    usize asked = 0;
    member.change = [&](const std::string& path, Json& answer) {
        if (path == "/v3/lease/keepalive" && ++asked == 1) answer["result"].erase("TTL");  // not yet applied there
    };
    EXPECT_TRUE(wait(catalog->renew_lease(*lease, in(5_s))));
    store.end_lease(lease->v);
    EXPECT_EQ(wait(catalog->renew_lease(*lease, in(5_s))).error().code, Code::kNotFound);
}

TEST_F(EtcdFaults, AGrantWhoseAnswerWasLostIsOneLease) {
    usize grants = 0;
    member.fate = [&](const std::string& path, const Json&) {
        return path == "/v3/lease/grant" && ++grants == 1 ? Fate::kAnswerLost : Fate::kArrives;
    };
    auto const lease = wait(catalog->grant_lease(3_s, in(10_s)));
    ASSERT_TRUE(lease) << lease.error().to_string();
    EXPECT_EQ(grants, 2U);
    EXPECT_TRUE(wait(catalog->renew_lease(*lease, in(5_s))));
}

TEST_F(EtcdFaults, WhoWasAwayTooLongReadsEverythingAnewAndItsWatchesSaySo) {
    auto watch = catalog->watch("k", {});
    world.isolate(node->index());
    world.run_for(10_s);
    EXPECT_FALSE(catalog->is_available());
    auto const puts = Json{
        {"success",
         Json::array({Json{
             {"request_put", {{"key", to_padded_base64(k_keys.data("k"))}, {"value", to_padded_base64("9")}}}}})}};
    (void)store.answer("/v3/kv/txn", puts);
    (void)store.answer("/v3/kv/txn", puts);
    store.compact();
    world.heal_network();
    ASSERT_TRUE(
        world.run_until([&] { return catalog->is_available() && catalog->local().find("k")->value == "9"; }, 30_s));
    EXPECT_EQ(wait(watch->next()).error().code, Code::kOverloaded);
    put("k", "10");
    auto const batch = wait(watch->next());
    ASSERT_TRUE(batch);
    EXPECT_EQ(batch->events.at(0).item.value, "10");
}

}  // namespace
}  // namespace corelet
