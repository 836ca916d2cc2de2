#include <algorithm>

#include "base/assert.h"
#include "raft/codec.h"
#include "raft/effects.h"

namespace corelet::raft {
namespace {

void drop_up_to(std::vector<Entry>& entries, Index last) {
    auto const keep =
        std::find_if(entries.begin(), entries.end(), [last](const Entry& entry) { return entry.at.index > last; });
    entries.erase(entries.begin(), keep);
}

void drop_from(std::vector<Entry>& entries, Index first) {
    while (!entries.empty() && entries.back().at.index >= first) entries.pop_back();
}

}  // namespace

void absorb(Restored& durable, const Persist& batch) {
    durable.hard_state = batch.hard_state;
    durable.rotten = {};  // the first batch after a start carries it on, in the hard state
    if (batch.snapshot) {
        CORELET_ASSERT(!durable.snapshot || durable.snapshot->last.index < batch.snapshot->last.index);
        durable.snapshot = batch.snapshot;
        if (batch.reset_log) durable.entries.clear();
        drop_up_to(durable.entries, batch.compact_to);
    }
    if (batch.truncate_from > 0) drop_from(durable.entries, batch.truncate_from);
    for (const Entry& entry : batch.entries) {
        CORELET_ASSERT(durable.entries.empty() || durable.entries.back().at.index + 1 == entry.at.index);
        durable.entries.push_back(entry);
    }
}

void absorb(Restored& durable, const Snapshot& snapshot, Index compact_to) {
    CORELET_ASSERT(compact_to <= snapshot.last.index);
    if (durable.snapshot && durable.snapshot->last.index >= snapshot.last.index) return;
    CORELET_ASSERT(!durable.entries.empty() && durable.entries.back().at.index >= snapshot.last.index,
                   "a snapshot of what is not durable");
    durable.snapshot = snapshot;
    drop_up_to(durable.entries, compact_to);
}

Restored bootstrap(const Configuration& configuration) {
    CORELET_ASSERT(configuration.well_formed() && !configuration.voters.empty());
    Restored first;
    first.hard_state.term = Term(1);
    first.hard_state.commit = 1;
    first.entries.push_back(
        make_entry({Term(1), 1}, EntryKind::kConfiguration, encode_configuration(configuration)));
    return first;
}

}  // namespace corelet::raft
