// Who is there: the failure detector of one corelet, as a pure core.
//
// Everybody sends everybody a heartbeat each half second, and says in it of whom it has not heard for how long. A
// peer unheard for 2 s is suspected and probed; it is confirmed down when it stayed unheard for `confirm_after` and
// more than half of those whom this corelet hears (and itself) do not hear it either. So a peer's own word, or one
// lost link, decides nothing, and whoever hears nobody blames itself. While fewer than half of the mesh is heard,
// everything takes twice as long (local-health awareness; Dadgar et al., "Lifeguard", 2018), and whoever was paused
// starts all clocks anew.
//
// Confirmed is an observation, not a decision: the map says who is down, and the catalog commits that.
//
// Heartbeats also carry what the sender has seen of each peer's lives (protocols 1.1): from that, devices that were
// rolled back and identities with two bodies come to light.
//
// All-to-all is right up to some hundred corelets. Beyond, a SWIM period (probe one, ask k others to probe,
// piggyback) replaces send_beats() and the meaning of silence; events, effects and the confirmation by observers
// stay.
#pragma once

#include <map>
#include <optional>
#include <variant>
#include <vector>

#include "base/prng.h"
#include "base/time.h"
#include "mesh/heartbeat.h"

namespace corelet::mesh {

struct MembershipConfig {
    Duration beat_every = 500_ms;  // jittered by a tenth
    Duration suspect_after = 2_s;
    Duration confirm_after = 4250_ms;  // and the next beat: within 5 s of the death
    Duration remember_every = 1_s;
    Duration repeat_every = 2_s;  // of a verdict that the map does not show yet
};

// A peer as the map has it.
struct PeerEntry {
    CoreletId id;
    Incarnation incarnation;  // heard only at this one or later
    bool is_down = false;     // in the map
    bool is_out = false;      // in the map: heard only above its incarnation, sent no heartbeats
};

// Events.
struct HeartbeatReceived {
    Heartbeat heartbeat;
};
struct Tick {};
// All corelets of the map but this one (it is ignored), ascending.
struct MapChanged {
    MapEpoch epoch;
    std::vector<PeerEntry> peers;
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
    std::variant<HeartbeatReceived, Tick, MapChanged, MemoryKnown, SequenceAdvanced, IncarnationRaised>;

// Effects, to be carried out in order.
struct SendHeartbeat {
    std::vector<CoreletId> to;
    Heartbeat heartbeat;
};
struct PeerSuspected {
    CoreletId peer;
};
// Propose it to the catalog as down, under this incarnation. Repeated until the map says so.
struct PeerConfirmedDown {
    CoreletId peer;
    Incarnation incarnation;
};
// It is heard again by most. Propose it as up if the map has it as down; repeated until then.
struct PeerRecovered {
    CoreletId peer;
    Incarnation incarnation;
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
// This corelet hears nobody (or somebody again). While it does not, its observations are about itself.
struct IsolationChanged {
    bool isolated = false;
};
using MembershipEffect = std::variant<SendHeartbeat, PeerSuspected, PeerConfirmedDown, PeerRecovered, NewerMapSeen,
                                      RememberPeers, OwnLifeForgotten, TwoBodies, StaleLifeSeen, IsolationChanged>;
using MembershipEffects = std::vector<MembershipEffect>;

enum class PeerHealth : u8 { kHeard, kSuspected, kDown };

struct PeerView {
    CoreletId id;
    PeerHealth health = PeerHealth::kHeard;
    Duration silence;
    PeerMemory memory;
};

class Membership {
  public:
    Membership(MembershipConfig config, MeshId mesh, CoreletId self, PeerMemory own);

    [[nodiscard]] MembershipEffects step(const MembershipEvent& event, Instant now, Prng& rng);
    // When the next Tick is due.
    [[nodiscard]] Instant next_tick() const { return next_beat_; }

    [[nodiscard]] std::vector<PeerView> view(Instant now) const;
    [[nodiscard]] PeerHealth health(CoreletId peer) const;  // kDown for whoever is not known
    [[nodiscard]] bool isolated() const { return isolated_; }
    [[nodiscard]] std::optional<PeerMemory> memory(CoreletId peer) const;

  private:
    struct Accusation {
        CoreletId peer;
        Instant at;
    };
    struct Peer {
        PeerEntry entry;
        PeerHealth health = PeerHealth::kHeard;
        Instant heard;  // last sign of life; before the first, when it was learnt of
        bool ever_heard = false;
        u64 nonce = 0;                        // of the boot that `beat` counts
        u64 beat = 0;                         // highest heard of it
        std::vector<Accusation> accusations;  // whom it does not hear, as it said lately; bounded
        std::optional<Instant> verdict_at;    // when the last verdict on it was told
        std::optional<Instant> answered;      // last heartbeat sent to it out of turn
    };

    void on(const HeartbeatReceived& event, Instant now, MembershipEffects& out);
    void on(const Tick& event, Instant now, MembershipEffects& out);
    void on(const MapChanged& event, Instant now, MembershipEffects& out);
    void on(const MemoryKnown& event, Instant now, MembershipEffects& out);
    void on(const SequenceAdvanced& event, Instant now, MembershipEffects& out);
    void on(const IncarnationRaised& event, Instant now, MembershipEffects& out);

    void forgive_pause(Instant now);
    [[nodiscard]] bool accept_life(Peer& peer, const Heartbeat& heartbeat, MembershipEffects& out);
    void hear_observations(Peer& from, const Heartbeat& heartbeat, Instant now, MembershipEffects& out);
    void hear_of_self(Peer& from, const Observation& observation, Instant now, MembershipEffects& out);
    void learn(CoreletId id, const PeerMemory& memory);
    void answer(Peer& peer, bool wants_answer, Instant now, MembershipEffects& out);
    void judge_all(Instant now, MembershipEffects& out);
    void judge(Peer& peer, Instant now, i64 patience, MembershipEffects& out);
    [[nodiscard]] bool most_miss(const Peer& peer, Instant now) const;
    [[nodiscard]] bool is_heard(const Peer& peer, Instant now) const;
    void send_beats(Instant now, MembershipEffects& out);
    void flush_memories(Instant now, MembershipEffects& out);
    [[nodiscard]] Heartbeat make_heartbeat(Instant now, bool wants_answer);
    void observe(Instant now, bool heard, usize room, CoreletId& turn, Heartbeat& heartbeat) const;

    MembershipConfig config_;
    MeshId mesh_;
    CoreletId self_;
    PeerMemory own_;
    MapEpoch map_epoch_;
    std::map<CoreletId, Peer> peers_;
    std::map<CoreletId, PeerMemory> memories_;  // of those in the map
    std::map<CoreletId, PeerMemory> unsaved_;
    u64 beat_ = 0;
    CoreletId
        next_silent_;  // where the turn of the silent ones goes on in the next heartbeat, and of the heard ones
    CoreletId next_heard_;
    Instant next_beat_;
    Instant last_step_;
    std::optional<Instant> saved_at_;
    std::optional<Instant> fetch_asked_at_;
    bool started_ = false;
    bool isolated_ = false;
    bool forgotten_told_ = false;
};

}  // namespace corelet::mesh
