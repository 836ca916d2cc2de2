// When a device that was too full for what it should take in is tried again: ever more rarely, up to once in a
// minute, and at once when it has more room than it was refused with. Without it a full newcomer reads the
// survivors of the same fragments every second, for ever. Pure; one rebuilder.
#pragma once

#include <optional>

#include "base/time.h"
#include "base/types.h"

namespace corelet {

class RoomWatch {
  public:
    static constexpr Duration k_first_pause = 1_s;
    static constexpr Duration k_longest_pause = 60_s;

    // The device had no room for so many bytes while so many were free.
    void refused(u64 bytes, u64 free_bytes, Instant now);
    // It took some in.
    void took() { full_.reset(); }
    // Nothing is to be tried now.
    [[nodiscard]] bool waits(u64 free_bytes, Instant now) const;
    // It was too full when it was last tried.
    [[nodiscard]] bool is_full() const { return full_.has_value(); }

  private:
    struct Full {
        Duration pause;
        Instant until;
        u64 bytes = 0, free_bytes = 0;
    };
    std::optional<Full> full_;
};

}  // namespace corelet
