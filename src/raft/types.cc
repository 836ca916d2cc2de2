#include "raft/types.h"

#include <algorithm>

#include "base/assert.h"
#include "base/checksum.h"
#include "base/codec.h"

namespace corelet::raft {
namespace {

u32 entry_crc(const Entry& entry) {
    Writer head;
    head.put(entry.at.term).put(entry.at.index).put(static_cast<u8>(entry.kind));
    return crc32c(entry.data.bytes(), crc32c(head.bytes()));
}

u32 snapshot_crc(const Snapshot& snapshot) {
    Writer head;
    head.put(snapshot.last.term).put(snapshot.last.index);
    for (CoreletId id : snapshot.configuration.voters) head.put(id);
    head.put(u64{0});
    for (CoreletId id : snapshot.configuration.learners) head.put(id);
    return crc32c(snapshot.state.bytes(), crc32c(head.bytes()));
}

bool strictly_sorted(const std::vector<CoreletId>& ids) {
    return std::adjacent_find(ids.begin(), ids.end(), std::greater_equal<>()) == ids.end() &&
           (ids.empty() || !ids.front().is_zero());
}

}  // namespace

bool Entry::verifies() const {
    return crc == entry_crc(*this);
}

Entry make_entry(Position at, EntryKind kind, Payload data) {
    CORELET_ASSERT(at.index > 0 && at.term.v > 0);
    Entry entry{at, kind, std::move(data), 0};
    entry.crc = entry_crc(entry);
    return entry;
}

bool Configuration::is_voter(CoreletId id) const {
    return std::binary_search(voters.begin(), voters.end(), id);
}
bool Configuration::is_learner(CoreletId id) const {
    return std::binary_search(learners.begin(), learners.end(), id);
}

bool Configuration::well_formed() const {
    return strictly_sorted(voters) && strictly_sorted(learners) &&
           std::none_of(learners.begin(), learners.end(), [this](CoreletId id) { return is_voter(id); });
}

bool Snapshot::verifies() const {
    return configuration.well_formed() && crc == snapshot_crc(*this);
}

Snapshot make_snapshot(Position last, Configuration configuration, Payload state) {
    CORELET_ASSERT(last.index > 0 && configuration.well_formed());
    Snapshot snapshot{last, std::move(configuration), std::move(state), 0};
    snapshot.crc = snapshot_crc(snapshot);
    return snapshot;
}

}  // namespace corelet::raft
