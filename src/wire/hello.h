// What two ends of a connection tell each other before anything else, and who judges it.
//
// Both sides send a Hello as their first frame. Each side judges the other's; a refusal travels to the other side
// with its reason and the connection is closed. Nothing else is sent or accepted before both have agreed
// (protocols 1.1, 1.5).
#pragma once

#include "base/result.h"
#include "rt/network.h"

namespace corelet {

// Versions of the wire protocol. A version talks to the one before and the one after it: each side states a range,
// the highest common one is used.
inline constexpr u16 k_wire_version = 1;
inline constexpr u16 k_wire_version_min = 1;

enum class PeerRole : u8 {
    kCorelet = 1,  // has an identity; `corelet` is not zero
    kClient = 2,   // command line or tool: no identity, `corelet` is zero, nobody calls it
};

// A connection carries one kind of traffic, so that a heartbeat never queues behind a rebuild.
enum class Lane : u8 {
    kAuto = 0,    // chosen by class and size; never in a Hello
    kPrompt = 1,  // small and urgent
    kBulk = 2,    // large payloads, healing, scrubbing
};

struct Hello {
    u16 version_min = k_wire_version_min;
    u16 version_max = k_wire_version;
    PeerRole role = PeerRole::kClient;
    Lane lane = Lane::kPrompt;  // filled in by the node
    MeshId mesh;                // zero: none yet (a joiner, or a tool that does not know)
    CoreletId corelet;
    Incarnation incarnation;
    u64 boot_nonce = 0;
    u64 durable_sequence = 0;
    u64 began_sequence = 0;  // the same when the incarnation began; 0: not said
    MapEpoch map_epoch;
    // Filled in by the node: how many requests, and bytes of requests and expected replies, it takes on one
    // connection at a time. The caller keeps the rest to itself, where it can still be withdrawn. Zero: not said.
    u32 window_requests = 0;
    u64 window_bytes = 0;
    // Filled in by nodes, see relay.h. `wanted`: whom the caller means, if not whoever answers there; `via`: who
    // has passed this hello on. Zero: nobody.
    CoreletId wanted{};
    CoreletId via{};
    friend bool operator==(const Hello&, const Hello&) = default;
};

// How the other end of a connection looks from here.
struct PeerContext {
    bool inbound = false;  // the other side connected to us
    Address address;       // of the other side; `local` when both live in this process
    bool same_process = false;
    std::optional<PeerCredentials> credentials;  // unix sockets only, as the kernel says
    CoreletId expected;                          // whom we meant to reach; zero if unknown
    CoreletId via{};                             // the connection goes through this corelet; zero: through none
};

// Supplies the own Hello and judges others'. Both are called at each connection, so both may change over time. That
// the versions overlap, that an expected id is the one that answers, and the credentials of unix sockets are
// checked before.
class HelloPolicy {
  public:
    virtual ~HelloPolicy() = default;
    [[nodiscard]] virtual Hello local_hello() = 0;
    // An error refuses: its code and message are told to the other side.
    [[nodiscard]] virtual Result<void> judge(const Hello& remote, const PeerContext& context) = 0;
};

// Highest version both know, or kUnsupported with a message that names both ranges.
[[nodiscard]] Result<u16> negotiate_version(const Hello& mine, const Hello& theirs);

}  // namespace corelet
