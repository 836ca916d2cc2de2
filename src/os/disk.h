// Files and block devices of Linux: O_DIRECT where there is, each write durable by RWF_DSYNC where asked.
//
// A chain whose parts are all aligned to 4 KiB, in address and size, goes to the kernel as it is; any other is
// gathered into one aligned buffer first. Preallocated but never written space costs twice the throughput at its
// first write.
#pragma once

#include "os/loop.h"
#include "rt/disk.h"

namespace corelet::os {

class LinuxDisk final : public Disk {
  public:
    explicit LinuxDisk(Loop& loop) : loop_(loop) {}
    // A file of this process that was dropped with requests in flight is waited for rather than reported as
    // kConflict.
    [[nodiscard]] Task<Result<std::unique_ptr<File>>> open(std::string path, OpenOptions options) override;
    [[nodiscard]] Task<Result<void>> remove(std::string path) override;
    [[nodiscard]] Task<Result<bool>> exists(std::string path) override;

    // Files that were destroyed while the kernel still worked for them.
    struct Lingering {
        usize count = 0;
        u64 gone_so_far = 0;
        Notify gone;
    };

  private:
    Loop& loop_;
    std::shared_ptr<Lingering> lingering_ = std::make_shared<Lingering>();
};

}  // namespace corelet::os
