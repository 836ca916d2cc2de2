// The shell around mesh::Membership: its messages as datagrams, verdicts to the map, memories to the device.
// And the judge of whoever connects (protocols 1.1 to 1.5).
#pragma once

#include "catalog/raft_node.h"
#include "mesh/membership.h"
#include "node/gossip_link.h"
#include "node/map_service.h"

namespace corelet {

// Who this corelet says it is, and whom it lets in. Made before anything else of the node.
class PeerPolicy final : public HelloPolicy, public RaftNode::Identities {
  public:
    PeerPolicy(MeshId mesh, Store& store, u16 wire_version = k_wire_version)
        : mesh_(mesh), store_(store), wire_version_(wire_version) {}
    void attach(const MapService* maps, const mesh::Membership* membership) {
        maps_ = maps;
        membership_ = membership;
    }
    // What the catalog has recorded of an identity, as far as it is known here.
    void set_records(std::function<std::optional<mesh::PeerMemory>(CoreletId)> records) {
        records_ = std::move(records);
    }
    [[nodiscard]] Hello local_hello() override;
    [[nodiscard]] Result<void> judge(const Hello& remote, const PeerContext& context) override;
    [[nodiscard]] bool knows_better(CoreletId id, const pb::VoterGreeting& greeting,
                                    std::string& reason) const override;
    [[nodiscard]] pb::VoterGreeting own() const override;

  private:
    MeshId mesh_;
    Store& store_;
    u16 wire_version_;
    const MapService* maps_ = nullptr;
    const mesh::Membership* membership_ = nullptr;
    std::function<std::optional<mesh::PeerMemory>(CoreletId)> records_;
};

class Gossip {
  public:
    // What the node does with verdicts on itself.
    struct Callbacks {
        std::function<void(std::string reason)> forgotten;  // a later life of this identity is known
        std::function<void()> two_bodies;
        std::function<void(CoreletId)> suspected;
        std::function<void(CoreletId)> indirect;  // not reached from here any more, but from others
        std::function<void(CoreletId)> confirmed_down;
        // It has answered at this address of its own, and not at the one before.
        std::function<void(CoreletId, const Address&)> moved;
    };
    Gossip(Env& env, Store& store, MapService& maps, PeerPolicy& policy, MeshId mesh, std::string_view mesh_secret,
           Callbacks callbacks);
    // For each address at which this corelet listens; see GossipLink::bind.
    [[nodiscard]] Result<void> bind(const Address& listening) { return link_.bind(listening); }
    [[nodiscard]] const mesh::Membership& membership() const { return membership_; }
    void map_changed();
    // The catalog's word: which life of an identity it has recorded, and how far that had got.
    void recorded(CoreletId id, mesh::PeerMemory memory) { step(mesh::MemoryKnown{id, memory, true}); }
    // The own incarnation was raised without a mount: from now on messages carry it.
    void life_renewed() { step(mesh::IncarnationRaised{store_.incarnation(), store_.began_seq()}); }
    // This identity's promises are void: it gives no sign of life any more.
    void fall_silent() { silent_ = true; }

  private:
    void step(const mesh::MembershipEvent& event);
    void carry_out(const mesh::SendGossip& effect);
    void carry_out(const mesh::MapNewsHeard& effect);
    void carry_out(const mesh::PeerSuspected& effect);
    void carry_out(const mesh::PeerIndirect& effect);
    void carry_out(const mesh::PeerConfirmedDown& effect);
    void carry_out(const mesh::PeerRecovered& effect);
    void carry_out(const mesh::NewerMapSeen& effect);
    void carry_out(const mesh::RememberPeers& effect);
    void carry_out(const mesh::OwnLifeForgotten& effect);
    void carry_out(const mesh::TwoBodies& effect);
    void carry_out(const mesh::StaleLifeSeen&) {}
    void carry_out(const mesh::IsolationChanged& effect);
    [[nodiscard]] Task<void> tick_loop();
    [[nodiscard]] Task<void> propose(mesh::MapEvent event, std::string what);
    [[nodiscard]] Task<void> remember();
    void receive(mesh::GossipMessage message);

    Env& env_;
    Store& store_;
    MapService& maps_;
    Callbacks callbacks_;
    Prng random_;
    mesh::Membership membership_;
    GossipLink link_;
    Notify earlier_;  // the next tick has come nearer
    std::map<CoreletId, mesh::PeerMemory> memories_;
    std::set<CoreletId> proposing_;
    Notify remember_wanted_;
    bool dirty_ = false;
    bool silent_ = false;
    Scope scope_;
};

}  // namespace corelet
