#include "catalog/etcd/plan.h"

#include "catalog/etcd/key_space.h"

namespace corelet::etcd {

namespace {

using Kind = Operation::Kind;

bool covers(const Operation& operation, const std::string& key) {
    return operation.kind == Kind::kDeletePrefix ? key.starts_with(operation.key) : key == operation.key;
}

// A later deletion leaves nothing of it.
bool is_overtaken(const std::vector<Operation>& operations, usize index) {
    const Operation& operation = operations[index];
    for (usize i = index + 1; i < operations.size(); ++i) {
        const Operation& later = operations[i];
        if (later.kind == Kind::kPut || !covers(later, operation.key)) continue;
        if (operation.kind != Kind::kDeletePrefix || later.kind == Kind::kDeletePrefix) return true;
    }
    return false;
}

std::string end_of(std::string prefix) {
    while (!prefix.empty() && static_cast<u8>(prefix.back()) == 0xff) prefix.pop_back();
    return prefix.empty() ? prefix : end_of_prefix(std::move(prefix));
}

// A deletion leaves out the keys that are written after it, so a prefix's becomes the ranges between them. They are
// appended last one first, like everything here.
void append_deletion(const Operation& deletion, const std::set<std::string>& written, std::vector<Effect>& out) {
    if (deletion.kind == Kind::kDelete) {
        if (!written.contains(deletion.key)) out.push_back({Effect::Kind::kDelete, deletion.key, {}, {}, {}});
        return;
    }
    std::vector<Effect> ranges;
    std::string from = deletion.key;
    for (auto at = written.lower_bound(from); at != written.end() && at->starts_with(deletion.key); ++at) {
        if (from < *at) ranges.push_back({Effect::Kind::kDeleteRange, from, *at, {}, {}});
        from = *at + '\0';
    }
    ranges.push_back({Effect::Kind::kDeleteRange, from, end_of(deletion.key), {}, {}});
    out.insert(out.end(), ranges.rbegin(), ranges.rend());
}

}  // namespace

Result<std::vector<Effect>> plan_effects(const Transaction& transaction) {
    auto const& operations = transaction.operations;
    std::vector<Effect> out;
    std::set<std::string> written;  // by what follows
    for (usize i = operations.size(); i-- > 0;) {
        const Operation& operation = operations[i];
        if (is_overtaken(operations, i)) continue;
        if (operation.kind != Kind::kPut) {
            append_deletion(operation, written, out);
        } else if (written.insert(operation.key).second) {
            out.push_back({Effect::Kind::kPut, operation.key, {}, operation.value, operation.lease});
        }
    }
    std::reverse(out.begin(), out.end());
    usize const parts = std::max(transaction.compares.size(), out.size() + transaction.reads.size()) + 1;
    if (parts > k_parts_max)
        return fail(Code::kInvalid,
                    "a transaction of " + std::to_string(parts) + " parts; etcd takes " +
                        std::to_string(k_parts_max) + ": split it",
                    parts);
    return out;
}

}  // namespace corelet::etcd
