// Bays in the simulator: devices are put in and pulled out, and nothing else is done. The keeper's own core
// (app/tool/bay_core.h) decides and its own look at the bytes (app/tool/bay_probe.h) says what a device holds; here
// is only what carries its wishes out. Each bay is one of the mesh's spare machines, whose program is that bay's
// corelet.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/tool/bay_core.h"
#include "tests/mesh/sim_mesh.h"

namespace corelet {

// What somebody holds in the hand.
struct PulledDevice {
    u64 number = 0;  // another one for each, copies too
    sim::PageMap bytes;
};

class SimBays {
  public:
    // All spare machines of the mesh are bays, and empty at first. The keeper runs from now on.
    explicit SimBays(SimMesh& mesh);
    ~SimBays() { *alive_ = false; }
    SimBays(const SimBays&) = delete;
    SimBays& operator=(const SimBays&) = delete;

    [[nodiscard]] usize size() const { return bays_.size(); }
    [[nodiscard]] bool is_empty(usize bay) const { return !bays_[bay].device; }
    // The bay must be empty.
    void insert_blank(usize bay);
    void insert(usize bay, const PulledDevice& device);
    // Of what is in it, while it is in use: an image of the disk.
    [[nodiscard]] PulledDevice copy_of(usize bay);
    // Whatever is under way meanwhile. From now on the corelet's disk answers with errors.
    [[nodiscard]] PulledDevice pull(usize bay);
    // The corelet's program dies by itself.
    void kill(usize bay);

    // Null while none runs.
    [[nodiscard]] CoreletNode* node(usize bay) { return mesh_.node(machine_of(bay)); }
    [[nodiscard]] usize machine_of(usize bay) const { return mesh_.spare(bay); }
    [[nodiscard]] app::BayState state(usize bay) const;
    // What the keeper said, "bay event" each.
    [[nodiscard]] const std::vector<std::string>& told() const { return told_; }

  private:
    struct SimBay {
        std::optional<u64> device;  // its number
        int pid = 0;                // of what runs on the machine; 0: nothing
        std::shared_ptr<std::optional<app::BayFinding>> look;
        std::shared_ptr<std::optional<bool>> make;
    };
    void tick();
    void survey();
    void apply(app::BayEvent event);
    void carry_out(const app::BayEffect& effect);
    void begin_look(usize bay);
    void begin_make(usize bay);
    void begin_corelet(usize bay);
    void end(usize bay);
    void hear(usize bay);
    [[nodiscard]] sim::MediaFile& media_of(usize bay);
    [[nodiscard]] static Task<void> look(Env& env, std::string path, MeshId mesh,
                                         std::shared_ptr<std::optional<app::BayFinding>> out);

    SimMesh& mesh_;
    app::BayCore core_;
    std::vector<SimBay> bays_;
    std::vector<std::string> told_;
    u64 devices_ = 0;
    int pids_ = 0;
    u64 ticks_ = 0;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace corelet
