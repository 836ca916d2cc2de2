// mesh/map_delta.h: changes of the map, from peers, datagrams and the catalog. What applies makes a sound map, and
// the delta made anew leads to the same. The first byte says whether it leads from a mesh of six or from nothing;
// the envelope, and the map that it names as its beginning, are made right too, so that what lies behind is
// reached.
#include "mesh/map_delta.h"

#include "base/assert.h"
#include "base/checksum.h"
#include "base/codec.h"
#include "mesh/map_codec.h"
#include "mesh/map_delta.pb.h"
#include "mesh/transition.h"

using namespace corelet;
using namespace corelet::mesh;

namespace {

Map after(const Map& map, const MapEvent& event) {
    return apply_event(map, event).value();
}

Map mesh_of_six() {
    Map map = first_map(MeshId(1));
    for (u64 id = 1; id <= 6; ++id) {
        Corelet corelet;
        corelet.id = CoreletId(id);
        corelet.incarnation = Incarnation(1);
        corelet.location = {"z", "r", "c" + std::to_string(id)};
        corelet.capacity_bytes = k_gib;
        map = after(map, CoreletJoined{corelet});
        map = after(map, CoreletUp{corelet.id, corelet.incarnation, {}});
    }
    PoolSpec spec;
    spec.name = "main";
    spec.redundancy = Redundancy::parse("ec:2+1").value();
    return after(map, PoolCreated{spec});
}

void check(const Map& from, Bytes bytes) {
    (void)delta_span(bytes);
    auto const to = apply_delta(from, bytes);
    if (!to) return;
    CORELET_ASSERT(check_map(*to) && to->epoch > from.epoch);
    auto const again = apply_delta(from, make_delta(from, *to));
    CORELET_ASSERT(again && map_hash(*again) == map_hash(*to));
}

// The same payload with an envelope that verifies, and leading from this map.
void check_resealed(const Map& from, Bytes payload) {
    pb::MapDelta message;
    if (!message.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) return;
    message.set_from_epoch(from.epoch.v);
    message.set_from_hash(map_hash(from));
    std::string const text = message.SerializeAsString();
    Writer out;
    out.put(u32{0x444D4C43}).put(u32{1}).put(static_cast<u32>(text.size())).put(crc32c(as_bytes(text)));
    out.put_raw(as_bytes(text));
    check(from, out.bytes());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
    if (size == 0) return 0;
    static Map const six = mesh_of_six();
    Map const from = data[0] % 2 == 0 ? six : Map{};
    Bytes const rest(data + 1, size - 1);
    check(from, rest);
    check_resealed(from, rest);
    if (rest.size() > 16) check_resealed(from, rest.subspan(16));
    return 0;
}
