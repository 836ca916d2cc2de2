// What the catalog holds at most, everywhere alike: a command that one voter takes must fit all others' journals.
// Beyond a bound the request is refused with the reason; nothing is lost and deletes still pass.
#pragma once

#include "base/types.h"
#include "raft/options.h"

namespace corelet {

inline constexpr usize k_catalog_key_bytes_max = 1024;
// One transaction: keys, values and a fixed share for each part. Of the same order as etcd's 1.5 MiB a request.
inline constexpr usize k_catalog_transaction_bytes_max = 896 * k_kib;
inline constexpr usize k_catalog_operations_max = 1024;
// All keys and values, and k_catalog_item_bytes for each.
inline constexpr usize k_catalog_bytes_max = 3 * k_mib + 512 * k_kib;
inline constexpr usize k_catalog_item_bytes = 64;
inline constexpr usize k_catalog_leases_max = 8192;
// Results remembered, so that a repeat finds its own success.
inline constexpr usize k_catalog_requests_kept = 8192;
// Changes remembered for watches and mirrors: no more than either.
inline constexpr usize k_catalog_history_kept = 8192;
inline constexpr usize k_catalog_history_bytes = 2 * k_mib;
// One answer to a mirror: changes beyond it come with the next.
inline constexpr usize k_catalog_pull_bytes = 512 * k_kib;

// The state machine as a snapshot: items, leases (20 bytes each), requests (40 bytes each), and some room.
inline constexpr usize k_catalog_snapshot_bytes_max =
    k_catalog_bytes_max + 20 * k_catalog_leases_max + 40 * k_catalog_requests_kept + 256 * k_kib;

// The consensus core's bounds. What lies on media after a compaction is a snapshot, what trails it, and what is not
// committed yet.
[[nodiscard]] inline raft::Options catalog_raft_options() {
    raft::Options options;
    options.entry_bytes_max = 960 * k_kib;  // fits a frame of the wire and a record of the journal
    options.persist_bytes_max = 1 * k_mib;
    options.uncommitted_bytes_max = 1 * k_mib + 256 * k_kib;
    options.log_bytes_max = 64 * k_mib;
    options.snapshot_bytes_max = k_catalog_snapshot_bytes_max;
    options.snapshot_due_bytes = 4 * k_mib;
    options.trailing_bytes = 256 * k_kib;
    return options;
}
// What a journal must be able to hold as its state, and as one record, to serve a voter.
inline constexpr usize k_catalog_journal_state_bytes =
    k_catalog_snapshot_bytes_max + 256 * k_kib + 1 * k_mib + 256 * k_kib + 64 * k_kib;
inline constexpr usize k_catalog_journal_record_bytes = 1 * k_mib + 32 * k_kib;

}  // namespace corelet
