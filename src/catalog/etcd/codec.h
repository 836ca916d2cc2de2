// What is said to etcd and what it answers, in the JSON of its gateway (etcd's api_grpc_gateway, version 3). Pure.
#pragma once

#include "catalog/etcd/http_connection.h"
#include "catalog/etcd/key_space.h"
#include "catalog/etcd/plan.h"

namespace corelet::etcd {

// Who answered. One member's term only grows.
struct Header {
    u64 member = 0;
    u64 term = 0;
    Revision revision;  // of the store, after what was asked
};

struct Slot {
    u64 client = 0;
    u64 number = 0;
    Revision revision;  // of its key's last change; zero: the key is not there
};

// --- transactions (request_slots.h says why)
// What a slot's key holds.
inline constexpr std::string_view k_slot_made = "made";
inline constexpr std::string_view k_slot_done = "done";  // the transaction that was tried by it took effect
inline constexpr std::string_view k_slot_void = "void";  // it did not, and never will

// All of it takes effect if the slot has not moved and all compares hold, and it moves the slot.
[[nodiscard]] std::string encode_attempt(const KeySpace& keys, const Slot& slot, const Transaction& transaction,
                                         const std::vector<Effect>& effects);
// Moves the slot if it has not moved, so that what was tried before can take effect no more.
[[nodiscard]] std::string encode_settling(const KeySpace& keys, const Slot& slot,
                                          const std::vector<std::string>& reads);
[[nodiscard]] std::string encode_making(const KeySpace& keys, const Slot& slot, LeaseId lease);
// Compares and reads, and no operations.
[[nodiscard]] std::string encode_reading(const KeySpace& keys, const Transaction& transaction);

struct TransactionAnswer {
    Header header;
    bool succeeded = false;
    std::vector<KeyValue> values;  // of `reads` that exist, in order asked
    // The slot's key, where it was read.
    Revision slot_revision;
    std::string slot_value;
};
[[nodiscard]] Result<TransactionAnswer> decode_transaction(const KeySpace& keys, const HttpAnswer& answer);

// --- the rest
// The catalog's keys that begin with `prefix`.
[[nodiscard]] std::string encode_range(const KeySpace& keys, std::string_view prefix);
// A linearizable read of nothing: what it tells is that a quorum answers, and the header.
[[nodiscard]] std::string encode_probe(const KeySpace& keys);
struct RangeAnswer {
    Header header;
    std::vector<KeyValue> items;
};
[[nodiscard]] Result<RangeAnswer> decode_range(const KeySpace& keys, const HttpAnswer& answer);

[[nodiscard]] std::string encode_grant(LeaseId lease, Duration ttl);  // whole seconds, rounded up
[[nodiscard]] std::string encode_lease(LeaseId lease);                // to keep it alive, or to revoke it
struct LeaseAnswer {
    Header header;
    bool lives = false;
};
[[nodiscard]] Result<LeaseAnswer> decode_lease(const HttpAnswer& answer);
// For answers whose header is all that counts.
[[nodiscard]] Result<Header> decode_header(const HttpAnswer& answer);

[[nodiscard]] std::string encode_watch(const KeySpace& keys, Revision from);  // all changes at and after it
struct WatchAnswer {
    bool ended = false;      // it says no more
    bool compacted = false;  // because what it asked for is no longer kept
    Revision revision;       // of the last change told; zero: none was
    struct Change {
        bool deleted = false;
        KeyValue item;
    };
    std::vector<Change> changes;  // of the catalog's own keys
};
[[nodiscard]] Result<WatchAnswer> decode_watch(const KeySpace& keys, std::string_view line);

// An error that says that the request had no effect and never will. Others leave that open.
[[nodiscard]] bool is_refusal(const Error& error);

}  // namespace corelet::etcd
