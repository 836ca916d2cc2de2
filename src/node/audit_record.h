// Whose bytes were not what they should be when this corelet challenged them, for health. Pure: time comes in.
#pragma once

#include <map>
#include <string>

#include "base/time.h"
#include "node/health.h"

namespace corelet {

class AuditRecord {
  public:
    // Twice in a row, over one fragment.
    void failed(CoreletId holder, std::string why, Instant now);
    // Of each that failed lately.
    [[nodiscard]] std::map<CoreletId, Finding> findings(Instant now) const;

  private:
    static constexpr Duration k_told = 600_s;
    static constexpr usize k_holders_max = 256;
    struct Failures {
        u64 count = 0;
        std::string last;
        Instant at;
    };
    std::map<CoreletId, Failures> failures_;
};

}  // namespace corelet
