// Remote procedure calls between corelets, and from tools to a corelet.
//
// An RpcNode listens, connects on demand, and carries requests with a deadline and a class. The other end may be a
// socket, a corelet of the same process (through a LocalBus) or the node itself; callers see no difference.
//
// What callers may rely on:
// - A request takes its place in the queue when call() is *called*, not when its task is awaited. Requests of one
// caller to
//   one target in one lane and class are handed to their handlers in that order, as long as the connection lives;
//   when it breaks, all that were called before the break fail, so none overtakes a lost one.
// - call() ends with the reply, or kTimeout at the deadline (it may or may not have happened), or kReset at once
// when the
//   connection breaks or cannot be made (it may or may not have happened), or an error of the handler.
// - Dropping the task of a call, or its deadline, cancels it at the server: the handler's task is dropped at its
// next await,
//   unless the handler is registered as detached.
// - A payload that verified is delivered; bytes that did not are never seen by a handler or a caller, unless it
// asked
//   to check them itself.
// - Everything is bounded (RpcLimits). A caller waits in call() while the server or the socket takes no more; a
// server
//   stops reading from a connection with too much in progress.
#pragma once

#include <functional>
#include <map>
#include <variant>

#include "base/bytes.h"
#include "base/result.h"
#include "rt/env.h"
#include "wire/hello.h"

namespace corelet {

// Number of a method, for ever. The high byte names the folder: 0 wire, 1 mesh, 2 raft, 3 catalog, 4 device, 5
// chunk, 6 heal, 7 stream, 8 volume, 9 node and its administration, 0xF0 and above tests.
using Method = Strong<struct MethodTag, u16>;

// In order of urgency. A backlog is served in this order, on both sides.
enum class TrafficClass : u8 { kControl = 1, kClient = 2, kHeal = 3, kScrub = 4 };

struct Request {
    std::shared_ptr<const Hello> from;  // what the caller said of itself when it connected; never null
    Method method;
    TrafficClass traffic = TrafficClass::kClient;
    Instant deadline;                  // by this corelet's clock
    MapEpoch map_epoch;                // the caller's, when it sent this
    Buffer body;                       // a slice of a larger receive buffer: copy what is kept for long
    BufferChain payload;               // 4 KiB and more: one part, aligned to 4 KiB, memory of its own
    std::optional<u32> payload_crc{};  // CRC32C of the payload; always there if it came over a connection
    // It came from this process, or over a unix socket whose other end the kernel says is this process's user or
    // root.
    bool vouched_for = false;
    bool is_local = false;  // of this process: the payload is the caller's own memory, nothing was sent
};

struct Reply {
    Buffer body{};
    BufferChain payload{};
    // CRC32C of the payload, where the replier has it already (crc32c_combine of block checksums); computed
    // otherwise. In a reply received: always there.
    std::optional<u32> payload_crc{};
    MapEpoch map_epoch{};  // the replier's; filled in by its node
};

using Handler = std::function<Task<Result<Reply>>(Request)>;

struct HandlerOptions {
    // Once begun, runs to its end even if the caller goes away: for what must not stop half-way.
    bool detached = false;
    // The payload comes unverified; the handler checks it against checksums of its own or payload_crc.
    bool checks_payload = false;
};

struct CallOptions {
    Instant deadline{};  // zero: RpcLimits::default_timeout from now
    TrafficClass traffic = TrafficClass::kClient;
    // kAuto: bulk for healing, scrubbing and payloads (or expected replies) of RpcLimits::bulk_bytes and more, else
    // prompt. Who relies on the order of calls of different sizes names a lane.
    Lane lane = Lane::kAuto;
    std::optional<u32> payload_crc{};  // if known already: the payload is not touched again
    u32 reply_bytes_expected = 0;      // about how large the reply's payload will be; counts in the server's bound
    bool checks_payload = false;       // the caller verifies the reply's payload itself
};

// Whom to call: a corelet by id (address book, process-local bus, or itself), or whoever answers at an address.
using Target = std::variant<CoreletId, Address>;
[[nodiscard]] std::string to_string(const Target& target);

// Hints for membership. Called synchronously on the executor; may call anything of the node but its destructor.
class PeerEvents {
  public:
    virtual ~PeerEvents() = default;
    // A connection stands (one event per connection: lane and direction).
    virtual void peer_connected(const Hello& /*peer*/, const PeerContext& /*context*/) {}
    // It broke. kClosed: in order; kReset: otherwise.
    virtual void peer_disconnected(const Hello& /*peer*/, const PeerContext& /*context*/, const Error& /*reason*/) {
    }
    // A connection to it could not be made.
    virtual void peer_unreachable(CoreletId /*peer*/, const Error& /*reason*/) {}
    // A frame of it named another map epoch than the last one on that connection.
    virtual void peer_map_epoch(CoreletId /*peer*/, MapEpoch /*theirs*/) {}
};

// Whoever knows who reaches whom. Asked whenever a connection to a corelet is to be made.
class Routes {
  public:
    struct Advice {
        std::vector<CoreletId> through;  // thirds that may pass the connection on (relay.h), best first
        bool is_unreached = false;  // not directly, as far as is known: they are tried before its own addresses
    };
    virtual ~Routes() = default;
    [[nodiscard]] virtual Advice advise(CoreletId peer) = 0;
};

// Wraps a connection between hosts (mutual TLS). The seam; none is shipped with this layer.
class TransportSecurity {
  public:
    virtual ~TransportSecurity() = default;
    [[nodiscard]] virtual Task<Result<std::unique_ptr<Connection>>> secure(std::unique_ptr<Connection> plain,
                                                                           bool inbound) = 0;
};

struct RpcLimits {
    u32 header_bytes = 1 << 20;  // header and body of a frame; beyond: connection closed
    u32 payload_bytes =
        (64 << 20) + (1 << 20);  // of a frame; beyond: kInvalid at the caller, closed at the receiver
    u32 bulk_bytes = 128 << 10;  // Lane::kAuto
    u32 batch_bytes = 1 << 20;   // one write: as many frames as fit, at least one
    u32 calls_in_flight = 4096;  // per connection; further calls wait unsent
    u32 calls_waiting = 16384;   // unsent, per connection; beyond: kOverloaded at once
    // In progress per inbound connection. The hello tells callers, who wait with the rest; beyond: not read from.
    u32 session_requests = 1024;
    u64 session_bytes = 64 << 20;  // the same in bytes: requests, expected and unsent replies
    u32 sessions = 1024;           // inbound connections; beyond: kOverloaded
    u32 relays = 64;               // of the inbound, those that are passed on to others; beyond: kOverloaded
    u32 links = 4096;              // outbound; idle ones to bare addresses are closed beyond it
    std::array<u32, 4> running = {1024, 1024, 64, 16};  // handlers at once, by class; further requests queue
    Duration default_timeout = 10_s;
    Duration timeout_max = 10_min;   // longer deadlines of a caller are cut to this at the server
    Duration connect_timeout = 1_s;  // one address: connect and hello
    Duration silence = 5_s;          // a deadline passed and nothing heard for so long: probe the connection
    Duration seek_direct = 5_s;    // between looks whether a target that is reached through a third answers itself
    Duration probe_timeout = 1_s;  // no answer: the connection is broken
    Duration backoff_min = 20_ms;  // between attempts to connect: doubled each time, jittered by half
    Duration backoff_max = 1_s;
};

struct RpcOptions {
    RpcLimits limits{};
    // Uid of this process: unix sockets then accept peers of this uid and root only. Without it a unix socket is
    // only listened on if `insecure`.
    std::optional<u32> own_uid{};
    // Listen and connect beyond this host without TransportSecurity.
    bool insecure = false;
    TransportSecurity* security = nullptr;  // for addresses that are not local
};

class RpcNode;

// Nodes of one process (and executor) that find each other by id and skip the socket. Outlives its nodes.
class LocalBus {
  public:
    LocalBus() = default;
    LocalBus(const LocalBus&) = delete;
    LocalBus& operator=(const LocalBus&) = delete;
    ~LocalBus();
    [[nodiscard]] RpcNode* find(CoreletId id) const;

  private:
    friend class RpcNode;
    void add(CoreletId id, RpcNode& node);
    void remove(CoreletId id);
    std::map<CoreletId, RpcNode*> nodes_;
};

struct RpcStats {
    u64 calls = 0, requests = 0, frames_sent = 0, writes = 0, bytes_sent = 0, bytes_received = 0;
    u64 timeouts = 0, cancels_received = 0, connects = 0, connect_failures = 0, disconnects = 0, malformed = 0;
    u64 relayed = 0, relayed_bytes = 0;  // connections passed on to others
    u64 reads_held = 0;                  // times a server stopped reading from a connection at its bound
};

class RpcNode {
  public:
    // `env`, `policy`, `events` and `bus` outlive the node. The own id is that of policy.local_hello() now, and
    // stays.
    RpcNode(Env& env, HelloPolicy& policy, RpcOptions options = {}, PeerEvents* events = nullptr,
            LocalBus* bus = nullptr);
    // Drops all handlers, fails all calls with kShutdown, closes all connections.
    ~RpcNode();
    RpcNode(const RpcNode&) = delete;
    RpcNode& operator=(const RpcNode&) = delete;

    [[nodiscard]] CoreletId id() const;

    // Listens from now on; returns the address with the port given. kDenied: beyond this host without security.
    [[nodiscard]] Result<Address> listen(const Address& address, ListenOptions options = {});
    // No further connections are accepted; those that stand, stay.
    void stop_listening();

    // Replaces a former handler of the same method, also for requests already queued.
    void register_handler(Method method, Handler handler, HandlerOptions options = {});
    // Drops its handlers that run, detached ones too (callers get kShutdown), so that what they use may go away.
    // Later requests are answered kUnsupported.
    void unregister_handler(Method method);

    // Where a corelet listens, best first. An empty list forgets it; calls under way go on.
    void set_addresses(CoreletId peer, std::vector<Address> addresses);
    // Of its addresses this one is tried first from now on, as long as it is one of them.
    void prefer(CoreletId peer, const Address& address);
    [[nodiscard]] std::vector<Address> addresses(CoreletId peer) const;

    [[nodiscard]] Task<Result<Reply>> call(Target target, Method method, Buffer body, BufferChain payload = {},
                                           CallOptions options = {});
    // One-way: the handler's reply is dropped, and nobody hears whether the message has left. It is dropped if it
    // has not by its deadline.
    void send(const Target& target, Method method, Buffer body, CallOptions options = {});

    // Breaks all connections from and to a peer, for whoever knows that it is dead or refused: calls to it fail at
    // once with kReset.
    void disconnect(CoreletId peer, const std::string& reason);
    [[nodiscard]] bool is_connected(CoreletId peer) const;
    // Outlives the node, or is set to null before it goes.
    void set_routes(Routes* routes);
    // `peer` seems not to be reached from here any more: connections to it that do not answer now are given up.
    void doubt(CoreletId peer);
    // Peers to which a connection goes through a third, and who that is.
    [[nodiscard]] std::map<CoreletId, CoreletId> detours() const;

    // What is told in each frame from now on.
    void set_map_epoch(MapEpoch epoch);

    [[nodiscard]] const RpcStats& stats() const;
    [[nodiscard]] const RpcLimits& limits() const;

    class Impl;

  private:
    std::unique_ptr<Impl> impl_;
};

}  // namespace corelet
