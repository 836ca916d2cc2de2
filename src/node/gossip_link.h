// Gossip messages as datagrams: authenticated, and sent where their receiver last answered.
//
// A datagram is the four bytes "CLG1", a tag of 16 bytes over those four, the mesh's id and the message, and the
// message. What has no right tag is nobody's, and is dropped and counted; what was sent before, or is sent again,
// the message's own number shows. Not secret: a message tells who is there and how far each device has got.
#pragma once

#include <map>
#include <set>

#include "base/mac.h"
#include "mesh/gossip_message.h"
#include "rt/env.h"

namespace corelet {

// Where the datagrams of whoever listens at `listening` arrive: the same port, or a socket beside that one.
[[nodiscard]] Address gossip_address(const Address& listening);

// Seals and opens; no I/O.
class GossipSeal {
  public:
    GossipSeal(MeshId mesh, std::string_view mesh_secret);
    [[nodiscard]] std::vector<u8> seal(const mesh::GossipMessage& message) const;
    // kDenied: no right tag; kInvalid: no message of this protocol.
    [[nodiscard]] Result<mesh::GossipMessage> open(Bytes datagram) const;

  private:
    MacKey key_;
};

class GossipLink {
  public:
    using Receiver = std::function<void(mesh::GossipMessage)>;
    using Moved = std::function<void(CoreletId peer, const Address& listening)>;
    // `receive` is called for each message that is authentic, `moved` when a peer has answered at another of its
    // addresses than before; both from this executor.
    GossipLink(Env& env, MeshId mesh, std::string_view mesh_secret, Receiver receive, Moved moved = {});

    // From then on it sends from there, to addresses of the same kind, and receives. Errors of bind_datagram.
    [[nodiscard]] Result<void> bind(const Address& listening);
    // Where a peer listens, best first.
    void set_addresses(CoreletId peer, std::vector<Address> listening);
    void forget_others(const std::set<CoreletId>& known);
    // Lost if the peer has no address, or none of a kind that is bound here. A ping that follows one without an
    // answer goes to the next address.
    void send(CoreletId to, const mesh::GossipMessage& message);

    [[nodiscard]] u64 refused() const { return refused_; }  // datagrams without a right tag

  private:
    struct Route {
        std::vector<Address> addresses;
        usize turn = 0;                      // of the address that is sent to
        usize answered = 0;                  // of the one that answered last
        bool pinged = false;                 // and it has not answered since
        DatagramSocket* heard_at = nullptr;  // the own one
        bool asked = false;                  // and it has not been heard since
        usize unheard = 0;                   // pings since
    };
    [[nodiscard]] Task<void> receive_from(DatagramSocket* socket);
    void take(Bytes datagram, DatagramSocket* at);
    void answered(CoreletId peer);
    [[nodiscard]] DatagramSocket* own_socket(Address::Kind kind, const Route& route) const;

    Env& env_;
    GossipSeal seal_;
    Receiver receive_;
    Moved moved_;
    std::vector<std::unique_ptr<DatagramSocket>> sockets_;
    std::map<CoreletId, Route> routes_;
    u64 refused_ = 0;
    Scope scope_;
};

}  // namespace corelet
