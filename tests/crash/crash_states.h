// From a log of writes to what a power cut may have left of them. After J. Mohan et al., "Finding Crash-Consistency
// Bugs with Bounded Black-Box Crash Testing" (CrashMonkey and ACE), OSDI 2018; what may be left is the contract of
// rt/disk.h.
#pragma once

#include <array>
#include <map>
#include <string>
#include <vector>

#include "base/prng.h"
#include "tests/crash/write_log.h"

namespace corelet::testing {

// Bytes of a device: what was settled, shared, and above it pages of its own.
class DeviceImage {
  public:
    explicit DeviceImage(const std::vector<u8>& settled) : settled_(&settled) {}
    [[nodiscard]] u64 size_bytes() const { return settled_->size(); }
    void read(u64 offset, MutableBytes out) const;
    void write(u64 offset, Bytes bytes);
    [[nodiscard]] std::vector<u8> bytes() const;
    // Equal for equal bytes above equal settled ones.
    [[nodiscard]] u64 digest() const;

  private:
    const std::vector<u8>* settled_;
    std::map<u64, std::array<u8, k_block_bytes>> own_;
};

// A File over an image, which it must not outlive. Operations end at once.
[[nodiscard]] std::unique_ptr<File> open_image(DeviceImage& image);

// How a power cut treats what is not settled.
enum class CrashKind : u8 {
    kPrefix,      // whole writes, in the order in which they began, up to some one
    kTornPrefix,  // and a part of the next one
    kSubset,      // some writes whole, in order
    kTornSubset,  // some whole, some in part, in order
    kReordered,   // the same, those that were in flight beside each other in any order
};
inline constexpr usize k_crash_kinds = 5;
[[nodiscard]] const char* name_of(CrashKind kind);

struct CrashState {
    DeviceImage image;
    CrashKind kind = CrashKind::kPrefix;
    std::string how;  // for a report
};

// Goes through the moments of a finished log, forward only.
class CrashStates {
  public:
    // `start`: the device's bytes when the log began.
    CrashStates(const WriteLog& log, std::vector<u8> start);
    // What began before `moment` counts, and what was settled before it is there.
    void advance(Moment moment);
    // How many writes are not settled.
    [[nodiscard]] usize pending() const { return pending_.size(); }
    [[nodiscard]] CrashState prefix(usize writes) const;
    [[nodiscard]] CrashState draw(CrashKind kind, Prng& random) const;
    // All that began, whole, in order: what is there without a power cut.
    [[nodiscard]] DeviceImage everything() const { return prefix(pending_.size()).image; }
    [[nodiscard]] u64 settled_writes() const { return settled_count_; }

  private:
    struct Sector {
        Moment begun = 0, ended = 0;  // of the settled write it holds
    };
    void settle(const LoggedWrite& write);
    // Puts these sectors of a write there, but for those that a later settled write covers.
    void put(DeviceImage& image, const LoggedWrite& write, u64 from, u64 to) const;
    void tear(DeviceImage& image, const LoggedWrite& write, Prng& random, std::string& how) const;
    [[nodiscard]] std::vector<const LoggedWrite*> reorder(Prng& random) const;

    std::vector<const LoggedWrite*> by_begin_, by_settling_;
    usize begun_count_ = 0;
    usize settled_count_ = 0;
    Moment moment_ = 0;
    std::vector<u8> settled_;
    std::vector<Sector> sectors_;
    std::vector<const LoggedWrite*> pending_;  // in the order in which they began
};

}  // namespace corelet::testing
