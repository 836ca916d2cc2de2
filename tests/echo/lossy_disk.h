// A disk whose unsynced writes stay in memory, over any other disk: a power loss without cutting the power. What
// was not flushed survives a crash as a drawn subset of its sectors.
#pragma once

#include <map>

#include "base/prng.h"
#include "rt/disk.h"

namespace corelet::echo {

class LossyDisk final : public Disk {
  public:
    // What the machine's memory held, by path and offset; outlives the programs.
    struct Memory {
        std::map<std::string, std::map<u64, Buffer>> unsynced;
        Prng random{1};
        bool crashed = false;  // settled when the file is opened again
    };
    LossyDisk(Disk& beneath, std::shared_ptr<Memory> memory) : beneath_(beneath), memory_(std::move(memory)) {}
    [[nodiscard]] Task<Result<std::unique_ptr<File>>> open(std::string path, OpenOptions options) override;
    [[nodiscard]] Task<Result<void>> remove(std::string path) override;
    [[nodiscard]] Task<Result<bool>> exists(std::string path) override;

  private:
    Disk& beneath_;
    std::shared_ptr<Memory> memory_;
};

}  // namespace corelet::echo
