// Cuts the power of a recorded device at many moments, in many ways, mounts what is left with the real code,
// compares it with the oracle, works on with it, and mounts it once more; some of these lives are cut off in turn.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "os/world.h"
#include "tests/crash/crash_states.h"
#include "tests/crash/oracle.h"

namespace corelet::testing {

struct ExplorerOptions {
    u64 seed = 1;
    u64 states = 1000;  // half of them prefixes (all of these, when there are fewer), half drawn; 0: all prefixes
    u64 nested_every = 4;    // so often the life after the crash ends in one, too
    u64 on_file_every = 50;  // so often the state is written to a file and mounted through the host's disk
    u64 rot_every = 5;       // so often a bit of what the journals had settled is flipped as well
    u64 complaints_max = 3;
    std::string directory;  // for such files, and for those that did not pass; exists
};

struct ExplorerCounts {
    u64 states = 0, distinct = 0, nested = 0, on_file = 0, rotten = 0, rot_said = 0, while_formatting = 0;
    u64 prefixes_there_are = 0;
    std::array<u64, k_crash_kinds> by_kind{};
    void add(const ExplorerCounts& other);
};

class Explorer {
  public:
    Explorer(os::Host& host, const WriteLog& log, const Oracle& oracle, std::vector<u8> start,
             ExplorerOptions options);
    // What did not pass, each with the way to it; empty if all did.
    [[nodiscard]] const std::vector<std::string>& run();
    [[nodiscard]] const ExplorerCounts& counts() const { return counts_; }

  private:
    struct Step {
        Moment moment = 0;
        bool drawn = false;
        usize prefix = 0;
        friend auto operator<=>(const Step&, const Step&) = default;
    };
    [[nodiscard]] std::vector<Step> plan();
    void explore(CrashState state, Moment moment);
    // A mount and some work, in memory. `recorded`: its writes go there.
    [[nodiscard]] std::string live(DeviceImage& image, Moment moment, WriteLog* recorded, u64 more);
    [[nodiscard]] std::string live_on_file(const DeviceImage& image, Moment moment);
    [[nodiscard]] Task<std::string> live_in(Env* env, std::string path, Moment moment);
    [[nodiscard]] std::string rot(DeviceImage image, Moment moment);
    [[nodiscard]] std::string cut_again(const DeviceImage& image, Moment moment);
    [[nodiscard]] Task<std::string> work_on(Store* store);

    os::Host& host_;
    const WriteLog& log_;
    const Oracle& oracle_;
    std::vector<u8> start_;
    ExplorerOptions options_;
    Prng random_;
    std::set<std::pair<u64, u64>> seen_;
    ExplorerCounts counts_;
    std::vector<std::string> complaints_;
};

}  // namespace corelet::testing
