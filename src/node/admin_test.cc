// Who may give a corelet commands, and how their results travel.
#include <gtest/gtest.h>

#include "base/json.h"
#include "node/admin_commands.h"
#include "node/node_services.h"

namespace corelet {
namespace {

constexpr const char* k_key = "00112233445566778899aabbccddeeff";

struct Caller {
    bool vouched_for = false;
    PeerRole role = PeerRole::kClient;
    std::string key{};
};

Result<void> attempt(const std::string& command, Caller caller, const std::string& own_key = k_key) {
    NodeConfig config;
    config.admin_key = own_key;
    Request request;
    auto hello = std::make_shared<Hello>();
    hello->role = caller.role;
    request.from = hello;
    request.vouched_for = caller.vouched_for;
    pb::AdminRequest message;
    message.set_command(command);
    message.set_key(caller.key);
    return admit_command(config, request, message);
}

TEST(AdminKey, IsNotNeededWhereTheKernelSaysWhoAsks) {
    EXPECT_TRUE(attempt("volume.rm", {.vouched_for = true}));
    EXPECT_TRUE(attempt("volume.rm", {.vouched_for = true, .key = "another"}));
}

TEST(AdminKey, DecidesElsewhere) {
    EXPECT_TRUE(attempt("volume.rm", {.key = k_key}));
    for (const char* command : {"status", "info", "pool.create", "volume.rm"})
        for (std::string const key :
             {"", "0", "00112233445566778899aabbccddeefe", "00112233445566778899aabbccddeeff0"}) {
            auto const refused = attempt(command, {.key = key});
            ASSERT_FALSE(refused) << command << " with '" << key << "'";
            EXPECT_EQ(refused.error().code, Code::kDenied);
            EXPECT_NE(refused.error().message.find("admin key"), std::string::npos);
        }
}

TEST(AdminKey, NoKeyOfItsOwnLetsNobodyIn) {
    EXPECT_EQ(attempt("status", {}, "").error().code, Code::kDenied);
}

TEST(AdminKey, CoreletsMayAskEachOtherHowTheyAreAndNoMore) {
    EXPECT_TRUE(attempt("info", {.role = PeerRole::kCorelet}));
    EXPECT_TRUE(attempt("volume.runs.own", {.role = PeerRole::kCorelet}));
    EXPECT_TRUE(attempt("volume.chunks.own", {.role = PeerRole::kCorelet}));
    EXPECT_TRUE(attempt("volume.log.own", {.role = PeerRole::kCorelet}));
    EXPECT_EQ(attempt("volume.log.mend", {.role = PeerRole::kCorelet}).error().code, Code::kDenied);
    EXPECT_EQ(attempt("volume.mend", {.role = PeerRole::kCorelet}).error().code, Code::kDenied);
    EXPECT_EQ(attempt("status", {.role = PeerRole::kCorelet}).error().code, Code::kDenied);
    EXPECT_EQ(attempt("volume.rm", {.role = PeerRole::kCorelet}).error().code, Code::kDenied);
}

TEST(AdminReply, IsReadWhereverItsLengthPutIt) {
    for (usize length : {usize{0}, usize{1000}, 64 * k_kib, 300 * k_kib}) {
        Json const said{{"text", std::string(length, 'x')}};
        Reply const reply = admin_reply(said.dump());
        EXPECT_NE(reply.body.empty(), reply.payload.empty()) << "one of them has it, not both";
        EXPECT_EQ(reply.payload.empty(), said.dump().size() <= 64 * k_kib) << length;
        auto const read = parse_admin_reply(reply);
        ASSERT_TRUE(read.has_value()) << length << read.error().to_string();
        EXPECT_EQ(*read, said) << length;
    }
}

TEST(AdminReply, ThatIsNoObjectIsRefused) {
    for (const char* bad : {"", "[]", "3", "{", "nonsense"})
        EXPECT_EQ(parse_admin_reply(admin_reply(bad)).error().code, Code::kCorrupt) << bad;
    EXPECT_EQ(parse_admin_reply(Reply{}).error().code, Code::kCorrupt);
}

}  // namespace
}  // namespace corelet
