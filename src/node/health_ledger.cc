#include "node/health_ledger.h"

#include <algorithm>

namespace corelet {

void Findings::add(const Subject& subject, HealthLevel level, Finding finding) {
    auto const [found, fresh] = findings_.try_emplace({subject, level}, finding);
    if (!fresh && finding.state > found->second.state) found->second = std::move(finding);
}

std::optional<HealthChange> HealthLedger::observe(const Subject& subject, HealthLevel level, const Finding& finding,
                                                  Instant now, WallTime wall) {
    Key const key{subject, level};
    auto found = entries_.find(key);
    if (found == entries_.end()) {
        if (finding.state == HealthState::kHealthy) return std::nullopt;
        if (entries_.size() >= options_.records_max && !make_room()) {
            ++overlooked_;
            return std::nullopt;
        }
        found = entries_.emplace(key, Entry{}).first;
    }
    Entry& entry = found->second;
    if (finding.state > entry.state) return worsen(key, entry, finding, now, wall);
    if (finding.state < entry.state) return ease(key, entry, finding, now, wall);
    entry.better_since.reset();
    if (finding.state != HealthState::kHealthy) entry.reason = finding.reason;
    return std::nullopt;
}

std::vector<HealthChange> HealthLedger::observe(const Findings& findings, Instant now, WallTime wall) {
    std::vector<HealthChange> out;
    auto const take = [&](const Key& key, const Finding& finding) {
        if (auto change = observe(key.first, key.second, finding, now, wall)) out.push_back(*std::move(change));
    };
    std::vector<Key> fine;
    for (auto const& [key, entry] : entries_)
        if (!findings.all().contains(key) && !findings.is_open(key)) fine.push_back(key);
    for (const Key& key : fine) take(key, Finding::healthy());
    for (auto const& [key, finding] : findings.all())
        if (!findings.is_open(key)) take(key, finding);
    return out;
}

HealthChange HealthLedger::worsen(const Key& key, Entry& entry, const Finding& finding, Instant now,
                                  WallTime wall) {
    if (entry.recovered) {
        bool const again = now - *entry.recovered < options_.forgive;
        entry.relapses = again ? entry.relapses + 1 : 0;
        entry.recovered.reset();
    }
    HealthChange const change{key.first, key.second, entry.state, finding.state, finding.reason};
    entry.state = finding.state;
    entry.reason = finding.reason;
    entry.since = wall;
    entry.better_since.reset();
    return change;
}

std::optional<HealthChange> HealthLedger::ease(const Key& key, Entry& entry, const Finding& finding, Instant now,
                                               WallTime wall) {
    if (!entry.better_since) {
        entry.better_since = now;
        entry.better = finding.state;
        entry.better_reason = finding.reason;
    } else if (finding.state >= entry.better) {
        entry.better = finding.state;
        entry.better_reason = finding.reason;
    }
    if (now - *entry.better_since < calm(entry)) return std::nullopt;
    HealthChange const change{key.first, key.second, entry.state, entry.better, entry.reason};
    entry.state = entry.better;
    entry.reason = entry.better_reason;
    entry.since = wall;
    entry.better_since.reset();
    if (entry.state == HealthState::kHealthy) entry.recovered = now;
    return change;
}

Duration HealthLedger::calm(const Entry& entry) const {
    return std::min(options_.calm * (i64{1} << std::min<u32>(entry.relapses, 16)), options_.calm_most);
}

bool HealthLedger::make_room() {
    auto oldest = entries_.end();
    for (auto each = entries_.begin(); each != entries_.end(); ++each)
        if (each->second.state == HealthState::kHealthy &&
            (oldest == entries_.end() || each->second.since < oldest->second.since))
            oldest = each;
    if (oldest == entries_.end()) return false;
    entries_.erase(oldest);
    return true;
}

void HealthLedger::forget(const Subject& subject) {
    std::erase_if(entries_, [&](const auto& item) { return item.first.first == subject; });
}

std::vector<HealthLedger::Record> HealthLedger::records() const {
    std::vector<Record> out;
    for (auto const& [key, entry] : entries_)
        out.push_back(Record{key.first, key.second, entry.state, entry.reason, entry.since});
    return out;
}

HealthState HealthLedger::state(const Subject& subject, HealthLevel level) const {
    auto const found = entries_.find(Key{subject, level});
    return found == entries_.end() ? HealthState::kHealthy : found->second.state;
}

}  // namespace corelet
