#include "os/multicast.h"

#include "os/host_testing.h"
#include "rt/combine.h"

namespace corelet::os {
namespace {

class MulticastTest : public HostTest {
  protected:
    std::unique_ptr<MulticastListener> listen(const Address& group) {
        auto listener = listen_multicast(loop(), group);
        return listener ? *std::move(listener) : nullptr;
    }
};

Task<Result<Datagram>> receive_in_time(Clock* clock, DatagramSocket* socket, Duration limit) {
    co_return co_await with_timeout<Datagram>(*clock, limit, socket->receive());
}

constexpr u16 k_port = 38'767;

TEST_P(MulticastTest, AllWhoListenHearAndMayAnswer) {
    Address const group = Address::tcp("239.255.67.91", k_port);
    auto const one = listen(group);
    if (!one) GTEST_SKIP() << "no interface here takes multicast";
    auto const two = listen(group);
    ASSERT_TRUE(two) << "several on one machine";
    auto const sender = make_multicast_sender(loop(), group);
    ASSERT_TRUE(sender);
    (*sender)->send_to_group(as_bytes(std::string_view("anybody?")));
    for (auto* const listener : {one.get(), two.get()}) {
        auto const heard = run(receive_in_time(&env().clock, &listener->socket(), 10_s));
        ASSERT_TRUE(heard) << heard.error().to_string();
        EXPECT_EQ(as_text(heard->data.bytes()), "anybody?");
        EXPECT_TRUE(is_own_host(heard->from));
        listener->socket().send(heard->from, Buffer::copy_of(as_bytes(std::string_view("I"))));
        auto const answer = run(receive_in_time(&env().clock, &(*sender)->socket(), 10_s));
        ASSERT_TRUE(answer);
        EXPECT_EQ(as_text(answer->data.bytes()), "I");
    }
}

TEST_P(MulticastTest, OtherGroupsAreNotHeard) {
    auto const listener = listen(Address::tcp("239.255.67.92", k_port));
    if (!listener) GTEST_SKIP() << "no interface here takes multicast";
    auto const other = listen(Address::tcp("239.255.67.93", k_port));
    ASSERT_TRUE(other);
    auto const sender = make_multicast_sender(loop(), Address::tcp("239.255.67.93", k_port));
    ASSERT_TRUE(sender);
    (*sender)->send_to_group(as_bytes(std::string_view("x")));
    ASSERT_TRUE(run(receive_in_time(&env().clock, &other->socket(), 10_s)));
    EXPECT_FALSE(run(receive_in_time(&env().clock, &listener->socket(), 50_ms)));
}

TEST_P(MulticastTest, WhatIsNoGroupIsRefused) {
    for (const char* text : {"10.0.0.1:7000", "239.1.1.1:0", "host:7000", "[ff02::1]:7000", "unix:/x", "239.1.1.1"})
        EXPECT_EQ(parse_multicast_group(text).error().code, Code::kInvalid) << text;
    EXPECT_EQ(parse_multicast_group("239.1.2.3:7000").value(), Address::tcp("239.1.2.3", 7000));
}

TEST_P(MulticastTest, ThisMachinesAddressesAreItsOwn) {
    EXPECT_TRUE(is_own_host(Address::tcp("127.0.0.1", 1)));
    EXPECT_FALSE(is_own_host(Address::tcp("192.0.2.250", 1)));
}

CORELET_ON_BOTH_ENGINES(MulticastTest);

}  // namespace
}  // namespace corelet::os
