#include "wire/hello.h"

#include <fmt/format.h>

#include "wire/frame.h"
#include "wire/message.h"

namespace corelet {

Result<u16> negotiate_version(const Hello& mine, const Hello& theirs) {
    u16 const highest = std::min(mine.version_max, theirs.version_max);
    u16 const lowest = std::max(mine.version_min, theirs.version_min);
    if (theirs.version_min <= theirs.version_max && lowest <= highest) return highest;
    return fail(
        Code::kUnsupported,
        fmt::format("no common version of the wire protocol: {} to {} here, {} to {} there; upgrade the older",
                    mine.version_min, mine.version_max, theirs.version_min, theirs.version_max));
}

Buffer encode_hello(const Hello& hello) {
    pb::Hello message;
    message.set_version_min(hello.version_min);
    message.set_version_max(hello.version_max);
    message.set_role(static_cast<u32>(hello.role));
    message.set_lane(static_cast<u32>(hello.lane));
    message.set_mesh(hello.mesh.v);
    message.set_corelet(hello.corelet.v);
    message.set_incarnation(hello.incarnation.v);
    message.set_boot_nonce(hello.boot_nonce);
    message.set_durable_sequence(hello.durable_sequence);
    message.set_began_sequence(hello.began_sequence);
    message.set_map_epoch(hello.map_epoch.v);
    message.set_window_requests(hello.window_requests);
    message.set_window_bytes(hello.window_bytes);
    message.set_wanted(hello.wanted.v);
    message.set_via(hello.via.v);
    return encode_message(message);
}

Result<Hello> decode_hello(Bytes body) {
    TRY(pb::Hello const message, decode_message<pb::Hello>(body));
    bool const known_role = message.role() == 1 || message.role() == 2;
    bool const known_lane = message.lane() == 1 || message.lane() == 2;
    if (!known_role || !known_lane || message.version_min() > UINT16_MAX || message.version_max() > UINT16_MAX)
        return fail(Code::kCorrupt, "hello makes no sense");
    Hello hello;
    hello.version_min = static_cast<u16>(message.version_min());
    hello.version_max = static_cast<u16>(message.version_max());
    hello.role = static_cast<PeerRole>(message.role());
    hello.lane = static_cast<Lane>(message.lane());
    hello.mesh = MeshId(message.mesh());
    hello.corelet = CoreletId(message.corelet());
    hello.incarnation = Incarnation(message.incarnation());
    hello.boot_nonce = message.boot_nonce();
    hello.durable_sequence = message.durable_sequence();
    hello.began_sequence = message.began_sequence();
    hello.map_epoch = MapEpoch(message.map_epoch());
    hello.window_requests = message.window_requests();
    hello.window_bytes = message.window_bytes();
    hello.wanted = CoreletId(message.wanted());
    hello.via = CoreletId(message.via());
    if ((hello.role == PeerRole::kCorelet) == hello.corelet.is_zero())
        return fail(Code::kCorrupt, "hello of a corelet without an id, or of a client with one");
    return hello;
}

Result<Buffer> signed_hello(Bytes body, CoreletId via) {
    TRY(pb::Hello message, decode_message<pb::Hello>(body));
    message.set_via(via.v);
    return encode_message(message);
}

}  // namespace corelet
