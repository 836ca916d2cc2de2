// Which faults befall a simulated mesh, and when: drawn from the seed, within what its redundancy promises. Devices
// are lost, rot or fail only while everything else is whole, and count as lost until their replacements are full;
// corelets that are only down or cut off come back.
#pragma once

#include "tests/mesh/sim_mesh.h"

namespace corelet {

struct FaultOptions {
    usize promise = 1;  // corelets that may be missing at one moment
    Duration length = 50_s;
    Duration every = 900_ms;   // on average
    Duration whole_for = 6_s;  // what looks whole for so long is: longer than a round of healing
};

class FaultAtlas {
  public:
    FaultAtlas(SimMesh& mesh, std::vector<std::string> volumes, FaultOptions options);
    ~FaultAtlas();
    FaultAtlas(const FaultAtlas&) = delete;
    FaultAtlas& operator=(const FaultAtlas&) = delete;

    void start();
    [[nodiscard]] bool is_over() const { return over_; }
    // Nobody is cut off, paused, or has a device that went bad without being noticed yet; who is down is another
    // question.
    [[nodiscard]] bool is_open() const;
    // Everything that is broken and can be mended is.
    void mend_all();
    // Everybody is up, and everything is as redundant as the pools promise.
    [[nodiscard]] bool is_whole() const;
    [[nodiscard]] std::string what_is_missing() const;

  private:
    enum class Trouble : u8 { kNone, kDown, kCut, kPaused, kSpoiled, kFilling };
    void step();
    // Faults of the whole mesh begin when nobody is in trouble: nothing else begins while one is waited for.
    using Wish = void (FaultAtlas::*)();
    [[nodiscard]] bool wait_for_calm();
    [[nodiscard]] bool wait_for_damage();
    void draw_fault();
    void after(Duration delay, void (FaultAtlas::*what)(usize), usize index);
    void look_whether_whole();
    [[nodiscard]] usize troubled() const;
    [[nodiscard]] bool may_trouble(usize more) const { return troubled() + more <= options_.promise; }
    [[nodiscard]] std::optional<usize> draw_sound();
    [[nodiscard]] Duration draw(i64 least_ms, i64 most_ms) {
        return Duration{static_cast<i64>(random_.between(static_cast<u64>(least_ms), static_cast<u64>(most_ms))) *
                        1'000'000};
    }

    void crash_one();
    void crash_owner();
    void crash_at_some_await();
    void roll();
    void cut_one();
    void cut_many();
    void pause_one();
    void delay_links();
    void reset_streams();
    void change_owner();
    void cold_start();
    void damage_device();
    void lose_device(usize victim);
    void rot_device(sim::MediaFile& device);

    void crash(usize index, Duration down);
    void come_back(usize index);
    void resume(usize index);
    void replace(usize index);
    void mend(usize cut);
    void heal_delays(usize);
    void crash_spoiled(usize index);

    struct Cut {
        std::vector<u32> from, to;
        bool both_ways = true;
    };
    SimMesh& mesh_;
    sim::World& world_;
    std::vector<std::string> volumes_;
    FaultOptions options_;
    Prng random_;
    std::vector<Trouble> troubles_;
    std::vector<Cut> cuts_;
    sim::VirtualTime began_;
    std::optional<sim::VirtualTime> whole_since_;
    std::optional<sim::VirtualTime> quiet_until_;  // waits for wholeness, to damage a device
    Wish wish_ = nullptr;                          // waits until nobody is in trouble
    sim::VirtualTime wish_until_;
    sim::VirtualTime next_damage_;
    bool over_ = false;
    std::shared_ptr<FaultAtlas*> self_;
};

}  // namespace corelet
