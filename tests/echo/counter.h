// A number on a disk that only grows: two slots written in turn, so that a torn write costs the newer one at most.
#pragma once

#include "rt/disk.h"

namespace corelet::echo {

class Counter {
  public:
    // Of the device; makes it if there is none yet.
    [[nodiscard]] static Task<Result<std::unique_ptr<Counter>>> open(Disk& disk, std::string path);
    [[nodiscard]] u64 value() const { return value_; }
    // Durable when it returns. One at a time. After an error it takes no further ones.
    [[nodiscard]] Task<Result<u64>> increment();

  private:
    explicit Counter(std::unique_ptr<File> file) : file_(std::move(file)) {}
    [[nodiscard]] Task<Result<void>> load();
    std::unique_ptr<File> file_;
    u64 value_ = 0;
    bool failed_ = false;
};

}  // namespace corelet::echo
