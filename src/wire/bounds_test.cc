// What happens at each bound, who goes first in a backlog, and what a peer that misbehaves can do.
#include "base/checksum.h"
#include "wire/frame.h"
#include "wire/wire_testing.h"

namespace corelet {
namespace {

using namespace corelet::testing;

constexpr Method k_work{0xF010};
constexpr Method k_big{0xF011};
constexpr Method k_echo{0xF012};

Task<Result<Reply>> echo(Request request) {
    co_return Reply{std::move(request.body), std::move(request.payload)};
}
Task<Result<Reply>> big(usize size) {
    co_return Reply{{}, Buffer::allocate(size)};
}
Task<Result<Reply>> big_later(Event* finish, usize size) {
    co_await finish->wait();
    co_return Reply{{}, Buffer::allocate(size)};
}
// Notes that it was begun, then waits to be let go.
Task<Result<Reply>> work(std::vector<std::string>* begun, Event* let_go, Request request) {
    begun->push_back(text_of(request.body));
    co_await let_go->wait();
    co_return Reply{};
}

class Bounds : public ::testing::Test {
  protected:
    void build(RpcOptions server, RpcOptions client = {}) {
        a = std::make_unique<TestNode>(world, 1, client);
        b = std::make_unique<TestNode>(world, 2, server);
        b->node->register_handler(k_work, [this](Request r) { return work(&begun, &let_go, std::move(r)); });
        b->node->register_handler(k_echo, echo);
        b->listen();
        a->meet(*b);
    }
    std::shared_ptr<Asked> call(Method method, std::string_view body = {}, CallOptions options = {},
                                BufferChain payload = {}) {
        auto asked = std::make_shared<Asked>();
        scope.spawn(
            ask(a->node->call(CoreletId(2), method, text(body), std::move(payload), options), asked, &world.clock));
        return asked;
    }
    static CallOptions in_class(TrafficClass traffic, Lane lane = Lane::kAuto) {
        return CallOptions{.traffic = traffic, .lane = lane};
    }
    World world;
    std::vector<std::string> begun;
    Event let_go;
    std::unique_ptr<TestNode> a, b;
    Scope scope{world.executor};
};

TEST_F(Bounds, ABacklogIsServedByClass) {
    RpcOptions options;
    options.limits.running = {1, 1, 1, 1};
    build(options);
    CallOptions const client = in_class(TrafficClass::kClient, Lane::kPrompt);
    (void)call(k_work, "c0", client);
    (void)call(k_work, "h0", in_class(TrafficClass::kHeal));
    (void)call(k_work, "s0", in_class(TrafficClass::kScrub));
    world.settle();
    std::ranges::sort(begun);
    EXPECT_EQ(begun, (std::vector<std::string>{"c0", "h0", "s0"})) << "no class waits for another's running ones";
    begun.clear();
    (void)call(k_work, "s1", in_class(TrafficClass::kScrub));
    (void)call(k_work, "h1", in_class(TrafficClass::kHeal));
    (void)call(k_work, "c1", client);
    (void)call(k_work, "k1", in_class(TrafficClass::kControl));
    world.settle();
    EXPECT_EQ(begun, (std::vector<std::string>{"k1"})) << "control found a free place";
    let_go.set();
    world.settle();
    EXPECT_EQ(begun, (std::vector<std::string>{"k1", "c1", "h1", "s1"}));
}

TEST_F(Bounds, OneConnectionSendsByClassToo) {
    build({});
    (void)call(k_echo);
    world.settle();
    // Queued while the connection takes no more: the urgent overtake.
    let_go.set();
    for (const char* body : {"s", "h", "c", "k"}) {
        TrafficClass const traffic = *body == 's'   ? TrafficClass::kScrub
                                     : *body == 'h' ? TrafficClass::kHeal
                                     : *body == 'c' ? TrafficClass::kClient
                                                    : TrafficClass::kControl;
        (void)call(k_work, body, in_class(traffic, Lane::kPrompt));
    }
    world.settle();
    EXPECT_EQ(begun, (std::vector<std::string>{"k", "c", "h", "s"}));
}

TEST_F(Bounds, AHeartbeatNeverQueuesBehindARebuild) {
    build({});
    world.network.capacity = 64 << 10;
    auto const rebuild = call(k_echo, {}, in_class(TrafficClass::kHeal), Buffer::zeroed(8 << 20));
    auto const beat = call(k_echo, "beat", in_class(TrafficClass::kControl));
    for (int i = 0; i < 3; ++i) world.executor.run_ready(20);
    ASSERT_GE(world.network.wires.size(), 2U);
    for (Wire const& wire : world.network.wires) {
        // The one that carries the rebuild stands still.
        if (wire.to_server->passed > 4096) wire.to_server->stalled = true;
    }
    world.settle();
    EXPECT_FALSE(rebuild->is_done());
    EXPECT_TRUE(beat->is_ok());
}

TEST_F(Bounds, APeerThatDoesNotReadItsRepliesIsNotReadFrom) {
    RpcOptions options;
    options.limits.session_bytes = 1 << 20;
    options.limits.batch_bytes = 64 << 10;
    build(options);
    int handled = 0;
    b->node->register_handler(k_big, [&handled](Request) {
        ++handled;
        return big(100 << 10);
    });
    (void)call(k_echo, {}, in_class(TrafficClass::kClient, Lane::kPrompt));
    world.settle();
    world.network.wires.front().to_client->stalled = true;
    std::vector<std::shared_ptr<Asked>> asked;
    for (int i = 0; i < 200; ++i)
        asked.push_back(call(k_big, {}, CallOptions{.lane = Lane::kPrompt, .reply_bytes_expected = 100 << 10}));
    world.settle();
    // 1 MiB in replies, what the socket and one batch hold, and not one more.
    EXPECT_LE(handled, 11);
    EXPECT_GE(handled, 8);
    world.network.wires.front().to_client->stalled = false;
    world.network.wires.front().to_client->changed.notify_all();
    world.settle();
    EXPECT_EQ(handled, 200);
    for (auto const& one : asked) EXPECT_TRUE(one->is_ok());
}

TEST_F(Bounds, LiesAboutTheReplysSizeAreBoundedToo) {
    RpcOptions options;
    options.limits.session_bytes = 1 << 20;
    options.limits.batch_bytes = 64 << 10;
    build(options);
    int handled = 0;
    std::vector<std::string> order;
    b->node->register_handler(k_big, [&](Request request) {
        ++handled;
        order.push_back(text_of(request.body));
        return big(100 << 10);
    });
    (void)call(k_echo);
    world.settle();
    world.network.wires.front().to_client->stalled = true;
    std::vector<std::string> expected;
    std::vector<std::shared_ptr<Asked>> asked;
    for (int i = 0; i < 200; ++i) {
        expected.push_back(std::to_string(i));
        asked.push_back(call(k_big, expected.back()));
    }
    world.settle();
    EXPECT_LE(handled, 12);
    world.network.wires.front().to_client->stalled = false;
    world.network.wires.front().to_client->changed.notify_all();
    world.settle();
    EXPECT_EQ(order, expected) << "those held back kept their place";
    for (auto const& one : asked) EXPECT_TRUE(one->is_ok());
}

TEST_F(Bounds, WhatWasHeldBackKeepsItsPlaceBeforeLaterRequests) {
    RpcOptions options;
    options.limits.session_bytes = 128 << 10;
    options.limits.running = {1, 1, 1, 1};
    build(options);
    world.network.capacity = 16 << 10;
    TestNode c(world, 3);
    c.meet(*b);
    Event finish;
    b->node->register_handler(k_big, [&](Request) { return big_later(&finish, 100 << 10); });
    (void)call(k_echo);
    world.settle();
    Pipe& back = *world.network.wires.front().to_client;
    back.stalled = true;
    (void)call(k_big);
    world.settle();
    (void)call(k_work, "a1");
    world.settle();
    auto asked = std::make_shared<Asked>();
    scope.spawn(ask(c.node->call(CoreletId(2), k_work, text("c1")), asked, &world.clock));
    world.settle();
    (void)call(k_work, "a2");
    world.settle();
    EXPECT_TRUE(begun.empty()) << "one at a time";
    finish.set();
    world.settle();
    EXPECT_EQ(begun, (std::vector<std::string>{"c1"})) << "replies to the first one pile up";
    back.stalled = false;
    back.changed.notify_all();
    world.settle();
    let_go.set();
    world.settle();
    EXPECT_EQ(begun, (std::vector<std::string>{"c1", "a1", "a2"}));
}

TEST_F(Bounds, CallersWaitWithWhatTheServerDoesNotTakeAndTheirDeadlineStands) {
    RpcOptions options;
    options.limits.session_requests = 8;
    build(options);
    world.network.capacity = 4096;
    std::vector<std::shared_ptr<Asked>> asked;
    CallOptions const within{.deadline = world.clock.now() + 1_s, .lane = Lane::kPrompt};
    for (int i = 0; i < 500; ++i) asked.push_back(call(k_work, "w", within, Buffer::zeroed(1000)));
    world.settle();
    EXPECT_EQ(begun.size(), 7U) << "one place is kept for control";
    usize received = 0;
    for (Wire const& wire : world.network.wires) received += wire.to_server->passed;
    EXPECT_LT(received, 10'000U) << "the rest waits at the caller";
    world.pass(999_ms);
    EXPECT_FALSE(asked.back()->is_done());
    world.pass(2_ms);
    for (auto const& one : asked) EXPECT_EQ(one->code(), Code::kTimeout);
    auto const next = call(k_echo);
    world.pass(100_ms);
    EXPECT_TRUE(next->is_ok()) << "the connection is usable again";
}

TEST_F(Bounds, CallsBeyondTheQueueAreRefused) {
    RpcOptions client;
    client.limits.calls_waiting = 10;
    client.limits.calls_in_flight = 5;
    build({}, client);
    std::vector<std::shared_ptr<Asked>> asked;
    for (int i = 0; i < 5; ++i) asked.push_back(call(k_work));
    world.settle();
    for (int i = 0; i < 11; ++i) asked.push_back(call(k_work));
    world.settle();
    EXPECT_EQ(begun.size(), 5U);
    EXPECT_EQ(asked.back()->code(), Code::kOverloaded);
    EXPECT_FALSE(asked[14]->is_done());
    let_go.set();
    world.settle();
    for (int i = 0; i < 15; ++i) EXPECT_TRUE(asked[i]->is_ok()) << i;
}

TEST_F(Bounds, CorruptPayloadClosesTheConnectionUnlessTheHandlerChecks) {
    build({});
    (void)call(k_echo);
    world.settle();
    auto const corrupt_next = [&] {
        Pipe& pipe = *world.network.wires.back().to_server;
        pipe.corrupt_at = pipe.passed + 3000;
    };
    corrupt_next();
    auto const bad = call(k_echo, {}, {}, Buffer::zeroed(5000));
    world.settle();
    EXPECT_EQ(bad->code(), Code::kReset);
    EXPECT_EQ(world.log.count("wire.malformed"), 1U);
    EXPECT_GE(world.log.count("payload checksum does not match"), 1U);
    bool verified = true;
    b->node->register_handler(
        k_work,
        [&verified](Request request) {
            verified = crc32c_chain(request.payload) == request.payload_crc;
            return echo(std::move(request));
        },
        HandlerOptions{.checks_payload = true});
    (void)call(k_echo);
    world.settle();
    corrupt_next();
    auto const seen = call(k_work, {}, {}, Buffer::zeroed(5000));
    world.settle();
    EXPECT_TRUE(seen->is_ok());
    EXPECT_FALSE(verified);
}

TEST_F(Bounds, CorruptRepliesNeverReachACallerWhoDidNotAskForThem) {
    build({});
    for (bool const checks : {false, true}) {
        (void)call(k_echo);
        world.settle();
        Pipe& pipe = *world.network.wires.back().to_client;
        pipe.corrupt_at = pipe.passed + 3000;
        auto const asked = call(k_echo, {}, CallOptions{.checks_payload = checks}, Buffer::zeroed(5000));
        world.settle();
        ASSERT_TRUE(asked->is_done());
        EXPECT_EQ(asked->is_ok(), checks);
        if (checks) {
            EXPECT_NE(crc32c_chain((**asked->result).payload), (**asked->result).payload_crc);
        }
    }
}

// ---- a peer that speaks by hand

Task<void> speak(Network* network, Address address, std::vector<Buffer> words, std::string* heard, bool* closed) {
    auto connected = co_await network->connect(address);
    CORELET_ASSERT(connected.has_value());
    std::unique_ptr<Connection> connection = *std::move(connected);
    Buffer const into = Buffer::allocate(4096);
    for (const Buffer& word : words) {
        (void)co_await connection->write(word);
        auto const got = co_await connection->read(into, 0, 1);
        if (got) heard->append(as_text(into.bytes().first(*got)));
        if (!got) break;
    }
    for (;;) {
        auto const got = co_await connection->read(into, 0, 1);
        if (!got) break;
        heard->append(as_text(into.bytes().first(*got)));
    }
    *closed = true;
}

Buffer frame_of(const FrameHeader& header, const Buffer& body, const BufferChain& payload = {}) {
    FrameEncoder encoder;
    encoder.add(1, header, body, payload, {});
    return encoder.take().flatten();
}
Buffer hello_frame(u64 id = 9) {
    Hello hello;
    hello.role = PeerRole::kCorelet;
    hello.corelet = CoreletId(id);
    hello.mesh = MeshId(1);
    FrameHeader header;
    header.kind = FrameKind::kHello;
    return frame_of(header, encode_hello(hello));
}

TEST_F(Bounds, NonsenseClosesTheConnectionWithAReasonInTheLog) {
    build({});
    FrameHeader header;
    header.kind = FrameKind::kResponse;
    Buffer const response = frame_of(header, {});
    Buffer const request = frame_of(FrameHeader{}, {});
    u8 raw[k_preamble_bytes];
    encode_preamble(Preamble{.version = 1, .header_bytes = 2 << 20}, raw);
    Buffer const oversize = Buffer::copy_of(raw);
    struct Case {
        std::vector<Buffer> words;
        const char* reason;
    };
    std::vector<Case> const cases = {
        {{text("GET / HTTP/1.1\r\nHost: corelet\r\nAccept: */*\r\n\r\n")}, "magic"},
        {{request}, "expected a hello"},
        {{hello_frame(0)}, "without an id"},
        {{hello_frame(), oversize}, "2097152 bytes"},
        {{hello_frame(), response}, "no caller sends"},
        {{hello_frame(), hello_frame()}, "no caller sends"},
        {{hello_frame(), text("garbage garbage garbage garbage garbage")}, "magic"},
    };
    for (const Case& one : cases) {
        std::string heard;
        bool closed = false;
        usize const before = world.log.lines.size();
        Scope speaker(world.executor);
        speaker.spawn(speak(&world.network, b->address, one.words, &heard, &closed));
        world.pass(10_ms);
        EXPECT_TRUE(closed) << one.reason;
        ASSERT_GT(world.log.lines.size(), before);
        EXPECT_NE(world.log.lines[before].find(one.reason), std::string::npos) << world.log.lines[before];
    }
    auto const asked = call(k_echo);
    world.settle();
    EXPECT_TRUE(asked->is_ok());
}

// One who does not keep to the window it was told.
TEST_F(Bounds, ACrowdOfRequestsHoldsTheReader) {
    RpcOptions options;
    options.limits.session_requests = 8;
    build(options);
    FrameEncoder encoder;
    FrameHeader header;
    header.method = k_work;
    header.deadline_ms = 1000;
    for (u64 i = 1; i <= 500; ++i) encoder.add(i, header, text("x"), {}, {});
    std::string heard;
    bool closed = false;
    scope.spawn(speak(&world.network, b->address, {hello_frame(), encoder.take().flatten()}, &heard, &closed));
    world.pass(500_ms);
    EXPECT_EQ(begun.size(), 8U);
    EXPECT_GE(b->node->stats().reads_held, 1U);
    let_go.set();
    world.pass(10_ms);
    EXPECT_EQ(begun.size(), 500U);
}

TEST_F(Bounds, WhoSaysNothingIsHungUpOn) {
    build({});
    std::string heard;
    bool closed = false;
    Scope speaker(world.executor);
    speaker.spawn(speak(&world.network, b->address, {text("C")}, &heard, &closed));
    world.pass(900_ms);
    EXPECT_FALSE(closed);
    world.pass(200_ms);
    EXPECT_TRUE(closed);
}

TEST_F(Bounds, ConnectionsAreCounted) {
    RpcOptions options;
    options.limits.sessions = 3;
    build(options);
    std::vector<std::unique_ptr<TestNode>> many;
    std::vector<std::shared_ptr<Asked>> asked;
    for (u64 id = 10; id < 20; ++id) {
        many.push_back(std::make_unique<TestNode>(world, id));
        many.back()->meet(*b);
        asked.push_back(std::make_shared<Asked>());
        scope.spawn(ask(many.back()->node->call(CoreletId(2), k_echo, {}), asked.back(), &world.clock));
    }
    world.pass(2_s);
    usize ok = 0;
    for (auto const& one : asked) ok += one->is_ok() ? 1 : 0;
    EXPECT_EQ(ok, 3U);
    many.clear();
    world.settle();
    auto const next = call(k_echo);
    world.settle();
    EXPECT_TRUE(next->is_ok()) << "there is room again";
}

TEST_F(Bounds, AnotherConnectionOfTheSameCoreletReplacesTheFirst) {
    build({});
    (void)call(k_echo);
    world.settle();
    TestNode twin(world, 1);
    twin.meet(*b);
    auto asked = std::make_shared<Asked>();
    scope.spawn(ask(twin.node->call(CoreletId(2), k_echo, {}), asked, &world.clock));
    world.settle();
    EXPECT_TRUE(asked->is_ok());
    EXPECT_FALSE(world.network.wires.front().is_open());
}

}  // namespace
}  // namespace corelet
