// The network between machines: who can reach whom, how long it takes, and what is bound where.
//
// Links are between nodes and have a direction. A link that is cut or clogged delivers nothing: what a stream had
// in flight waits and is retransmitted, datagrams are lost. Nodes of one machine reach each other whatever happens
// to the network.
#pragma once

#include <memory>
#include <set>

#include "rt/network.h"
#include "sim/engine.h"
#include "sim/process.h"

namespace corelet::sim {

struct NetworkModel {
    Duration latency_min{40'000};  // one way, between machines
    Duration latency_spread{160'000};
    Duration local_latency_min{4'000};  // on one machine
    Duration local_latency_spread{16'000};
    u32 tail_per_million = 2'000;  // so many messages take up to `tail` longer
    Duration tail{20'000'000};
    u64 bytes_per_second = 0;          // of a link; 0: unbounded
    usize window_bytes = 256 * k_kib;  // unread data of a stream: beyond it the writer waits
    u32 partial_read_percent = 10;     // reads cut short at a random point
    u32 split_write_percent = 5;       // writes that arrive in two pieces
    Duration connect_timeout{15'000'000'000};
    Duration stream_timeout{120'000'000'000};  // data unacknowledged for so long break a connection
    Duration keepalive{60'000'000'000};        // an end whose peer is gone is told after so long, at the latest
    usize backlog = 1024;                      // connections not yet accepted
    usize datagram_queue = 512;                // datagrams not yet received
    u32 datagram_loss_per_million = 0;
    u32 datagram_duplicate_per_million = 0;
    u32 datagram_reorder_per_million = 0;
};

// A stream's direction that waits for a link.
class Parked : public ListNode {
  public:
    virtual void link_is_back(Duration retransmitted_in) = 0;

  protected:
    ~Parked() = default;
};

class Stream;
struct ListenerState;
struct SocketState;

// What is bound on a machine: a port, or a path.
struct BindKey {
    u32 machine = 0;
    u32 port = 0;  // 0 for a path
    std::string path;
    friend auto operator<=>(const BindKey&, const BindKey&) = default;
};

class Fabric {
  public:
    Fabric(Engine& engine, NetworkModel model);
    ~Fabric();
    Fabric(const Fabric&) = delete;
    Fabric& operator=(const Fabric&) = delete;

    // Nodes are numbered in order of adding. `machine` is shared by nodes of one host.
    void add_node(std::string name, u32 machine);
    // A machine is up while one of its nodes has power. One that never was refuses connections; one that was, is
    // silent.
    void power_on(u32 machine);
    void power_off(u32 machine);

    void cut(u32 from, u32 to);  // counts: as many mends undo as many cuts
    void mend(u32 from, u32 to);
    void mend_all();  // cuts, clogs and delays
    void clog(u32 from, u32 to, Duration for_so_long);
    // One of a node's addresses, among several: what is bound to that port is silent to other machines, and they to
    // it.
    void lose_port(u32 node, u16 port);
    void restore_port(u32 node, u16 port);
    [[nodiscard]] bool is_lost(const BindKey& key) const {
        return !lost_ports_.empty() && lost_ports_.contains(key);
    }
    void set_delay(u32 from, u32 to, Duration extra);
    // Whether what is sent from one to the other gets there at this moment.
    [[nodiscard]] bool passes(u32 from, u32 to) const;
    void park(Parked& parked, u32 from, u32 to);

    // Breaks a live stream picked at random, from both ends or (half-open) from one only. False if there is none.
    bool reset_random_stream(Prng& random, bool half_open);
    // Breaks all live streams between two nodes, from both ends.
    void reset_streams(u32 a, u32 b);
    [[nodiscard]] usize live_streams() const { return live_streams_; }

    NetworkModel model;

    // For the parts of the simulated network.
    struct Target {
        u32 node = 0;
        BindKey key;
        bool loopback = false;
    };
    [[nodiscard]] Result<Target> resolve(const Process& process, const Address& address) const;
    [[nodiscard]] const std::string& node_name(u32 node) const { return nodes_[node].name; }
    [[nodiscard]] u32 machine_of(u32 node) const { return nodes_[node].machine; }
    [[nodiscard]] Duration draw_latency(u32 from, u32 to);
    // When `bytes` sent now have arrived.
    [[nodiscard]] VirtualTime draw_arrival(u32 from, u32 to, usize bytes);
    [[nodiscard]] u16 take_port(u32 machine);
    void enlist(Stream& stream);
    void left() { --live_streams_; }

    Engine& engine;
    Prng prng;
    std::map<BindKey, std::shared_ptr<ListenerState>> listeners;
    std::map<BindKey, std::shared_ptr<SocketState>> sockets;
    u64 next_stream_id = 1;

  private:
    struct Link {
        u32 cuts = 0;
        VirtualTime clogged_until;
        Duration extra_delay;
        VirtualTime busy_until;
        std::unique_ptr<IntrusiveList<Parked>> parked;
    };
    struct NodeEntry {
        std::string name;
        u32 machine = 0;
    };
    [[nodiscard]] Link& link(u32 from, u32 to) { return links_[from][to]; }
    [[nodiscard]] const Link& link(u32 from, u32 to) const { return links_[from][to]; }
    void wake(u32 from, u32 to);

    std::vector<NodeEntry> nodes_;
    std::map<std::string, u32, std::less<>> names_;
    std::vector<std::vector<Link>> links_;
    static constexpr u32 k_never_powered = UINT32_MAX;
    std::vector<u32> powered_;  // nodes with power, by machine
    std::map<u32, u16> next_port_;
    std::set<BindKey> lost_ports_;
    IntrusiveList<Stream>* streams_;  // in order of creation
    usize live_streams_ = 0;
};

}  // namespace corelet::sim
