// Healing stands still mesh-wide while somebody works on the machines: for a bounded time, which ends by itself.
// Pure.
//
// What it holds up is work that makes whole again (rebuilding, moving, scrubbing, giving up who is down). Nothing
// that decides about data rests on its clocks: too early or too late, it is only inconvenient.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"

namespace corelet {

inline constexpr const char* k_pause_key = "healing/pause";
inline constexpr Duration k_pause_max{24LL * 3600 * 1'000'000'000};

// As the catalog has it.
struct PauseOrder {
    u64 number = 0;  // grows with each pause
    WallTime ends;
    Duration length;
    friend bool operator==(const PauseOrder&, const PauseOrder&) = default;
};
[[nodiscard]] std::string encode_pause(const PauseOrder& order);
// Nothing if it is no such record.
[[nodiscard]] std::optional<PauseOrder> decode_pause(std::string_view bytes);

// What one corelet makes of it.
class PauseClock {
  public:
    // Whether healing stands still now; `order`: what the catalog says, if it says anything.
    [[nodiscard]] bool look(const std::optional<PauseOrder>& order, Instant now, WallTime wall);

  private:
    u64 number_ = 0;
    Instant first_seen_;
};

}  // namespace corelet
