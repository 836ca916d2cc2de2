#include "os/multicast.h"

#include "os/host_testing.h"
#include "os/socket_address.h"
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
constexpr auto k_families = {"239.255.67.", "ff12::434c:67"};

// Group `number` of a family, for these tests alone.
Address test_group(std::string_view family, u32 number) {
    return Address::tcp(std::string(family) + std::to_string(number), k_port);
}

TEST_P(MulticastTest, AllWhoListenHearAndMayAnswer) {
    usize families = 0;
    for (std::string_view const family : k_families) {
        Address const group = test_group(family, 91);
        auto const one = listen(group);
        if (!one) continue;  // no interface here takes multicast of this family
        ++families;
        auto const two = listen(group);
        ASSERT_TRUE(two) << "several on one machine";
        auto const sender = make_multicast_sender(loop(), group);
        ASSERT_TRUE(sender);
        (*sender)->send_to_group(as_bytes(std::string_view("anybody?")));
        for (auto* const listener : {one.get(), two.get()}) {
            auto const heard = run(receive_in_time(&env().clock, &listener->socket(), 10_s));
            ASSERT_TRUE(heard) << family << ": " << heard.error().to_string();
            EXPECT_EQ(as_text(heard->data.bytes()), "anybody?");
            EXPECT_TRUE(is_own_host(heard->from)) << heard->from.to_string();
            listener->socket().send(heard->from, Buffer::copy_of(as_bytes(std::string_view("I"))));
            auto const answer = run(receive_in_time(&env().clock, &(*sender)->socket(), 10_s));
            ASSERT_TRUE(answer) << family;
            EXPECT_EQ(as_text(answer->data.bytes()), "I");
        }
    }
    if (families == 0) GTEST_SKIP() << "no interface here takes multicast";
}

TEST_P(MulticastTest, OtherGroupsAreNotHeard) {
    usize families = 0;
    for (std::string_view const family : k_families) {
        auto const listener = listen(test_group(family, 92));
        if (!listener) continue;
        ++families;
        auto const other = listen(test_group(family, 93));
        ASSERT_TRUE(other);
        auto const sender = make_multicast_sender(loop(), test_group(family, 93));
        ASSERT_TRUE(sender);
        (*sender)->send_to_group(as_bytes(std::string_view("x")));
        ASSERT_TRUE(run(receive_in_time(&env().clock, &other->socket(), 10_s))) << family;
        EXPECT_FALSE(run(receive_in_time(&env().clock, &listener->socket(), 50_ms))) << family;
    }
    if (families == 0) GTEST_SKIP() << "no interface here takes multicast";
}

TEST_P(MulticastTest, WhatIsNoGroupIsRefused) {
    for (const char* text : {"10.0.0.1:7000", "239.1.1.1:0", "host:7000", "unix:/x", "239.1.1.1", "[fe80::1]:7000",
                             "[ff02::1]:0", "[ff05::1]:7000", "[ff0e::1]:7000", "[ff02::1%lo]:7000"})
        EXPECT_EQ(parse_multicast_group(text).error().code, Code::kInvalid) << text;
    EXPECT_EQ(parse_multicast_group("239.1.2.3:7000").value(), Address::tcp("239.1.2.3", 7000));
    EXPECT_EQ(parse_multicast_group("[ff02::1]:7000").value(), Address::tcp("ff02::1", 7000));
    EXPECT_EQ(parse_multicast_group("[ff12::1]:7000").value(), Address::tcp("ff12::1", 7000));
}

TEST_P(MulticastTest, ThisMachinesAddressesAreItsOwn) {
    EXPECT_TRUE(is_own_host(Address::tcp("127.0.0.1", 1)));
    EXPECT_TRUE(is_own_host(Address::tcp("::1", 1)));
    EXPECT_FALSE(is_own_host(Address::tcp("192.0.2.250", 1)));
    EXPECT_FALSE(is_own_host(Address::tcp("2001:db8::250", 1)));
}

TEST_P(MulticastTest, AnAddressOfTheLinkNamesItsInterface) {
    auto const address = numeric_address("fe80::7%lo", 7000);
    ASSERT_TRUE(address);
    EXPECT_EQ(address->to_address(), Address::tcp("fe80::7%lo", 7000));
    EXPECT_FALSE(numeric_address("fe80::7%no such interface", 7000));
    EXPECT_FALSE(numeric_address("fe80::7%", 7000));
    auto const plain = numeric_address("fe80::7", 7000);
    ASSERT_TRUE(plain);
    EXPECT_EQ(plain->to_address(), Address::tcp("fe80::7", 7000));
}

CORELET_ON_BOTH_ENGINES(MulticastTest);

}  // namespace
}  // namespace corelet::os
