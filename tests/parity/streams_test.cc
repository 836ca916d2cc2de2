#include "platform.h"
#include "rt/combine.h"

namespace corelet::parity {
namespace {

struct Ends {
    std::unique_ptr<Connection> client;
    std::unique_ptr<Connection> server;
};
Task<Result<Ends>> join_ends(Env* env, Listener* listener) {
    Ends ends;
    CO_TRY(ends.client, co_await env->network.connect(listener->local_address()));
    CO_TRY(ends.server, co_await listener->accept());
    co_return ends;
}
Buffer pattern(usize size, u8 first = 0) {
    Buffer out = Buffer::allocate(size);
    for (usize i = 0; i < size; ++i) out.mutable_data()[i] = static_cast<u8>(first + i + i / 251);
    return out;
}
Task<Result<Buffer>> read_exactly(Connection* from, usize size) {
    Buffer const out = Buffer::allocate(size);
    CO_TRY_VOID(co_await from->read(out, 0, size));
    co_return out;
}
Task<Result<usize>> read_some(Connection* from, usize room) {
    return from->read(Buffer::allocate(room), 0, 1);
}
Code code_of(const auto& result) {
    return result.error().code;
}

// Both kinds of stream on each platform.
class Streams : public Parity {
  protected:
    [[nodiscard]] std::vector<Address> addresses() const {
        return {platform->tcp_any(), Address::unix_path(platform->path("socket"))};
    }
    [[nodiscard]] std::unique_ptr<Listener> listen(const Address& address) {
        auto listener = env().network.listen(address, {});
        CORELET_ASSERT(listener.has_value());
        return *std::move(listener);
    }
    [[nodiscard]] Ends ends(Listener& listener) {
        auto made = run(join_ends(&env(), &listener));
        CORELET_ASSERT(made.has_value());
        return *std::move(made);
    }
};
CORELET_PARITY(Streams);

Task<void> write_all(Connection* to, usize size, usize piece, bool* ok) {
    Buffer const sent = pattern(size);
    for (usize at = 0; at < size; at += piece) {
        BufferChain chain;
        usize const part = std::min(piece, size - at);
        chain.append(sent.slice(at, part / 2));
        chain.append(sent.slice(at + part / 2, part - part / 2));
        auto const written = co_await to->write(std::move(chain));
        if (!written) co_return;
    }
    *ok = true;
}
Task<Result<bool>> transfer(Env* env, Connection* from, Connection* to, usize size, usize piece) {
    bool written = false;
    Scope scope(env->executor);
    scope.spawn(write_all(from, size, piece, &written));
    CO_TRY(Buffer const got, co_await read_exactly(to, size));
    co_await scope.join();
    co_return written&& std::ranges::equal(got.bytes(), pattern(size).bytes());
}
TEST_P(Streams, CarryBytesInOrderBothWays) {
    for (Address const& address : addresses()) {
        auto const listener = listen(address);
        Ends const e = ends(*listener);
        for (usize const piece : {1'000, 70'000, 5'000'000}) {
            auto const there = run(transfer(&env(), e.client.get(), e.server.get(), 3'000'000, piece));
            EXPECT_TRUE(there && *there) << address.to_string() << " in pieces of " << piece;
            auto const back = run(transfer(&env(), e.server.get(), e.client.get(), 3'000'000, piece));
            EXPECT_TRUE(back && *back);
        }
    }
}

Task<Result<std::vector<usize>>> read_with_minimum(Connection* from, Connection* to) {
    CO_TRY_VOID(co_await from->write(pattern(100)));
    std::vector<usize> sizes;
    Buffer const target = Buffer::allocate(1'000);
    CO_TRY(usize const first, co_await to->read(target, 500, 100));
    sizes.push_back(first);
    if (!std::ranges::equal(target.slice(500, 100).bytes(), pattern(100).bytes())) co_return fail(Code::kCorrupt);
    CO_TRY_VOID(co_await from->write(pattern(100)));
    CO_TRY(usize const second, co_await to->read(target, 0, 1));
    sizes.push_back(second);
    co_return sizes;
}
TEST_P(Streams, AReadGivesAtLeastWhatIsAskedForAndPutsItAtTheOffset) {
    auto const listener = listen(platform->tcp_any());
    Ends const e = ends(*listener);
    auto const sizes = run(read_with_minimum(e.client.get(), e.server.get()));
    ASSERT_TRUE(sizes);
    EXPECT_EQ((*sizes)[0], 100U);
    EXPECT_GE((*sizes)[1], 1U);
    EXPECT_LE((*sizes)[1], 100U);
}

Task<Result<Buffer>> write_close_read(Connection* closing, Connection* reading) {
    CO_TRY_VOID(co_await closing->write(pattern(50'000)));
    closing->close();
    co_return co_await read_exactly(reading, 50'000);
}
TEST_P(Streams, WhatWasWrittenBeforeACloseArrivesAndThenTheStreamEnds) {
    for (Address const& address : addresses()) {
        auto const listener = listen(address);
        Ends const e = ends(*listener);
        auto const got = run(write_close_read(e.client.get(), e.server.get()));
        ASSERT_TRUE(got) << address.to_string();
        EXPECT_TRUE(std::ranges::equal(got->bytes(), pattern(50'000).bytes()));
        EXPECT_EQ(code_of(run(read_some(e.server.get(), 10))), Code::kClosed);
        EXPECT_EQ(code_of(run(read_some(e.client.get(), 10))), Code::kClosed) << "closed here";
        EXPECT_EQ(code_of(run(e.client->write(pattern(1)))), Code::kClosed);
    }
}

TEST_P(Streams, AnEndBeforeTheMinimumIsAnError) {
    auto const listener = listen(platform->tcp_any());
    Ends const e = ends(*listener);
    ASSERT_TRUE(run(e.client->write(pattern(10))));
    e.client->close();
    EXPECT_EQ(code_of(run(read_exactly(e.server.get(), 11))), Code::kClosed);
}

Task<void> read_into(Connection* from, std::optional<Result<usize>>* out) {
    out->emplace(co_await read_some(from, 10));
}
Task<void> wait_until_set(Env* env, const std::optional<Result<usize>>* slot) {
    while (!*slot) co_await env->clock.sleep(1_ms);
}
Task<void> close_while_reading(Env* env, Connection* connection, std::optional<Result<usize>>* out) {
    Scope scope(env->executor);
    scope.spawn(read_into(connection, out));
    co_await env->clock.sleep(5_ms);
    connection->close();
    co_await wait_until_set(env, out);
}
TEST_P(Streams, ACloseEndsAReadThatWaits) {
    for (Address const& address : addresses()) {
        auto const listener = listen(address);
        Ends const e = ends(*listener);
        std::optional<Result<usize>> read;
        run(close_while_reading(&env(), e.client.get(), &read));
        ASSERT_TRUE(read);
        EXPECT_EQ(code_of(*read), Code::kClosed) << address.to_string();
    }
}

Task<Code> write_until_it_fails(Env* env, Connection* to) {
    while (true) {
        auto const written = co_await to->write(pattern(10'000));
        if (!written) co_return written.error().code;
        co_await env->clock.sleep(1_ms);
    }
}
TEST_P(Streams, AnEndThatIsDestroyedFailsTheOther) {
    for (Address const& address : addresses()) {
        auto const listener = listen(address);
        Ends e = ends(*listener);
        ASSERT_TRUE(run(e.client->write(pattern(10))));
        ASSERT_TRUE(run(e.server->write(pattern(10))));
        e.server.reset();
        EXPECT_EQ(run(write_until_it_fails(&env(), e.client.get())), Code::kReset) << address.to_string();
    }
}

struct Filled {
    usize written = 0;
    std::optional<Result<void>> last;
};
Task<void> fill(Connection* to, Filled* filled) {
    Buffer const piece = pattern(64 * k_kib);
    while (true) {
        auto const written = co_await to->write(piece);
        if (!written) {
            filled->last.emplace(written);
            co_return;
        }
        filled->written += piece.size();
    }
}
Task<usize> fill_for_a_while(Env* env, Connection* to, Connection* drain) {
    Filled filled;
    Scope scope(env->executor);
    scope.spawn(fill(to, &filled));
    usize before = 1;
    while (filled.written != before) {
        before = filled.written;
        co_await env->clock.sleep(50_ms);
    }
    // And it goes on when the other reads.
    while (filled.written == before) {
        auto const got = co_await read_some(drain, 1 << 20);
        CORELET_ASSERT(got.has_value());
    }
    co_return before;
}
TEST_P(Streams, AWriterWaitsForOneWhoDoesNotRead) {
    for (Address const& address : addresses()) {
        auto const listener = listen(address);
        Ends const e = ends(*listener);
        usize const stopped_at = run(fill_for_a_while(&env(), e.client.get(), e.server.get()));
        EXPECT_LT(stopped_at, 64U << 20) << address.to_string();
    }
}

TEST_P(Streams, NobodyListensIsAReset) {
    Address const gone = listen(platform->tcp_any())->local_address();
    EXPECT_NE(gone.port, 0);
    EXPECT_EQ(code_of(run(env().network.connect(gone))), Code::kReset);
    Address const none = Address::unix_path(platform->path("none"));
    EXPECT_EQ(code_of(run(env().network.connect(none))), Code::kReset);
}

TEST_P(Streams, AddressesInUseTakenOverAndTooLong) {
    auto const first = listen(platform->tcp_any());
    EXPECT_EQ(code_of(env().network.listen(first->local_address(), {})), Code::kExists);
    Address const path = Address::unix_path(platform->path("socket"));
    auto const old = listen(path);
    EXPECT_EQ(code_of(env().network.listen(path, {})), Code::kExists);
    ListenOptions take_over;
    take_over.replace = true;
    EXPECT_TRUE(first->has_its_address());
    EXPECT_TRUE(old->has_its_address());
    auto const fresh = env().network.listen(path, take_over);
    ASSERT_TRUE(fresh);
    EXPECT_FALSE(old->has_its_address());
    EXPECT_TRUE((*fresh)->has_its_address());
    EXPECT_TRUE(run(join_ends(&env(), fresh->get())));
    old->close();
    EXPECT_FALSE(old->has_its_address());
    EXPECT_TRUE(run(join_ends(&env(), fresh->get()))) << "the old one must not remove what is not its own";
    (*fresh)->close();
    EXPECT_FALSE((*fresh)->has_its_address());
    Address const long_path = Address::unix_path(platform->path(std::string(120, 'x')));
    EXPECT_EQ(code_of(env().network.listen(long_path, {})), Code::kInvalid);
    EXPECT_EQ(code_of(run(env().network.connect(long_path))), Code::kInvalid);
}

Task<void> accept_into(Listener* listener, std::optional<Code>* out) {
    auto const accepted = co_await listener->accept();
    CORELET_ASSERT(!accepted);
    out->emplace(accepted.error().code);
}
Task<void> close_while_accepting(Env* env, Listener* listener, std::optional<Code>* out) {
    Scope scope(env->executor);
    scope.spawn(accept_into(listener, out));
    co_await env->clock.sleep(5_ms);
    listener->close();
    while (!*out) co_await env->clock.sleep(1_ms);
}
TEST_P(Streams, AClosedListenerEndsItsAccepts) {
    for (Address const& address : addresses()) {
        auto const listener = listen(address);
        std::optional<Code> ended;
        run(close_while_accepting(&env(), listener.get(), &ended));
        EXPECT_EQ(ended, Code::kClosed) << address.to_string();
    }
}

TEST_P(Streams, PeersAreKnownOnUnixSocketsOnly) {
    auto const tcp = listen(platform->tcp_any());
    Ends const strangers = ends(*tcp);
    EXPECT_FALSE(strangers.server->peer_credentials());
    EXPECT_EQ(strangers.client->remote_address(), tcp->local_address());
    auto const local = listen(Address::unix_path(platform->path("socket")));
    Ends const e = ends(*local);
    ASSERT_TRUE(e.server->peer_credentials() && e.client->peer_credentials());
    EXPECT_EQ(e.server->peer_credentials()->uid, e.client->peer_credentials()->uid);
}

Task<Result<usize>> late_read(Env* env, Connection* from) {
    auto first = co_await with_timeout<usize>(env->clock, 10_ms, read_some(from, 10));
    if (first || first.error().code != Code::kTimeout) co_return fail(Code::kCorrupt, "nothing was sent yet");
    co_return 0;
}
TEST_P(Streams, AReadMayBeDroppedAndTakenUpAgain) {
    auto const listener = listen(platform->tcp_any());
    Ends const e = ends(*listener);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(run(late_read(&env(), e.server.get())));
    ASSERT_TRUE(run(e.client->write(pattern(10))));
    EXPECT_TRUE(run(read_exactly(e.server.get(), 10)));
}

}  // namespace
}  // namespace corelet::parity
