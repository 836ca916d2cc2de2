// The small, consensus-replicated state of the mesh, in etcd's terms: keys with revisions, compare-and-set
// transactions, watches, leases. Nothing per chunk or per object lives in it.
//
// One interface, several engines behind it (our own on raft; an etcd that runs already; an in-memory one for
// tests), held together by one conformance suite. Every call may wait until its deadline and then fails with
// kTimeout (the commit may or may not have happened) or kUnavailable (no quorum is known). All calls may be
// dropped.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "rt/task.h"

namespace corelet {

// A revision numbers the state; each committed transaction that changes something is one more.
using Revision = Strong<struct RevisionTag>;
// A lease keeps keys alive that are attached to it. Only its expiry or revocation, entries of the log, end it; a
// lapsed one is never revived (protocols 11). Zero: none.
using LeaseId = Strong<struct LeaseIdTag>;

struct KeyValue {
    std::string key;
    std::string value;
    Revision create_revision;
    Revision mod_revision;
    LeaseId lease;
};

struct Compare {
    enum class Kind : u8 {
        kExists,       // the key is there
        kMissing,      // the key is not there
        kModRevision,  // its last change has this revision
        kValue,        // its value equals this one
    };
    Kind kind = Kind::kExists;
    std::string key;
    Revision revision;
    std::string value;
};

struct Operation {
    enum class Kind : u8 { kPut, kDelete, kDeletePrefix };
    Kind kind = Kind::kPut;
    std::string key;
    std::string value;
    LeaseId lease;  // kPut: the key goes when the lease does; kInvalid if there is no such lease
};

struct Transaction {
    std::vector<Compare> compares;  // all must hold
    // As if one after the other: of several on a key the last counts. Whether a key that is deleted and then put
    // has a new create_revision is the engine's affair.
    std::vector<Operation> operations;
    std::vector<std::string>
        reads;  // keys whose values (after the operations, or as they are if a compare fails) are returned

    Transaction& require_missing(std::string key);
    Transaction& require_exists(std::string key);
    Transaction& require_revision(std::string key, Revision revision);  // revision 0: missing
    Transaction& put(std::string key, std::string value, LeaseId lease = {});
    Transaction& remove(std::string key);
    Transaction& read(std::string key);
};

struct TransactionResult {
    bool succeeded = false;
    Revision revision;             // of the state after it
    std::vector<KeyValue> values;  // of `reads` that exist, in order asked
    [[nodiscard]] const KeyValue* find(std::string_view key) const;
};

struct RangeResult {
    Revision revision;
    std::vector<KeyValue> items;  // in key order
};

struct WatchEvent {
    bool deleted = false;
    KeyValue item;  // of a deletion: key and mod_revision only
};
// All changes of one revision under the prefix, in order; revisions only grow.
struct WatchBatch {
    Revision revision;
    std::vector<WatchEvent> events;
};

// A stream of changes. If the reader falls behind its bound, the history was compacted, or this corelet lost touch
// for longer than that, next() fails with kOverloaded: read the range again and watch from its revision.
class Watch {
  public:
    virtual ~Watch() = default;
    [[nodiscard]] virtual Task<Result<WatchBatch>> next() = 0;
};

class CatalogState;

class Catalog {
  public:
    virtual ~Catalog() = default;

    // Atomic. A transaction whose answer was lost is not applied twice: the engine gives each a request id and
    // finds its own success again, with the values of `reads` as they are by then if it has operations. kConflict
    // is not an error here: see `succeeded`.
    [[nodiscard]] virtual Task<Result<TransactionResult>> commit(Transaction transaction, Instant deadline) = 0;
    // Linearizable: sees everything committed before the call.
    [[nodiscard]] virtual Task<Result<RangeResult>> range(std::string prefix, Instant deadline) = 0;
    // What this corelet last heard, at once, also without quorum. Decides nothing. To be looked at, not kept across
    // an await.
    [[nodiscard]] virtual const CatalogState& local() const = 0;
    // A copy of a part of it.
    [[nodiscard]] RangeResult local_range(std::string_view prefix) const;
    // Changes after `from`; with zero, from the present local state on.
    [[nodiscard]] virtual std::unique_ptr<Watch> watch(std::string prefix, Revision from) = 0;

    // A new lease of `ttl` (measured by the engine, never shorter).
    [[nodiscard]] virtual Task<Result<LeaseId>> grant_lease(Duration ttl, Instant deadline) = 0;
    // Success: it lives at least `ttl` from the *sending* of this call. kNotFound: it is gone for ever.
    [[nodiscard]] virtual Task<Result<void>> renew_lease(LeaseId lease, Instant deadline) = 0;
    [[nodiscard]] virtual Task<Result<void>> revoke_lease(LeaseId lease, Instant deadline) = 0;

    // True while this corelet believes that a quorum answers.
    [[nodiscard]] virtual bool is_available() const = 0;
    // Of the mesh's own corelets: those that keep it, and the one that leads them, as far as is known here. Nobody,
    // where it stands outside the mesh.
    [[nodiscard]] virtual std::vector<CoreletId> voters() const { return {}; }
    [[nodiscard]] virtual CoreletId leader() const { return {}; }

    // One key, linearizable; empty if missing.
    [[nodiscard]] Task<Result<std::optional<KeyValue>>> get(std::string key, Instant deadline);
};

}  // namespace corelet
