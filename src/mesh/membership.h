// Who is there: the failure detector of one corelet, as a pure core.
//
// SWIM (Das et al., DSN 2002) with two changes. Each corelet is probed by schedule by its few observers (see
// observers.h), not by chance, so that the time to a verdict is bounded; and a verdict takes more than half of
// those observers that answer, so a lost link or one corelet's illness decides nothing.
//
// An observer pings each of its subjects once a second and wants an acknowledgement, which shows both directions at
// once. Without one it pings again and asks the other observers to do the same and to tell: the indirect probe and
// the vote are one question. Whoever is reached by any of them lives (`kIndirect`: not from here, but from `via`);
// one that nobody has reached for 1.9 s is suspected, which is told to itself, so that it can show itself, and by
// the way to everybody; after 4.25 s, and if most agree, it is confirmed down: within 5 s of its death.
// Whoever finds itself slow waits longer with its verdicts (local_health.h), and who was paused starts all clocks
// anew.
//
// Confirmed is an observation, not a decision: the map says who is down, and the catalog commits that.
//
// A new epoch of the map is passed on with these messages, and some that are sent for it (map_news.h).
//
// Messages also carry what the sender has seen of each peer's lives (protocols 1.1): from that, devices that were
// rolled back and identities with two bodies come to light.
//
// Cost, whatever the size of the mesh: with k observers each, 2 k messages a second out and in, each some 200
// bytes.
#pragma once

#include <map>
#include <optional>
#include <variant>
#include <vector>

#include "base/prng.h"
#include "base/time.h"
#include "mesh/gossip_message.h"
#include "mesh/local_health.h"
#include "mesh/map_news.h"
#include "mesh/observers.h"
#include "mesh/rumours.h"

namespace corelet::mesh {

struct MembershipConfig {
    Duration probe_every = 1_s;    // of each subject, jittered by a tenth
    Duration ack_within = 200_ms;  // else it is probed again, and others are asked to
    Duration retry_every = 300_ms;
    Duration suspect_after = 1900_ms;
    Duration confirm_after = 4250_ms;
    Duration remember_every = 1_s;
    Duration repeat_every = 2_s;  // of a verdict that the map does not show yet, and of a suspicion
    Duration fetch_every = 500_ms;
    usize observers = 5;
    usize told_at_once = 4;  // of a new epoch, by each that learns it
};

// A peer as the map has it.
struct PeerEntry {
    CoreletId id;
    Incarnation incarnation;  // heard only at this one or later
    bool is_down = false;     // in the map
    bool is_out = false;      // in the map: heard only above its incarnation, not probed
};

// Events.
struct GossipReceived {
    GossipMessage message;
};
struct Tick {};
// All corelets of the map but this one (it is ignored), ascending.
struct MapChanged {
    MapEpoch epoch;
    std::vector<PeerEntry> peers;
    std::vector<MapStep>
        steps{};  // how it came about, as far as they are small enough to be passed on (map_news.h)
};
// What this device or the catalog remembers of corelets; of those not in the map it is dropped. `recorded`: the
// catalog does; its nonce wins over another body's.
struct MemoryKnown {
    CoreletId id;
    PeerMemory memory;
    bool recorded = false;
};
// The own durable sequence number; never goes back.
struct SequenceAdvanced {
    u64 durable_sequence = 0;
};
// The own incarnation was raised without a new mount (protocols 1.5): from now on this life speaks.
struct IncarnationRaised {
    Incarnation incarnation;
    u64 began_sequence = 0;
};
using MembershipEvent =
    std::variant<GossipReceived, Tick, MapChanged, MemoryKnown, SequenceAdvanced, IncarnationRaised>;

// Effects, to be carried out in order.
struct SendGossip {
    CoreletId to;
    GossipMessage message;
};
struct PeerSuspected {
    CoreletId peer;
};
// Propose it to the catalog as down, under this incarnation. Repeated until the map says so.
struct PeerConfirmedDown {
    CoreletId peer;
    Incarnation incarnation;
};
// It answers this corelet no more, but others: told once, until it answers again.
struct PeerIndirect {
    CoreletId peer;
    CoreletId via;
};
// It is reached again. Propose it as up if the map has it as down; repeated until then.
struct PeerRecovered {
    CoreletId peer;
    Incarnation incarnation;
};
// `peer` knows a later map, and these deltas may lead there or towards it.
struct MapNewsHeard {
    CoreletId peer;
    MapEpoch epoch;
    std::vector<std::vector<u8>> deltas;
};
// `peer` knows a later map: fetch it there.
struct NewerMapSeen {
    CoreletId peer;
    MapEpoch epoch;
};
// To be written to the device within a second.
struct RememberPeers {
    std::vector<std::pair<CoreletId, PeerMemory>> memories;
};
// A peer has seen a later life of this corelet than this one: it has forgotten promises and must join as somebody
// else.
struct OwnLifeForgotten {
    CoreletId witness;
    PeerMemory seen;
};
// One incarnation shows two nonces: an image mounted twice. Of this corelet itself: it must not vote
// (protocols 1.2, 1.3).
struct TwoBodies {
    CoreletId id;
    u64 known_nonce = 0;
    u64 other_nonce = 0;
};
// A corelet that is out, or has restarted since, still speaks: refuse it.
struct StaleLifeSeen {
    CoreletId peer;
    PeerMemory seen;
};
// Nobody answers this corelet (or somebody does again). While nobody does, its observations are about itself.
struct IsolationChanged {
    bool isolated = false;
};
using MembershipEffect =
    std::variant<SendGossip, PeerSuspected, PeerIndirect, PeerConfirmedDown, PeerRecovered, NewerMapSeen,
                 MapNewsHeard, RememberPeers, OwnLifeForgotten, TwoBodies, StaleLifeSeen, IsolationChanged>;
using MembershipEffects = std::vector<MembershipEffect>;

enum class PeerHealth : u8 {
    kReached,    // or no word to the contrary
    kIndirect,   // not from here, but from another
    kSuspected,  // by its observers
    kDown,
};

struct PeerView {
    CoreletId id;
    PeerHealth health = PeerHealth::kReached;
    std::optional<Duration> silence;  // since it last answered this corelet; none: not in this boot
    CoreletId via;                    // kIndirect: who reaches it
    PeerMemory memory;
};

class Membership {
  public:
    Membership(MembershipConfig config, MeshId mesh, CoreletId self, PeerMemory own);
    Membership(Membership&&) = default;
    Membership& operator=(Membership&&) = default;

    [[nodiscard]] MembershipEffects step(const MembershipEvent& event, Instant now, Prng& rng);
    // When the next Tick is due; any event may bring it forward.
    [[nodiscard]] Instant next_tick() const { return next_tick_; }

    [[nodiscard]] std::vector<PeerView> view(Instant now) const;
    [[nodiscard]] PeerHealth health(CoreletId peer) const;  // kDown for whoever is not known
    [[nodiscard]] CoreletId via(CoreletId peer) const;      // kIndirect: who reaches it; else zero
    [[nodiscard]] bool isolated() const { return isolated_; }
    [[nodiscard]] std::optional<PeerMemory> memory(CoreletId peer) const;

  private:
    // Another observer's word on a subject.
    struct Vote {
        CoreletId observer;
        Instant at;        // when it was said
        Duration silence;  // then
    };
    struct Peer {
        PeerEntry entry;
        PeerHealth health = PeerHealth::kReached;
        bool is_subject = false;
        Instant reached;  // last answered this corelet; before the first time, when it was learnt of
        Instant alive;    // last time anybody is known to have reached it
        CoreletId via;    // who that was
        bool ever_reached = false;
        u64 nonce = 0;       // of the boot that `number` counts
        u64 number = 0;      // highest heard of it
        MapEpoch map_epoch;  // it showed last
        // Probing. `awaited`: the first ping not answered yet; 0: none is.
        u64 awaited = 0;
        Instant awaited_since;
        Instant probe_due;
        Instant round_due;                    // the next probe, if this one is answered
        std::optional<Instant> help_asked;    // in this probe, last
        std::vector<CoreletId> observers;     // of a subject: the others
        std::vector<Vote> votes;              // theirs
        std::vector<CoreletId> askers;        // who wants to know whether it answers
        Instant askers_due;                   // and is told at the latest then
        std::optional<Instant> verdict_at;    // when the last verdict on it was told
        std::optional<Instant> suspicion_at;  // when the suspicion of a subject last went round
        Instant suspected_until;              // one that is no subject: by what is said
        std::optional<Instant> answered_at;   // last message sent to it out of turn
    };

    // membership.cc: what happens.
    void on(const GossipReceived& event, Instant now, MembershipEffects& out);
    void on(const Tick&, Instant, MembershipEffects&) {}
    void on(const MapChanged& event, Instant now, MembershipEffects& out);
    void on(const MemoryKnown& event, Instant now, MembershipEffects& out);
    void on(const SequenceAdvanced& event, Instant now, MembershipEffects& out);
    void on(const IncarnationRaised& event, Instant now, MembershipEffects& out);
    void draw_ring(Instant now);
    void watch_own_clockwork(Instant now);
    void flush_memories(Instant now, MembershipEffects& out);
    void plan_next_tick(Instant now);

    // membership_news.cc: the map's changes.
    void hear_of_map(const GossipMessage& message, Instant now, MembershipEffects& out);
    void tell_news(Instant now, Prng& rng, MembershipEffects& out);
    void add_news(MembershipEffects& out) const;

    // membership_lives.cc: which life of a corelet speaks.
    [[nodiscard]] bool accept_life(Peer& peer, const GossipMessage& message, MembershipEffects& out);
    void learn(CoreletId id, const PeerMemory& memory);
    void hear_observations(Peer& from, const GossipMessage& message, Instant now, MembershipEffects& out);
    void hear_of_self(Peer& from, const Observation& observation, Instant now, MembershipEffects& out);
    void hear_of_peer(Peer& peer, CoreletId observer, const Observation& observation, Instant now);

    // membership_probe.cc: pings, acknowledgements, questions.
    void probe(Peer& peer, Instant now, Prng& rng, MembershipEffects& out);
    u64 ping(Peer& peer, Instant now, MembershipEffects& out);
    void ask_for_help(Peer& peer, Instant now, MembershipEffects& out);
    void acknowledged(Peer& peer, Instant now, MembershipEffects& out);
    void answer(Peer& peer, u64 number, Instant now, MembershipEffects& out);
    void show_self(CoreletId observer, Instant now, MembershipEffects& out);
    void asked_to_probe(Peer& asker, CoreletId subject, Instant now, MembershipEffects& out);
    void tell_askers(Peer& peer, Instant now, MembershipEffects& out);
    void tell_late_askers(Instant now, MembershipEffects& out);
    [[nodiscard]] GossipMessage make_message(const Peer& to, Instant now);
    [[nodiscard]] Observation own_word(const Peer& peer, Instant now) const;

    // membership_judge.cc: verdicts.
    void judge_all(Instant now, MembershipEffects& out);
    void judge(Peer& peer, Instant now, MembershipEffects& out);
    void is_reached(Peer& peer, Instant now, MembershipEffects& out);
    void suspect(Peer& peer, Instant now, MembershipEffects& out);
    [[nodiscard]] bool others_agree(const Peer& peer, Instant now) const;
    [[nodiscard]] Incarnation incarnation_of(const Peer& peer) const;
    [[nodiscard]] Duration patient(Duration usual) const { return usual * local_health_.patience(); }

    MembershipConfig config_;
    MeshId mesh_;
    CoreletId self_;
    PeerMemory own_;
    MapNews map_news_;
    std::vector<CoreletId> reachable_;  // by the map: neither down nor out
    std::map<CoreletId, Peer> peers_;
    std::vector<Peer*> subjects_;
    std::vector<CoreletId> asked_of_;           // peers with askers
    std::map<CoreletId, PeerMemory> memories_;  // of those in the map
    std::map<CoreletId, PeerMemory> unsaved_;
    CoreletId next_memory_;  // where the turn of memories to be passed on goes on
    Rumours rumours_;
    LocalHealth local_health_;
    u64 number_ = 0;
    Instant next_tick_;
    Instant last_step_;
    Instant answered_;  // when anybody last answered this corelet
    std::optional<Instant> saved_at_;
    std::optional<Instant> fetch_asked_at_;
    bool started_ = false;
    bool isolated_ = false;
    bool forgotten_told_ = false;
};

}  // namespace corelet::mesh
