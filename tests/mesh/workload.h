// Clients of the volumes of a simulated mesh: they write values that are never used twice into few blocks, and read
// them, at whichever corelet serves the volume. What they did and saw is recorded outside of the mesh and judged
// (block_history.h).
#pragma once

#include <memory>

#include "tests/mesh/block_history.h"
#include "tests/mesh/sim_mesh.h"

namespace corelet {

struct WorkloadOptions {
    usize clients = 8;
    usize blocks = 40;  // of each volume
    Duration think_max = 120_ms;
    Duration patience = 8_s;  // then a client gives the operation up and goes on
};

class Workload {
  public:
    // `volumes` are served already, each of `volume_bytes`.
    Workload(SimMesh& mesh, std::vector<std::string> volumes, u64 volume_bytes, WorkloadOptions options);
    ~Workload();
    Workload(const Workload&) = delete;
    Workload& operator=(const Workload&) = delete;

    void start();
    // No new operation is begun.
    void stop() { stopping_ = true; }
    [[nodiscard]] bool idle() const;
    [[nodiscard]] u64 acknowledged_writes() const { return acknowledged_; }
    // Reads every block of every volume, once each; the world runs meanwhile. False: a block could not be read
    // within the bound.
    [[nodiscard]] bool read_back(Duration bound);
    // What no order of the operations explains, if anything.
    [[nodiscard]] std::optional<std::string> judge() const;

  private:
    struct Operation;
    struct Client;
    struct Volume {
        std::string name;
        std::vector<u64> lbas;
        std::vector<BlockHistory> blocks;
    };
    struct Guard;
    [[nodiscard]] static Task<void> carry_out(std::shared_ptr<Workload*> self, std::shared_ptr<BlockDevice> device,
                                              std::shared_ptr<Operation> operation);
    [[nodiscard]] static Task<Result<BufferChain>> issue(BlockDevice* device, Operation* operation);
    void next(usize client);
    void draw(Operation& operation);
    void ended(const std::shared_ptr<Operation>& operation, Result<BufferChain> result);
    void check_read(const Operation& operation, const BufferChain& data);
    void done_with(usize client, u64 number);
    void again_in(usize client, Duration delay);
    [[nodiscard]] std::shared_ptr<BlockDevice> pick_device(const std::string& volume, usize* server);
    [[nodiscard]] Buffer contents(const Volume& volume, const Operation& operation) const;
    [[nodiscard]] u64 tick() { return ++tick_; }

    SimMesh& mesh_;
    sim::World& world_;
    WorkloadOptions options_;
    std::vector<Volume> volumes_;
    std::vector<Client> clients_;
    Prng random_;
    u64 tick_ = 0;
    u64 next_value_ = 1;
    u64 acknowledged_ = 0;
    bool stopping_ = false;
    std::shared_ptr<Workload*> self_;  // null after the end: dropped tasks find nobody
};

}  // namespace corelet
