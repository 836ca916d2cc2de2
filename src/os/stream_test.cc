#include <sys/socket.h>
#include <sys/un.h>

#include "os/host_testing.h"
#include "os/socket_address.h"
#include "rt/combine.h"

namespace corelet::os {
namespace {

struct Pair {
    std::unique_ptr<Connection> client;
    std::unique_ptr<Connection> server;
};

Task<void> accept_into(Listener* listener, std::unique_ptr<Connection>* out) {
    auto accepted = co_await listener->accept();
    CORELET_ASSERT(accepted.has_value());
    *out = *std::move(accepted);
}

Task<Pair> connect_pair(Env* env, Listener* listener) {
    Pair pair;
    Scope scope(env->executor);
    scope.spawn(accept_into(listener, &pair.server));
    auto client = co_await env->network.connect(listener->local_address());
    CORELET_ASSERT(client.has_value());
    pair.client = *std::move(client);
    co_await scope.join();
    co_return pair;
}

Task<void> echo_until_closed(Connection* connection, usize message_bytes) {
    for (;;) {
        Buffer buffer = Buffer::allocate(message_bytes);
        auto got = co_await connection->read(buffer, 0, message_bytes);
        if (!got) co_return;
        auto sent = co_await connection->write(buffer);
        if (!sent) co_return;
    }
}

Task<Result<Buffer>> read_exactly(Connection* connection, usize count) {
    Buffer buffer = Buffer::allocate(count);
    CO_TRY_VOID(co_await connection->read(buffer, 0, count));
    co_return buffer;
}

bool same(const Buffer& a, const Buffer& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

enum class Transport { kUnix, kTcp };

class StreamTest : public HostTest {
  protected:
    std::unique_ptr<Listener> listen(Transport transport) {
        Address const address =
            transport == Transport::kUnix ? Address::unix_path(path("socket")) : Address::tcp("127.0.0.1", 0);
        auto listener = env().network.listen(address, {});
        EXPECT_TRUE(listener.has_value()) << listener.error().to_string();
        return *std::move(listener);
    }
    Pair pair(Transport transport) {
        listener_ = listen(transport);
        return run(connect_pair(&env(), listener_.get()));
    }
    void TearDown() override {
        listener_.reset();
        HostTest::TearDown();
    }
    std::unique_ptr<Listener> listener_;
};
CORELET_ON_BOTH_ENGINES(StreamTest);

Task<void> ping_pong(Connection* client, u64 rounds) {
    for (u64 i = 0; i < rounds; ++i) {
        Buffer const message = pattern(4096, i);
        auto const sent = co_await client->write(message);
        CORELET_ASSERT(sent.has_value());
        auto const back = co_await read_exactly(client, message.size());
        CORELET_ASSERT(back.has_value());
        EXPECT_TRUE(same(message, *back)) << "round " << i;
    }
}

TEST_P(StreamTest, EchoesOverUnixAndTcp) {
    for (Transport const transport : {Transport::kUnix, Transport::kTcp}) {
        Pair two = pair(transport);
        Scope scope(env().executor);
        scope.spawn(echo_until_closed(two.server.get(), 4096));
        run(ping_pong(two.client.get(), 200));
    }
}

TEST_P(StreamTest, TellsWhoIsAtTheOtherEnd) {
    Pair const unix_pair = pair(Transport::kUnix);
    for (Connection* end : {unix_pair.client.get(), unix_pair.server.get()}) {
        auto const peer = end->peer_credentials();
        ASSERT_TRUE(peer.has_value());
        EXPECT_EQ(peer->uid, ::getuid());
        EXPECT_EQ(peer->pid, ::getpid());
        EXPECT_EQ(end->remote_address(), Address::unix_path(path("socket")));
    }
    Pair const tcp_pair = pair(Transport::kTcp);
    EXPECT_FALSE(tcp_pair.server->peer_credentials().has_value());
    EXPECT_EQ(tcp_pair.client->remote_address(), listener_->local_address());
    EXPECT_EQ(tcp_pair.server->remote_address().host, "127.0.0.1");
    EXPECT_NE(listener_->local_address().port, 0);
}

Task<void> write_all(Connection* connection, BufferChain data, bool* done) {
    auto const sent = co_await connection->write(std::move(data));
    EXPECT_TRUE(sent.has_value());
    *done = true;
}

// A chain of more parts than one system call takes, and more bytes than the socket holds.
BufferChain big_chain(usize parts, usize part_bytes) {
    BufferChain chain;
    Buffer const block = pattern(part_bytes, 7);
    for (usize i = 0; i < parts; ++i) chain.append(block.slice(i % 64, part_bytes - 64));
    return chain;
}

TEST_P(StreamTest, CarriesMoreThanTheSocketHoldsWithBackPressure) {
    for (Transport const transport : {Transport::kUnix, Transport::kTcp}) {
        Pair two = pair(transport);
        BufferChain const chain = big_chain(5000, 4096);
        Buffer const expected = chain.flatten();
        bool done = false;
        Scope scope(env().executor);
        scope.spawn(write_all(two.client.get(), chain, &done));
        // It stalls: nobody reads.
        Buffer const first = *run(read_exactly(two.server.get(), 1));
        EXPECT_FALSE(done);
        Buffer const rest = *run(read_exactly(two.server.get(), expected.size() - 1));
        EXPECT_EQ(first.data()[0], expected.data()[0]);
        EXPECT_TRUE(same(rest, expected.slice(1)));
        run_until([&] { return done; });
    }
}

TEST_P(StreamTest, ReadsAtLeastWhatIsAskedAndIntoTheRangeGiven) {
    Pair two = pair(Transport::kUnix);
    Buffer const message = pattern(100, 1);
    ASSERT_TRUE(run(two.client->write(message)).has_value());
    Buffer target = Buffer::zeroed(64);
    auto const got = run(two.server->read(target, 10, 20));
    ASSERT_TRUE(got.has_value());
    EXPECT_GE(*got, 20U);
    EXPECT_LE(*got, 54U);
    EXPECT_EQ(std::memcmp(target.data() + 10, message.data(), *got), 0);
    EXPECT_TRUE(is_all_zero(target.bytes().first(10)));
}

TEST_P(StreamTest, AnOrderlyEndIsClosedAndTheOtherDirectionLives) {
    // A raw client that closes one direction only.
    listener_ = listen(Transport::kUnix);
    Descriptor const raw(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    auto const address = unix_address(path("socket"));
    ASSERT_EQ(::connect(raw.get(), address->get(), address->size), 0);
    auto server = run(listener_->accept());
    ASSERT_TRUE(server.has_value());
    ASSERT_EQ(::send(raw.get(), "abc", 3, 0), 3);
    ASSERT_EQ(::shutdown(raw.get(), SHUT_WR), 0);

    // What was sent before the end is still there; then the end, also when more was asked for than came.
    Buffer target = Buffer::allocate(16);
    auto got = run((*server)->read(target, 0, 3));
    ASSERT_TRUE(got.has_value());
    EXPECT_EQ(*got, 3U);
    got = run((*server)->read(target, 0, 1));
    ASSERT_FALSE(got.has_value());
    EXPECT_EQ(got.error().code, Code::kClosed);
    ASSERT_TRUE(run((*server)->write(Buffer::copy_of(as_bytes("xyz")))).has_value());
    std::array<char, 4> back{};
    EXPECT_EQ(::recv(raw.get(), back.data(), 3, MSG_WAITALL), 3);
    EXPECT_STREQ(back.data(), "xyz");
}

TEST_P(StreamTest, AnEndWithinWhatWasAskedIsClosed) {
    for (Transport const transport : {Transport::kUnix, Transport::kTcp}) {
        Pair two = pair(transport);
        ASSERT_TRUE(run(two.client->write(Buffer::copy_of(as_bytes("abc")))).has_value());
        two.client->close();
        auto const got = run(read_exactly(two.server.get(), 4));
        ASSERT_FALSE(got.has_value());
        EXPECT_EQ(got.error().code, Code::kClosed);
    }
}

TEST_P(StreamTest, DestroyingAConnectionResetsIt) {
    Pair two = pair(Transport::kTcp);
    two.client.reset();
    Buffer target = Buffer::allocate(16);
    auto const got = run(two.server->read(target, 0, 1));
    ASSERT_FALSE(got.has_value());
    EXPECT_EQ(got.error().code, Code::kReset);
}

Task<void> read_one(Connection* connection, std::optional<Result<usize>>* out) {
    out->emplace(co_await connection->read(Buffer::allocate(16), 0, 1));
}

TEST_P(StreamTest, DestroyingAConnectionWhileItIsReadResetsIt) {
    Pair two = pair(Transport::kTcp);
    std::optional<Result<usize>> mine;
    std::optional<Result<usize>> theirs;
    Scope scope(env().executor);
    scope.spawn(read_one(two.client.get(), &mine));
    scope.spawn(read_one(two.server.get(), &theirs));
    env().executor.run_ready();
    two.client.reset();
    run_until([&] { return mine && theirs; });
    EXPECT_EQ(mine->error().code, Code::kClosed);
    EXPECT_EQ(theirs->error().code, Code::kReset);
}

TEST_P(StreamTest, CloseEndsPendingReadsAndWritesHere) {
    for (Transport const transport : {Transport::kUnix, Transport::kTcp}) {
        Pair two = pair(transport);
        std::optional<Result<usize>> read;
        std::optional<Result<void>> write;
        struct Writer {
            static Task<void> run(Connection* connection, BufferChain data, std::optional<Result<void>>* out) {
                out->emplace(co_await connection->write(std::move(data)));
            }
        };
        Scope scope(env().executor);
        scope.spawn(read_one(two.client.get(), &read));
        scope.spawn(Writer::run(two.client.get(), big_chain(5000, 4096), &write));
        env().executor.run_ready();
        EXPECT_FALSE(read || write);
        two.client->close();
        run_until([&] { return read && write; });
        EXPECT_EQ(read->error().code, Code::kClosed);
        EXPECT_EQ(write->error().code, Code::kClosed);
        EXPECT_EQ(run(two.client->write(pattern(8, 1))).error().code, Code::kClosed);
    }
}

TEST_P(StreamTest, WritingToAPeerThatIsGoneIsReset) {
    Pair two = pair(Transport::kUnix);
    two.server.reset();
    Result<void> sent;
    // The kernel may need a turn of the loop to let the socket go.
    while (sent) sent = run(two.client->write(pattern(100, 1)));
    EXPECT_EQ(sent.error().code, Code::kReset);
}

// A dropped read has taken nothing away, and the kernel's late answer finds nobody without harm.
TEST_P(StreamTest, ADroppedReadLosesNoBytes) {
    for (Transport const transport : {Transport::kUnix, Transport::kTcp}) {
        Pair two = pair(transport);
        for (u64 i = 0; i < 20; ++i) {
            {
                std::optional<Result<usize>> unused;
                Scope scope(env().executor);
                scope.spawn(read_one(two.server.get(), &unused));
                env().executor.run_ready();
                run([]() -> Task<void> { co_await yield{}; }());
            }
            Buffer const message = pattern(100, i);
            ASSERT_TRUE(run(two.client->write(message)).has_value());
            auto const got = run(read_exactly(two.server.get(), 100));
            ASSERT_TRUE(got.has_value());
            EXPECT_TRUE(same(*got, message));
        }
    }
}

TEST_P(StreamTest, ADroppedWriteAndItsConnectionGoAwayTogether) {
    Pair two = pair(Transport::kTcp);
    {
        bool unused = false;
        Scope scope(env().executor);
        scope.spawn(write_all(two.client.get(), big_chain(5000, 4096), &unused));
        run(read_exactly(two.server.get(), 100)).value();
    }
    two.client.reset();
    // The server reads what had been sent, then learns of the reset.
    Result<usize> got = 0;
    Buffer const target = Buffer::allocate(1 << 20);
    while (got) got = run(two.server->read(target, 0, 1));
    EXPECT_EQ(got.error().code, Code::kReset);
}

TEST_P(StreamTest, RefusedConnectionsAreReset) {
    auto listener = listen(Transport::kTcp);
    Address const gone = listener->local_address();
    listener.reset();
    run([]() -> Task<void> { co_await yield{}; }());
    auto const tcp = run(env().network.connect(gone));
    ASSERT_FALSE(tcp.has_value());
    EXPECT_EQ(tcp.error().code, Code::kReset) << tcp.error().to_string();
    auto const nobody = run(env().network.connect(Address::unix_path(path("nobody"))));
    ASSERT_FALSE(nobody.has_value());
    EXPECT_EQ(nobody.error().code, Code::kReset);
}

TEST_P(StreamTest, ConnectsByHostName) {
    auto listener = listen(Transport::kTcp);
    // In capitals, so that it is the resolver who knows it.
    auto const connection = run(env().network.connect(Address::tcp("LOCALHOST", listener->local_address().port)));
    EXPECT_TRUE(connection.has_value()) << connection.error().to_string();
}

TEST_P(StreamTest, AnUnknownHostIsAnError) {
    auto const none = run(env().network.connect(Address::tcp("no.such.host.invalid", 1)));
    ASSERT_FALSE(none.has_value());
    EXPECT_NE(none.error().message.find("no.such.host.invalid"), std::string::npos);
}

}  // namespace
}  // namespace corelet::os
