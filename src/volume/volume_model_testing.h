// What a volume may answer: for each 512-byte sector the writes that a read may still return (linearizable per
// sector, with writes of unknown fate).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace corelet {

class SectorModel {
  public:
    // A point in the order of events.
    [[nodiscard]] u64 tick() { return ++now_; }
    // Stamp 0 is zeros. Several writes may bear it.
    struct Write {
        u64 offset = 0;
        u64 length = 0;
        u64 number = 0;
    };
    [[nodiscard]] Write begin_write(u64 offset, u64 length, u64 stamp);
    // `certain`: it was acknowledged. Otherwise it may or may not have happened, until now.
    void end_write(const Write& write, bool certain);
    // All writes in progress have happened by now, or never will.
    void crash();
    // Empty, or what is wrong with bytes that a read from `begun` on returned. With `settle` nothing is in
    // progress, and what was read is what is there from now on.
    [[nodiscard]] std::string check(u64 offset, Bytes bytes, u64 begun, bool settle);

  private:
    struct Version {
        u64 stamp = 0;
        u64 number = 0;
        u64 begun = 0;
        u64 ended = 0;
        bool certain = true;
    };
    [[nodiscard]] std::vector<Version>& versions(u64 sector);
    std::map<u64, std::vector<Version>> sectors_;
    u64 now_ = 0;
    u64 next_number_ = 1;
};

}  // namespace corelet
