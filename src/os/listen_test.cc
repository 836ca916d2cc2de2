#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <fstream>

#include "os/host_testing.h"
#include "os/socket_address.h"

namespace corelet::os {
namespace {

class ListenTest : public HostTest {
  protected:
    Result<std::unique_ptr<Listener>> listen(const std::string& where, bool replace = false) {
        return env().network.listen(Address::unix_path(where), {.replace = replace});
    }
    // A socket file that a dead process left behind.
    void leave_stale_socket(const std::string& where, int type) {
        Descriptor const socket(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
        auto const address = unix_address(where);
        ASSERT_EQ(::bind(socket.get(), address->get(), address->size), 0);
    }
    bool reaches(Listener* listener, const std::string& where) {
        auto const client = run(env().network.connect(Address::unix_path(where)));
        return client && run(listener->accept()).has_value();
    }
    usize files() const {
        auto const all = std::filesystem::directory_iterator(directory_);
        return static_cast<usize>(std::distance(begin(all), end(all)));
    }
};
CORELET_ON_BOTH_ENGINES(ListenTest);

TEST_P(ListenTest, ALivePathIsTaken) {
    auto first = listen(path("s"));
    ASSERT_TRUE(first.has_value());
    auto const second = listen(path("s"));
    ASSERT_FALSE(second.has_value());
    EXPECT_EQ(second.error().code, Code::kExists);
    EXPECT_NE(second.error().message.find(path("s")), std::string::npos);
    // The one who asked was refused without disturbing the one who serves.
    EXPECT_TRUE(run((*first)->accept()).has_value());
    EXPECT_TRUE(reaches(first->get(), path("s")));
}

TEST_P(ListenTest, ADeadPathIsTakenOver) {
    leave_stale_socket(path("s"), SOCK_STREAM);
    auto const listener = listen(path("s"));
    ASSERT_TRUE(listener.has_value()) << listener.error().to_string();
    EXPECT_TRUE(reaches(listener->get(), path("s")));
    EXPECT_EQ(files(), 1U);
}

TEST_P(ListenTest, ReplaceTakesOverALivePathAndTheOldOneLeavesItAlone) {
    auto first = listen(path("s"));
    auto second = listen(path("s"), true);
    ASSERT_TRUE(second.has_value()) << second.error().to_string();
    EXPECT_TRUE(reaches(second->get(), path("s")));
    (*first)->close();
    EXPECT_TRUE(reaches(second->get(), path("s")));
    EXPECT_EQ(files(), 1U);
    // Replacing nothing is listening.
    EXPECT_TRUE(listen(path("other"), true).has_value());
}

TEST_P(ListenTest, CloseRemovesItsOwnPath) {
    auto listener = listen(path("s"));
    EXPECT_EQ(files(), 1U);
    (*listener)->close();
    EXPECT_EQ(files(), 0U);
    EXPECT_EQ(run((*listener)->accept()).error().code, Code::kClosed);
    auto again = listen(path("s"));
    again->reset();
    EXPECT_EQ(files(), 0U);
}

TEST_P(ListenTest, WhatIsNoSocketIsLeftAlone) {
    std::ofstream(path("s")) << "precious";
    for (bool const replace : {false, true}) {
        auto const listener = listen(path("s"), replace);
        ASSERT_FALSE(listener.has_value());
        EXPECT_EQ(listener.error().code, Code::kExists);
    }
    EXPECT_EQ(std::filesystem::file_size(path("s")), 8U);
    EXPECT_EQ(files(), 1U);
}

TEST_P(ListenTest, ALongPathIsAClearError) {
    std::string const longest = path(std::string(k_unix_path_max - directory_.size() - 1, 'x'));
    ASSERT_EQ(longest.size(), k_unix_path_max);
    auto listener = listen(longest);
    ASSERT_TRUE(listener.has_value()) << listener.error().to_string();
    EXPECT_TRUE(reaches(listener->get(), longest));
    auto const longer = listen(longest + "x");
    ASSERT_FALSE(longer.has_value());
    EXPECT_EQ(longer.error().code, Code::kInvalid);
    EXPECT_NE(longer.error().message.find("107"), std::string::npos);
    EXPECT_EQ(run(env().network.connect(Address::unix_path(longest + "x"))).error().code, Code::kInvalid);
    EXPECT_EQ(listen(path("no/such/directory")).error().code, Code::kNotFound);
}

// The name that is bound first, beside it, may be longer than the path allows.
TEST_P(ListenTest, AShortNameInALongDirectoryIsTakenOver) {
    std::string const deep = path(std::string(k_unix_path_max - directory_.size() - 3, 'd'));
    std::filesystem::create_directory(deep);
    std::string const name = deep + "/s";
    ASSERT_EQ(name.size(), k_unix_path_max);
    auto first = listen(name, true);
    ASSERT_TRUE(first.has_value()) << first.error().to_string();
    auto second = listen(name, true);
    ASSERT_TRUE(second.has_value()) << second.error().to_string();
    EXPECT_TRUE(reaches(second->get(), name));
    (*first)->close();
    EXPECT_TRUE(reaches(second->get(), name));
    (*second)->close();
    EXPECT_TRUE(std::filesystem::is_empty(deep));
}

// The lock that guards names is another's for a while: taking over does not wait for it for long, and closing
// leaves a dead name.
TEST_P(ListenTest, AHeldDirectoryStopsNobody) {
    Descriptor const holder(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_EQ(::flock(holder.get(), LOCK_EX), 0);
    auto first = listen(path("s"), true);
    ASSERT_TRUE(first.has_value());
    EXPECT_TRUE(reaches(first->get(), path("s")));
    (*first)->close();
    EXPECT_EQ(files(), 1U);
    ASSERT_EQ(::flock(holder.get(), LOCK_UN), 0);
    auto second = listen(path("s"));
    ASSERT_TRUE(second.has_value()) << second.error().to_string();
    EXPECT_TRUE(reaches(second->get(), path("s")));
}

TEST_P(ListenTest, APortInUseAndAForeignAddressAreClearErrors) {
    auto const first = env().network.listen(Address::tcp("127.0.0.1", 0), {});
    ASSERT_TRUE(first.has_value());
    auto const second = env().network.listen((*first)->local_address(), {});
    ASSERT_FALSE(second.has_value());
    EXPECT_EQ(second.error().code, Code::kExists);
    EXPECT_NE(second.error().message.find(std::to_string((*first)->local_address().port)), std::string::npos);
    EXPECT_EQ(env().network.listen(Address::tcp("192.0.2.1", 0), {}).error().code, Code::kInvalid);
    EXPECT_EQ(env().network.listen(Address::tcp("no.such.host.invalid", 0), {}).error().code, Code::kInvalid);
}

TEST_P(ListenTest, ListensOnIPv6) {
    auto const listener = env().network.listen(Address::tcp("::1", 0), {});
    if (!listener) GTEST_SKIP() << listener.error().to_string();
    EXPECT_EQ((*listener)->local_address().host, "::1");
    EXPECT_TRUE(run(env().network.connect((*listener)->local_address())).has_value());
}

Task<void> accept_one(Listener* listener, std::optional<Result<std::unique_ptr<Connection>>>* out) {
    out->emplace(co_await listener->accept());
}

TEST_P(ListenTest, CloseEndsAPendingAccept) {
    auto listener = listen(path("s"));
    std::optional<Result<std::unique_ptr<Connection>>> accepted;
    Scope scope(env().executor);
    scope.spawn(accept_one(listener->get(), &accepted));
    env().executor.run_ready();
    (*listener)->close();
    run_until([&] { return accepted.has_value(); });
    EXPECT_EQ(accepted->error().code, Code::kClosed);
}

// While the process has no descriptors left connections wait in the queue, and they are served when it has again.
TEST_P(ListenTest, AcceptWaitsOutALackOfDescriptors) {
#if __has_feature(address_sanitizer)
    GTEST_SKIP() << "the sanitizer's check of virtual calls opens a pipe, and there are no descriptors left here";
#endif
    auto listener = listen(path("s"));
    Descriptor const client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    auto const address = unix_address(path("s"));
    ASSERT_EQ(::connect(client.get(), address->get(), address->size), 0);
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    rlimit none = before;
    none.rlim_cur = 0;
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
    std::optional<Result<std::unique_ptr<Connection>>> accepted;
    Scope scope(env().executor);
    scope.spawn(accept_one(listener->get(), &accepted));
    env().executor.run_ready();
    EXPECT_FALSE(accepted.has_value());
    EXPECT_GT(loop().clock().until_next(), Duration{0});
    EXPECT_LE(loop().clock().until_next(), 1_s + 100_ms) << "with its slack";
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    run_until([&] { return accepted.has_value(); });
    EXPECT_TRUE(accepted->has_value());
}

TEST_P(ListenTest, ConnectWaitsForAFullQueue) {
    // A raw listener that queues one.
    Descriptor const listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    auto const address = unix_address(path("s"));
    ASSERT_EQ(::bind(listener.get(), address->get(), address->size), 0);
    ASSERT_EQ(::listen(listener.get(), 0), 0);
    struct Connector {
        static Task<void> run(Network* network, std::string where, usize* connected,
                              std::vector<std::unique_ptr<Connection>>* out) {
            auto connection = co_await network->connect(Address::unix_path(where));
            CORELET_ASSERT(connection.has_value());
            out->push_back(*std::move(connection));
            ++*connected;
        }
    };
    usize connected = 0;
    std::vector<std::unique_ptr<Connection>> connections;
    Scope scope(env().executor);
    for (int i = 0; i < 3; ++i) scope.spawn(Connector::run(&env().network, path("s"), &connected, &connections));
    run_until([&] { return connected >= 1; });
    EXPECT_LT(connected, 3U);
    std::vector<Descriptor> accepted;
    for (int i = 0; i < 3; ++i) {
        accepted.emplace_back(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        run_until([&] { return connected > static_cast<usize>(i); });
        if (connected < 3) run_until([&] { return connected >= std::min<usize>(3, static_cast<usize>(i) + 2); });
    }
    EXPECT_EQ(connected, 3U);
}

// A restart within one process, as hosting several corelets does it.
TEST_P(ListenTest, APortIsFreeAsSoonAsItsListenerIsGone) {
    Address address = Address::tcp("127.0.0.1", 0);
    for (int round = 0; round < 5; ++round) {
        auto listener = env().network.listen(address, {});
        ASSERT_TRUE(listener.has_value()) << listener.error().to_string();
        address = (*listener)->local_address();
        std::optional<Result<std::unique_ptr<Connection>>> accepted;
        Scope scope(env().executor);
        scope.spawn(accept_one(listener->get(), &accepted));
        run([]() -> Task<void> { co_await yield{}; }());
        auto const client = run(env().network.connect(address));
        EXPECT_TRUE(client.has_value());
        run_until([&] { return accepted.has_value(); });
    }
}

class DatagramTest : public HostTest {
  protected:
    std::unique_ptr<DatagramSocket> bind(const Address& address) {
        auto socket = env().network.bind_datagram(address);
        EXPECT_TRUE(socket.has_value()) << socket.error().to_string();
        return *std::move(socket);
    }
};
CORELET_ON_BOTH_ENGINES(DatagramTest);

TEST_P(DatagramTest, GoBothWaysOverUdpAndUnix) {
    Address const any = Address::tcp("127.0.0.1", 0);
    Address const one = Address::unix_path(path("1"));
    Address const two = Address::unix_path(path("2"));
    for (auto const& [left, right] : {std::pair(any, any), std::pair(one, two)}) {
        auto a = bind(left);
        auto b = bind(right);
        for (usize const size : {0, 1, 1400, 60000}) {
            Buffer const data = pattern(size, size);
            a->send(b->local_address(), data);
            auto const got = run(b->receive());
            ASSERT_TRUE(got.has_value());
            EXPECT_EQ(got->from, a->local_address());
            ASSERT_EQ(got->data.size(), size);
            EXPECT_TRUE(std::ranges::equal(got->data.bytes(), data.bytes()));
            // A small one does not hold a large buffer.
            EXPECT_LE(got->data.allocation_bytes(), round_up(size, k_block_bytes));
            b->send(got->from, got->data);
            EXPECT_EQ(run(a->receive())->data.size(), size);
        }
    }
    EXPECT_FALSE(std::filesystem::exists(path("1")));
}

TEST_P(DatagramTest, SendingToNobodyIsALossAndNoError) {
    auto a = bind(Address::tcp("127.0.0.1", 0));
    Address const nobody = bind(Address::tcp("127.0.0.1", 0))->local_address();
    a->send(nobody, pattern(10, 1));
    a->send(Address::unix_path(path("none")), pattern(10, 1));
    a->send(Address::tcp("no.such.host.invalid", 1), pattern(10, 1));
    auto b = bind(Address::tcp("127.0.0.1", 0));
    b->send(a->local_address(), pattern(20, 1));
    EXPECT_EQ(run(a->receive())->data.size(), 20U);
}

Task<void> send_until(DatagramSocket* from, Address to, Clock* clock, const bool* done) {
    while (!*done) {
        from->send(to, pattern(10, 1));
        co_await clock->sleep(1_ms);
    }
}
Task<void> receive_one(DatagramSocket* socket, bool* done) {
    auto const got = co_await socket->receive();
    *done = got.has_value();
}

TEST_P(DatagramTest, HostNamesAreResolvedOnTheWay) {
    auto a = bind(Address::tcp("127.0.0.1", 0));
    auto b = bind(Address::tcp("127.0.0.1", 0));
    bool done = false;
    Scope scope(env().executor);
    // In capitals, so that it is the resolver who knows it.
    scope.spawn(send_until(a.get(), Address::tcp("LOCALHOST", b->local_address().port), &env().clock, &done));
    scope.spawn(receive_one(b.get(), &done));
    run_until([&] { return done; });
}

TEST_P(DatagramTest, OneSocketServesBothInternetFamilies) {
    auto both = env().network.bind_datagram(Address::tcp("::", 0));
    if (!both) GTEST_SKIP() << both.error().to_string();
    auto four = bind(Address::tcp("127.0.0.1", 0));
    (*both)->send(four->local_address(), pattern(10, 1));
    auto const at_four = run(four->receive());
    ASSERT_TRUE(at_four.has_value());
    EXPECT_EQ(at_four->from.port, (*both)->local_address().port);
    four->send(at_four->from, pattern(20, 1));
    auto const at_both = run((*both)->receive());
    ASSERT_TRUE(at_both.has_value());
    EXPECT_EQ(at_both->from, four->local_address());
    // The other way round there is no way: a loss.
    four->send(Address::tcp("::1", 9), pattern(10, 1));
}

// The kernel, which still polls the socket for a reader, must let go of it at once.
TEST_P(DatagramTest, AnAddressIsFreeAsSoonAsItsSocketIsGone) {
    Address address = Address::tcp("127.0.0.1", 0);
    for (int round = 0; round < 5; ++round) {
        auto socket = bind(address);
        address = socket->local_address();
        bool done = false;
        Scope scope(env().executor);
        scope.spawn(receive_one(socket.get(), &done));
        env().executor.run_ready();
        run([]() -> Task<void> { co_await yield{}; }());
        scope.cancel();
        socket.reset();
    }
}

TEST_P(DatagramTest, AnAddressInUseIsAnError) {
    auto a = bind(Address::tcp("127.0.0.1", 0));
    EXPECT_EQ(env().network.bind_datagram(a->local_address()).error().code, Code::kExists);
    auto b = bind(Address::unix_path(path("s")));
    EXPECT_EQ(env().network.bind_datagram(b->local_address()).error().code, Code::kExists);
}

}  // namespace
}  // namespace corelet::os
