// A transaction as etcd takes it: each key written at most once, nothing both written and deleted, no more parts
// than etcd allows. Pure.
#pragma once

#include "catalog/catalog.h"

namespace corelet::etcd {

// What etcd's server takes unless it was told otherwise (--max-txn-ops); one part of each list is our own.
inline constexpr usize k_parts_max = 128;

struct Effect {
    enum class Kind : u8 { kPut, kDelete, kDeleteRange };
    Kind kind = Kind::kPut;
    std::string key;
    std::string end;  // kDeleteRange: the keys from `key` to before this one; empty: all from `key` on
    std::string value;
    LeaseId lease;
};

// The same outcome as the operations one after the other: the last one on a key counts. A key that is deleted and
// then written keeps its create_revision. kInvalid: more parts than etcd takes in one transaction.
[[nodiscard]] Result<std::vector<Effect>> plan_effects(const Transaction& transaction);

}  // namespace corelet::etcd
