// A mesh of whole corelets in the simulator: devices formatted, nodes booted and booted again, commands run,
// volumes used.
#pragma once

#include <set>

#include "node/corelet.h"
#include "sim/world.h"

namespace corelet {

struct SimMeshOptions {
    usize corelets = 3;
    usize witnesses = 0;
    usize zones = 1;
    usize late = 0;            // of the corelets, the last ones: they are not there until they join
    usize spare_machines = 0;  // take no part until a copy of somebody's device is started there
    u64 device_bytes = 256 * k_mib;
    u64 spare_device_bytes = 32 * k_mib;  // of a spare machine's own
    Duration out_after = 10_s;
    u64 segment_target_bytes = 2 * k_mib;
    Duration lease = StreamTimes{}.lease;  // of owners, by their replicas
    u64 stream_bytes_max = 64 * k_mib;
    Duration heal_round = 5_s;
    Duration audit_every = 60_s;
    u64 cache_bytes = 4 * k_mib;  // of blocks
    u64 page_cache_bytes = 8 * k_mib;
    std::string admin_key = {};  // the mesh's secret; empty: it has none
    bool two_addresses = false;  // each listens at two ports, which can be lost one by one
    bool mixed = false;  // corelets of this build and of a later one, and at each boot more of the later one
};

class SimMesh {
  public:
    SimMesh(sim::World& world, SimMeshOptions options);
    // The same mesh in another world: what is durable on its devices now, but for those of `without`, and all
    // booted on it.
    SimMesh(sim::World& world, const SimMesh& original, const std::set<usize>& without);
    // Ends all programs: they point here.
    ~SimMesh();
    SimMesh(const SimMesh&) = delete;
    SimMesh& operator=(const SimMesh&) = delete;

    // Boots all; returns when the map has everybody up and voters are as many as wanted. False within the bound.
    [[nodiscard]] bool up(Duration bound = 60_s);
    // Without spare machines.
    [[nodiscard]] usize size() const { return members_.size() - options_.spare_machines; }
    [[nodiscard]] usize spare(usize n) const { return size() + n; }
    [[nodiscard]] sim::Node& machine(usize index) { return *members_[index].machine; }
    // Null while it is down.
    [[nodiscard]] CoreletNode* node(usize index) { return members_[index].node; }
    // Runs a task that uses the corelet, which is up; it is dropped before the corelet is.
    void spawn(usize index, Task<void> task);
    // Whose program runs just now; between two events, and while a spare machine's runs, nobody's.
    [[nodiscard]] std::optional<usize> running() const;
    [[nodiscard]] std::optional<usize> index_of(CoreletId id) const;
    [[nodiscard]] CoreletId id(usize index) const { return members_[index].id; }
    [[nodiscard]] const std::string& device_path(usize index) const { return members_[index].device; }
    // So often its device was replaced by an empty one.
    [[nodiscard]] u64 devices_had(usize index) const { return members_[index].devices; }
    void start(usize index);
    // Its device is gone; it boots with an empty one, as somebody else.
    void start_empty(usize index);

    // It is in no mesh: it has not joined yet, or it has left.
    [[nodiscard]] bool is_absent(usize index) const { return members_[index].is_absent; }
    // One that is absent formats its device and joins, as somebody new.
    void join(usize index, mesh::Role role);
    // Nobody needs it any more, whatever it does just now: it is switched off, and its device goes.
    void take_away(usize index);

    // Boots this machine with a copy of what the other one's device holds now: a second body of the same corelet.
    void start_copy(usize index, usize of);
    // The same, and it is not booted yet.
    void put_copy(usize index, usize of);
    // That machine is switched off, and the copy is gone.
    void drop_copy(usize index);

    // Boots this machine for as long as it takes to make a new corelet of the blank device that is in it: whether
    // it was made comes into `out`.
    void format_inserted(usize index, std::shared_ptr<std::optional<bool>> out);
    [[nodiscard]] MeshId mesh_id() const { return mesh_id_; }

    // Runs a command at the first corelet that is up; an error as text in `error`.
    [[nodiscard]] std::optional<std::string> command(std::string name, std::string arguments,
                                                     std::string* error = nullptr, Duration bound = 60_s);
    // Who serves the volume now.
    [[nodiscard]] std::optional<usize> server_of(const std::string& volume);
    // All who believe to serve it.
    [[nodiscard]] std::vector<usize> servers_of(const std::string& volume);
    // Who serves it and how its stream stands there, if exactly one believes to serve it.
    [[nodiscard]] std::optional<std::pair<usize, StreamStatus>> sole_server_of(const std::string& volume);
    // Sends a command off at this corelet, which is up; the answer comes into what is returned. A corelet that dies
    // never answers.
    std::shared_ptr<std::optional<Result<std::string>>> request(usize index, std::string name,
                                                                std::string arguments);
    [[nodiscard]] std::shared_ptr<BlockDevice> device(const std::string& volume);
    // Its stream's record, the newest that anybody who is up knows; empty if nobody knows one.
    [[nodiscard]] pb::Stream stream_record(const std::string& volume) const;
    // Of the stream of a volume that this corelet owns, as far as it is concerned; of no other, and of none while
    // it is down or a witness.
    [[nodiscard]] std::optional<StreamStatus> stream_status(usize server, const std::string& volume) const;
    // Of those that believe to lead the catalog the one with the highest term.
    [[nodiscard]] std::optional<usize> catalog_leader() const;
    [[nodiscard]] sim::World& world() { return world_; }
    [[nodiscard]] const SimMeshOptions& options() const { return options_; }

  private:
    struct Member {
        sim::Node* machine = nullptr;
        CoreletNode* node = nullptr;
        Scope* users = nullptr;  // tasks of others that use the node
        CoreletId id;
        std::string device;
        u64 generation = 0;  // of who it is
        u64 devices = 0;     // that were replaced
        bool is_formatting = false;
        bool is_absent = false;
        mesh::Role role = mesh::Role::kStorage;  // it joins as
        bool is_of_later_build = false;
    };
    void add_machines();
    struct Presence;
    [[nodiscard]] static Task<void> format(Env& env, SimMesh* mesh, usize index);
    [[nodiscard]] static Task<void> format_fresh(Env& env, SimMesh* mesh, usize index, CoreletId identity,
                                                 std::shared_ptr<std::optional<bool>> out);
    [[nodiscard]] static Task<void> life(Env& env, SimMesh* mesh, usize index);
    [[nodiscard]] static Task<void> run_command(CoreletNode* node, std::string name, std::string arguments,
                                                std::shared_ptr<std::optional<Result<std::string>>> out);
    [[nodiscard]] NodeConfig config_of(usize index) const;
    sim::World& world_;
    SimMeshOptions options_;
    MeshId mesh_id_;
    std::vector<Member> members_;
    Prng random_;
};

// Keeps the volume for as long as the read lasts, whoever waits for it.
[[nodiscard]] Task<Result<BufferChain>> read_device(std::shared_ptr<BlockDevice> device, u64 offset, u32 length);

}  // namespace corelet
