// The inside of an RpcNode: who is connected to whom, and the pieces that share it.
#pragma once

#include "wire/dispatcher.h"
#include "wire/link.h"
#include "wire/local_link.h"
#include "wire/rpc.h"
#include "wire/session.h"

namespace corelet {

// Answered by each node itself: proves that the connection lives.
inline constexpr Method k_method_ping{0x0001};

// A connection to be made: to the target itself, or to somebody who passes it on.
struct Way {
    Address address;
    CoreletId through;
};

// Counts while it lives.
struct Counted {
    u32& count;
    explicit Counted(u32& c) : count(c) { ++count; }
    ~Counted() { --count; }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
};

class RpcNode::Impl {
  public:
    Impl(RpcNode& self, Env& e, HelloPolicy& p, RpcOptions o, PeerEvents* ev, LocalBus* b);
    ~Impl();
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    [[nodiscard]] Result<Address> listen(const Address& address, ListenOptions listen_options);
    [[nodiscard]] std::unique_ptr<PendingCall> make_call(FrameKind kind, Method method, Buffer body,
                                                         BufferChain payload, CallOptions call_options);
    // It may have finished when this returns.
    void submit(const Target& target, PendingCall& call);
    void disconnect(CoreletId peer, const std::string& reason);
    [[nodiscard]] bool is_connected(CoreletId peer);

    [[nodiscard]] std::vector<Address> addresses_of(const Target& target) const;
    void set_addresses(CoreletId peer, std::vector<Address> list);
    // Leaving this host needs security, or the operator's word.
    [[nodiscard]] Result<void> may_use(const Address& address) const;
    [[nodiscard]] Instant now() const { return env.clock.now(); }
    // A connection to `address`, secured as it must be.
    [[nodiscard]] Task<Result<std::unique_ptr<Connection>>> connect(Address address);
    // How a link may come to its target, best first.
    [[nodiscard]] std::vector<Way> ways_to(const Target& target, bool direct_first) const;
    // Remaining time in whole milliseconds, at least one.
    [[nodiscard]] u32 remaining_ms(Instant deadline) const;

    // What this node says of itself on a connection of `lane`.
    [[nodiscard]] Hello hello(Lane lane);
    // A peer was heard of: links to it may connect at once.
    void forgive(CoreletId peer);
    // See RpcNode.
    void doubt(CoreletId peer);
    [[nodiscard]] std::map<CoreletId, CoreletId> detours() const;
    void epoch_shown(CoreletId peer, MapEpoch* last, MapEpoch shown);
    // A session stands; an older one of the same peer and lane is closed.
    void session_established(Session& session);

    struct Peer {
        std::vector<Address> addresses;
        std::optional<Address> preferred;            // of these
        std::array<std::unique_ptr<Link>, 2> links;  // prompt, bulk
        std::unique_ptr<LocalLink> local;
    };

    RpcNode& node;
    Env& env;
    HelloPolicy& policy;
    RpcOptions options;
    PeerEvents default_events;
    PeerEvents& events;
    LocalBus* bus;
    Routes* routes = nullptr;
    CoreletId id;
    MapEpoch map_epoch;
    RpcStats stats;
    Prng rng;
    bool closing = false;

    Dispatcher dispatcher;
    std::map<CoreletId, Peer> peers;
    std::map<Address, Peer> bare_peers;
    IntrusiveList<LocalLink> local_callers;  // of other nodes of this process
    IntrusiveList<Session> sessions;
    u32 session_count = 0;  // those still greeting included
    u32 sessions_admitted = 0;
    u32 relays = 0;  // sessions that are passed on
    std::vector<std::unique_ptr<Listener>> listeners;
    Scope scope;

  private:
    [[nodiscard]] Result<void> check(const PendingCall& call) const;
    [[nodiscard]] Lane lane_of(const PendingCall& call) const;
    [[nodiscard]] Result<CallPath*> path_to(const Target& target, Lane lane);
    [[nodiscard]] Result<CallPath*> local_path(CoreletId peer, RpcNode& other);
    [[nodiscard]] CallPath* link_of(Peer& peer, const Target& target, Lane lane);
    [[nodiscard]] Task<void> accept_from(Listener* listener, bool is_local);
    [[nodiscard]] Task<void> serve(std::unique_ptr<Connection> connection, bool is_local, bool is_unix);
    [[nodiscard]] Task<void> reap();
    bool reaping_ = false;
};

}  // namespace corelet
