// Random calls among three nodes under random resets, stalls, drops and restarts, with turns in random order.
// Whatever happens, each call ends by its deadline, an answer is the answer to its question, order holds, and
// nothing is left behind.
#include "base/codec.h"
#include "wire/wire_testing.h"

namespace corelet {
namespace {

using namespace corelet::testing;

constexpr Method k_echo{0xF030};
constexpr Method k_slow{0xF031};
constexpr Method k_detached{0xF032};
constexpr u64 k_nodes = 3;

struct Alive {
    int* count;
    explicit Alive(int* c) : count(c) { ++*count; }
    ~Alive() { --*count; }
    Alive(const Alive&) = delete;
};

struct Storm {
    explicit Storm(u64 seed) : world(seed), rng(world.random.fork("storm")) {
        world.shuffle_turns();
        for (u64 id = 1; id <= k_nodes; ++id) start(id);
    }
    ~Storm() { callers.cancel(); }

    World world;
    Prng rng;
    int alive = 0;
    u64 sequence = 0, answered = 0, failed = 0, wrong = 0;
    // By caller, server, lane and class: the last sequence number handed over.
    std::map<std::tuple<u64, u64, u64, u64>, u64> last;
    u64 out_of_order = 0;
    std::array<std::unique_ptr<TestNode>, k_nodes + 1> nodes;
    std::vector<std::unique_ptr<Scope>> dropped;
    Scope callers{world.executor};

    static RpcOptions options() {
        RpcOptions small;
        small.limits.session_requests = 16;
        small.limits.session_bytes = 256 << 10;
        small.limits.batch_bytes = 16 << 10;
        small.limits.running = {4, 4, 2, 1};
        small.limits.bulk_bytes = 8 << 10;
        return small;
    }
    void start(u64 id) {
        nodes[id] = std::make_unique<TestNode>(world, id, options());
        RpcNode& node = *nodes[id]->node;
        node.register_handler(k_echo, [this, id](Request r) { return handle(id, std::move(r), {}); });
        node.register_handler(k_slow, [this, id](Request r) { return handle(id, std::move(r), delay()); });
        node.register_handler(
            k_detached, [this, id](Request r) { return handle(id, std::move(r), delay()); },
            HandlerOptions{.detached = true});
        nodes[id]->listen();
        for (u64 other = 1; other <= k_nodes; ++other) {
            node.set_addresses(CoreletId(other), {Address::unix_path("/n" + std::to_string(other))});
        }
    }
    Duration delay() { return Duration{static_cast<i64>(rng.below(300)) * 1'000'000}; }

    Task<Result<Reply>> handle(u64 server, Request request, Duration how_long) {
        Alive const counted(&alive);
        Reader reader(request.body);
        u64 const number = reader.get<u64>(), lane = reader.get<u64>();
        auto const key = std::tuple(request.from->corelet.v, server, lane, static_cast<u64>(request.traffic));
        out_of_order += last[key] >= number ? 1 : 0;
        last[key] = number;
        if (how_long > Duration{}) co_await world.clock.sleep(how_long);
        co_return Reply{std::move(request.body), std::move(request.payload)};
    }

    Task<void> ask_one(Task<Result<Reply>> call, Buffer body, BufferChain payload, Instant deadline) {
        Result<Reply> const reply = co_await std::move(call);
        if (world.clock.now() > deadline) ++wrong;
        if (!reply) {
            ++failed;
            co_return;
        }
        ++answered;
        bool const same = text_of(reply->body) == text_of(body) &&
                          text_of(reply->payload.flatten()) == text_of(payload.flatten());
        if (!same) ++wrong;
    }
    void call_something() {
        u64 const from = rng.between(1, k_nodes), to = rng.between(1, k_nodes);
        static constexpr usize k_sizes[] = {0, 100, 3000, 4096, 20'000, 100'000};
        CallOptions how;
        how.traffic = static_cast<TrafficClass>(rng.between(1, 4));
        how.lane = rng.chance(1, 2) ? Lane::kPrompt : Lane::kBulk;
        how.deadline = world.clock.now() + Duration{static_cast<i64>(rng.between(1, 2000)) * 1'000'000};
        Writer writer;
        writer.put(++sequence).put(u64{static_cast<u8>(how.lane)});
        Buffer const body = Buffer::copy_of(writer.bytes());
        Buffer payload = Buffer::allocate(k_sizes[rng.below(std::size(k_sizes))]);
        for (u8& byte : payload.mutable_bytes()) byte = static_cast<u8>(sequence * 7 + 13);
        Method const method(static_cast<u16>(k_echo.v + rng.below(3)));
        auto call = nodes[from]->node->call(CoreletId(to), method, body, payload, how);
        auto asking = ask_one(std::move(call), body, payload, how.deadline);
        if (rng.chance(1, 5)) {
            // A caller that will go away some time.
            dropped.push_back(std::make_unique<Scope>(world.executor));
            dropped.back()->spawn(std::move(asking));
        } else {
            callers.spawn(std::move(asking));
        }
    }
    void do_harm() {
        auto& wires = world.network.wires;
        if (wires.empty()) return;
        Wire const& wire = wires[wires.size() - 1 - rng.below(std::min<u64>(wires.size(), 12))];
        Pipe& pipe = rng.chance(1, 2) ? *wire.to_server : *wire.to_client;
        switch (rng.below(6)) {
            case 0:
                return wire.reset();
            case 1:
                pipe.reset_at = pipe.passed + rng.below(30'000);
                return;
            case 2:
                pipe.stalled = true;
                return;
            case 3:
                return mend(pipe);
            case 4:
                pipe.corrupt_at = pipe.passed + rng.below(30'000);
                return;
            default:
                if (rng.chance(1, 4)) restart(rng.between(1, k_nodes));
        }
    }
    static void mend(Pipe& pipe) {
        pipe.stalled = false;
        pipe.changed.notify_all();
    }
    void restart(u64 id) {
        nodes[id].reset();
        start(id);
    }
    void run(int steps) {
        for (int step = 0; step < steps; ++step) {
            for (u64 n = rng.below(12); n > 0; --n) call_something();
            if (rng.chance(1, 6)) do_harm();
            if (rng.chance(1, 3) && !dropped.empty()) {
                std::swap(dropped[rng.below(dropped.size())], dropped.back());
                dropped.pop_back();
            }
            world.executor.run_ready(rng.below(300));
            if (rng.chance(1, 2)) world.pass(Duration{static_cast<i64>(rng.below(40)) * 1'000'000});
        }
        for (Wire const& wire : world.network.wires) {
            for (Pipe* pipe : {wire.to_server.get(), wire.to_client.get()}) mend(*pipe);
        }
        world.pass(10_s);
    }
};

TEST(Storm, WhateverHappensEveryCallEndsAndNothingIsLeft) {
    u64 answered = 0, failed = 0;
    for (u64 seed = 1; seed <= 40; ++seed) {
        Storm storm(seed);
        storm.run(300);
        EXPECT_TRUE(storm.callers.empty()) << storm.callers.size() << " calls never ended, seed " << seed;
        EXPECT_EQ(storm.wrong, 0U) << "seed " << seed;
        EXPECT_EQ(storm.out_of_order, 0U) << "seed " << seed;
        EXPECT_EQ(storm.alive, 0) << "seed " << seed;
        answered += storm.answered;
        failed += storm.failed;
        storm.dropped.clear();
        for (u64 id = 1; id <= k_nodes; ++id) {
            auto asked = std::make_shared<Asked>();
            Scope asker(storm.world.executor);
            asker.spawn(ask(storm.nodes[id]->node->call(CoreletId(id % k_nodes + 1), Method(1), {}), asked,
                            &storm.world.clock));
            storm.world.pass(2_s);
            EXPECT_TRUE(asked->is_ok()) << "usable after all of it, seed " << seed;
        }
        for (auto& node : storm.nodes) node.reset();
        EXPECT_EQ(storm.world.executor.live_tasks(), 0U) << storm.world.executor.backtrace();
    }
    EXPECT_GT(answered, 10'000U);
    EXPECT_GT(failed, 1'000U);
}

}  // namespace
}  // namespace corelet
