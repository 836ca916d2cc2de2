// The catalog's state machine: keys with revisions, transactions, leases, request ids. Deterministic and pure: the
// same commands in the same order give the same state everywhere, now and in later versions (a command applies only
// by rules of the committed feature level).
#pragma once

#include <deque>
#include <set>

#include "base/bytes.h"
#include "catalog/catalog.h"
#include "catalog/catalog.pb.h"
#include "catalog/limits.h"

namespace corelet {

// The feature level that this version knows. A catalog above it must not be applied by this version.
inline constexpr u32 k_catalog_level_known = 1;

// kInvalid, with what is too large.
[[nodiscard]] Result<void> check_transaction(const Transaction& transaction);
void encode_transaction(const Transaction& transaction, pb::CatalogTransaction& out);
[[nodiscard]] Transaction decode_transaction(const pb::CatalogTransaction& in);
void encode_item(const KeyValue& item, pb::CatalogItem& out);
[[nodiscard]] KeyValue decode_item(const pb::CatalogItem& in);

class CatalogState {
  public:
    // Applies one entry of the log. One that is malformed, beyond a bound, or of a level that is not committed
    // changes nothing and says so in the result's code (kInvalid, kNoSpace, kUnsupported).
    [[nodiscard]] pb::CatalogResult apply(Bytes command);
    // What the transaction would give without its operations: for reads, which need no entry of the log.
    [[nodiscard]] pb::CatalogResult read(const Transaction& transaction) const;

    // kNoSpace: with the transaction it would hold more than it may.
    [[nodiscard]] Result<void> check_room(const Transaction& transaction) const;

    [[nodiscard]] Revision revision() const { return revision_; }
    [[nodiscard]] u32 level() const { return level_; }
    // Of all items, as bounded by k_catalog_bytes_max.
    [[nodiscard]] usize bytes() const { return bytes_; }
    [[nodiscard]] const KeyValue* find(std::string_view key) const;
    [[nodiscard]] RangeResult range(std::string_view prefix) const;
    // The same, looked at where it is kept, so only until the state changes: pairs of key and item.
    using Items = std::map<std::string, KeyValue, std::less<>>;
    [[nodiscard]] std::ranges::subrange<Items::const_iterator> items(std::string_view prefix) const;
    struct Lease {
        Duration ttl;
        std::set<std::string> keys;
    };
    [[nodiscard]] const std::map<LeaseId, Lease>& leases() const { return leases_; }

    struct Change {
        Revision revision;
        WatchEvent event;
    };
    // Oldest first; looked at where they are kept, so only until the state changes.
    using Changes = std::ranges::subrange<std::deque<Change>::const_iterator>;
    // Those after `from`; none if some of them are no longer kept.
    [[nodiscard]] std::optional<Changes> changes_after(Revision from) const;

    [[nodiscard]] std::string encode_snapshot() const;
    // Replaces everything. kCorrupt leaves the state as it was.
    [[nodiscard]] Result<void> restore_snapshot(Bytes snapshot);

    // For the mirror of a corelet that holds no log: what it lacks after `after`, or everything if that is zero or
    // no longer known. Whole revisions, at least one, until they exceed `bytes_max`; the rest comes with its next
    // pull.
    void tell(Revision after, usize bytes_max, pb::CatalogPullReply& reply) const;
    // What a pull brought.
    void mirror(const pb::CatalogPullReply& pulled);

  private:
    using RequestKey = std::pair<u64, u64>;  // client and number
    [[nodiscard]] bool holds(const Compare& compare) const;
    void put(const Operation& operation);
    void erase(const std::string& key);
    void erase_prefix(const std::string& prefix);
    void end_lease(LeaseId lease);
    void note(const KeyValue& item, bool deleted, Revision revision);
    [[nodiscard]] pb::CatalogResult run(const pb::CatalogCommand& command);
    [[nodiscard]] pb::CatalogResult run_transaction(const Transaction& transaction);
    [[nodiscard]] std::optional<pb::CatalogResult> why_not(const Transaction& transaction) const;
    [[nodiscard]] i64 growth(const Transaction& transaction) const;
    void remember(const pb::RequestId& request, const pb::CatalogResult& result);
    [[nodiscard]] const pb::CatalogResult* recall(const pb::RequestId& request) const;
    void add_values(const Transaction& transaction, pb::CatalogResult& result) const;

    Revision revision_{1};
    u64 next_lease_ = 1;
    u32 level_ = 1;
    Items items_;
    usize bytes_ = 0;
    std::map<LeaseId, Lease> leases_;
    std::deque<RequestKey> done_;                         // oldest first
    std::map<RequestKey, pb::CatalogResult> done_index_;  // without values
    std::deque<Change> history_;
    usize history_bytes_ = 0;
    Revision history_from_{1};  // changes after it are all kept
};

}  // namespace corelet
