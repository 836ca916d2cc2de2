// mesh/gossip_message.h: the body of a datagram, from whoever knows the mesh's secret; what a core does with it.
// The first byte says how much of the rest is another message.
#include "base/assert.h"
#include "mesh/membership.h"

using namespace corelet;
using namespace corelet::mesh;

namespace {

constexpr MeshId k_mesh{0x0102030405060708};

void hear(Membership& core, Bytes bytes, Instant now, Prng& random) {
    auto const message = decode_gossip(bytes);
    if (!message) return;
    CORELET_ASSERT(decode_gossip(encode_gossip(*message)).value() == *message);
    for (const MembershipEffect& effect : core.step(GossipReceived{*message}, now, random)) {
        auto const* const send = std::get_if<SendGossip>(&effect);
        if (send) CORELET_ASSERT(encode_gossip(send->message).size() <= k_gossip_bytes_max);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
    if (size == 0) return 0;
    Membership core({}, k_mesh, CoreletId(0x22), {Incarnation(2), 7, 9});
    Prng random(1);
    Instant now{1'000'000'000};
    (void)core.step(MapChanged{MapEpoch(4), {{CoreletId(0x11), Incarnation(1)}, {CoreletId(0x33), Incarnation(1)}}},
                    now, random);
    Bytes const rest(data + 1, size - 1);
    usize const first = rest.size() * data[0] / 255;
    hear(core, rest.first(first), now, random);
    now = now + 300_ms;
    hear(core, rest.subspan(first), now, random);
    (void)core.step(Tick{}, now + 2_s, random);
    return 0;
}
