// Finding meshes on the network at hand: a question to a multicast group, and what a corelet answers. Pure.
// docs/format/discovery.md.
//
// Anybody may ask and anybody may answer, so an answer proves nothing: it says which mesh, where, and the mesh's
// fingerprint, by which a person or a token recognises it. It lets nobody in. No answer is longer than its
// question, and no corelet gives more than a few a second, so nobody gains by asking in another's name.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "base/prng.h"
#include "base/time.h"
#include "node/join_token.h"

namespace corelet {

inline constexpr usize k_discovery_question_bytes = 512;
inline constexpr usize k_discovery_addresses_max = 4;
inline constexpr usize k_discovery_address_bytes_max = 64;

struct DiscoveryQuestion {
    u64 nonce = 0;
    MeshId mesh;  // zero: any
    friend bool operator==(const DiscoveryQuestion&, const DiscoveryQuestion&) = default;
};
struct DiscoveryAnswer {
    u64 nonce = 0;  // of the question
    MeshId mesh;
    CoreletId corelet;
    MeshFingerprint fingerprint{};
    u32 corelets = 0;                // that are up, as it sees the mesh
    std::vector<Address> addresses;  // of its own, 1 to 4
    friend bool operator==(const DiscoveryAnswer&, const DiscoveryAnswer&) = default;
};

[[nodiscard]] std::vector<u8> encode_discovery(const DiscoveryQuestion& question);
[[nodiscard]] std::vector<u8> encode_discovery(const DiscoveryAnswer& answer);
// kInvalid: none; kUnsupported: of a newer version.
[[nodiscard]] Result<DiscoveryQuestion> decode_discovery_question(Bytes datagram);
[[nodiscard]] Result<DiscoveryAnswer> decode_discovery_answer(Bytes datagram);

struct DiscoveryLimits {
    u32 burst = 20;
    u32 per_second = 10;
    u32 answers_wanted = 16;   // of one mesh to one question, however large the mesh
    Duration spread = 200_ms;  // answers come within so long, not all at once
};

// Whether one corelet answers a question, and when.
class DiscoveryResponder {
  public:
    explicit DiscoveryResponder(MeshId mesh, DiscoveryLimits limits = {}) : mesh_(mesh), limits_(limits) {}
    // After how long to answer; nothing: not at all. `corelets`: that are up in the mesh.
    [[nodiscard]] std::optional<Duration> step(const DiscoveryQuestion& question, u32 corelets, Instant now,
                                               Prng& random);

  private:
    [[nodiscard]] bool is_repeated(u64 nonce);
    [[nodiscard]] bool has_budget(Instant now);

    MeshId mesh_;
    DiscoveryLimits limits_;
    std::array<u64, 32> heard_{};  // nonces: one question comes in by several interfaces
    usize next_heard_ = 0;
    std::optional<Instant> refilled_;
    u64 budget_ns_ = 0;  // each answer costs a second / per_second
};

// Of a corelet's addresses, those that whoever asked can reach: one on this machine all but unix sockets, others
// not loopback; at most four.
[[nodiscard]] std::vector<Address> discoverable_addresses(const std::vector<Address>& listening,
                                                          bool asker_is_local);

}  // namespace corelet
