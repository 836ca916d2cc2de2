// The gossip message: a sign of life, and what its sender knows and hears of the others.
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

// So many fit a datagram of 1,400 bytes; of more peers the silent ones come first, the others take turns.
inline constexpr usize k_observations_max = 32;

struct Observation {
    CoreletId peer;
    PeerMemory memory;
    u32 silence_ms = 0;  // since the sender of the heartbeat heard `peer` itself
    friend bool operator==(const Observation&, const Observation&) = default;
};

struct Heartbeat {
    MeshId mesh;
    CoreletId from;
    PeerMemory self;
    MapEpoch map_epoch;
    u64 beat = 0;  // grows by one with each message of a boot
    bool wants_answer = false;
    std::vector<Observation> observations;
    friend bool operator==(const Heartbeat&, const Heartbeat&) = default;
};

// Not sealed: whoever sends it over a network authenticates it.
[[nodiscard]] std::vector<u8> encode_heartbeat(const Heartbeat& heartbeat);
// kInvalid for anything that is none, or is beyond its bounds.
[[nodiscard]] Result<Heartbeat> decode_heartbeat(Bytes bytes);

}  // namespace corelet::mesh
