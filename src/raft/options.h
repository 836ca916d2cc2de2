// Times and bounds of the core. All voters of a group should use the same.
#pragma once

#include "base/time.h"
#include "base/types.h"

namespace corelet::raft {

struct Options {
    Duration heartbeat = 500_ms;
    // The timeout is drawn anew each time, uniform between the two. For the shorter of them a voter that hears from
    // a leader helps to elect no other.
    Duration election_timeout_min = 1500_ms;
    Duration election_timeout_max = 3_s;
    // A read that is not decided by then fails with kTimeout.
    Duration read_timeout = 6_s;

    // One proposal. Longer ones are refused (kInvalid).
    usize entry_bytes_max = 1 * k_mib;
    // One append message: at least one entry, more while they fit.
    usize append_bytes_max = 256 * k_kib;
    // Append messages to one follower that it has not answered yet.
    usize appends_in_flight_max = 16;
    // Proposed and not committed; beyond it proposals are refused (kOverloaded).
    usize uncommitted_bytes_max = 16 * k_mib;
    // The whole log in memory; beyond it proposals are refused (kOverloaded) until a snapshot is saved.
    usize log_bytes_max = 256 * k_mib;
    // Handed out to be applied at once; at least one entry.
    usize apply_bytes_max = 4 * k_mib;
    // Entries of one batch of the journal: at least one, more while they fit. The rest goes into the next batch.
    usize persist_bytes_max = 1 * k_mib;
    // Reads not decided yet, own and forwarded; beyond it they are refused (kOverloaded).
    usize reads_max = 4096;
    // Rounds of heartbeats for reads that are out at once; later reads share the next one.
    usize read_rounds_max = 4;

    // Messages that wait for the next take(), or for the journal; beyond it they are dropped, as a network may.
    usize outbox_messages_max = 4096;

    usize snapshot_chunk_bytes = 256 * k_kib;
    usize snapshot_bytes_max = 512 * k_mib;
    // A snapshot is due when the log, but for what trails, is longer than this.
    usize snapshot_due_bytes = 16 * k_mib;
    u64 snapshot_due_entries = 10'000;
    // Entries kept behind a snapshot for followers that lag a little: no more than either.
    u64 trailing_entries = 1'000;
    usize trailing_bytes = 256 * k_kib;
    // A learner is promoted when it lags by no more entries than this.
    u64 promote_lag_max = 64;
};

}  // namespace corelet::raft
