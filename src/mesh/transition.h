// How the map changes: (map, event) -> next map, pure and the same everywhere. Whoever proposes a change computes
// it from the map it read and commits it on condition that the map is still that one.
//
// Each change is one epoch. An event that says what the map already says changes nothing, not even the epoch.
//
// Tables: a change of who is there asks each pool's strategy for a new table; if it differs it becomes current, and
// the former ones stay until everybody who is named in them, and is not out, has reported clean under a newer one.
// A pool keeps at most 8. At that bound moves wait (`move_wanted`), while places of the lost are still filled: such
// a table differs from the current one in places of the lost alone, so it takes its place instead of joining the
// list.
//
// With fewer corelets than a pool is wide, rows keep their width and get holes, last positions first: a fragment's
// position never changes, and the hole says by itself what is missing. One that drains or fails leaves a place only
// for a replacement.
#pragma once

#include <variant>

#include "mesh/map.h"

namespace corelet::mesh {

// A new identity, or one that was out and comes back under a higher incarnation; it is `joining` until CoreletUp.
// Presence and duty of `corelet` are not read. weight 0: by capacity. kExists; kFenced: retired at that
// incarnation; kOverloaded.
struct CoreletJoined {
    Corelet corelet;
};
// Seen and ready, also after a restart (a higher incarnation). kFenced: the incarnation is old, or the one it was
// put out at.
struct CoreletUp {
    CoreletId id;
    Incarnation incarnation;
    std::vector<std::string> addresses;  // empty: as before
};
// Confirmed by peers. kFenced: an older incarnation than the map's.
struct CoreletDown {
    CoreletId id;
    Incarnation incarnation;
};
// Given up; a spare, if there is one that suits, takes its part (spares.h). `automatic` ones are refused
// (kUnavailable) unless it is down and no more than a third of the storage corelets that are not out is down. One
// at whose address another is up does not count: it was replaced, and says nothing of the network.
struct CoreletOut {
    CoreletId id;
    bool automatic = false;
};
// Drain it, call that off, or say that its device fails.
struct DutyChanged {
    CoreletId id;
    Duty duty = Duty::kServe;
};
// Nothing new goes there, and nothing moves off; or that is over.
struct CordonChanged {
    CoreletId id;
    bool cordoned = false;
};
// Forget it. kUnavailable unless it is out or no table names it, or `force`.
struct CoreletRemoved {
    CoreletId id;
    bool force = false;
};
// Hot swap: a new identity, up at once, in the place of one that is down or out: location, role and all its places
// in current tables. The former identity is retired. kUnavailable: the old one is there.
struct CoreletReplaced {
    CoreletId old;
    Corelet fresh;
};
// weight 0 with a capacity: by capacity.
struct WeightChanged {
    CoreletId id;
    u32 weight = 0;
    u64 capacity_bytes = 0;
};
struct LocationChanged {
    CoreletId id;
    Location location;
};
// kExists: the name is taken. kInvalid: the spec makes no sense, or is wider than the mesh, or does not survive
// what it shall; the message says what would do.
struct PoolCreated {
    PoolSpec spec;
    std::optional<Level> survive{};  // the loss of any one domain of this level, by the mesh as it is
};
// What of a pool may change while it holds chunks: strategy, failure domain, caps, device class, quorums,
// min_copies. Name, redundancy and size of chunks are what its chunks were written by, and how many neighbours
// share a slot is where they lie: those stay. kInvalid: one of these differs, the spec makes no sense, or the mesh
// does not hold or survive what it shall; the message says why. kUnavailable: it would move chunks, and the pool
// keeps as many tables already as it may.
struct PoolChanged {
    PoolId id;
    PoolSpec spec;
    std::optional<Level> survive{};
    std::optional<PoolSpec> former{};  // kConflict: it is neither that any more, nor what it shall be
};
// That nothing uses it is the caller's to know.
struct PoolRemoved {
    PoolId id;
};
// `corelet` serves all its slots of this table, and has ended every put admitted under an older one
// (protocols 9.1). kStaleMap: that table is not kept, or has another hash.
struct SlotsClean {
    PoolId pool;
    CoreletId corelet;
    MapEpoch table_epoch;
    u64 table_hash = 0;
};
// Rows that the pool's repair threshold calls thin get others for members that are down (thin_rows.h).
// kUnavailable: too many are down for that to be a loss, as for CoreletOut; or the pool keeps too many tables
// already.
struct ThinRowsFilled {
    PoolId pool;
};

using MapEvent = std::variant<CoreletJoined, CoreletUp, CoreletDown, CoreletOut, DutyChanged, CordonChanged,
                              CoreletRemoved, CoreletReplaced, WeightChanged, LocationChanged, PoolCreated,
                              PoolChanged, PoolRemoved, SlotsClean, ThinRowsFilled>;

// kNotFound: the corelet or pool it names is not in the map.
[[nodiscard]] Result<Map> apply_event(const Map& map, const MapEvent& event);

// The first map of a mesh: epoch 1, nobody in it.
[[nodiscard]] Map first_map(MeshId mesh);

// No table of any pool names it: its drain is complete.
[[nodiscard]] bool is_drained(const Map& map, CoreletId id);

}  // namespace corelet::mesh
