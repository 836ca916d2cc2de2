// Carries a fault plan out on a world: draws when and whom, asks the atlas, injects, and takes back in the end.
#pragma once

#include "sim/fault_plan.h"
#include "sim/world.h"

namespace corelet::sim {

// A fault about to be injected.
struct Fault {
    FaultKind kind = FaultKind::kCount;
    u32 node = 0;
    std::vector<u32> others;  // of one side of a partition or of a rack, `node` among them
    std::string path;         // of a disk fault
    u64 offset = 0;
    u64 size = 0;
};

// What the scenario has to say. All may be empty.
struct FaultHooks {
    // The atlas: false vetoes a fault that, with all that is broken already, exceeds what redundancy promises to
    // survive.
    std::function<bool(const Fault&)> allows;
    // Brings a node back after a crash; the fault says what happened to its device. Default: Node::restart().
    std::function<void(Node&, const Fault&)> restart;
    std::vector<std::vector<u32>> racks;  // for kRackLoss
};

class FaultDriver {
  public:
    FaultDriver(World& world, FaultPlan plan, FaultHooks hooks = {});
    ~FaultDriver();
    FaultDriver(const FaultDriver&) = delete;
    FaultDriver& operator=(const FaultDriver&) = delete;

    void start();
    // No further faults; what lasts is taken back and who is down comes up again. What was done to bytes stays.
    void stop();
    // One now, with a drawn victim. False if nobody fits, or it was vetoed.
    bool inject(FaultKind kind);
    [[nodiscard]] usize unavailable() const { return unavailable_.size(); }
    [[nodiscard]] u64 vetoed() const { return vetoed_; }

  private:
    struct Kind final : Event {
        FaultDriver* driver = nullptr;
        FaultKind kind = FaultKind::kCount;
        void fire() override { driver->due(*this); }
    };
    // Something that lasts, with how it ends.
    struct Outage final : Event {
        FaultDriver* driver = nullptr;
        std::move_only_function<void()> end;
        void fire() override { driver->ended(*this); }
    };
    [[nodiscard]] Prng& prng() { return streams_[static_cast<usize>(drawing_)]; }
    void due(Kind& kind);
    void ended(Outage& outage);
    void lasts(Duration time, std::move_only_function<void()> end);
    [[nodiscard]] Duration draw_outage();
    [[nodiscard]] bool allowed(const Fault& fault);
    void note(const Fault& fault, bool counted_below = false);
    // A node that is up and available, or one with files on its disks; none fits otherwise.
    [[nodiscard]] Node* draw_available();
    [[nodiscard]] bool may_take(usize nodes) const { return unavailable_.size() + nodes <= plan_.unavailable_max; }
    void take(u32 node) { ++unavailable_[node]; }
    void give_back(u32 node);

    bool crash(FaultKind kind);
    void begin_crash(Node& node, const Fault& fault, Ending ending);
    void revive(Node& node, const Fault& fault);
    bool lose_rack();
    bool pause();
    bool slow_node();
    bool disturb_clock(FaultKind kind);
    bool partition(FaultKind kind);
    bool disturb_link(FaultKind kind);
    bool damage_media(FaultKind kind);
    bool arm_media(FaultKind kind);
    bool hinder_media(FaultKind kind);
    bool replace_device(FaultKind kind);
    void remember_devices();
    [[nodiscard]] bool draw_file(Fault* fault);

    World& world_;
    FaultPlan plan_;
    FaultHooks hooks_;
    std::vector<Prng> streams_;
    FaultKind drawing_ = FaultKind::kKill;
    std::vector<std::unique_ptr<Kind>> kinds_;
    std::vector<std::unique_ptr<Outage>> outages_;
    std::map<u32, u32> unavailable_;
    // Older states that may come back, by node and path.
    std::map<std::pair<u32, std::string>, PageMap> memories_;
    u64 vetoed_ = 0;
};

}  // namespace corelet::sim
