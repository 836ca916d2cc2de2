// The mesh map: who is in the mesh, in what state, which pools there are and where their slots lie. One version an
// epoch.
//
// A map is a value; maps share their tables. It changes only by transition.h, is committed by the catalog, and
// spreads by gossip. Everything in it is bounded (k_*_max); fields that a newer version wrote are carried along
// unread.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "mesh/location.h"
#include "mesh/redundancy.h"
#include "mesh/slot_table.h"

namespace corelet::mesh {

inline constexpr usize k_pools_max = 256;
inline constexpr usize k_tables_max = 8;  // a pool; protocols 9.2
inline constexpr usize k_addresses_max = 16;
inline constexpr usize k_address_length_max = 256;
inline constexpr usize k_former_max = 16;
inline constexpr usize k_name_length_max = 64;
inline constexpr unsigned k_locality_max = 39;  // bits of a sequence number's counter
inline constexpr u64 k_chunk_bytes_min = 256 * k_kib;
inline constexpr u64 k_chunk_bytes_max = 64 * k_mib;

// Numbers of these enums are persisted.
enum class Role : u8 {
    kStorage = 1,
    kWitness = 2,  // votes, stores nothing
    kSpare = 3,    // has a device, holds nothing until a loss; then it becomes storage in the lost one's place
    kGateway = 4,  // no media: neither stores nor votes
};
// Whether it is there ...
enum class Presence : u8 {
    kJoining = 1,  // known, not yet ready for places
    kUp = 2,
    kDown = 3,  // not seen; keeps its places, gets no new ones
    kOut = 4,   // given up; not waited for; comes back only under a new incarnation
};
// ... and what it is to do. Kept apart, so that one that drains, goes down and comes back still drains.
enum class Duty : u8 { kServe = 1, kDrain = 2, kFailing = 3 };
// Both in one word, for people and for whoever does not care.
enum class State : u8 { kJoining = 1, kUp = 2, kDown = 3, kDraining = 4, kFailing = 5, kOut = 6 };
[[nodiscard]] const char* state_name(State state);
[[nodiscard]] const char* role_name(Role role);
[[nodiscard]] std::optional<Role> parse_role(std::string_view name);
// Has a device for data: stores now, or may be called to.
[[nodiscard]] constexpr bool may_store(Role role) {
    return role == Role::kStorage || role == Role::kSpare;
}

// An identity that this corelet's device took the place of (hot swap). Refused up to this incarnation.
struct FormerIdentity {
    CoreletId id;
    Incarnation incarnation;
    friend bool operator==(const FormerIdentity&, const FormerIdentity&) = default;
};

struct PoolSpec;

struct Corelet {
    CoreletId id;
    Incarnation incarnation;             // refused below it, and while out also at it
    std::vector<std::string> addresses;  // best first
    Location location;
    Role role = Role::kStorage;
    Presence presence = Presence::kJoining;
    Duty duty = Duty::kServe;
    bool cordoned = false;  // keeps what it has and gets nothing new, as long as the others are enough
    u32 weight = 0;         // its share of data, in no unit; by default by its capacity (weight.h)
    u64 capacity_bytes = 0;
    std::string device_class;            // "hdd", "ssd", what its operator says; a name, or empty
    std::vector<FormerIdentity> former;  // oldest first
    std::string unknown;                 // fields of newer versions

    [[nodiscard]] State state() const;
    [[nodiscard]] bool is_up() const { return presence == Presence::kUp; }
    // May vote: has media of its own (protocols 1.6).
    [[nodiscard]] bool has_media() const { return role != Role::kGateway; }
    // May hold places in tables now or after coming back.
    [[nodiscard]] bool in_service() const;
    [[nodiscard]] bool suits(const PoolSpec& spec) const;  // its device's class
    // Takes new data as readily as any other: neither cordoned nor on its way out of the mesh.
    [[nodiscard]] bool takes_new() const { return duty == Duty::kServe && !cordoned; }
    friend bool operator==(const Corelet&, const Corelet&) = default;
};

struct PoolSpec {
    std::string name;  // 1 to 64 characters of [A-Za-z0-9._-]
    Redundancy redundancy;
    Level level = Level::kChassis;  // failure domain that fragments are kept apart over
    u8 min_copies = 0;              // of the log; 0: the promise, but at least 1
    u8 write_quorum = 0;  // fragments durable before a put returns; 0: all in service, at least min(k + 1, k + m)
    u8 read_quorum = 0;   // fragments asked for at once where a client's read has to be decoded; 0: k
    // A slot with no more than so many members up gets others for those that are down; 0: not before they are out.
    u8 repair_threshold = 0;
    std::string strategy = "balanced";
    u64 chunk_bytes = 8 * k_mib;
    u8 locality = 0;  // 2^locality neighbouring chunks share a slot
    // At most so many fragments of a slot in one domain of each level, by Level; 0: as the redundancy has it.
    std::array<u8, k_level_count> caps{};
    std::string device_class;  // lies on corelets of this class only; empty: on any

    [[nodiscard]] unsigned copies_min() const;
    [[nodiscard]] unsigned put_min() const;
    // A put may return before everybody in service has its fragment: the rest is put behind.
    [[nodiscard]] bool puts_behind() const { return write_quorum != 0 && write_quorum < redundancy.width(); }
    [[nodiscard]] unsigned reads_at_once() const { return read_quorum != 0 ? read_quorum : redundancy.k; }
    friend bool operator==(const PoolSpec&, const PoolSpec&) = default;
};

// `corelet` has all that the table of this epoch gives it, and no put under an older one goes on there.
struct CleanReport {
    CoreletId corelet;
    MapEpoch table_epoch;
    friend bool operator==(const CleanReport&, const CleanReport&) = default;
};

struct Pool {
    PoolId id;
    PoolSpec spec;
    std::vector<TablePtr> tables;    // current first, then older ones that some corelet may still need; 1 to 8
    std::vector<CleanReport> clean;  // ascending by corelet; the newest report of each
    bool move_wanted = false;        // a better table waits until an old one is gone
    u8 least_quorum = 0;             // the smallest write quorum that it ever had before; 0: none
    std::string unknown;

    [[nodiscard]] const SlotTable& current() const { return *tables.front(); }
    // Fragments that a put may have left durable, now or before the pool was changed.
    [[nodiscard]] unsigned put_least() const;
    // Puts may be behind that began by this write quorum or an earlier one.
    [[nodiscard]] bool may_be_behind() const { return spec.puts_behind() || least_quorum != 0; }
    [[nodiscard]] TablePtr table(MapEpoch epoch) const;           // null if not kept
    [[nodiscard]] MapEpoch clean_epoch(CoreletId corelet) const;  // zero: never reported
    [[nodiscard]] u32 slot(ChunkId chunk) const { return slot_of(chunk, spec.locality, current().slots()); }
    // Whom to ask for fragment `position`: the current member, then former ones, newest first; none twice.
    [[nodiscard]] std::vector<CoreletId> holders(ChunkId chunk, unsigned position) const;
    // Whom to ask for any fragment of it: the members of its slot in every table that is kept, ascending, each
    // once.
    [[nodiscard]] std::vector<CoreletId> holders(ChunkId chunk) const;
};

struct Map {
    MeshId mesh;
    MapEpoch epoch;
    std::vector<Corelet> corelets;  // ascending by id
    std::vector<Pool> pools;        // ascending by id
    PoolId next_pool{1};            // never used again, whatever is removed
    std::string unknown;

    [[nodiscard]] const Corelet* find(CoreletId id) const;
    [[nodiscard]] const Pool* find(PoolId id) const;
    [[nodiscard]] const Pool* find_pool(std::string_view name) const;
    [[nodiscard]] bool is_up(CoreletId id) const;
    // All members of the slot's current row are there and up: where new chunks should go.
    [[nodiscard]] bool slot_in_service(const Pool& pool, u32 slot) const;
    // The same, and none of them is to be spared (Corelet::takes_new).
    [[nodiscard]] bool slot_takes_new(const Pool& pool, u32 slot) const;
    // Members of the slot's current row that take puts now.
    [[nodiscard]] unsigned members_in_service(const Pool& pool, u32 slot) const;
};

// Bounds, order and cross-references of a map from outside; kInvalid with what is wrong.
[[nodiscard]] Result<> check_map(const Map& map);
[[nodiscard]] Result<> check_corelet(const Corelet& corelet);
[[nodiscard]] Result<> check_pool_spec(const PoolSpec& spec);

}  // namespace corelet::mesh
