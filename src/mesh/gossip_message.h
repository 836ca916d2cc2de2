// The gossip message: a sign of life, and what its sender knows of the others.
#pragma once

#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/types.h"

namespace corelet::mesh {

// What is known of one life of a corelet: its mount, the nonce drawn then, the durable sequence number it had
// reached. Peers keep the newest they saw on their own devices; a device that is behind it has forgotten promises
// (protocols 1.1, 1.3).
struct PeerMemory {
    Incarnation incarnation;
    u64 nonce = 0;
    u64 durable_sequence = 0;
    u64 began_sequence = 0;  // the device's when this incarnation began; 0: not said, the present one counts
    friend bool operator==(const PeerMemory&, const PeerMemory&) = default;

    // True if this is later news than `other`: a later mount, or the same one further on. Another nonce of the same
    // incarnation is no news but another body; a later mount with a lower number is a device that was rolled back.
    [[nodiscard]] bool newer_than(const PeerMemory& other) const;
    // A life as this is no continuation of what `other` shows: its mount is an earlier one, or it is a later one of
    // a device that had lost what was durable then. What it has written since does not count: it soon is more.
    [[nodiscard]] bool rolled_back_from(const PeerMemory& other) const {
        return incarnation < other.incarnation ||
               (incarnation > other.incarnation &&
                (began_sequence != 0 ? began_sequence : durable_sequence) < other.durable_sequence);
    }
    [[nodiscard]] bool other_body_of(const PeerMemory& other) const {
        return incarnation == other.incarnation && nonce != other.nonce;
    }
};

// So many of each fit a datagram of 1,400 bytes.
inline constexpr usize k_observations_max = 20;
inline constexpr usize k_probes_max = 8;
inline constexpr usize k_gossip_bytes_max = 1400;
inline constexpr usize k_gossip_deltas_max = 8;

// One corelet's word on another.
struct Observation {
    CoreletId peer;
    PeerMemory memory;
    u32 silence_ms = 0;    // since the observer last reached `peer` itself, or began to try; or k_not_probed
    CoreletId observer{};  // zero: the sender of the message
    u32 age_ms = 0;        // since the observer said so
    friend bool operator==(const Observation&, const Observation&) = default;
};
inline constexpr u32 k_not_probed = UINT32_MAX;  // it says nothing of whether the peer can be reached

struct GossipMessage {
    MeshId mesh;
    CoreletId from;
    PeerMemory self;
    MapEpoch map_epoch;
    u64 number = 0;  // grows by one with each message of a boot
    bool wants_ack = false;
    u64 acks = 0;  // the number of the ping that this answers; 0: none
    std::vector<CoreletId> probe;
    std::vector<Observation> observations;
    // How the sender's map came about, lately (map_delta.h, not looked into here), as far as there is room; each
    // from where the one before it led.
    std::vector<std::vector<u8>> map_deltas{};
    friend bool operator==(const GossipMessage&, const GossipMessage&) = default;
};

[[nodiscard]] usize gossip_bytes(const GossipMessage& message);
// Not sealed: whoever sends it over a network authenticates it.
[[nodiscard]] std::vector<u8> encode_gossip(const GossipMessage& message);
// kInvalid for anything that is none, or is beyond its bounds.
[[nodiscard]] Result<GossipMessage> decode_gossip(Bytes bytes);

}  // namespace corelet::mesh
