// How each subject is by what one corelet has seen, and since when. Pure: time comes in.
//
// What is worse counts at once: whoever observes has already waited for as long as its level takes. What is better
// counts when nothing worse was seen for a while, and for the longer the oftener it was a mistake to believe so: a
// link that comes and goes is one that is not there.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "base/time.h"
#include "node/health.h"

namespace corelet {

// What is seen in one look around. Of two findings on the same the worse counts.
class Findings {
  public:
    using Key = std::pair<Subject, HealthLevel>;
    void add(const Subject& subject, HealthLevel level, Finding finding);
    // It cannot be told now: what was known stays.
    void leave_open(const Subject& subject, HealthLevel level) { open_.insert({subject, level}); }
    [[nodiscard]] const std::map<Key, Finding>& all() const { return findings_; }
    [[nodiscard]] bool is_open(const Key& key) const { return open_.contains(key); }

  private:
    std::map<Key, Finding> findings_;
    std::set<Key> open_;
};

class HealthLedger {
  public:
    struct Options {
        Duration calm = 5_s;        // without anything as bad, before it is believed to be better
        Duration calm_most = 80_s;  // doubled with each relapse, up to this
        Duration forgive = 10_min;  // a relapse later than this after the last is a first one
        usize records_max = 10'000;
    };
    explicit HealthLedger(Options options) : options_(options) {}

    // What is observed now. Each is to be told again and again for as long as it is so. Nothing: no change.
    // At the bound of records the one that has been healthy longest makes room; if there is none, what is new is
    // counted and not taken.
    std::optional<HealthChange> observe(const Subject& subject, HealthLevel level, const Finding& finding,
                                        Instant now, WallTime wall);
    // A look around: whatever is neither found wanting nor left open is healthy. The changes that come of it.
    [[nodiscard]] std::vector<HealthChange> observe(const Findings& findings, Instant now, WallTime wall);
    // It is no part of the mesh any more, or somebody else's to watch. No change is told.
    void forget(const Subject& subject);
    void forget(const Subject& subject, HealthLevel level) { entries_.erase(Key{subject, level}); }

    struct Record {
        Subject subject;
        HealthLevel level = HealthLevel::kReachable;
        HealthState state = HealthState::kHealthy;
        std::string reason;
        WallTime since;
    };
    // All that were ever found wanting, and not forgotten since; by subject, then level.
    [[nodiscard]] std::vector<Record> records() const;
    // Healthy if nothing was ever found.
    [[nodiscard]] HealthState state(const Subject& subject, HealthLevel level) const;
    [[nodiscard]] u64 overlooked() const { return overlooked_; }  // findings without room

  private:
    using Key = Findings::Key;
    struct Entry {
        HealthState state = HealthState::kHealthy;
        std::string reason;
        WallTime since;
        std::optional<Instant> better_since;         // nothing as bad was seen since then
        HealthState better = HealthState::kHealthy;  // the worst seen since then
        std::string better_reason;
        u32 relapses = 0;
        std::optional<Instant> recovered;  // last
    };
    [[nodiscard]] bool make_room();
    [[nodiscard]] Duration calm(const Entry& entry) const;
    [[nodiscard]] HealthChange worsen(const Key& key, Entry& entry, const Finding& finding, Instant now,
                                      WallTime wall);
    [[nodiscard]] std::optional<HealthChange> ease(const Key& key, Entry& entry, const Finding& finding,
                                                   Instant now, WallTime wall);

    Options options_;
    std::map<Key, Entry> entries_;
    u64 overlooked_ = 0;
};

}  // namespace corelet
