// Who may talk to whom: versions, meshes, identities, credentials, addresses. And corelets of one process.
#include "wire/hello.h"

#include "wire/wire_testing.h"

namespace corelet {
namespace {

using namespace corelet::testing;

constexpr Method k_echo{0xF020};
constexpr Method k_hang{0xF021};
Task<Result<Reply>> echo(Request request) {
    co_return Reply{text(std::to_string(request.from->corelet.v)), std::move(request.payload)};
}
struct Count {
    int* count;
    explicit Count(int* c) : count(c) { ++*count; }
    ~Count() { --*count; }
};
Task<Result<Reply>> hang(Clock* clock, int* alive) {
    Count const counted(alive);
    co_await clock->sleep(60_s);
    co_return Reply{};
}

Task<Result<Reply>> say_whether_vouched_for(Request request) {
    co_return Reply{text(request.vouched_for ? "yes" : "no")};
}

class Greeting : public ::testing::Test {
  protected:
    std::unique_ptr<TestNode> make(u64 id, RpcOptions options = {}, LocalBus* with = nullptr) {
        auto node = std::make_unique<TestNode>(world, id, options, with);
        node->node->register_handler(k_echo, echo);
        node->node->register_handler(k_hang, [this](Request) { return hang(&world.clock, &alive); });
        return node;
    }
    std::shared_ptr<Asked> call(TestNode& from, Target target, Method method = k_echo, BufferChain payload = {},
                                CallOptions options = {}) {
        auto asked = std::make_shared<Asked>();
        scope.spawn(
            ask(from.node->call(std::move(target), method, {}, std::move(payload), options), asked, &world.clock));
        world.pass(1_ms);
        return asked;
    }
    std::string message(const Asked& asked) {
        return asked.result && !*asked.result ? asked.result->error().message : "";
    }

    World world;
    LocalBus bus;
    int alive = 0;
    Scope scope{world.executor};
};

TEST_F(Greeting, BothSidesLearnWhoTheOtherIs) {
    auto a = make(1), b = make(2);
    a->policy.hello.incarnation = Incarnation(5);
    a->policy.hello.boot_nonce = 55;
    b->listen();
    a->meet(*b);
    auto const asked = call(*a, CoreletId(2));
    ASSERT_TRUE(asked->is_ok());
    EXPECT_EQ(text_of((**asked->result).body), "1");
    ASSERT_EQ(a->policy.seen.size(), 1U);
    EXPECT_FALSE(a->policy.seen[0].inbound);
    EXPECT_EQ(a->policy.seen[0].expected, CoreletId(2));
    EXPECT_EQ(a->policy.seen[0].address, b->address);
    ASSERT_EQ(b->policy.seen.size(), 1U);
    EXPECT_TRUE(b->policy.seen[0].inbound);
}

TEST_F(Greeting, AToolNeedsNoIdentity) {
    auto tool = make(0), b = make(2);
    b->listen();
    EXPECT_TRUE(call(*tool, b->address)->is_ok());
    EXPECT_TRUE(call(*tool, b->address)->is_ok());
}

TEST_F(Greeting, ARefusalByTheServerIsToldToTheCaller) {
    auto a = make(1), b = make(2);
    b->policy.verdict = Error{Code::kForgotten, false, 3, "your device is behind what we saw of it"};
    b->listen();
    a->meet(*b);
    auto const asked = call(*a, CoreletId(2));
    EXPECT_EQ(asked->code(), Code::kForgotten);
    EXPECT_NE(message(*asked).find("behind what we saw"), std::string::npos) << message(*asked);
    EXPECT_EQ(world.log.count("wire.refused"), 1U);
    b->policy.verdict.reset();
    world.pass(2_s);
    EXPECT_TRUE(call(*a, CoreletId(2))->is_ok());
}

TEST_F(Greeting, ARefusalByTheCallerIsToldToTheServer) {
    auto a = make(1), b = make(2);
    a->policy.verdict = Error{Code::kDenied, false, 0, "you were put out of the mesh"};
    b->listen();
    a->meet(*b);
    EXPECT_EQ(call(*a, CoreletId(2))->code(), Code::kDenied);
    world.pass(2_s);
    EXPECT_EQ(world.log.count("denied: closed by the other side: you were put out"), 1U)
        << ::testing::PrintToString(world.log.lines);
}

TEST_F(Greeting, SomebodyElseAtTheAddressIsNotAccepted) {
    auto a = make(1), b = make(2);
    b->listen();
    a->node->set_addresses(CoreletId(3), {b->address});
    auto const asked = call(*a, CoreletId(3));
    EXPECT_EQ(asked->code(), Code::kReset);
    EXPECT_NE(message(*asked).find("0000000000000002 answers there"), std::string::npos) << message(*asked);
}

TEST_F(Greeting, VersionsThatDoNotMeetSaySo) {
    auto a = make(1), b = make(2), c = make(3);
    a->policy.hello.version_min = 6;
    a->policy.hello.version_max = 7;
    b->policy.hello.version_min = 7;
    b->policy.hello.version_max = 8;
    c->policy.hello.version_min = 4;
    c->policy.hello.version_max = 5;
    b->listen();
    c->listen();
    a->meet(*b);
    a->meet(*c);
    EXPECT_TRUE(call(*a, CoreletId(2))->is_ok());
    auto const asked = call(*a, CoreletId(3));
    EXPECT_EQ(asked->code(), Code::kUnsupported);
    EXPECT_NE(message(*asked).find("4 to 5 here, 6 to 7 there"), std::string::npos) << message(*asked);
}

TEST_F(Greeting, UnixSocketsAreForTheSameUserAndRoot) {
    RpcOptions options;
    options.own_uid = 1000;
    auto a = make(1, options), b = make(2, options);
    b->listen();
    a->meet(*b);
    auto const attempt = [&](std::optional<PeerCredentials> credentials) {
        a->node->disconnect(CoreletId(2), "again");
        world.pass(3_s);
        world.network.credentials = credentials;
        return call(*a, CoreletId(2))->is_ok();
    };
    EXPECT_TRUE(attempt(PeerCredentials{.uid = 1000}));
    EXPECT_TRUE(attempt(PeerCredentials{.uid = 0}));
    EXPECT_FALSE(attempt(PeerCredentials{.uid = 1001}));
    EXPECT_FALSE(attempt(std::nullopt));
}

TEST_F(Greeting, HandlersLearnWhetherTheKernelVouchesForTheCaller) {
    constexpr Method k_vouched{0xF022};
    RpcOptions options;
    options.own_uid = 1000;
    auto a = make(1, options), b = make(2, options);
    for (auto* node : {a.get(), b.get()}) node->node->register_handler(k_vouched, say_whether_vouched_for);
    b->listen();
    a->meet(*b);
    auto const answer = [&](Target target) {
        auto const asked = call(*a, std::move(target), k_vouched);
        return asked->is_ok() ? std::string(as_text((**asked->result).body.bytes())) : message(*asked);
    };
    world.network.credentials = PeerCredentials{.uid = 1000};
    EXPECT_EQ(answer(CoreletId(2)), "yes");
    EXPECT_EQ(answer(CoreletId(1)), "yes") << "of this process";
    world.network.credentials = std::nullopt;
    auto const bound = b->node->listen(Address::tcp("127.0.0.1", 7000));
    ASSERT_TRUE(bound.has_value());
    EXPECT_EQ(answer(*bound), "no") << "TCP";
}

TEST_F(Greeting, NothingGoesBeyondThisHostUnprotected) {
    RpcOptions options;
    options.own_uid = 1000;
    auto a = make(1, options);
    EXPECT_TRUE(a->node->listen(Address::tcp("127.0.0.1", 7000)).has_value());
    EXPECT_TRUE(a->node->listen(Address::unix_path("/a")).has_value());
    EXPECT_EQ(a->node->listen(Address::tcp("0.0.0.0", 7000)).error().code, Code::kDenied);
    EXPECT_EQ(call(*a, Address::tcp("10.0.0.9", 7000))->code(), Code::kDenied);
    EXPECT_EQ(world.network.attempts, 0U);
    RpcOptions insecure;
    insecure.insecure = true;
    auto b = make(2, insecure);
    EXPECT_TRUE(b->node->listen(Address::tcp("0.0.0.0", 7001)).has_value());
}

TEST_F(Greeting, OnesOwnIdIsServedWithoutASocket) {
    auto a = make(1);
    Buffer const payload = Buffer::zeroed(4096);
    auto const asked = call(*a, CoreletId(1), k_echo, payload);
    ASSERT_TRUE(asked->is_ok());
    EXPECT_EQ((**asked->result).payload.parts()[0].data(), payload.data()) << "shared, not copied";
    EXPECT_EQ(world.network.attempts, 0U);
    auto const late = call(*a, CoreletId(1), k_hang, {}, CallOptions{.deadline = world.clock.now() + 1_s});
    EXPECT_EQ(alive, 1);
    world.pass(2_s);
    EXPECT_EQ(late->code(), Code::kTimeout);
    EXPECT_EQ(alive, 0);
    (void)call(*a, CoreletId(1), k_hang);
    EXPECT_EQ(alive, 1);
    a.reset();
    EXPECT_EQ(alive, 0);
}

TEST_F(Greeting, CoreletsOfOneProcessSkipTheSocket) {
    auto a = make(1, {}, &bus), b = make(2, {}, &bus);
    Buffer const payload = Buffer::zeroed(4096);
    auto const asked = call(*a, CoreletId(2), k_echo, payload);
    ASSERT_TRUE(asked->is_ok());
    EXPECT_EQ(text_of((**asked->result).body), "1");
    EXPECT_EQ((**asked->result).payload.parts()[0].data(), payload.data());
    EXPECT_EQ(world.network.attempts, 0U);
    EXPECT_EQ(a->events.lines, (std::vector<std::string>{"up 2"}));
    EXPECT_EQ(b->events.lines, (std::vector<std::string>{"up 1"}));
    auto const cut = call(*a, CoreletId(2), k_hang);
    auto const back = call(*b, CoreletId(1), k_hang);
    EXPECT_EQ(alive, 2);
    b.reset();
    world.settle();
    EXPECT_EQ(cut->code(), Code::kReset);
    EXPECT_EQ(back->code(), Code::kShutdown);
    EXPECT_EQ(alive, 0);
    EXPECT_EQ(call(*a, CoreletId(2))->code(), Code::kUnavailable) << "not there, and no address known";
    b = make(2, {}, &bus);
    EXPECT_TRUE(call(*a, CoreletId(2))->is_ok());
}

TEST_F(Greeting, TheBusJudgesToo) {
    auto a = make(1, {}, &bus), b = make(2, {}, &bus);
    b->policy.verdict = Error{Code::kDenied, false, 0, "no"};
    EXPECT_EQ(call(*a, CoreletId(2))->code(), Code::kDenied);
    b->policy.verdict.reset();
    EXPECT_TRUE(call(*a, CoreletId(2))->is_ok());
    EXPECT_TRUE(b->policy.seen.back().same_process);
}

TEST_F(Greeting, TheBusIsBoundedAsASocketIs) {
    RpcOptions options;
    options.limits.session_requests = 3;
    auto a = make(1, options, &bus), b = make(2, options, &bus);
    std::vector<std::shared_ptr<Asked>> asked;
    for (int i = 0; i < 10; ++i) asked.push_back(call(*a, CoreletId(2), k_hang));
    EXPECT_EQ(alive, 3);
    world.pass(61_s);
    for (auto const& one : asked) EXPECT_EQ(one->code(), Code::kTimeout);
    EXPECT_EQ(alive, 0);
    EXPECT_TRUE(call(*a, CoreletId(2))->is_ok());
}

}  // namespace
}  // namespace corelet
