#include "mesh/heartbeat.h"

#include "base/assert.h"
#include "mesh/gossip.pb.h"

namespace corelet::mesh {
namespace {

constexpr usize k_heartbeat_bytes_max = 16 * k_kib;

void encode(const PeerMemory& from, pb::PeerMemory& to) {
    to.set_incarnation(from.incarnation.v);
    to.set_nonce(from.nonce);
    to.set_durable_sequence(from.durable_sequence);
    to.set_began_sequence(from.began_sequence);
}

PeerMemory decode(const pb::PeerMemory& from) {
    return {Incarnation(from.incarnation()), from.nonce(), from.durable_sequence(), from.began_sequence()};
}

}  // namespace

bool PeerMemory::newer_than(const PeerMemory& other) const {
    if (incarnation != other.incarnation) return incarnation > other.incarnation && !rolled_back_from(other);
    return nonce == other.nonce && durable_sequence > other.durable_sequence;
}

std::vector<u8> encode_heartbeat(const Heartbeat& heartbeat) {
    CORELET_ASSERT(heartbeat.observations.size() <= k_observations_max);
    pb::Heartbeat to;
    to.set_mesh(heartbeat.mesh.v);
    to.set_from(heartbeat.from.v);
    encode(heartbeat.self, *to.mutable_self());
    to.set_map_epoch(heartbeat.map_epoch.v);
    to.set_beat(heartbeat.beat);
    to.set_wants_answer(heartbeat.wants_answer);
    for (const Observation& observation : heartbeat.observations) {
        auto* added = to.add_observations();
        added->set_peer(observation.peer.v);
        encode(observation.memory, *added->mutable_memory());
        added->set_silence_ms(observation.silence_ms);
    }
    std::vector<u8> bytes(to.ByteSizeLong());
    to.SerializeWithCachedSizesToArray(bytes.data());
    return bytes;
}

Result<Heartbeat> decode_heartbeat(Bytes bytes) {
    pb::Heartbeat from;
    if (bytes.size() > k_heartbeat_bytes_max ||
        !from.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
        return fail(Code::kInvalid, "gossip: no heartbeat");
    }
    bool const bounded = from.observations_size() <= static_cast<int>(k_observations_max);
    if (!bounded || from.from() == 0 || from.beat() == 0) return fail(Code::kInvalid, "gossip: no heartbeat");
    Heartbeat to{MeshId(from.mesh()),
                 CoreletId(from.from()),
                 decode(from.self()),
                 MapEpoch(from.map_epoch()),
                 from.beat(),
                 from.wants_answer(),
                 {}};
    for (const pb::Observation& observation : from.observations()) {
        if (observation.peer() == 0) return fail(Code::kInvalid, "gossip: an observation of nobody");
        to.observations.push_back(
            {CoreletId(observation.peer()), decode(observation.memory()), observation.silence_ms()});
    }
    return to;
}

}  // namespace corelet::mesh
