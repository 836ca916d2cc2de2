#include "node/gossip.h"

#include "base/codec.h"
#include "base/fault_point.h"

namespace corelet {

namespace {

constexpr const char* k_note = "peers";

mesh::PeerMemory own_memory(const Store& store) {
    return {store.incarnation(), store.boot_nonce(), store.durable_seq(), store.began_seq()};
}

}  // namespace

Hello PeerPolicy::local_hello() {
    Hello hello;
    hello.version_max = wire_version_;
    hello.role = PeerRole::kCorelet;
    hello.mesh = mesh_;
    hello.corelet = store_.identity();
    hello.incarnation = store_.incarnation();
    hello.boot_nonce = store_.boot_nonce();
    hello.durable_sequence = store_.durable_seq();
    hello.began_sequence = store_.began_seq();
    if (maps_) hello.map_epoch = maps_->current()->epoch;
    return hello;
}

// Whoever connects under a life that is over is told so (kFenced, with that incarnation): it may go on under a new
// one (protocols 1.5).
Result<void> PeerPolicy::judge(const Hello& remote, const PeerContext& context) {
    bool const asks_first = remote.role == PeerRole::kClient && remote.mesh.is_zero();
    if (remote.mesh != mesh_ && !asks_first)
        return fail(Code::kDenied,
                    "this corelet belongs to mesh " + hex64(mesh_.v) + ", the caller to " + hex64(remote.mesh.v));
    if (remote.role != PeerRole::kCorelet || !maps_) return {};
    auto const map = maps_->current();
    Code const over = context.inbound ? Code::kFenced : Code::kDenied;
    for (const mesh::Corelet& corelet : map->corelets)
        for (const mesh::FormerIdentity& former : corelet.former)
            if (former.id == remote.corelet && remote.incarnation <= former.incarnation)
                return fail(over, to_string(remote.corelet) + " was replaced by " + to_string(corelet.id),
                            remote.incarnation.v);
    // The catalog's record decides which body of an identity is the one, and which life the last
    // (protocols 1.1, 1.3).
    mesh::PeerMemory const said{remote.incarnation, remote.boot_nonce, remote.durable_sequence,
                                remote.began_sequence};
    if (auto const recorded = records_ ? records_(remote.corelet) : std::nullopt;
        recorded && (said.other_body_of(*recorded) || said.rolled_back_from(*recorded)))
        return fail(context.inbound ? Code::kForgotten : Code::kDenied,
                    "the catalog has recorded another life of " + to_string(remote.corelet) + ", incarnation " +
                        std::to_string(recorded->incarnation.v) + " with sequence " +
                        std::to_string(recorded->durable_sequence),
                    remote.incarnation.v);
    const mesh::Corelet* const known = map->find(remote.corelet);
    if (!known) return {};
    bool const out = known->presence == mesh::Presence::kOut && remote.incarnation == known->incarnation;
    if (remote.incarnation < known->incarnation || out)
        return fail(over,
                    "incarnation " + std::to_string(remote.incarnation.v) + " of " + to_string(remote.corelet) +
                        (out ? " was put out" : " is over"),
                    remote.incarnation.v);
    return {};
}

bool PeerPolicy::knows_better(CoreletId id, const pb::VoterGreeting& greeting, std::string& reason) const {
    mesh::PeerMemory const said{Incarnation(greeting.incarnation()), greeting.nonce(), greeting.durable_sequence(),
                                greeting.began_sequence()};
    auto const known = membership_ ? membership_->memory(id) : std::nullopt;
    if (!known) return false;
    if (known->other_body_of(said)) {
        reason = "another body of " + to_string(id) + " shows itself";
        return true;
    }
    // Of the very same boot more may have been heard since the greeting was written: that is no contradiction.
    if (said.rolled_back_from(*known)) {
        reason = to_string(id) + " was seen at incarnation " + std::to_string(known->incarnation.v) +
                 " with sequence " + std::to_string(known->durable_sequence) + ", further on than it says";
        return true;
    }
    return false;
}

pb::VoterGreeting PeerPolicy::own() const {
    pb::VoterGreeting greeting;
    greeting.set_incarnation(store_.incarnation().v);
    greeting.set_nonce(store_.boot_nonce());
    greeting.set_durable_sequence(store_.durable_seq());
    greeting.set_began_sequence(store_.began_seq());
    return greeting;
}

Gossip::Gossip(Env& env, Store& store, MapService& maps, PeerPolicy& policy, MeshId mesh,
               std::string_view mesh_secret, Callbacks callbacks)
    : env_(env),
      store_(store),
      maps_(maps),
      callbacks_(std::move(callbacks)),
      random_(env.random.fork("gossip")),
      membership_(mesh::MembershipConfig{}, mesh, store.identity(), own_memory(store)),
      link_(
          env, mesh, mesh_secret, [this](mesh::GossipMessage message) { receive(std::move(message)); },
          [this](CoreletId peer, const Address& listening) {
              if (callbacks_.moved) callbacks_.moved(peer, listening);
          }),
      scope_(env.executor) {
    policy.attach(&maps, &membership_);
    if (auto const note = store_.note(k_note)) {
        Reader r(*note);
        while (r.remaining() != 0 && !r.failed()) {
            CoreletId const id = r.get<CoreletId>();
            Incarnation const incarnation = r.get<Incarnation>();
            u64 const nonce = r.get<u64>();
            u64 const sequence = r.get<u64>();
            if (r.failed()) break;
            memories_[id] = mesh::PeerMemory{incarnation, nonce, sequence};
        }
    }
    map_changed();
    for (auto const& [id, memory] : memories_) step(mesh::MemoryKnown{id, memory, false});
    scope_.spawn(tick_loop());
    scope_.spawn(remember());
}

void Gossip::map_changed() {
    auto const map = maps_.current();
    mesh::MapChanged event;
    event.epoch = map->epoch;
    std::set<CoreletId> known;
    for (const mesh::Corelet& corelet : map->corelets) {
        event.peers.push_back(mesh::PeerEntry{corelet.id, corelet.incarnation,
                                              corelet.presence == mesh::Presence::kDown,
                                              corelet.presence == mesh::Presence::kOut});
        known.insert(corelet.id);
        std::vector<Address> addresses;
        for (const std::string& text : corelet.addresses)
            if (auto address = Address::parse(text)) addresses.push_back(*std::move(address));
        link_.set_addresses(corelet.id, std::move(addresses));
    }
    link_.forget_others(known);
    if (!FAULT_POINT("map.delta_withheld"))
        for (const auto* step :
             maps_.history().last_small(mesh::k_gossip_deltas_max, mesh::MapNews::k_delta_bytes_max))
            event.steps.push_back(*step);
    step(event);
}

void Gossip::step(const mesh::MembershipEvent& event) {
    Instant const before = membership_.next_tick();
    for (const mesh::MembershipEffect& effect : membership_.step(event, env_.clock.now(), random_))
        std::visit([&](const auto& e) { carry_out(e); }, effect);
    if (membership_.next_tick() < before) earlier_.notify_all();
}

Task<void> Gossip::tick_loop() {
    for (;;) {
        if (co_await earlier_.wait_until(env_.clock, membership_.next_tick())) continue;
        step(mesh::SequenceAdvanced{store_.durable_seq()});
        step(mesh::Tick{});
    }
}

void Gossip::carry_out(const mesh::SendGossip& effect) {
    if (!silent_) link_.send(effect.to, effect.message);
}

// What the others know of this corelet is held against what it has by now.
void Gossip::receive(mesh::GossipMessage message) {
    step(mesh::SequenceAdvanced{store_.durable_seq()});
    step(mesh::GossipReceived{std::move(message)});
}

void Gossip::carry_out(const mesh::PeerSuspected& effect) {
    log_info(env_.log, "mesh.suspected", to_string(effect.peer));
    if (callbacks_.suspected) callbacks_.suspected(effect.peer);
}

void Gossip::carry_out(const mesh::PeerIndirect& effect) {
    log_info(env_.log, "mesh.indirect", [&] {
        return to_string(effect.peer) + " is reached by " + to_string(effect.via) + ", not from here";
    });
    if (callbacks_.indirect) callbacks_.indirect(effect.peer);
}
void Gossip::carry_out(const mesh::PeerConfirmedDown& effect) {
    log_info(env_.log, "mesh.confirmed_down", to_string(effect.peer));
    if (callbacks_.confirmed_down) callbacks_.confirmed_down(effect.peer);
    if (proposing_.insert(effect.peer).second)
        scope_.spawn(propose(mesh::CoreletDown{effect.peer, effect.incarnation}, to_string(effect.peer)));
}

void Gossip::carry_out(const mesh::PeerRecovered& effect) {
    log_info(env_.log, "mesh.recovered", to_string(effect.peer));
    if (proposing_.insert(effect.peer).second)
        scope_.spawn(propose(mesh::CoreletUp{effect.peer, effect.incarnation, {}}, to_string(effect.peer)));
}

// Several observers come to the same verdict: a short random wait lets one of them be first.
Task<void> Gossip::propose(mesh::MapEvent event, std::string what) {
    co_await env_.clock.sleep(Duration{static_cast<i64>(random_.below(200'000'000))});
    auto const changed = co_await maps_.change(event, env_.clock.now() + 2_s);
    if (!changed)
        log_info(env_.log, "mesh.verdict_not_committed", [&] { return what + ": " + changed.error().to_string(); });
    std::visit(
        [&](const auto& e) {
            if constexpr (requires {
                              e.incarnation;
                              e.id;
                          })
                proposing_.erase(e.id);
        },
        event);
}

void Gossip::carry_out(const mesh::MapNewsHeard& effect) {
    maps_.hear_news(effect.epoch, effect.peer, {effect.deltas.begin(), effect.deltas.end()});
}

void Gossip::carry_out(const mesh::NewerMapSeen& effect) {
    maps_.heard_of(effect.epoch, effect.peer);
}

void Gossip::carry_out(const mesh::RememberPeers& effect) {
    for (auto const& [id, memory] : effect.memories) memories_[id] = memory;
    dirty_ = true;
    remember_wanted_.notify_one();
}

Task<void> Gossip::remember() {
    for (;;) {
        while (!dirty_) co_await remember_wanted_.wait();
        dirty_ = false;
        Writer w;
        for (auto const& [id, memory] : memories_)
            w.put(id).put(memory.incarnation).put(memory.nonce).put(memory.durable_sequence);
        (void)co_await store_.put_note(k_note, w.data());
    }
}

void Gossip::carry_out(const mesh::OwnLifeForgotten& effect) {
    if (callbacks_.forgotten)
        callbacks_.forgotten(to_string(effect.witness) + " has seen incarnation " +
                             std::to_string(effect.seen.incarnation.v) +
                             " of this corelet further on than its device knows");
}

void Gossip::carry_out(const mesh::TwoBodies& effect) {
    log_warning(env_.log, "mesh.two_bodies", to_string(effect.id));
    if (effect.id == store_.identity() && callbacks_.two_bodies) callbacks_.two_bodies();
}

void Gossip::carry_out(const mesh::IsolationChanged& effect) {
    log_info(env_.log, "mesh.isolation",
             effect.isolated ? "this corelet hears nobody" : "this corelet hears others again");
}

}  // namespace corelet
