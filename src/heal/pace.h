// How fast a corelet rebuilds: as fast as it goes while no client is there; with clients additive increase, and
// multiplicative decrease when they suffer, here or where this corelet's healing weighs on, between a floor that
// keeps the mesh from staying degraded for ever and a ceiling; and never above what the operator allows. Pure: time
// comes in.
#pragma once

#include <algorithm>
#include <optional>

#include "base/time.h"
#include "base/types.h"
#include "heal/strain.h"

namespace corelet {

// Bytes a second; 0: no limit.
struct PaceLimits {
    u64 corelet = 0;
    u64 mesh_share = 0;  // this corelet's, of what the whole mesh may
    friend bool operator==(const PaceLimits&, const PaceLimits&) = default;
};

enum class PaceReason : u8 { kFree, kClients, kPeersClients, kCoreletLimit, kMeshLimit };

class Pace {
  public:
    struct Options {
        u64 floor = 10'000'000'000 / 3600;  // 10 GB an hour
        u64 ceiling = 4 * k_gib;
        u64 step = 4 * k_mib;  // more each second
    };
    explicit Pace(Options options) : options_(options) {}

    // Call once a second. `own`: what clients feel at this corelet; `peers`: where its healing weighs on.
    // `working`: there is something to rebuild.
    void tick(u32 own, HealWords::Strain peers, bool working, Instant now);
    void limit(PaceLimits limits) { limits_ = limits; }
    [[nodiscard]] const PaceLimits& limits() const { return limits_; }

    // Bytes a second; 0: as fast as it goes.
    [[nodiscard]] u64 rate() const;
    // What sets that rate.
    [[nodiscard]] PaceReason reason() const;
    // Whose clients were the last to suffer; zero: those here.
    [[nodiscard]] CoreletId whose() const { return whose_; }
    // Healing goes no faster than it must: what clients feel is not its doing.
    [[nodiscard]] bool at_floor() const { return rate() != 0 && rate() <= options_.floor; }
    // Takes room for so many bytes and returns zero; or takes nothing, and returns how long to wait before asking
    // again, at most a second: the rate may be another one then.
    [[nodiscard]] Duration take(u64 bytes, Instant now);

  private:
    static constexpr Duration k_calm = 10_s;
    static constexpr u64 k_begin = 4;  // times the floor
    void settle(Instant now);
    void give_way(HealWords::Strain peers, u32 own, Instant now);
    void go_on(HealWords::Strain peers, u32 own, Instant now);
    Options options_;
    PaceLimits limits_;
    std::optional<u64> adaptive_;  // none: no client is known of
    bool doubling_ = false;        // until somebody complains for the first time
    CoreletId whose_;
    Instant complained_at_{INT64_MIN / 2};
    u64 taken_ = 0;  // since the last tick
    Instant ticked_at_;
    bool was_idle_ = true;
    u64 debt_ = 0;  // bytes taken and not yet paid for by time
    Instant settled_at_;
};

// How many operations of healing may be at a device at once: halved when its clients suffer, one more each second
// when they do not. Pure.
class HealDepth {
  public:
    HealDepth(u32 least, u32 most) : least_(least), most_(most), depth_(most) {}
    u32 tick(u32 strain) {
        depth_ = strain >= k_suffers ? std::max(least_, depth_ / 2) : std::min(most_, depth_ + 1);
        return depth_;
    }

  private:
    u32 least_, most_, depth_;
};

// An equal part of the mesh's budget for each that has something to rebuild; 0: no budget. `others`: who has said
// so; while this corelet has not had time to hear of all, `all` are taken for busy.
[[nodiscard]] u64 mesh_share(u64 budget, usize others, bool has_heard, usize all);

}  // namespace corelet
