// The map of a large mesh: how long its tables take, how large it is and what changes it, and how fast a new epoch
// goes round. Prints one JSON object.
//
//     bench_map table CORELETS REDUNDANCY    a pool of 65,536 slots, then typical events
//     bench_map spread CORELETS BYTES        a change of so many bytes, by MapNews and the ring (map_spread.h)
//     bench_map cores CORELETS BYTES         the same by whole membership cores
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>

#include "base/hash.h"
#include "map_spread.h"
#include "mesh/map_codec.h"
#include "mesh/map_delta.h"
#include "mesh/membership_testing.h"
#include "mesh/transition.h"
#include "mesh/weight.h"

namespace {

using namespace corelet;
using namespace corelet::mesh;

constexpr Duration k_delay_max = 2_ms;

double milliseconds(const std::function<void()>& work) {
    auto const begun = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begun).count();
}

// One to a chassis, twenty chassis to a rack, four zones; two sizes of device.
Corelet corelet_at(u64 number) {
    Corelet out;
    out.id = CoreletId(hash64(number) | 1);
    out.incarnation = Incarnation(3);
    out.addresses = {"10." + std::to_string(number / 62'500) + "." + std::to_string(number / 250 % 250) + "." +
                     std::to_string(number % 250) + ":7000"};
    std::string const rack = std::to_string(number / 4 / 20);
    out.location = {"zone" + std::to_string(number % 4), "rack" + rack, "chassis" + std::to_string(number)};
    out.presence = Presence::kUp;
    out.capacity_bytes = (number % 2 == 0 ? 4 : 8) * k_tib;
    out.weight = default_weight(out.capacity_bytes);
    return out;
}

Map mesh_of(unsigned corelets) {
    Map map = first_map(MeshId(1));
    for (u64 i = 0; i < corelets; ++i) map.corelets.push_back(corelet_at(i));
    std::ranges::sort(map.corelets, {}, [](const Corelet& corelet) { return corelet.id; });
    map.epoch = MapEpoch(1 + 2 * corelets);
    return map;
}

struct Event {
    const char* name;
    MapEvent event;
};

// Applied, told, and taken from what was told.
void measure(Map& map, const Event& each) {
    Map next;
    double const apply_ms = milliseconds([&] { next = apply_event(map, each.event).value(); });
    std::vector<u8> delta;
    double const make_ms = milliseconds([&] { delta = make_delta(map, next); });
    double const take_ms = milliseconds([&] { (void)apply_delta(map, delta).value(); });
    std::printf(", \"%s\": {\"delta_bytes\": %zu, \"compute_ms\": %.1f, \"make_ms\": %.2f, \"take_ms\": %.2f}",
                each.name, delta.size(), apply_ms, make_ms, take_ms);
    map = std::move(next);
}

void report_clean(Map& map) {
    const SlotTable& table = map.pools[0].current();
    for (CoreletId id : std::vector<CoreletId>(table.members())) {
        const SlotTable& current = map.pools[0].current();
        map = apply_event(map, SlotsClean{map.pools[0].id, id, current.epoch(), current.hash()}).value_or(map);
    }
}

int table(unsigned corelets, const char* redundancy) {
    Map map = mesh_of(corelets);
    PoolSpec spec;
    spec.name = "main";
    spec.redundancy = Redundancy::parse(redundancy).value();
    double const ms = milliseconds([&] { map = apply_event(map, PoolCreated{spec}).value(); });
    std::printf(
        "{\"corelets\": %u, \"slots\": %u, \"width\": %u, \"table_ms\": %.0f, \"map_bytes\": %zu, "
        "\"outline_bytes\": %zu, \"packed_bytes\": %zu",
        corelets, map.pools[0].current().slots(), map.pools[0].current().width(), ms, encode_map(map).size(),
        encode_outline(map).size(), make_delta(Map{}, map).size());
    CoreletId const lost = map.corelets[corelets / 2].id, drained = map.corelets[corelets / 3].id;
    Corelet const newcomer = corelet_at(corelets);
    measure(map, {"down", CoreletDown{lost, Incarnation(3)}});
    measure(map, {"out", CoreletOut{lost, true}});
    if (corelets <= 1000) report_clean(map);
    measure(map, {"join", CoreletJoined{newcomer}});
    measure(map, {"up", CoreletUp{newcomer.id, newcomer.incarnation, {}}});
    measure(map, {"drain", DutyChanged{drained, Duty::kDrain}});
    const SlotTable& current = map.pools[0].current();
    measure(map, {"clean", SlotsClean{map.pools[0].id, newcomer.id, current.epoch(), current.hash()}});
    std::printf("}\n");
    return 0;
}

void print_spread(unsigned corelets, usize bytes, const std::vector<i64>& ms, double messages, double message_bytes,
                  u64 fetches) {
    auto const at = [&](usize per_mille) {
        return ms.empty() ? -1 : ms[std::min(ms.size() - 1, ms.size() * per_mille / 1000)];
    };
    std::printf(
        "{\"corelets\": %u, \"delta_bytes\": %zu, \"learned\": %zu, \"half_ms\": %lld, \"p99_ms\": %lld, "
        "\"last_ms\": %lld, \"messages_each\": %.2f, \"bytes_each\": %.0f, \"fetched_share\": %.3f}\n",
        corelets, bytes, ms.size(), static_cast<long long>(at(500)), static_cast<long long>(at(990)),
        static_cast<long long>(at(1000)), messages / corelets, message_bytes / corelets,
        static_cast<double>(fetches) / corelets);
}

// What the epoch costs is what goes beyond the same time at rest.
int spread(unsigned corelets, usize bytes) {
    MapSpread mesh(corelets, k_delay_max, 7);
    mesh.run(3_s);
    u64 const messages_before = mesh.messages, bytes_before = mesh.message_bytes;
    mesh.run(5_s);
    u64 const messages_at_rest = mesh.messages - messages_before, bytes_at_rest = mesh.message_bytes - bytes_before;
    Instant const begun = mesh.now();
    mesh.change(bytes);
    mesh.run(5_s);
    std::vector<i64> ms;
    for (Instant at : mesh.learned) ms.push_back((at - begun).ms());
    double const messages = static_cast<double>(mesh.messages - messages_before - 2 * messages_at_rest);
    double const told = static_cast<double>(mesh.message_bytes - bytes_before - 2 * bytes_at_rest);
    print_spread(corelets, bytes, ms, messages, told + static_cast<double>(mesh.fetched_bytes), mesh.fetches);
    return mesh.learned.size() == corelets ? 0 : 1;
}

int cores(unsigned corelets, usize bytes) {
    Meshes mesh(corelets);
    mesh.fetches_maps = true;
    mesh.delay_max = k_delay_max;
    mesh.run(10_s);
    u64 const messages_before = mesh.sent, bytes_before = mesh.bytes_sent;
    mesh.run(5_s);
    u64 const messages_at_rest = mesh.sent - messages_before, bytes_at_rest = mesh.bytes_sent - bytes_before;
    Instant const begun = mesh.now();
    mesh.change_map(0, bytes);
    mesh.run(5_s);
    std::vector<i64> ms{0};
    for (const auto& learned : mesh.learned) ms.push_back((learned.at - begun).ms());
    std::ranges::sort(ms);
    double const messages =
        static_cast<double>(mesh.sent) - static_cast<double>(messages_before + 2 * messages_at_rest);
    double const told =
        static_cast<double>(mesh.bytes_sent) - static_cast<double>(bytes_before + 2 * bytes_at_rest);
    print_spread(corelets, bytes, ms, messages, told + static_cast<double>(mesh.fetches * bytes), mesh.fetches);
    return mesh.count_at(mesh.newest_epoch()) == corelets ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    std::string const what = argc == 4 ? argv[1] : "";
    auto const corelets = static_cast<unsigned>(argc == 4 ? std::strtoul(argv[2], nullptr, 10) : 0);
    if (what == "table") return table(corelets, argv[3]);
    if (what == "spread") return spread(corelets, std::strtoul(argv[3], nullptr, 10));
    if (what == "cores") return cores(corelets, std::strtoul(argv[3], nullptr, 10));
    std::fprintf(stderr,
                 "usage: bench_map table CORELETS REDUNDANCY | spread CORELETS BYTES | cores CORELETS BYTES\n");
    return 2;
}
