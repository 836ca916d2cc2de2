// A small catalog that makes sense, for tests: corelets 1 to 4, pool `main` rep:2, volume `v` in space 3.
#pragma once

#include "base/codec.h"
#include "mesh/map_codec.h"
#include "mesh/mesh_testing.h"
#include "node/catalog_keys.h"
#include "node/map_service.h"
#include "node/node.pb.h"
#include "node/session_keeper.h"
#include "node/volume_host.h"
#include "stream/stream_record.h"

namespace corelet::testing {

using Records = std::map<std::string, std::string>;

inline mesh::Map some_mesh_map() {
    return mesh::testing::all_clean(mesh::testing::with_pool(mesh::testing::make_map(4), "rep:2"));
}

inline std::string encoded_number(u64 number) {
    Writer out;
    out.put(number);
    return std::string(as_text(out.bytes()));
}

inline std::string encoded_map(const mesh::Map& map) {
    auto const bytes = mesh::encode_map(map);
    return std::string(bytes.begin(), bytes.end());
}

inline pb::Segment* add_segment(pb::Stream& stream, u64 seq, std::initializer_list<u64> replicas) {
    pb::Segment* const segment = stream.add_segments();
    segment->set_seq(seq);
    segment->set_salt(seq + 1000);
    segment->set_state(pb::Segment::LISTED);
    for (u64 id : replicas) segment->add_replicas(id);
    return segment;
}

inline pb::Stream some_stream() {
    pb::Stream stream;
    stream.set_space(3);
    stream.set_pool(1);
    stream.set_epoch(5);
    stream.set_owner(1);
    stream.set_owner_lease(9);
    add_segment(stream, make_seq(Epoch(5), 1), {1, 2});
    return stream;
}

inline Records some_records() {
    pb::Volume volume;
    volume.set_name("v");
    volume.set_space(3);
    volume.set_pool(1);
    volume.set_attached_to(1);
    pb::IdentityRecord life;
    life.set_incarnation(1);
    return {{k_map_key, encoded_map(some_mesh_map())},
            {k_space_counter_key, encoded_number(3)},
            {volume_key("v"), volume.SerializeAsString()},
            {stream_key(SpaceId(3)), some_stream().SerializeAsString()},
            {session_key(CoreletId(1)), "s"},
            {identity_key(CoreletId(1)), life.SerializeAsString()}};
}

inline std::vector<KeyValue> as_items(const Records& records) {
    std::vector<KeyValue> out;
    for (const auto& [key, value] : records) {
        LeaseId const lease(key.starts_with("sessions/") ? 9 : 0);
        out.push_back(KeyValue{key, value, Revision(2), Revision(7), lease});
    }
    return out;
}

}  // namespace corelet::testing
