#include "corelet.h"

#include <cstring>

#include "base/checksum.h"
#include "counter.h"
#include "rt/combine.h"

namespace corelet::echo {

namespace {

// On the wire: size of the payload, its CRC32C, the answer's number (0 in a request); then the payload.
struct Header {
    u32 size;
    u32 crc;
    u64 number;
};
constexpr usize k_payload_max = 64 * k_kib;

struct Frame {
    u64 number = 0;
    Buffer payload;
};

Task<Result<void>> send_frame(Connection* connection, Frame frame) {
    Header const header{static_cast<u32>(frame.payload.size()), crc32c(frame.payload), frame.number};
    BufferChain chain(Buffer::copy_of(Bytes(reinterpret_cast<const u8*>(&header), sizeof(header))));
    chain.append(std::move(frame.payload));
    return connection->write(std::move(chain));
}

Task<Result<Frame>> receive_frame(Connection* connection) {
    Header header{};
    Buffer const head = Buffer::allocate(sizeof(header));
    CO_TRY_VOID(co_await connection->read(head, 0, head.size()));
    std::memcpy(&header, head.data(), sizeof(header));
    if (header.size == 0 || header.size > k_payload_max) co_return fail(Code::kCorrupt, "bad size");
    Frame frame{header.number, Buffer::allocate(header.size)};
    CO_TRY_VOID(co_await connection->read(frame.payload, 0, header.size));
    if (crc32c(frame.payload) != header.crc) co_return fail(Code::kCorrupt, "bad checksum");
    co_return frame;
}

struct Server {
    Env& env;
    bool forgetful;
    std::unique_ptr<Counter> counter;
    u64 promised = 0;
    Mutex mutex;

    // A new number, durable before anybody hears of it.
    Task<Result<u64>> number() {
        Permit const lock = co_await mutex.lock();
        if (!forgetful) co_return co_await counter->increment();
        promised = std::max(promised, counter->value()) + 1;
        // Written some time, behind the answer's back.
        if (promised % 16 == 0) CO_TRY_VOID(co_await counter->increment());
        co_return promised;
    }
};

Task<void> serve(Server* server, std::unique_ptr<Connection> connection) {
    while (true) {
        auto request = co_await receive_frame(connection.get());
        if (!request) co_return;
        auto const number = co_await server->number();
        if (!number) co_return;
        request->number = *number;
        auto const sent = co_await send_frame(connection.get(), *std::move(request));
        if (!sent) co_return;
    }
}

Task<Result<void>> accept_all(Server* server, Address address) {
    ListenOptions options;
    options.replace = true;
    CO_TRY(auto const listener, server->env.network.listen(address, options));
    Scope scope(server->env.executor);
    while (true) {
        CO_TRY(auto connection, co_await listener->accept());
        scope.spawn(serve(server, std::move(connection)));
    }
}

Task<Result<u64>> exchange(Connection* connection, Buffer payload) {
    CO_TRY_VOID(co_await send_frame(connection, Frame{0, payload}));
    CO_TRY(Frame const answer, co_await receive_frame(connection));
    if (!std::ranges::equal(answer.payload.bytes(), payload.bytes())) co_return fail(Code::kCorrupt, "other bytes");
    co_return answer.number;
}

Buffer draw_payload(Prng& random) {
    Buffer payload = Buffer::allocate(1 + random.below(8 * k_kib));
    std::memset(payload.mutable_data(), static_cast<int>(random.below(256)), payload.size());
    return payload;
}

Task<void> call_peer(Env* env, usize self, usize peer, Address address, Ledger* ledger) {
    while (true) {
        auto connection =
            co_await with_timeout<std::unique_ptr<Connection>>(env->clock, 500_ms, env->network.connect(address));
        while (connection) {
            auto const number = co_await with_timeout<u64>(env->clock, 300_ms,
                                                           exchange(connection->get(), draw_payload(env->random)));
            if (!number) {
                ++ledger->pairs[{self, peer}].failures;
                break;
            }
            ledger->answered(self, peer, *number);
            co_await env->clock.sleep(1_ms);
        }
        co_await env->clock.sleep(5_ms);
    }
}

Task<void> serve_until_it_fails(Server* server, Address address) {
    auto const served = co_await accept_all(server, std::move(address));
    CORELET_ASSERT(!served);
    log_warning(server->env.log, "echo.stopped_serving", served.error().to_string());
}

}  // namespace

void Ledger::answered(usize client, usize server, u64 number) {
    ++pairs[{client, server}].answers;
    u64& top = highest[server];
    if (!given.insert({server, number}).second && violation.empty()) {
        violation = "server " + std::to_string(server) + " answered " + std::to_string(number) + " twice";
    }
    top = std::max(top, number);
}

Task<void> run(Env& env, Config config, Ledger* ledger) {
    Server server{env, config.forgetful, nullptr, 0, {}};
    auto counter = co_await Counter::open(env.disk, config.device);
    if (!counter) {
        log_warning(env.log, "echo.no_device", counter.error().to_string());
        co_return;
    }
    server.counter = *std::move(counter);
    Scope scope(env.executor);
    scope.spawn(serve_until_it_fails(&server, config.listen));
    for (auto const& [peer, address] : config.peers)
        scope.spawn(call_peer(&env, config.self, peer, address, ledger));
    co_await scope.join();
}

}  // namespace corelet::echo
