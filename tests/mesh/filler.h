// A client that fills a pool: it writes what nobody reads beside the blocks of the other clients until it is told
// that there is no room, leaves it at that for a while, and trims all of it again. A full pool refuses writes; it
// serves reads, and it takes trims (design 2.12).
#pragma once

#include "tests/mesh/clients.h"
#include "tests/mesh/sim_mesh.h"

namespace corelet {

class Filler {
  public:
    // Keeps off the blocks of `taken`, in ascending order.
    Filler(SimMesh& mesh, std::string volume, u64 volume_bytes, const std::vector<u64>& taken);
    Filler(const Filler&) = delete;
    Filler& operator=(const Filler&) = delete;

    void start() { clients_.start(); }
    // What was written is trimmed, and nothing more is written.
    void finish() { finishing_ = true; }
    [[nodiscard]] bool is_done() const { return finishing_ && trimming_ && next_ == used_; }

  private:
    struct Step {
        u64 offset = 0;
        bool is_trim = false;
    };
    [[nodiscard]] static Task<void> carry_out(std::unique_ptr<Clients::Turn> turn, Filler* self,
                                              std::shared_ptr<BlockDevice> device, Step step);
    void ask(usize client);
    void ended(const Step& step, const Result<void>& result);
    void turn_back();

    SimMesh& mesh_;
    std::string volume_;
    std::vector<u64> places_;  // offsets, each of so many bytes
    Prng random_;
    usize used_ = 0;  // places that were written, from the first on
    usize next_ = 0;  // the next one to be trimmed
    bool trimming_ = false;
    bool finishing_ = false;
    sim::VirtualTime rests_until_;
    sim::VirtualTime refused_since_;
    Clients clients_;
};

}  // namespace corelet
