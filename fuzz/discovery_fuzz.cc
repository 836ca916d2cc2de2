// node/discovery.h: a datagram from anybody on the network, as question and as answer. Its checksum is made right,
// so that what lies behind it is reached.
#include "node/discovery.h"

#include "base/assert.h"
#include "base/checksum.h"

using namespace corelet;

namespace {

void take(Bytes datagram) {
    if (auto const question = decode_discovery_question(datagram)) {
        CORELET_ASSERT(decode_discovery_question(encode_discovery(*question)).value() == *question);
        DiscoveryResponder responder(question->mesh);
        Prng random(1);
        (void)responder.step(*question, 3, Instant{1'000'000'000}, random);
    }
    auto const answer = decode_discovery_answer(datagram);
    if (!answer) return;
    CORELET_ASSERT(!answer->addresses.empty() && answer->addresses.size() <= k_discovery_addresses_max);
    for (const Address& address : answer->addresses) CORELET_ASSERT(address.kind == Address::Kind::kTcp);
    // An address has several spellings, and the one that is written may be too long to be sent.
    for (const Address& address : answer->addresses)
        if (address.to_string().size() > k_discovery_address_bytes_max) return;
    CORELET_ASSERT(decode_discovery_answer(encode_discovery(*answer)).value() == *answer);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
    take(Bytes(data, size));
    if (size < 4) return 0;
    std::vector<u8> mended(data, data + size);
    u32 const sum = crc32c(Bytes(mended).first(size - 4));
    for (usize i = 0; i < 4; ++i) mended[size - 4 + i] = static_cast<u8>(sum >> (8 * i));
    take(mended);
    return 0;
}
