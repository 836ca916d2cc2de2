#include "platform.h"
#include "rt/combine.h"

namespace corelet::parity {
namespace {

class Datagrams : public Parity {
  protected:
    std::unique_ptr<DatagramSocket> bind(const Address& address) {
        auto socket = env().network.bind_datagram(address);
        CORELET_ASSERT(socket.has_value());
        return *std::move(socket);
    }
};
CORELET_PARITY(Datagrams);

Buffer filled(usize size, u8 value) {
    Buffer out = Buffer::allocate(size);
    std::ranges::fill(out.mutable_bytes(), value);
    return out;
}

TEST_P(Datagrams, KeepTheirBoundsAndNameTheirSender) {
    auto const a = bind(platform->tcp_any());
    auto const b = bind(platform->tcp_any());
    EXPECT_NE(a->local_address().port, 0);
    for (usize const size : {1, 1'000, 9'000, 60'000}) {
        a->send(b->local_address(), filled(size, 7));
        auto const got = run(b->receive());
        ASSERT_TRUE(got);
        EXPECT_EQ(got->from, a->local_address());
        EXPECT_TRUE(std::ranges::equal(got->data.bytes(), filled(size, 7).bytes()));
    }
}

TEST_P(Datagrams, OverUnixSocketsToo) {
    auto const a = bind(Address::unix_path(platform->path("a")));
    auto const b = bind(Address::unix_path(platform->path("b")));
    a->send(b->local_address(), filled(100, 1));
    auto const got = run(b->receive());
    ASSERT_TRUE(got);
    EXPECT_EQ(got->from, a->local_address());
}

TEST_P(Datagrams, ToNobodyAreLostWithoutAWord) {
    Address const gone = bind(platform->tcp_any())->local_address();
    auto const a = bind(platform->tcp_any());
    for (int i = 0; i < 3; ++i) a->send(gone, filled(10, 1));
    a->send(a->local_address(), filled(10, 2));
    auto const got = run(a->receive());
    ASSERT_TRUE(got);
    EXPECT_EQ(got->data.data()[0], 2);
}

Task<bool> waits_in_vain(Env* env, DatagramSocket* socket) {
    auto const got = co_await with_timeout<Datagram>(env->clock, 10_ms, socket->receive());
    co_return !got && got.error().code == Code::kTimeout;
}
TEST_P(Datagrams, AReceiveMayBeDroppedAndTakenUpAgain) {
    auto const a = bind(platform->tcp_any());
    EXPECT_TRUE(run(waits_in_vain(&env(), a.get())));
    a->send(a->local_address(), filled(10, 3));
    EXPECT_TRUE(run(a->receive()));
}

TEST_P(Datagrams, AnAddressIsBoundOnce) {
    auto const a = bind(platform->tcp_any());
    auto const again = env().network.bind_datagram(a->local_address());
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().code, Code::kExists);
}

}  // namespace
}  // namespace corelet::parity
