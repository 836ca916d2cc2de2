#include "mesh/gossip_message.h"

#include "base/assert.h"
#include "mesh/gossip.pb.h"

namespace corelet::mesh {
namespace {

void encode(const PeerMemory& from, pb::PeerMemory& to) {
    to.set_incarnation(from.incarnation.v);
    to.set_nonce(from.nonce);
    to.set_durable_sequence(from.durable_sequence);
    to.set_began_sequence(from.began_sequence);
}

PeerMemory decode(const pb::PeerMemory& from) {
    return {Incarnation(from.incarnation()), from.nonce(), from.durable_sequence(), from.began_sequence()};
}

void encode(const Observation& from, pb::Observation& to) {
    to.set_peer(from.peer.v);
    if (from.memory != PeerMemory{}) encode(from.memory, *to.mutable_memory());
    to.set_silence_ms(from.silence_ms);
    to.set_observer(from.observer.v);
    to.set_age_ms(from.age_ms);
}

pb::Heartbeat to_proto(const GossipMessage& message) {
    pb::Heartbeat to;
    to.set_mesh(message.mesh.v);
    to.set_from(message.from.v);
    encode(message.self, *to.mutable_self());
    to.set_map_epoch(message.map_epoch.v);
    to.set_beat(message.number);
    to.set_wants_answer(message.wants_ack);
    to.set_answers(message.acks);
    for (CoreletId peer : message.probe) to.add_probe(peer.v);
    for (const Observation& observation : message.observations) encode(observation, *to.add_observations());
    for (const auto& delta : message.map_deltas) to.add_map_deltas(delta.data(), delta.size());
    return to;
}

}  // namespace

bool PeerMemory::newer_than(const PeerMemory& other) const {
    if (incarnation != other.incarnation) return incarnation > other.incarnation && !rolled_back_from(other);
    return nonce == other.nonce && durable_sequence > other.durable_sequence;
}

usize gossip_bytes(const GossipMessage& message) {
    return to_proto(message).ByteSizeLong();
}

std::vector<u8> encode_gossip(const GossipMessage& message) {
    CORELET_ASSERT(message.observations.size() <= k_observations_max && message.probe.size() <= k_probes_max &&
                   message.map_deltas.size() <= k_gossip_deltas_max);
    pb::Heartbeat const to = to_proto(message);
    std::vector<u8> bytes(to.ByteSizeLong());
    to.SerializeWithCachedSizesToArray(bytes.data());
    CORELET_ASSERT(bytes.size() <= k_gossip_bytes_max);
    return bytes;
}

Result<GossipMessage> decode_gossip(Bytes bytes) {
    pb::Heartbeat from;
    bool const whole =
        bytes.size() <= k_gossip_bytes_max && from.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
    if (!whole || from.observations_size() > static_cast<int>(k_observations_max) ||
        from.probe_size() > static_cast<int>(k_probes_max) ||
        from.map_deltas_size() > static_cast<int>(k_gossip_deltas_max) || from.from() == 0 || from.beat() == 0)
        return fail(Code::kInvalid, "gossip: no message of this mesh's protocol");
    GossipMessage to{MeshId(from.mesh()),
                     CoreletId(from.from()),
                     decode(from.self()),
                     MapEpoch(from.map_epoch()),
                     from.beat(),
                     from.wants_answer(),
                     from.answers(),
                     {},
                     {},
                     {}};
    for (u64 peer : from.probe()) to.probe.push_back(CoreletId(peer));
    for (const pb::Observation& observation : from.observations()) {
        if (observation.peer() == 0) return fail(Code::kInvalid, "gossip: an observation of nobody");
        to.observations.push_back({CoreletId(observation.peer()), decode(observation.memory()),
                                   observation.silence_ms(), CoreletId(observation.observer()),
                                   observation.age_ms()});
    }
    for (const std::string& delta : from.map_deltas()) to.map_deltas.emplace_back(delta.begin(), delta.end());
    return to;
}

}  // namespace corelet::mesh
