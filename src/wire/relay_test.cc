// Two that do not reach each other talk through a third.
#include "wire/relay.h"

#include "wire/wire_testing.h"

namespace corelet {
namespace {

using namespace corelet::testing;

constexpr Method k_echo{0xF001};
constexpr Method k_slow{0xF002};
constexpr Method k_fail{0xF003};
const Address k_nowhere = Address::unix_path("/nowhere");

class TestRoutes final : public Routes {
  public:
    [[nodiscard]] Advice advise(CoreletId) override {
        ++asked;
        return advice;
    }
    Advice advice;
    int asked = 0;
};

Task<Result<Reply>> echo(std::vector<bool>* vouched, Request request) {
    vouched->push_back(request.vouched_for);
    co_return Reply{std::move(request.body), std::move(request.payload)};
}
Task<Result<Reply>> slow(Clock* clock, Request request) {
    co_await clock->sleep(20_ms);
    co_return Reply{std::move(request.body)};
}
Task<Result<Reply>> refuse(Request) {
    co_return fail(Code::kFenced, "newer epoch", 7);
}

// 1 knows no right address of 2, and may go through 3 and 4, which do.
class Relay : public ::testing::Test {
  protected:
    Relay() { build({}); }
    void build(RpcOptions third) {
        RpcOptions options;
        options.own_uid = 1000;
        world.network.credentials = PeerCredentials{.uid = 1000};
        third.own_uid = 1000;
        scope.cancel();
        for (auto* node : {&a, &b, &c, &d}) node->reset();
        routes.advice = {};
        a = std::make_unique<TestNode>(world, 1, options);
        b = std::make_unique<TestNode>(world, 2, options);
        c = std::make_unique<TestNode>(world, 3, third);
        d = std::make_unique<TestNode>(world, 4, options);
        b->node->register_handler(k_echo, [this](Request r) { return echo(&vouched, std::move(r)); });
        b->node->register_handler(k_slow, [this](Request r) { return slow(&world.clock, std::move(r)); });
        b->node->register_handler(k_fail, refuse);
        for (auto* node : {&b, &c, &d}) (*node)->listen();
        a->node->set_addresses(CoreletId(2), {k_nowhere});
        a->meet(*c);
        a->meet(*d);
        c->meet(*b);
        d->meet(*b);
        a->node->set_routes(&routes);
        routes.advice.through = {CoreletId(3)};
    }
    std::shared_ptr<Asked> call(Method method, Buffer body = {}, BufferChain payload = {}) {
        auto asked = std::make_shared<Asked>();
        scope.spawn(
            ask(a->node->call(CoreletId(2), method, std::move(body), std::move(payload)), asked, &world.clock));
        return asked;
    }
    std::shared_ptr<Asked> done(Method method, Buffer body = {}, BufferChain payload = {}) {
        auto asked = call(method, std::move(body), std::move(payload));
        world.pass(1_s);
        return asked;
    }
    using Detours = std::map<CoreletId, CoreletId>;

    World world;
    std::vector<bool> vouched;
    TestRoutes routes;
    std::unique_ptr<TestNode> a, b, c, d;
    Scope scope{world.executor};
};

TEST_F(Relay, ACallGoesThroughAThird) {
    auto const asked = done(k_echo, text("hello"));
    ASSERT_TRUE(asked->is_ok()) << asked->result->error().to_string();
    EXPECT_EQ(text_of((*asked->result)->body), "hello");
    EXPECT_EQ(a->node->detours(), (Detours{{CoreletId(2), CoreletId(3)}}));
    EXPECT_EQ(c->node->stats().relayed, 1U);
    EXPECT_GT(c->node->stats().relayed_bytes, 0U);
    ASSERT_FALSE(b->policy.seen.empty());
    EXPECT_EQ(b->policy.seen.back().via, CoreletId(3));
    EXPECT_FALSE(b->policy.seen.back().credentials.has_value()) << "the kernel speaks of the third";
    EXPECT_EQ(vouched, std::vector<bool>{false});
    EXPECT_EQ(c->events.lines, std::vector<std::string>{}) << "to the third it is no connection of a peer";
    EXPECT_EQ(a->events.lines, std::vector<std::string>{"up 2"});
}

TEST_F(Relay, DirectlyIfItCanBe) {
    a->meet(*b);
    EXPECT_TRUE(done(k_echo)->is_ok());
    EXPECT_EQ(a->node->detours(), Detours{});
    EXPECT_EQ(vouched, std::vector<bool>{true});
    EXPECT_EQ(c->node->stats().relayed, 0U);
}

TEST_F(Relay, ThroughTheThirdAtOnceIfTheTargetIsKnownNotToBeReached) {
    a->meet(*b);
    routes.advice.is_unreached = true;
    EXPECT_TRUE(done(k_echo)->is_ok());
    EXPECT_EQ(a->node->detours(), (Detours{{CoreletId(2), CoreletId(3)}}));
}

TEST_F(Relay, LargePayloadsOfBothLanesPassWhole) {
    std::vector<std::shared_ptr<Asked>> asked;
    std::vector<Buffer> sent;
    for (usize i = 0; i < 12; ++i) {
        Prng rng(i);
        Buffer payload = Buffer::allocate(i % 3 == 0 ? 3 << 20 : 5000);
        for (u8& byte : payload.mutable_bytes()) byte = static_cast<u8>(rng.next());
        sent.push_back(payload);
        asked.push_back(call(k_echo, {}, payload));
    }
    world.pass(2_s);
    for (usize i = 0; i < asked.size(); ++i) {
        ASSERT_TRUE(asked[i]->is_ok()) << i;
        EXPECT_TRUE(text_of((*asked[i]->result)->payload.flatten()) == text_of(sent[i])) << i;
    }
    EXPECT_EQ(c->node->stats().relayed, 2U);
}

TEST_F(Relay, TheTargetsAnswersAndRefusalsAreItsOwn) {
    EXPECT_EQ(done(k_fail)->code(), Code::kFenced);
    EXPECT_EQ((*done(k_fail)->result).error().detail, 7U);
    a->node->disconnect(CoreletId(2), "anew");
    b->policy.verdict = Error{Code::kFenced, false, 5, "that life is over"};
    auto const refused = done(k_echo);
    EXPECT_EQ(refused->code(), Code::kFenced);
    EXPECT_EQ(refused->result->error().detail, 5U);
}

TEST_F(Relay, AThirdThatDoesNotReachItIsPassedOver) {
    c->node->set_addresses(CoreletId(2), {});
    EXPECT_EQ(done(k_echo)->code(), Code::kReset) << "to callers that is one with not being reachable";
    routes.advice.through = {CoreletId(3), CoreletId(4)};
    world.pass(1_s);
    EXPECT_TRUE(done(k_echo)->is_ok());
    EXPECT_EQ(a->node->detours(), (Detours{{CoreletId(2), CoreletId(4)}}));
}

TEST_F(Relay, NotPassedOnTwice) {
    // What 3 takes for 2 is 4, which finds that somebody else was meant.
    c->node->set_addresses(CoreletId(2), {d->address});
    auto const asked = done(k_echo);
    EXPECT_EQ(asked->code(), Code::kReset);
    EXPECT_GT(world.log.count("once is enough"), 0U);
    EXPECT_EQ(d->node->stats().relayed, 0U);
}

TEST_F(Relay, NotForTools) {
    TestNode tool(world, 0, RpcOptions{.own_uid = 1000});
    tool.policy.hello.wanted = CoreletId(2);
    auto asked = std::make_shared<Asked>();
    scope.spawn(ask(tool.node->call(c->address, k_echo, {}), asked, &world.clock));
    world.pass(1_s);
    EXPECT_EQ(asked->code(), Code::kDenied);
    EXPECT_TRUE(vouched.empty());
    scope.cancel();
}

TEST_F(Relay, NoMoreThanItsBound) {
    build(RpcOptions{.limits = {.relays = 1}});
    EXPECT_TRUE(done(k_echo)->is_ok());
    EXPECT_EQ(done(k_echo, {}, Buffer::allocate(3 << 20))->code(), Code::kReset) << "the other lane";
    routes.advice.through.push_back(CoreletId(4));
    world.pass(1_s);
    EXPECT_TRUE(done(k_echo, {}, Buffer::allocate(3 << 20))->is_ok());
    EXPECT_EQ(d->node->stats().relayed, 1U);
    // As one ends there is room for another.
    a->node->disconnect(CoreletId(2), "anew");
    world.pass(1_s);
    EXPECT_TRUE(done(k_echo)->is_ok());
    EXPECT_EQ(c->node->stats().relayed, 2U);
}

TEST_F(Relay, TheEndOfAnyOfTheThreeEndsIt) {
    for (TestNode* gone : {b.get(), c.get()}) {
        EXPECT_TRUE(done(k_echo)->is_ok());
        auto const asked = call(k_slow);
        world.settle();
        EXPECT_FALSE(asked->is_done());
        for (const Wire& wire : world.network.wires)
            if (wire.address == gone->address) wire.reset();
        world.settle();
        EXPECT_EQ(asked->code(), Code::kReset);
        EXPECT_EQ(a->node->detours(), Detours{});
        EXPECT_FALSE(b->node->is_connected(CoreletId(1)));
        world.pass(1_s);
    }
    EXPECT_TRUE(done(k_echo)->is_ok());
    a.reset();
    world.settle();
    EXPECT_FALSE(b->node->is_connected(CoreletId(1)));
    for (const Wire& wire : world.network.wires) EXPECT_FALSE(wire.is_open()) << wire.address.to_string();
}

TEST_F(Relay, BackDirectlyAndNoCallIsLost) {
    EXPECT_TRUE(done(k_echo)->is_ok());
    a->node->set_addresses(CoreletId(2), {b->address});
    std::vector<std::shared_ptr<Asked>> asked;
    for (int i = 0; i < 2000 && !a->node->detours().empty(); ++i) {
        asked.push_back(call(k_slow, text(std::to_string(i))));
        world.pass(5_ms);
    }
    EXPECT_EQ(a->node->detours(), Detours{}) << "while it is never idle for longer than a call takes";
    world.pass(1_s);
    for (usize i = 0; i < asked.size(); ++i) {
        ASSERT_TRUE(asked[i]->is_ok()) << i << ": " << asked[i]->result->error().to_string();
        EXPECT_EQ(text_of((*asked[i]->result)->body), std::to_string(i));
    }
    EXPECT_TRUE(done(k_echo)->is_ok());
    EXPECT_TRUE(vouched.back());
}

TEST_F(Relay, NotAsLongAsACallTakesTooLong) {
    EXPECT_TRUE(done(k_echo)->is_ok());
    a->node->set_addresses(CoreletId(2), {b->address});
    b->node->register_handler(k_slow, [this](Request r) -> Task<Result<Reply>> {
        return [](Clock* clock, Request request) -> Task<Result<Reply>> {
            co_await clock->sleep(8_s);
            co_return Reply{std::move(request.body)};
        }(&world.clock, std::move(r));
    });
    auto const long_one = call(k_slow);
    world.pass(5_s);
    auto const beside = call(k_echo);
    world.pass(100_ms);
    EXPECT_TRUE(beside->is_ok()) << "others are not held back for it";
    world.pass(10_s);
    EXPECT_TRUE(long_one->is_ok());
    EXPECT_EQ(a->node->detours(), Detours{});
}

// A corelet with several addresses: where it has answered lately it is tried first, and what stands elsewhere and
// is silent is given up.
TEST_F(Relay, ALostLinkMovesToTheNextAddress) {
    Address const second = Address::unix_path("/n2b");
    ASSERT_TRUE(b->node->listen(second).has_value());
    routes.advice.through.clear();
    a->node->set_addresses(CoreletId(2), {b->address, second});
    EXPECT_TRUE(done(k_echo)->is_ok());
    EXPECT_EQ(world.network.wires.back().address, b->address);
    for (const Wire& wire : world.network.wires) wire.to_server->discard = true;
    auto const lost = call(k_echo);
    a->node->prefer(CoreletId(2), second);
    a->node->doubt(CoreletId(2));
    world.pass(1100_ms);
    EXPECT_EQ(lost->code(), Code::kReset);
    EXPECT_TRUE(done(k_echo)->is_ok());
    EXPECT_EQ(world.network.wires.back().address, second);
    a->node->prefer(CoreletId(2), k_nowhere);
    a->node->disconnect(CoreletId(2), "anew");
    EXPECT_TRUE(done(k_echo)->is_ok()) << "one that is none of its addresses says nothing";
    EXPECT_EQ(world.network.wires.back().address, b->address);
}

// A connection that stood when the way was lost gives no error: whoever hears that the target is not reached says
// so.
TEST_F(Relay, AConnectionThatIsDoubtedGoesThroughAThird) {
    a->meet(*b);
    EXPECT_TRUE(done(k_echo)->is_ok());
    for (const Wire& wire : world.network.wires) wire.to_server->discard = true;
    auto const lost = call(k_echo);
    world.pass(100_ms);
    EXPECT_FALSE(lost->is_done());
    a->node->set_addresses(CoreletId(2), {k_nowhere});
    a->node->doubt(CoreletId(2));
    world.pass(1100_ms);
    EXPECT_EQ(lost->code(), Code::kReset);
    EXPECT_TRUE(done(k_echo)->is_ok());
    EXPECT_EQ(a->node->detours(), (Detours{{CoreletId(2), CoreletId(3)}}));
    // One that answers is left alone.
    a->node->doubt(CoreletId(2));
    world.pass(2_s);
    EXPECT_EQ(c->node->stats().relayed, 1U);
}

}  // namespace
}  // namespace corelet
