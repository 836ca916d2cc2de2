#include "node/heal_pacer.h"

#include <algorithm>

#include "heal/heal.pb.h"
#include "mesh/map.h"
#include "node/node_services.h"
#include "wire/message.h"

namespace corelet {

namespace {

constexpr Duration k_tick_every = 1_s;
constexpr usize k_peers_a_tick = 32;
constexpr Duration k_word_slack = 3_s;
constexpr u64 k_pacer_unit_bytes = 64 * k_kib;
// Nobody feels less than that.
constexpr Duration k_client_slack = 300_us;
constexpr Duration k_device_slack = 300_us;

// A peer's word holds until its next turn, with some to spare.
Duration round_of(usize peers) {
    return k_tick_every * static_cast<i64>(div_ceil(std::max<usize>(peers, 1), k_peers_a_tick)) + k_word_slack;
}

std::string_view host_of(const mesh::Corelet& corelet) {
    if (corelet.addresses.empty()) return {};
    std::string_view const address = corelet.addresses.front();
    if (address.starts_with("unix:")) return "unix:";
    return address.substr(0, address.rfind(':'));
}

}  // namespace

HealPacer::HealPacer(NodeServices& node)
    : node_(node),
      env_(node.env),
      reads_(k_client_slack),
      writes_(k_client_slack),
      device_(k_device_slack),
      depth_(2, node.store->healing_most()),
      scope_(env_.executor) {}

void HealPacer::start() {
    scope_.spawn(run());
}

Task<void> HealPacer::run() {
    for (;;) {
        co_await env_.clock.sleep(k_tick_every);
        tick();
    }
}

void HealPacer::tick() {
    Instant const now = env_.clock.now();
    look_at_limit();
    Pace& pace = node_.healer->pace();
    bool const working = node_.healer->bytes_left() != 0 && !node_.healing_paused();
    if (!working) working_since_.reset();
    if (working && !working_since_) working_since_ = now;
    bool const healing = healing_nearby(now) && !pace.at_floor();
    look_at_clients(healing, now);
    look_at_device(healing, now);
    pace.tick(strain(), node_.healer->words().strain(now), working, now);
    auto const map = node_.maps->current();
    usize const all = map->corelets.size();
    bool const has_heard = working_since_ && now - *working_since_ >= round_of(all);
    u64 const share = mesh_share(limit_.mesh, node_.healer->words().rebuilders(now), has_heard, all);
    pace.limit({limit_.corelet, share});
    node_.store->limit_healing(depth_.tick(device_.permille()));
    node_.fragments->set_strain(strain());
    say();
}

void HealPacer::look_at_limit() {
    const KeyValue* const item = node_.catalog->local().find(k_limit_key);
    limit_ = item ? decode_limit(item->value).value_or(HealingLimit{}) : HealingLimit{};
}

// Here, from here, or by anybody who has said so: what clients feel meanwhile is not what they usually feel.
bool HealPacer::healing_nearby(Instant now) {
    u64 const reads = node_.fragments->heal_reads();
    bool const read_from = std::exchange(heal_reads_, reads) != reads;
    return working_since_ || read_from || node_.healer->words().rebuilders(now) != 0;
}

void HealPacer::look_at_clients(bool healing, Instant now) {
    if (!node_.volumes) return;
    auto const reads = node_.volumes->client_times().reads.take();
    auto const writes = node_.volumes->client_times().writes.take();
    reads_.add(reads.requests, reads.p95, healing, now);
    writes_.add(writes.requests, writes.p95, healing, now);
}

// What a unit of clients' work costs the device, its time in the queue here left out.
void HealPacer::look_at_device(bool healing, Instant now) {
    u64 units = 0, busy = 0;
    const Telemetry& telemetry = node_.store->telemetry();
    usize const client = static_cast<usize>(IoClass::kClient);
    for (const IoCounters* const part : {&telemetry.reads[client], &telemetry.writes[client]}) {
        units += std::max(part->operations, part->bytes / k_pacer_unit_bytes);
        busy += part->latency.sum_ns();
    }
    u64 const done = units - std::exchange(device_units_, units);
    u64 const spent = busy - std::exchange(device_busy_ns_, busy);
    device_.add(done, Duration{done == 0 ? 0 : static_cast<i64>(spent / done)}, healing, now);
}

// Who holds up the clients of this corelet's volumes: those that keep their logs, and those on its machine. Whoever
// reads from here for healing is told in the answers.
std::set<CoreletId> HealPacer::weighed_on() const {
    std::set<CoreletId> out;
    if (volumes_strain() < k_suffers || !node_.volumes) return out;
    auto const map = node_.maps->current();
    CoreletId const self = node_.store->identity();
    const mesh::Corelet* const own = map->find(self);
    for (const mesh::Corelet& corelet : map->corelets)
        if (own && corelet.is_up() && !host_of(*own).empty() && host_of(corelet) == host_of(*own))
            out.insert(corelet.id);
    for (auto const& [name, owned] : node_.volumes->owned())
        out.insert(owned.stream.open_segment.begin(), owned.stream.open_segment.end());
    out.erase(self);
    return out;
}

// To those who hold up its clients at once; that it has something to rebuild, to some of the others in turn.
void HealPacer::say() {
    auto const map = node_.maps->current();
    u64 const left = working_since_ ? node_.healer->bytes_left() : 0;
    auto const strained = weighed_on();
    usize told = 0;
    for (CoreletId peer : strained)
        if (told++ < k_peers_a_tick * 2) say_to(peer, left, true);
    // That it is done is said too, once around.
    bool const rebuilding = left != 0;
    if (rebuilding) was_saying_ = true;
    if (!was_saying_ || map->corelets.empty()) return;
    if (!rebuilding) was_saying_ = false;
    usize const turns = std::min(map->corelets.size(), k_peers_a_tick);
    for (usize i = 0; i < turns; ++i) {
        const mesh::Corelet& peer = map->corelets[next_peer_++ % map->corelets.size()];
        if (peer.is_up() && peer.id != node_.store->identity() && !strained.contains(peer.id))
            say_to(peer.id, left, false);
    }
}

void HealPacer::say_to(CoreletId peer, u64 left, bool strained) {
    pb::HealWord word;
    word.set_bytes_left(left);
    word.set_holds_ms(static_cast<u32>(round_of(node_.maps->current()->corelets.size()).ms()));
    if (strained) word.set_strain(volumes_strain());
    CallOptions options;
    options.deadline = env_.clock.now() + k_tick_every;
    options.traffic = TrafficClass::kControl;
    node_.rpc->send(peer, heal_method::k_word, encode_message(word), options);
}

}  // namespace corelet
