#include "catalog/etcd/codec.h"

#include <gtest/gtest.h>

#include "base/base64.h"
#include "base/prng.h"
#include "catalog/etcd/json.h"

namespace corelet::etcd {
namespace {

KeySpace const k_keys(MeshId(7));

std::string in_base64(std::string_view text) {
    return to_padded_base64(text);
}

TEST(EtcdCodec, Base64GoesBothWays) {
    EXPECT_EQ(to_padded_base64(""), "");
    EXPECT_EQ(to_padded_base64("f"), "Zg==");
    EXPECT_EQ(to_padded_base64("foobar"), "Zm9vYmFy");
    Prng prng(1);
    for (usize size = 0; size < 200; ++size) {
        std::string bytes;
        for (usize i = 0; i < size; ++i) bytes += static_cast<char>(prng.next());
        EXPECT_EQ(from_padded_base64(to_padded_base64(bytes)), bytes);
    }
    for (const char* bad : {"A", "AAA", "A$==", "====="}) EXPECT_FALSE(from_padded_base64(bad)) << bad;
}

TEST(EtcdCodec, AnAttemptHangsOnItsSlotAndMovesIt) {
    Slot const slot{1, 2, Revision(33)};
    Transaction transaction;
    transaction.require_exists("a").require_revision("b", Revision(5)).put("c", "x", LeaseId(4)).read("d");
    auto const json = Json::parse(encode_attempt(k_keys, slot, transaction, *plan_effects(transaction)));
    std::string const key = in_base64(k_keys.slot(1, 2));
    auto const& compares = json.at("compare");
    ASSERT_EQ(compares.size(), 3U);
    EXPECT_EQ(compares[0].at("key"), key);
    EXPECT_EQ(compares[0].at("target"), "MOD");
    EXPECT_EQ(compares[0].at("mod_revision"), "33");
    EXPECT_EQ(compares[1].at("result"), "GREATER");
    EXPECT_EQ(compares[2].at("mod_revision"), "5");
    auto const& success = json.at("success");
    ASSERT_EQ(success.size(), 3U);
    EXPECT_EQ(success[0].at("request_put").at("key"), key);
    EXPECT_EQ(success[0].at("request_put").at("ignore_lease"), true);
    EXPECT_EQ(success[1].at("request_put").at("key"), in_base64(k_keys.data("c")));
    EXPECT_EQ(success[1].at("request_put").at("lease"), "4");
    EXPECT_EQ(success[2].at("request_range").at("key"), in_base64(k_keys.data("d")));
    EXPECT_EQ(json.at("failure").at(0).at("request_range").at("key"), key) << "why it failed is asked at once";
}

// Without anything ranged over etcd would answer from one member's memory.
TEST(EtcdCodec, AReadAsksAQuorumAlsoIfItOnlyCompares) {
    auto const json = Json::parse(encode_reading(k_keys, Transaction().require_exists("a")));
    EXPECT_EQ(json.at("success").at(0).at("request_range").at("key"), in_base64(k_keys.root()));
    EXPECT_EQ(json.at("failure"), json.at("success"));
    EXPECT_FALSE(json.at("success").at(0).at("request_range").contains("serializable"));
}

TEST(EtcdCodec, LeasesAreOfWholeSecondsAndNeverShorter) {
    EXPECT_EQ(Json::parse(encode_grant(LeaseId(9), 3_s)).at("TTL"), "3");
    EXPECT_EQ(Json::parse(encode_grant(LeaseId(9), 3001_ms)).at("TTL"), "4");
    EXPECT_EQ(Json::parse(encode_grant(LeaseId(9), 1_ms)).at("TTL"), "1");
    EXPECT_EQ(Json::parse(encode_grant(LeaseId(9), 1_ms)).at("ID"), "9");
}

std::string answer_with(const std::string& responses, bool succeeded) {
    return R"({"header":{"member_id":"3","raft_term":"2","revision":"40"},)" +
           std::string(succeeded ? R"("succeeded":true,)" : "") + R"("responses":[)" + responses + "]}";
}

std::string found(const std::string& key, const std::string& value, u64 revision) {
    return R"({"response_range":{"kvs":[{"key":")" + in_base64(key) + R"(","value":")" + in_base64(value) +
           R"(","create_revision":"1","mod_revision":")" + std::to_string(revision) + R"("}]}})";
}

TEST(EtcdCodec, ATransactionsAnswerTellsTheSlotFromTheCatalogsKeys) {
    auto const answer = decode_transaction(
        k_keys, {200, answer_with(found(k_keys.slot(1, 2), "done", 39) + "," + R"({"response_range":{}})" + "," +
                                      found(k_keys.data("a"), "x", 17),
                                  false)});
    ASSERT_TRUE(answer) << answer.error().to_string();
    EXPECT_FALSE(answer->succeeded);
    EXPECT_EQ(answer->slot_revision, Revision(39));
    EXPECT_EQ(answer->slot_value, "done");
    ASSERT_EQ(answer->values.size(), 1U);
    EXPECT_EQ(answer->values[0].key, "a");
    EXPECT_EQ(answer->values[0].mod_revision, Revision(17));
    EXPECT_EQ(answer->header.revision, Revision(40));
    EXPECT_EQ(answer->header.member, 3U);
    EXPECT_EQ(answer->header.term, 2U);
}

TEST(EtcdCodec, ErrorsAreRefusalsOnlyWhereNothingHappened) {
    struct Case {
        u32 status;
        const char* body;
        Code code;
        bool refusal;
    };
    for (const Case& each : std::vector<Case>{
             {400, R"({"error":"etcdserver: request is too large","code":3})", Code::kInvalid, true},
             {404, R"({"error":"etcdserver: requested lease not found","code":5})", Code::kNotFound, true},
             {412, R"({"error":"etcdserver: lease already exists","code":9})", Code::kExists, true},
             {429, R"({"error":"etcdserver: mvcc: database space exceeded","code":8})", Code::kNoSpace, true},
             {429, R"({"error":"etcdserver: too many requests","code":8})", Code::kOverloaded, false},
             {503, R"({"error":"etcdserver: request timed out","code":14})", Code::kUnavailable, false},
             {504, R"({"error":"context deadline exceeded","code":4})", Code::kUnavailable, false},
             {404, "Not Found\n", Code::kUnavailable, false},
             {200, "hello", Code::kCorrupt, false},
             {200, "{}", Code::kCorrupt, false}}) {
        auto const answer = decode_transaction(k_keys, {each.status, each.body});
        ASSERT_FALSE(answer) << each.body;
        EXPECT_EQ(answer.error().code, each.code) << each.body;
        EXPECT_EQ(is_refusal(answer.error()), each.refusal) << each.body;
    }
}

TEST(EtcdCodec, AWatchTellsChangesOfTheCatalogsKeysAndHowFarItIs) {
    std::string const put = R"({"kv":{"key":")" + in_base64(k_keys.data("a")) +
                            R"(","value":"eA==","create_revision":"4","mod_revision":"8"}})";
    std::string const gone =
        R"({"type":"DELETE","kv":{"key":")" + in_base64(k_keys.data("b")) + R"(","mod_revision":"9"}})";
    std::string const slot =
        R"({"kv":{"key":")" + in_base64(k_keys.slot(1, 2)) + R"(","value":"eA==","mod_revision":"10"}})";
    auto const told = decode_watch(
        k_keys, R"({"result":{"header":{"revision":"99"},"events":[)" + put + "," + gone + "," + slot + "]}}");
    ASSERT_TRUE(told);
    EXPECT_EQ(told->revision, Revision(10)) << "not the header's, which may be ahead of what is told";
    ASSERT_EQ(told->changes.size(), 2U);
    EXPECT_FALSE(told->changes[0].deleted);
    EXPECT_EQ(told->changes[0].item.value, "x");
    EXPECT_TRUE(told->changes[1].deleted);
    EXPECT_EQ(told->changes[1].item.key, "b");

    auto const created = decode_watch(k_keys, R"({"result":{"header":{"revision":"99"},"created":true}})");
    ASSERT_TRUE(created);
    EXPECT_TRUE(created->revision.is_zero());
    auto const late = decode_watch(k_keys, R"({"result":{"canceled":true,"compact_revision":"50"}})");
    ASSERT_TRUE(late);
    EXPECT_TRUE(late->ended && late->compacted);
    EXPECT_FALSE(decode_watch(k_keys, R"({"error":{"grpc_code":14,"message":"etcdserver: no leader"}})"));
    EXPECT_FALSE(decode_watch(k_keys, "{"));
}

TEST(EtcdCodec, ALeaseThatIsGoneHasNoTime) {
    auto const lives =
        decode_lease({200, R"({"result":{"header":{"member_id":"3","raft_term":"2"},"ID":"77","TTL":"3"}})"});
    ASSERT_TRUE(lives);
    EXPECT_TRUE(lives->lives);
    EXPECT_EQ(lives->header.member, 3U);
    auto const gone = decode_lease({200, R"({"result":{"header":{"member_id":"3","raft_term":"2"},"ID":"77"}})"});
    ASSERT_TRUE(gone);
    EXPECT_FALSE(gone->lives);
}

}  // namespace
}  // namespace corelet::etcd
