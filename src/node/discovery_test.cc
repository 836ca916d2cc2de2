#include "node/discovery.h"

#include <gtest/gtest.h>

namespace corelet {
namespace {

constexpr MeshId k_found_mesh{0x0102030405060708};

DiscoveryAnswer full_answer() {
    DiscoveryAnswer out;
    out.nonce = 77;
    out.mesh = k_found_mesh;
    out.corelet = CoreletId(9);
    out.fingerprint = mesh_fingerprint(k_found_mesh, "a secret of the mesh, long enough to be one");
    out.corelets = 12;
    out.addresses = {Address::tcp("10.0.0.7", 7700), Address::tcp("fd00::7", 7700)};
    return out;
}

TEST(Discovery, AQuestionAndAnAnswerAreReadAsTheyWereWritten) {
    DiscoveryQuestion const question{77, k_found_mesh};
    EXPECT_EQ(decode_discovery_question(encode_discovery(question)).value(), question);
    EXPECT_EQ(decode_discovery_answer(encode_discovery(full_answer())).value(), full_answer());
    EXPECT_FALSE(decode_discovery_answer(encode_discovery(question)));
    EXPECT_FALSE(decode_discovery_question(encode_discovery(full_answer())));
}

TEST(Discovery, TheBytesOfAnAnswerStandForEver) {
    DiscoveryAnswer answer = full_answer();
    answer.fingerprint = {1, 2, 3};
    answer.addresses.resize(1);
    std::string hex;
    for (u8 const byte : encode_discovery(answer))
        hex += "0123456789abcdef"[byte >> 4], hex += "0123456789abcdef"[byte & 15];
    EXPECT_EQ(hex.substr(0, hex.size() - 8),
              "434c4441014d0000000000000008070605040302010900000000000000"
              "010203000000000000000000000000000c0000000111"
              "7463703a31302e302e302e373a37373030");
}

TEST(Discovery, NoAnswerIsLongerThanItsQuestion) {
    DiscoveryAnswer answer = full_answer();
    answer.addresses.assign(k_discovery_addresses_max, Address::tcp(std::string(54, 'h'), 65535));
    EXPECT_EQ(answer.addresses[0].to_string().size(), k_discovery_address_bytes_max);
    EXPECT_LE(encode_discovery(answer).size(), encode_discovery(DiscoveryQuestion{1, {}}).size());
}

TEST(Discovery, WhatIsCutOrChangedIsNoDatagram) {
    auto const question = encode_discovery(DiscoveryQuestion{77, k_found_mesh});
    auto const answer = encode_discovery(full_answer());
    for (usize size = 0; size < question.size(); ++size)
        EXPECT_FALSE(decode_discovery_question(Bytes(question).first(size)));
    for (usize size = 0; size < answer.size(); ++size)
        EXPECT_FALSE(decode_discovery_answer(Bytes(answer).first(size)));
    for (usize at = 0; at < answer.size(); ++at) {
        auto changed = answer;
        changed[at] ^= 1;
        EXPECT_FALSE(decode_discovery_answer(changed)) << at;
    }
}

TEST(Discovery, AnAddressThatIsNoPlainTextIsNotShown) {
    DiscoveryAnswer answer = full_answer();
    answer.addresses = {Address::tcp("\x1b[2Jhost", 7700)};
    EXPECT_FALSE(decode_discovery_answer(encode_discovery(answer)));
    EXPECT_TRUE(discoverable_addresses(answer.addresses, true).empty());
}

class Responder : public ::testing::Test {
  protected:
    bool answers(MeshId mesh, u32 corelets = 3) {
        return responder_.step({++nonce_, mesh}, corelets, now_, random_).has_value();
    }
    DiscoveryResponder responder_{k_found_mesh};
    Prng random_{1};
    Instant now_{5'000'000'000};
    u64 nonce_ = 0;
};

TEST_F(Responder, AnswersForItsMeshOnceAndSoon) {
    EXPECT_TRUE(answers(MeshId()));
    EXPECT_TRUE(answers(k_found_mesh));
    EXPECT_FALSE(answers(MeshId(5)));
    EXPECT_FALSE(responder_.step({nonce_, k_found_mesh}, 3, now_, random_) &&
                 responder_.step({nonce_, k_found_mesh}, 3, now_, random_))
        << "the same question by another interface";
    auto const after = responder_.step({1000, k_found_mesh}, 3, now_, random_);
    ASSERT_TRUE(after);
    EXPECT_LE(*after, DiscoveryLimits{}.spread);
}

TEST_F(Responder, GivesNoMoreThanItsLimit) {
    u32 given = 0;
    for (int i = 0; i < 1'000; ++i) given += answers(MeshId()) ? 1 : 0;
    EXPECT_EQ(given, DiscoveryLimits{}.burst);
    for (int i = 0; i < 10'000; ++i) {
        now_ = now_ + 1_ms;
        given += answers(MeshId()) ? 1 : 0;
    }
    EXPECT_EQ(given, DiscoveryLimits{}.burst + 10 * DiscoveryLimits{}.per_second);
    EXPECT_FALSE(answers(MeshId(5))) << "and questions about others cost nothing";
}

TEST_F(Responder, OfALargeMeshAFewAnswer) {
    constexpr u32 k_corelets = 1'000;
    u32 given = 0;
    for (u32 i = 0; i < k_corelets; ++i) {
        DiscoveryResponder other(k_found_mesh);
        given += other.step({42, MeshId()}, k_corelets, now_, random_) ? 1 : 0;
    }
    EXPECT_GE(given, 4U);
    EXPECT_LE(given, 40U);
}

TEST(Discovery, AddressesAreThoseThatTheAskerReaches) {
    std::vector<Address> const all{Address::unix_path("/a/corelet.sock"), Address::tcp("127.0.0.1", 1),
                                   Address::tcp("10.0.0.7", 2)};
    EXPECT_EQ(discoverable_addresses(all, true), (std::vector<Address>{all[1], all[2]}));
    EXPECT_EQ(discoverable_addresses(all, false), (std::vector<Address>{all[2]}));
    EXPECT_EQ(discoverable_addresses(std::vector<Address>(9, all[2]), false).size(), k_discovery_addresses_max);
}

TEST(Fingerprints, AreOfAMeshAndItsKey) {
    auto const one = mesh_fingerprint(k_found_mesh, "key");
    EXPECT_EQ(one, mesh_fingerprint(k_found_mesh, "key"));
    EXPECT_NE(one, mesh_fingerprint(k_found_mesh, "kez"));
    EXPECT_NE(one, mesh_fingerprint(MeshId(1), "key"));
    MeshFingerprint plain{};
    plain[0] = 0x1F;
    EXPECT_EQ(to_text(plain), "1f00-0000-0000-0000-0000-0000-0000-0000");
}

}  // namespace
}  // namespace corelet
