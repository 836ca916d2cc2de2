// How much longer requests take now than they usually do: what clients feel of healing. Pure: time comes in.
//
// In permille: 1000 is as usual, 0 is that nobody asks for anything. What is usual is learnt while nothing is
// healed nearby, or while healing goes no faster than its floor: what clients feel then is not healing's doing, and
// a load that has changed is met anew.
#pragma once

#include <map>
#include <optional>

#include "base/time.h"
#include "base/types.h"

namespace corelet {

inline constexpr u32 k_as_usual = 1000;
inline constexpr u32 k_suffers = 1500;  // from here on healing gives way

class StrainMeter {
  public:
    // A difference below `slack` is nothing that anybody feels.
    explicit StrainMeter(Duration slack) : slack_(slack) {}
    // Of what was answered since the last call: how many, and how long it took (a high percentile, or a mean).
    // `healing`: it may have been held up by healing that goes faster than it must.
    void add(u64 requests, Duration took, bool healing, Instant now);
    [[nodiscard]] u32 permille() const { return permille_; }
    [[nodiscard]] Duration usual() const { return usual_; }

  private:
    static constexpr u64 k_requests_least = 8;  // for a verdict
    static constexpr Duration k_gone_after = 5_s;
    static constexpr i64 k_learn_share = 8;
    void learn(Duration took, bool healing);
    Duration slack_;
    Duration usual_{};
    bool is_guess_ = false;  // the least that was seen: nobody was watched without healing yet
    u32 permille_ = 0;
    std::optional<Instant> asked_at_;
};

// What others say, each for a few seconds. Bounded: of those beyond, the oldest goes.
class HealWords {
  public:
    static constexpr Duration k_strain_holds = 3_s;
    static constexpr usize k_peers_max = 4096;
    struct Strain {
        u32 permille = 0;  // 0: nobody complains
        CoreletId from;
    };
    void strained(CoreletId from, u32 permille, Instant now);
    // It has something to rebuild, and will say so again before `holds` is over; no bytes: no more.
    void rebuilding(CoreletId from, u64 bytes_left, Duration holds, Instant now);
    // The worst of them.
    [[nodiscard]] Strain strain(Instant now) const;
    [[nodiscard]] usize rebuilders(Instant now) const;

  private:
    struct Said {
        u32 permille = 0;
        Instant strained_at;
        u64 bytes_left = 0;
        Instant holds_until;
    };
    [[nodiscard]] Said& said(CoreletId from, Instant now);
    std::map<CoreletId, Said> said_;
};

}  // namespace corelet
