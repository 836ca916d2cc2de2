// Clients of the volumes of a simulated mesh: they write values that are never used twice into few blocks, and read
// them, at whichever corelet serves the volume. What they did and saw is recorded outside of the mesh and judged
// (block_history.h).
#pragma once

#include <memory>

#include "tests/mesh/block_history.h"
#include "tests/mesh/clients.h"
#include "tests/mesh/doors.h"
#include "tests/mesh/sim_mesh.h"

namespace corelet {

struct WorkloadOptions {
    usize clients = 8;
    usize readers = 0;  // of them, who never write: they do not wait where nobody can
    usize blocks = 40;  // of each volume
    Duration think_max = 120_ms;
    Duration patience = 8_s;  // then a client gives the operation up and goes on
    bool losses = false;      // to be told that a block is lost is an answer, not a failure
};

// What a client was told, and by whom.
struct Answer {
    usize server = 0;
    StreamStatus stream;  // as that corelet has it
    std::string volume;
    bool is_read = false;
    sim::VirtualTime begun;
};

class Workload {
  public:
    // `volumes` are served already, each of `volume_bytes`.
    Workload(SimMesh& mesh, std::vector<std::string> volumes, u64 volume_bytes, WorkloadOptions options);
    Workload(const Workload&) = delete;
    Workload& operator=(const Workload&) = delete;

    void start() { clients_.start(); }
    // No new operation is begun.
    void stop() { clients_.stop(); }
    // Clients ask: nobody has stopped them.
    [[nodiscard]] bool is_asking() const { return clients_.is_asking(); }
    [[nodiscard]] bool idle() const { return clients_.idle(); }
    [[nodiscard]] u64 acknowledged_writes() const { return acknowledged_; }
    // Reads every block of every volume, once each; the world runs meanwhile. False: a block could not be read
    // within the bound.
    [[nodiscard]] bool read_back(Duration bound);
    // How many blocks can be read, each tried for so long.
    [[nodiscard]] usize readable(Duration each);
    // What no order of the operations explains, if anything.
    [[nodiscard]] std::optional<std::string> judge() const;

    // Clients go through these from now on; until the end, when blocks are read back at their owners. They outlive
    // it.
    void use(Doors& doors) { doors_ = &doors; }

    // For judges. Called with each success, in the task of the answer.
    std::function<void(const Answer&)> on_answer;
    // Whether that corelet may say now that a block is lost, for so many have been given up; without: never.
    std::function<bool(usize server)> bears_loss;
    struct Block {
        std::string volume;
        u64 lba = 0;
        const BlockHistory* history = nullptr;
    };
    [[nodiscard]] std::vector<Block> blocks() const;
    // Where there may ever be blocks of its own, in each volume; ascending.
    [[nodiscard]] std::vector<u64> places() const;
    // The values that a block's bytes hold; none if nobody wrote such bytes to this place.
    [[nodiscard]] static std::optional<BlockState> decode(Bytes block, u64 lba);
    [[nodiscard]] u64 now_tick() const { return tick_; }
    // Requests that a corelet still has, whether the client waits for them or has given up.
    [[nodiscard]] usize unanswered() const { return clients_.unanswered(); }
    // Since when a corelet has a write of at most one block for this volume, which goes to the log; the oldest.
    [[nodiscard]] std::optional<sim::VirtualTime> oldest_log_write(const std::string& volume, usize server) const;

  private:
    struct Operation;
    struct Volume {
        std::string name;
        std::vector<u64> lbas;
        std::vector<BlockHistory> blocks;
        std::vector<usize> runs;  // that are in use, by their first block
    };
    [[nodiscard]] static Task<void> carry_out(std::unique_ptr<Clients::Turn> turn, Workload* self,
                                              std::shared_ptr<BlockDevice> device,
                                              std::shared_ptr<Operation> operation);
    [[nodiscard]] static Task<Result<BufferChain>> issue(BlockDevice* device, Operation* operation);
    void next(usize client);
    void draw(Operation& operation, bool is_reader);
    void replace_run(Volume& volume, usize run);
    void ended(const std::shared_ptr<Operation>& operation, Result<BufferChain> result);
    void check_read(const Operation& operation, const BufferChain& data);
    [[nodiscard]] std::shared_ptr<BlockDevice> pick_device(const std::string& volume, usize* server,
                                                           std::optional<usize> but = {});
    [[nodiscard]] bool read_one(usize volume, usize block, Duration bound);
    [[nodiscard]] Buffer contents(const Volume& volume, const Operation& operation) const;
    [[nodiscard]] u64 tick() { return ++tick_; }

    SimMesh& mesh_;
    sim::World& world_;
    Doors* doors_ = nullptr;
    WorkloadOptions options_;
    std::vector<Volume> volumes_;
    Prng random_;
    u64 tick_ = 0;
    u64 next_value_ = 1;
    u64 acknowledged_ = 0;
    std::deque<std::weak_ptr<Operation>> out_;      // in the order of their beginning
    std::vector<std::shared_ptr<Operation>> last_;  // of each client
    Clients clients_;
};

}  // namespace corelet
