// Small meshes for tests.
#pragma once

#include <gtest/gtest.h>

#include "base/prng.h"
#include "mesh/transition.h"

namespace corelet::mesh::testing {

// A map of the first form, whole.
inline constexpr std::string_view k_golden_map =
    "434c4d5001000000 620100003d411d91 0908070605040302 0110051a35091100 0000000000001003 1a0d756e69783a2f "
    "72756e2f63313722 027a312a02723232 0363313738014002 4801500458808080 80101a4209220000 000000000010031a "
    "0d756e69783a2f72 756e2f6333342202 7a312a0272323203 6333343801400248 0150045880808080 10620b0920000000 "
    "00000000100922d7 01080112046d6169 6e18012001300138 02420862616c616e 6365644880808004 50035aa401080411 "
    "3f99d6c64b6c3d81 184020022a101100 0000000000002200 0000000000003280 0101020102010201 0201020102010201 "
    "0201020102010201 0201020102010201 0201020102010201 0201020102010201 0201020102010201 0201020102010201 "
    "0201020102010201 0201020102010201 0201020102010201 0201020102010201 0201020102010001 0001000100010001 "
    "0001000100010001 0001000100010001 00620b0911000000 0000000010046801 2802";

inline Corelet make_corelet(u64 id, std::string_view location = "z/r/c", Role role = Role::kStorage) {
    Corelet corelet;
    corelet.id = CoreletId(id);
    corelet.incarnation = Incarnation(1);
    corelet.addresses = {"tcp:10.0.0." + std::to_string(id % 250) + ":7000"};
    corelet.location = Location::parse(location).value();
    corelet.role = role;
    corelet.capacity_bytes = 100 * k_gib;
    return corelet;
}

// Applies an event that must succeed.
inline Map after(const Map& map, const MapEvent& event) {
    auto next = apply_event(map, event);
    if (!next) ADD_FAILURE() << next.error().to_string();
    return next ? *std::move(next) : map;
}

inline Map with_corelet(const Map& map, const Corelet& corelet) {
    return after(after(map, CoreletJoined{corelet}), CoreletUp{corelet.id, corelet.incarnation, {}});
}

// Where corelet `id` is if the chassis are dealt out to so many zones.
inline std::string zone_of(u64 id, u64 zones) {
    return "z" + std::to_string(id % zones) + "/r/c" + std::to_string(id);
}

// Corelets 1..n, up, each in a chassis of its own unless `location` says otherwise.
inline Map make_map(u64 n, const std::function<std::string(u64)>& location = {}) {
    Map map = first_map(MeshId(0xC0DE));
    for (u64 id = 1; id <= n; ++id) {
        std::string const where = location ? location(id) : "z/r/c" + std::to_string(id);
        map = with_corelet(map, make_corelet(id, where));
    }
    return map;
}

inline Map with_pool(const Map& map, std::string_view redundancy, Level level = Level::kChassis,
                     std::string name = "main") {
    PoolSpec spec;
    spec.name = std::move(name);
    spec.redundancy = Redundancy::parse(redundancy).value();
    spec.level = level;
    return after(map, PoolCreated{spec});
}

// The same, where a row with a member down is thin at once.
inline Map with_impatient_pool(const Map& map, std::string_view redundancy, Level level) {
    PoolSpec spec;
    spec.name = "main";
    spec.redundancy = Redundancy::parse(redundancy).value();
    spec.level = level;
    spec.repair_threshold = static_cast<u8>(spec.redundancy.width() - 1);
    return after(map, PoolCreated{spec});
}

// Everybody who is up reports the current table of the first pool clean.
inline Map all_clean(Map map) {
    auto const members = map.corelets;
    for (const Corelet& corelet : members) {
        if (!corelet.is_up()) continue;
        const SlotTable& table = map.pools[0].current();
        map = after(map, SlotsClean{map.pools[0].id, corelet.id, table.epoch(), table.hash()});
    }
    return map;
}

// Something that may befall one of the corelets, or the first pool; `next` numbers newcomers. It may be refused.
inline MapEvent random_event(const Map& map, Prng& rng, u64& next) {
    const Corelet& target = map.corelets[rng.below(map.corelets.size())];
    CoreletId const id = target.id;
    Incarnation const incarnation = target.incarnation;
    switch (rng.below(12)) {
        case 0:
            ++next;
            return CoreletJoined{make_corelet(next - 1, "z" + std::to_string((next - 1) % 3) + "/r/x")};
        case 1:
            return CoreletUp{id, incarnation, {}};
        case 2:
            return CoreletUp{id, incarnation.next(), {}};
        case 3:
            return CoreletDown{id, incarnation};
        case 4:
            return CoreletOut{id, true};
        case 5:
            return DutyChanged{id, rng.chance(1, 3) ? Duty::kDrain : Duty::kServe};
        case 6:
            return CoreletRemoved{id, false};
        case 7:
            return CoreletReplaced{id, make_corelet(next++)};
        case 8:
            return ThinRowsFilled{map.pools[0].id};
        case 9:
            return CordonChanged{id, !target.cordoned};
        case 10: {
            PoolSpec spec = map.pools[0].spec;
            static constexpr std::array<const char*, 3> k_strategies{"balanced", "zone-aware", "random"};
            spec.strategy = k_strategies[rng.below(k_strategies.size())];
            spec.level = static_cast<Level>(rng.below(k_level_count));
            spec.caps[static_cast<usize>(Level::kZone)] = static_cast<u8>(rng.below(3));
            spec.read_quorum = static_cast<u8>(rng.chance(1, 2) ? 0 : spec.redundancy.width());
            return PoolChanged{map.pools[0].id, spec};
        }
        default: {
            const SlotTable& table = map.pools[0].current();
            return SlotsClean{map.pools[0].id, id, table.epoch(), table.hash()};
        }
    }
}

inline unsigned holes(const SlotTable& table) {
    return static_cast<unsigned>(std::count(table.indexes().begin(), table.indexes().end(), u16{0}));
}

}  // namespace corelet::mesh::testing
