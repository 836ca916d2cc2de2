// How fast scrubbing has to read so that a full pass takes at most so long, and where it has got to: kept over
// restarts as a note on the device. Pure: time comes in. A wall clock that jumps makes it faster or slower for a
// while, within bounds; nothing depends on it.
#pragma once

#include <optional>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "base/types.h"

namespace corelet {

class ScrubSchedule {
  public:
    static constexpr const char* k_note = "scrub";
    struct Options {
        Duration full_pass = Duration{7LL * 24 * 3600 * 1'000'000'000};  // at most
        u64 least_bytes_per_second = 1 * k_mib;  // also if that is faster than it must be: few bytes are soon read
    };
    // `note`: what save() gave, in an earlier life of this corelet; what is no such note begins a pass.
    ScrubSchedule(Options options, const std::optional<std::vector<u8>>& note, WallTime now);

    // For a device that holds so many bytes.
    [[nodiscard]] u64 bytes_per_second(u64 held_bytes, WallTime now) const;
    [[nodiscard]] const std::optional<FragmentId>& position() const { return position_; }
    // That fragment, of so many bytes, was read and judged.
    void done(const FragmentId& id, u64 bytes);
    // There is no further fragment: the next pass begins.
    void pass_ended(WallTime now);

    // When the last full pass ended; none has.
    [[nodiscard]] std::optional<WallTime> last_ended() const { return last_ended_; }
    // Of the present pass: how much of what is held now was read.
    [[nodiscard]] u32 permille(u64 held_bytes) const;
    [[nodiscard]] u64 passes() const { return passes_; }
    // Enough has changed to be written down.
    [[nodiscard]] bool is_worth_saving() const { return unsaved_ >= k_save_bytes; }
    [[nodiscard]] std::vector<u8> save();

  private:
    static constexpr u64 k_save_bytes = 64 * k_mib;  // so much is read again after a crash
    static constexpr u64 k_rush = 8;                 // times the even rate at most, however late it is
    Options options_;
    std::optional<FragmentId> position_;
    u64 read_ = 0;  // bytes, in this pass
    WallTime began_;
    std::optional<WallTime> last_ended_;
    u64 passes_ = 0;
    u64 unsaved_ = 0;
};

}  // namespace corelet
