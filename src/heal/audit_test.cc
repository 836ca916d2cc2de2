// Members of a slot challenge each other (ADR 24): who has lost bytes, or lies about them, is found and repaired.
#include "heal/heal.pb.h"
#include "heal/heal_testing.h"
#include "wire/message.h"

namespace corelet {
namespace {

using namespace corelet::testing;

constexpr Duration k_audit_every = 5_s;

Healer::Options audits() {
    Healer::Options options;
    options.audit_every = k_audit_every;
    options.scrub_bytes_per_second = 0;
    options.round_every = 2_s;
    return options;
}

struct AuditWorld : HealWorld {
    AuditWorld(u64 seed, usize corelets, std::string_view redundancy)
        : HealWorld(seed, corelets, redundancy, audits()) {}
    [[nodiscard]] u64 sum(u64 HealStatus::* field) {
        u64 all = 0;
        for (auto& [id, rig] : rigs)
            if (auto const alive = rig.lock()) all += alive->healer.status().*field;
        return all;
    }
    [[nodiscard]] u64 held_by(usize index, u64 count) {
        u64 held = 0;
        for (u64 seq = 1; seq <= count; ++seq)
            held += positions_held(*chunks.at(index).store, chunk(seq), 24) != 0 ? 1 : 0;
        return held;
    }
    // It has lost what it held and goes on as if nothing were: it heals nothing, and answers challenges with
    // something.
    void drop_everything(usize index, u64 count, bool lies) {
        healer(index).pause(true);
        chunks.pass(5_s);
        for (u64 seq = 1; seq <= count; ++seq)
            for (u8 p = 0; p < 24; ++p)
                if (chunks.holds(index, chunk(seq), p))
                    ASSERT_TRUE(
                        chunks.run(index, chunks.at(index).store->remove_fragment({chunk(seq), p})).has_value());
        if (lies) chunks.at(index).rpc->register_handler(heal_method::k_audit, [](Request) { return made_up(); });
    }
    static Task<Result<Reply>> made_up() {
        pb::AuditFragmentReply reply;
        reply.set_tag(std::string(16, '\x5A'));
        co_return Reply{encode_message(reply), {}};
    }
    std::map<CoreletId, u64> accused();
};

std::map<CoreletId, u64> AuditWorld::accused() {
    std::map<CoreletId, u64> out;
    for (auto const& [holder, why] : node.audits_failed) ++out[holder];
    return out;
}

TEST(Audit, WhoHasTheBytesPasses) {
    for (const char* const redundancy : {"ec:4+2", "ec:2+1", "rep:3"}) {
        AuditWorld world(41, 7, redundancy);
        world.put_some(60, 64);
        ASSERT_TRUE(world.chunks.until([&] { return world.sum(&HealStatus::audits) > 100; }, 600_s)) << redundancy;
        EXPECT_EQ(world.sum(&HealStatus::audits_failed), 0U);
        EXPECT_TRUE(world.accused().empty());
    }
}

// All seven audit somebody every five seconds, so each is asked that often: the stated time is two minutes.
TEST(Audit, AHolderThatLiesIsCaughtAndRepaired) {
    for (const char* const redundancy : {"ec:4+2", "rep:3"}) {
        AuditWorld world(42, 7, redundancy);
        world.put_some(60);
        usize const liar = 3;
        u64 const held = world.held_by(liar, 60);
        ASSERT_GT(held, 10U);
        world.drop_everything(liar, 60, true);
        ASSERT_TRUE(world.chunks.until([&] { return !world.node.audits_failed.empty(); }, 120_s)) << redundancy;
        EXPECT_TRUE(world.chunks.until([&] { return world.held_by(liar, 60) >= 3; }, 120_s))
            << "what it was caught with is put there again, and it is asked for more";
        for (auto const& [holder, why] : world.node.audits_failed) {
            EXPECT_EQ(holder, ChunkWorld::id(liar));
            EXPECT_NE(why.find("and does not"), std::string::npos) << why;
        }
    }
}

TEST(Audit, AHolderThatHasNothingAndSaysSoIsMadeWhole) {
    AuditWorld world(43, 6, "ec:4+2");
    world.put_some(30);
    world.drop_everything(2, 30, false);
    ASSERT_TRUE(world.chunks.until([&] { return !world.node.audits_failed.empty(); }, 120_s));
    EXPECT_EQ(world.node.audits_failed.front().first, ChunkWorld::id(2));
    EXPECT_TRUE(world.chunks.until([&] { return world.held_by(2, 30) != 0; }, 120_s));
}

// It reads what it is asked for from its device, and so meets the rot: it is mended at its own place, and counted.
TEST(Audit, RotIsFoundByWhoIsAsked) {
    AuditWorld world(44, 3, "ec:2+1");
    world.put_some(1, 2);
    FragmentId const victim{HealWorld::chunk(1), 2};
    usize const holder = world.chunks.home(victim.chunk, 2).v - 1;
    world.chunks.rot_fragment(holder, victim, 0);
    ASSERT_TRUE(world.chunks.until([&] { return world.status(holder).repaired == 1; }, 120_s));
    EXPECT_EQ(world.status(holder).found_damaged[static_cast<usize>(FoundBy::kAudit)], 1U);
    EXPECT_TRUE(world.chunks.run(holder, world.chunks.at(holder).store->verify_fragment(victim, IoClass::kClient))
                    .has_value());
}

TEST(Audit, WhatIsDeadOrOnItsWayNobodyNeedHave) {
    AuditWorld world(45, 6, "ec:2+1");
    world.put_some(20);
    world.node.fates = [](const std::vector<u64>& seqs) {
        ChunkFates fates;
        fates.pending.insert(seqs.begin(), seqs.end());
        return fates;
    };
    world.drop_everything(1, 20, false);
    world.chunks.pass(120_s);
    EXPECT_TRUE(world.node.audits_failed.empty());
    EXPECT_EQ(world.held_by(1, 20), 0U);
}

TEST(Audit, AChallengeIsBounded) {
    AuditWorld world(46, 4, "ec:2+1");
    world.put_some(1);
    auto const ask = [&](u64 offset, u32 length, usize nonce) {
        pb::AuditFragment question;
        question.set_space(k_space.v);
        question.set_seq(1);
        question.set_offset(offset);
        question.set_length(length);
        question.set_nonce(std::string(nonce, 'n'));
        usize const holder = world.chunks.home(HealWorld::chunk(1), 0).v - 1;
        auto const reply = world.chunks.run(
            (holder + 1) % 4,
            world.chunks.at((holder + 1) % 4)
                .rpc->call(ChunkWorld::id(holder), heal_method::k_audit, encode_message(question), {}, {}));
        return reply ? std::nullopt : std::optional(reply.error().code);
    };
    EXPECT_EQ(ask(0, 4096, 16), std::nullopt);
    EXPECT_EQ(ask(0, 0, 16), Code::kInvalid);
    EXPECT_EQ(ask(1, 4096, 16), Code::kInvalid);
    EXPECT_EQ(ask(0, 4096, 15), Code::kInvalid);
    EXPECT_EQ(ask(0, 2 << 20, 16), Code::kInvalid);
    EXPECT_EQ(ask(1 << 20, 4096, 16), Code::kInvalid) << "beyond its end";
}

}  // namespace
}  // namespace corelet
