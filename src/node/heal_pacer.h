// Once a second: what clients feel at this corelet, by the volumes that it owns and by its device, and so how fast
// it may rebuild and how deep others' healing may queue at its device; and what it has to say to the others about
// that. The shell around heal/strain.h and heal/pace.h.
#pragma once

#include <algorithm>
#include <optional>
#include <set>

#include "heal/healer.h"
#include "heal/strain.h"
#include "node/healing_limit.h"
#include "rt/env.h"
#include "rt/scope.h"

namespace corelet {

class NodeServices;

class HealPacer {
  public:
    // Watches from start() on until destroyed. `node` has a healer and all that it uses, and outlives this.
    explicit HealPacer(NodeServices& node);
    void start();
    // What clients feel here, in permille of the usual; 0: there are none.
    [[nodiscard]] u32 strain() const { return std::max(volumes_strain(), device_.permille()); }
    [[nodiscard]] const HealingLimit& limit() const { return limit_; }

  private:
    [[nodiscard]] Task<void> run();
    void tick();
    void look_at_clients(bool healing, Instant now);
    void look_at_device(bool healing, Instant now);
    void look_at_limit();
    [[nodiscard]] bool healing_nearby(Instant now);
    [[nodiscard]] u32 volumes_strain() const { return std::max(reads_.permille(), writes_.permille()); }
    void say();
    void say_to(CoreletId peer, u64 left, bool strained);
    [[nodiscard]] std::set<CoreletId> weighed_on() const;

    NodeServices& node_;
    Env& env_;
    StrainMeter reads_, writes_, device_;
    HealDepth depth_;
    HealingLimit limit_;
    u64 device_units_ = 0, device_busy_ns_ = 0;
    u64 heal_reads_ = 0;
    std::optional<Instant> working_since_;
    usize next_peer_ = 0;
    bool was_saying_ = false;
    Scope scope_;
};

}  // namespace corelet
