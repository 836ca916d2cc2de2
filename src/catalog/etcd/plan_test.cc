#include "catalog/etcd/plan.h"

#include <gtest/gtest.h>

#include "base/prng.h"
#include "catalog/state.h"

namespace corelet::etcd {
namespace {

Transaction& delete_prefix(Transaction& transaction, std::string prefix) {
    transaction.operations.push_back({Operation::Kind::kDeletePrefix, std::move(prefix), {}, {}});
    return transaction;
}

// What etcd does with the effects, and what it demands of them.
void carry_out(const std::vector<Effect>& effects, std::map<std::string, std::string>& items) {
    std::set<std::string> put;
    for (const Effect& effect : effects)
        if (effect.kind == Effect::Kind::kPut) EXPECT_TRUE(put.insert(effect.key).second) << "written twice";
    for (const Effect& effect : effects) {
        if (effect.kind == Effect::Kind::kPut) {
            items[effect.key] = effect.value;
            continue;
        }
        bool const one = effect.kind == Effect::Kind::kDelete;
        auto const covers = [&](const std::string& key) {
            if (one) return key == effect.key;
            return key >= effect.key && (effect.end.empty() || key < effect.end);
        };
        for (const std::string& key : put) EXPECT_FALSE(covers(key)) << key << " is written and deleted";
        std::erase_if(items, [&](const auto& item) { return covers(item.first); });
    }
}

TEST(EtcdPlan, TheLastOperationOnAKeyCounts) {
    Transaction transaction;
    transaction.put("a", "1").put("b", "2").remove("a").put("b", "3").remove("c").put("c", "4", LeaseId(9));
    auto const effects = plan_effects(transaction);
    ASSERT_TRUE(effects);
    ASSERT_EQ(effects->size(), 3U);
    EXPECT_EQ((*effects)[0].kind, Effect::Kind::kDelete);
    EXPECT_EQ((*effects)[0].key, "a");
    EXPECT_EQ((*effects)[1].value, "3");
    EXPECT_EQ((*effects)[2].value, "4");
    EXPECT_EQ((*effects)[2].lease, LeaseId(9));
}

TEST(EtcdPlan, APrefixIsDeletedAroundWhatIsWrittenAfterIt) {
    Transaction transaction;
    transaction.put("p/a", "before").put("p/x", "before");
    delete_prefix(transaction, "p/").put("p/a", "after").put("p/m", "after");
    auto const effects = plan_effects(transaction);
    ASSERT_TRUE(effects);
    std::map<std::string, std::string> items{{"p", ""},   {"p/", ""},  {"p/a", ""}, {"p/b", ""},
                                             {"p/m", ""}, {"p/z", ""}, {"p0", ""}};
    carry_out(*effects, items);
    std::map<std::string, std::string> const left{{"p", ""}, {"p/a", "after"}, {"p/m", "after"}, {"p0", ""}};
    EXPECT_EQ(items, left);
}

// Beside our own state machine, which takes operations one after the other.
TEST(EtcdPlan, ManyOperationsHaveTheSameOutcomeAsOneAfterTheOther) {
    Prng prng(1);
    std::vector<std::string> const keys{"a",
                                        "b",
                                        "p",
                                        "p/",
                                        "p/1",
                                        "p/12",
                                        "p/2",
                                        std::string("p/\xff"),
                                        std::string("\xff"),
                                        std::string("\xff\xff")};
    for (int round = 0; round < 2000; ++round) {
        CatalogState state;
        std::map<std::string, std::string> items;
        auto const apply = [&](const Transaction& transaction) {
            pb::CatalogCommand command;
            encode_transaction(transaction, *command.mutable_transaction());
            ASSERT_EQ(state.apply(as_bytes(command.SerializeAsString())).code(), 0U);
            auto const effects = plan_effects(transaction);
            ASSERT_TRUE(effects);
            carry_out(*effects, items);
        };
        Transaction first, second;
        for (const std::string& key : keys)
            if (prng.next() % 2 == 0) first.put(key, "old");
        apply(first);
        for (u64 i = 0; i < 1 + prng.next() % 6; ++i) {
            const std::string& key = keys[prng.next() % keys.size()];
            switch (prng.next() % 3) {
                case 0:
                    second.put(key, std::to_string(i));
                    break;
                case 1:
                    second.remove(key);
                    break;
                default:
                    delete_prefix(second, key);
                    break;
            }
        }
        apply(second);
        std::map<std::string, std::string> expected;
        for (const KeyValue& item : state.range("").items) expected[item.key] = item.value;
        ASSERT_EQ(items, expected) << "round " << round;
    }
}

TEST(EtcdPlan, MorePartsThanEtcdTakesAreRefusedWithTheReason) {
    Transaction most;
    for (usize i = 0; i < k_parts_max - 2; ++i) most.put("k" + std::to_string(i), "v");
    most.read("k0");
    EXPECT_TRUE(plan_effects(most));
    most.read("k1");
    auto const refused = plan_effects(most);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::kInvalid);
    EXPECT_NE(refused.error().message.find("split it"), std::string::npos);
    Transaction compares;
    for (usize i = 0; i < k_parts_max; ++i) compares.require_missing("k" + std::to_string(i));
    EXPECT_FALSE(plan_effects(compares));
}

}  // namespace
}  // namespace corelet::etcd
