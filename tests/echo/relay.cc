#include "relay.h"

namespace corelet::echo {

namespace {

Task<void> pump(Connection* from, Connection* to, RelayState* state, Event* ended) {
    Buffer const room = Buffer::allocate(64 * k_kib);
    while (true) {
        auto const got = co_await from->read(room, 0, 1);
        while (state->cut) co_await state->mended.wait();
        if (!got) break;
        auto const sent = co_await to->write(Buffer::copy_of(room.slice(0, *got)));
        if (!sent) break;
    }
    ended->set();
}

Task<void> pass_on(Env* env, std::unique_ptr<Connection> client, Address to, RelayState* state) {
    while (state->cut) co_await state->mended.wait();
    auto server = co_await env->network.connect(std::move(to));
    if (!server) co_return;
    Event ended;
    Scope scope(env->executor);
    scope.spawn(pump(client.get(), server->get(), state, &ended));
    scope.spawn(pump(server->get(), client.get(), state, &ended));
    co_await ended.wait();
}

}  // namespace

Task<void> relay(Env& env, Address from, Address to, RelayState* state) {
    auto listener = env.network.listen(from, {});
    CORELET_ASSERT(listener.has_value());
    Scope scope(env.executor);
    while (auto client = co_await (*listener)->accept()) scope.spawn(pass_on(&env, *std::move(client), to, state));
}

}  // namespace corelet::echo
