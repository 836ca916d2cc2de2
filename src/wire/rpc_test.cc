// Calls as their callers see them: replies, order, deadlines, cancellation, breaks, refusals.
#include "wire/rpc.h"

#include "wire/wire_testing.h"

namespace corelet {
namespace {

using namespace corelet::testing;

constexpr Method k_echo{0xF001};
constexpr Method k_hang{0xF002};
constexpr Method k_note{0xF003};
constexpr Method k_fail{0xF004};

struct Flag {
    int* count;
    explicit Flag(int* c) : count(c) { ++*count; }
    ~Flag() { --*count; }
    Flag(const Flag&) = delete;
};

Task<Result<Reply>> echo(Request request) {
    co_return Reply{std::move(request.body), std::move(request.payload)};
}
Task<Result<Reply>> hang(Clock* clock, int* alive, int* finished, Duration how_long) {
    Flag const flag(alive);
    co_await clock->sleep(how_long);
    ++*finished;
    co_return Reply{};
}
Task<Result<Reply>> note(std::vector<std::string>* notes, Request request) {
    notes->push_back(text_of(request.body));
    co_await yield();
    co_return Reply{std::move(request.body)};
}
Task<Result<Reply>> refuse(Request) {
    co_return fail(Code::kFenced, "newer epoch", 7);
}

// Two nodes, 1 calls 2; or 1 in the same process as 2.
class Rpc : public ::testing::Test {
  protected:
    Rpc() { build({}); }
    void build(RpcOptions options) {
        scope.cancel();
        a.reset();
        b.reset();
        a = std::make_unique<TestNode>(world, 1, options);
        b = std::make_unique<TestNode>(world, 2, options);
        b->node->register_handler(k_echo, echo);
        b->node->register_handler(k_hang, [this](Request) { return hang(&world.clock, &alive, &finished, 60_s); });
        b->node->register_handler(k_note, [this](Request r) { return note(&notes, std::move(r)); });
        b->node->register_handler(k_fail, refuse);
        b->listen();
        a->meet(*b);
    }
    std::shared_ptr<Asked> call(Method method, Buffer body = {}, BufferChain payload = {},
                                CallOptions options = {}) {
        return call_to(CoreletId(2), method, std::move(body), std::move(payload), options);
    }
    std::shared_ptr<Asked> call_to(Target target, Method method, Buffer body = {}, BufferChain payload = {},
                                   CallOptions options = {}) {
        auto asked = std::make_shared<Asked>();
        scope.spawn(ask(a->node->call(std::move(target), method, std::move(body), std::move(payload), options),
                        asked, &world.clock));
        return asked;
    }
    CallOptions within(Duration duration) { return CallOptions{.deadline = world.clock.now() + duration}; }

    World world;
    int alive = 0, finished = 0;
    std::vector<std::string> notes;
    std::unique_ptr<TestNode> a, b;
    Scope scope{world.executor};
};

TEST_F(Rpc, BodyAndPayloadComeBack) {
    for (usize size : {0UL, 10UL, 4096UL, 5000UL, 3UL << 20}) {
        Prng rng(size);
        Buffer payload = Buffer::allocate(size);
        for (u8& byte : payload.mutable_bytes()) byte = static_cast<u8>(rng.next());
        auto const asked = call(k_echo, text("hello"), payload);
        world.settle();
        ASSERT_TRUE(asked->is_ok());
        Reply const& reply = **asked->result;
        EXPECT_EQ(text_of(reply.body), "hello");
        EXPECT_TRUE(text_of(reply.payload.flatten()) == text_of(payload));
    }
    EXPECT_EQ(world.network.wires.size(), 2U) << "large ones have a connection of their own";
}

TEST_F(Rpc, ErrorsTravelWhole) {
    auto const asked = call(k_fail);
    auto const unknown = call(Method(0xF0FF));
    world.settle();
    ASSERT_TRUE(asked->is_done() && unknown->is_done());
    EXPECT_EQ(asked->code(), Code::kFenced);
    EXPECT_EQ((*asked->result).error().detail, 7U);
    EXPECT_EQ((*asked->result).error().message, "newer epoch");
    EXPECT_EQ(unknown->code(), Code::kUnsupported);
}

TEST_F(Rpc, HandlersBeginInTheOrderOfCallsEvenIfTurnsAreShuffled) {
    world.shuffle_turns();
    std::vector<std::string> expected;
    for (int round = 0; round < 20; ++round) {
        for (int i = 0; i < 10; ++i) {
            expected.push_back(std::to_string(round * 10 + i));
            CallOptions options{.lane = Lane::kPrompt};
            (void)call(k_note, text(expected.back()), Buffer::zeroed(world.random.below(4) * 3000), options);
        }
        if (round % 3 == 0) world.settle();
    }
    world.settle();
    EXPECT_EQ(notes, expected);
}

TEST_F(Rpc, CallsOfOneTurnLeaveInOneWriteAndSoDoTheirReplies) {
    (void)call(k_echo);
    world.settle();
    Wire const& wire = world.network.wires.front();
    u64 const out = wire.to_server->writes, back = wire.to_client->writes;
    std::vector<std::shared_ptr<Asked>> asked;
    for (int i = 0; i < 200; ++i) asked.push_back(call(k_echo, text("x"), Buffer::zeroed(512)));
    world.settle();
    for (auto const& one : asked) EXPECT_TRUE(one->is_ok());
    EXPECT_EQ(wire.to_server->writes - out, 1U);
    EXPECT_LE(wire.to_client->writes - back, 2U) << "the server starts to answer while it still takes requests in";
}

TEST_F(Rpc, DeadlineEndsTheCallAndDropsItsHandler) {
    auto const asked = call(k_hang, {}, {}, within(500_ms));
    world.settle();
    EXPECT_EQ(alive, 1);
    Instant const begun = world.clock.now();
    world.pass(499_ms);
    EXPECT_FALSE(asked->is_done());
    world.pass(2_ms);
    EXPECT_EQ(asked->code(), Code::kTimeout);
    EXPECT_EQ((asked->ended - begun).ms(), 500);
    EXPECT_EQ(alive, 0);
    EXPECT_EQ(finished, 0);
    EXPECT_TRUE(world.network.wires.front().is_open()) << "a deadline breaks no connection";
}

TEST_F(Rpc, DroppingTheCallerCancelsAtTheServer) {
    Scope mine(world.executor);
    auto asked = std::make_shared<Asked>();
    mine.spawn(ask(a->node->call(CoreletId(2), k_hang, {}), asked, &world.clock));
    world.settle();
    EXPECT_EQ(alive, 1);
    mine.cancel();
    world.settle();
    EXPECT_EQ(alive, 0);
    EXPECT_EQ(b->node->stats().cancels_received, 1U);
    auto const next = call(k_echo, text("still there"));
    world.settle();
    EXPECT_TRUE(next->is_ok());
}

TEST_F(Rpc, DetachedHandlersRunToTheirEnd) {
    b->node->register_handler(
        k_hang, [this](Request) { return hang(&world.clock, &alive, &finished, 2_s); },
        HandlerOptions{.detached = true});
    auto const timed_out = call(k_hang, {}, {}, within(500_ms));
    world.pass(1_s);
    EXPECT_EQ(timed_out->code(), Code::kTimeout);
    EXPECT_EQ(alive, 1);
    auto const broken = call(k_hang);
    world.settle();
    EXPECT_EQ(alive, 2);
    world.network.wires.front().reset();
    world.settle();
    EXPECT_EQ(broken->code(), Code::kReset);
    EXPECT_EQ(alive, 2);
    world.pass(3_s);
    EXPECT_EQ(finished, 2);
}

TEST_F(Rpc, AResetFailsAllCallsAtOnceAndTheNextOneConnectsAgain) {
    std::vector<std::shared_ptr<Asked>> asked;
    for (int i = 0; i < 5; ++i) asked.push_back(call(k_hang));
    world.settle();
    EXPECT_EQ(alive, 5);
    Instant const now = world.clock.now();
    world.network.wires.front().reset();
    world.settle();
    for (auto const& one : asked) {
        EXPECT_EQ(one->code(), Code::kReset);
        EXPECT_EQ(one->ended, now);
    }
    EXPECT_EQ(alive, 0) << "the server drops what it did for a connection that is gone";
    auto const next = call(k_echo, text("again"));
    world.settle();
    EXPECT_TRUE(next->is_ok());
    EXPECT_EQ(a->events.lines, (std::vector<std::string>{"up 2", "down reset 2", "up 2"}));
    EXPECT_EQ(b->events.lines, (std::vector<std::string>{"up 1", "down reset 1", "up 1"}));
}

TEST_F(Rpc, AResetInTheMiddleOfAMessage) {
    auto const first = call(k_echo, text("warm"));
    world.settle();
    Wire const& wire = world.network.wires.front();
    wire.to_server->reset_at = wire.to_server->passed + 60;
    auto const cut = call(k_note, text("never whole"), {}, CallOptions{.lane = Lane::kPrompt});
    auto const behind = call(k_note, text("behind it"), {}, CallOptions{.lane = Lane::kPrompt});
    world.settle();
    EXPECT_EQ(cut->code(), Code::kReset);
    EXPECT_EQ(behind->code(), Code::kReset);
    EXPECT_TRUE(notes.empty());
    auto const next = call(k_echo);
    world.settle();
    EXPECT_TRUE(next->is_ok());
}

TEST_F(Rpc, ADeadPeerFailsFastAndIsNotHammered) {
    b.reset();
    auto const first = call(k_echo);
    world.settle();
    EXPECT_EQ(first->code(), Code::kReset);
    EXPECT_EQ(world.network.attempts, 1U);
    for (int i = 0; i < 100; ++i) {
        auto const more = call(k_echo);
        world.settle();
        EXPECT_EQ(more->code(), Code::kReset) << "at once";
    }
    EXPECT_EQ(world.network.attempts, 1U);
    for (int i = 0; i < 2000; ++i) {
        (void)call(k_echo);
        world.pass(10_ms);
    }
    EXPECT_LE(world.network.attempts, 50U) << "at most about one attempt a half second in the long run";
    EXPECT_GE(world.network.attempts, 15U);
    EXPECT_EQ(a->events.lines.front(), "unreachable 2");
}

TEST_F(Rpc, ConnectThatHangsIsBounded) {
    world.network.hang = true;
    auto const asked = call(k_echo);
    auto const short_one = call(k_echo, {}, {}, within(300_ms));
    world.pass(1001_ms);
    EXPECT_EQ(short_one->code(), Code::kTimeout);
    EXPECT_EQ(asked->code(), Code::kReset);
}

TEST_F(Rpc, AnInboundConnectionEndsTheBackOff) {
    auto const stopped = b->address;
    b.reset();
    for (int i = 0; i < 300; ++i) {
        (void)call(k_echo);
        world.pass(10_ms);
    }
    b = std::make_unique<TestNode>(world, 2);
    b->node->register_handler(k_echo, echo);
    b->listen();
    auto const too_early = call(k_echo);
    world.settle();
    ASSERT_EQ(too_early->code(), Code::kReset) << "still backing off";
    // It calls us: so it is there.
    a->listen();
    b->meet(*a);
    auto asked = std::make_shared<Asked>();
    scope.spawn(ask(b->node->call(CoreletId(1), k_echo, {}), asked, &world.clock));
    world.settle();
    auto const now = call(k_echo);
    world.settle();
    EXPECT_TRUE(now->is_ok());
}

TEST_F(Rpc, AlternativeAddressesAreTriedInTurn) {
    a->node->set_addresses(CoreletId(2), {Address::unix_path("/nobody"), b->address});
    auto const asked = call(k_echo);
    world.settle();
    EXPECT_TRUE(asked->is_ok());
    auto const bare = call_to(b->address, k_echo);
    auto const stranger = call_to(CoreletId(77), k_echo);
    world.settle();
    EXPECT_TRUE(bare->is_ok());
    EXPECT_EQ(stranger->code(), Code::kUnavailable);
}

TEST_F(Rpc, OneWayMessagesArrive) {
    a->node->send(CoreletId(2), k_note, text("gossip"));
    a->node->send(CoreletId(9), k_note, text("to nobody"));
    world.settle();
    EXPECT_EQ(notes, (std::vector<std::string>{"gossip"}));
    EXPECT_EQ(world.network.wires.front().to_client->writes, 1U) << "only the hello came back";
}

TEST_F(Rpc, OneWayMessagesThatAreLateMakeRoomForThoseThatAreNot) {
    world.network.hang = true;
    for (int i = 0; i < 3; ++i) a->node->send(CoreletId(2), k_note, text("late"), within(500_ms));
    world.pass(600_ms);
    EXPECT_EQ(a->node->stats().timeouts, 0U) << "nobody waits for them";
    (void)call(k_echo, {}, {}, within(100_ms));
    EXPECT_EQ(a->node->stats().timeouts, 3U);
    world.pass(1_s);
    a->node->send(CoreletId(2), k_note, text("when the node ends"), within(60_s));
    a->node.reset();
    EXPECT_TRUE(notes.empty());
}

TEST_F(Rpc, UnregisteringDropsWhatRuns) {
    auto const asked = call(k_hang);
    world.settle();
    EXPECT_EQ(alive, 1);
    b->node->unregister_handler(k_hang);
    EXPECT_EQ(alive, 0);
    auto const later = call(k_hang);
    world.settle();
    EXPECT_EQ(asked->code(), Code::kShutdown);
    EXPECT_EQ(later->code(), Code::kUnsupported);
}

TEST_F(Rpc, DestroyingTheCallersNodeFailsItsCalls) {
    auto const asked = call(k_hang);
    auto never_awaited = a->node->call(CoreletId(2), k_hang, {});
    world.settle();
    EXPECT_EQ(alive, 2);
    a->node.reset();
    world.settle();
    EXPECT_EQ(asked->code(), Code::kShutdown);
    EXPECT_EQ(alive, 0);
}

TEST_F(Rpc, DestroyingTheServersNodeDropsItsHandlersAndResetsItsCallers) {
    auto const asked = call(k_hang);
    world.settle();
    b->node.reset();
    EXPECT_EQ(alive, 0);
    world.settle();
    EXPECT_EQ(asked->code(), Code::kReset);
}

TEST_F(Rpc, DisconnectFailsCallsBothWays) {
    auto const asked = call(k_hang);
    world.settle();
    a->node->disconnect(CoreletId(2), "confirmed dead");
    world.settle();
    EXPECT_EQ(asked->code(), Code::kReset);
    EXPECT_FALSE(a->node->is_connected(CoreletId(2)));
    auto const again = call(k_hang);
    world.settle();
    b->node->disconnect(CoreletId(1), "refused from now on");
    EXPECT_EQ(alive, 0);
    world.settle();
    EXPECT_EQ(again->code(), Code::kReset);
}

TEST_F(Rpc, MapEpochsAreShown) {
    auto const first = call(k_echo);
    world.settle();
    b->node->set_map_epoch(MapEpoch(5));
    a->node->set_map_epoch(MapEpoch(4));
    auto const second = call(k_echo);
    auto const third = call(k_echo);
    world.settle();
    EXPECT_EQ((*second->result)->map_epoch, MapEpoch(5));
    EXPECT_EQ(a->events.lines, (std::vector<std::string>{"up 2", "epoch 5 2"}));
    EXPECT_EQ(b->events.lines, (std::vector<std::string>{"up 1", "epoch 4 1"}));
}

// A host that lost its power: no error ever comes, bytes just vanish.
TEST_F(Rpc, AHalfOpenConnectionIsNoticed) {
    auto const first = call(k_echo);
    world.settle();
    world.network.wires.front().to_server->discard = true;
    for (int i = 0; i < 10; ++i) {
        (void)call(k_echo, {}, {}, within(500_ms));
        world.pass(1_s);
    }
    EXPECT_FALSE(world.network.wires.front().is_open());
    EXPECT_GE(world.log.count("nothing heard"), 1U);
    auto const next = call(k_echo);
    world.settle();
    EXPECT_TRUE(next->is_ok()) << "over a new connection";
}

// So much was on its way to it that nothing more can be written: what is called later is never sent.
TEST_F(Rpc, AHalfOpenConnectionIsNoticedBehindAWriteThatNeverEnds) {
    for (bool one_way : {false, true}) {
        auto const first = call(k_echo);
        world.settle();
        usize const wires = world.network.wires.size();
        world.network.wires.back().to_server->stalled = true;
        a->node->send(CoreletId(2), k_note, Buffer::zeroed(300 << 10), within(500_ms));
        for (int i = 0; i < 10; ++i) {
            if (one_way)
                a->node->send(CoreletId(2), k_note, text("gossip"), within(500_ms));
            else
                (void)call(k_echo, {}, {}, within(500_ms));
            world.pass(1_s);
        }
        EXPECT_FALSE(world.network.wires[wires - 1].is_open()) << one_way;
        auto const next = call(k_echo);
        world.settle();
        EXPECT_TRUE(next->is_ok()) << "over a new connection";
    }
}

TEST_F(Rpc, ASlowHandlerIsNotSilence) {
    auto const first = call(k_echo);
    world.settle();
    for (int i = 0; i < 10; ++i) {
        (void)call(k_hang, {}, {}, within(500_ms));
        world.pass(1_s);
    }
    EXPECT_TRUE(world.network.wires.front().is_open()) << "it answers probes";
    EXPECT_EQ(world.network.wires.size(), 1U);
}

TEST_F(Rpc, TooLargeIsRefusedAtTheCaller) {
    auto const body = call(k_echo, Buffer::zeroed(2 << 20));
    auto const payload = call(k_echo, {}, Buffer::zeroed(70 << 20));
    world.settle();
    EXPECT_EQ(body->code(), Code::kInvalid);
    EXPECT_EQ(payload->code(), Code::kInvalid);
    b->node->register_handler(k_note,
                              [](Request) -> Task<Result<Reply>> { co_return Reply{Buffer::zeroed(2 << 20)}; });
    auto const reply = call(k_note);
    world.settle();
    EXPECT_EQ(reply->code(), Code::kInvalid);
}

}  // namespace
}  // namespace corelet
