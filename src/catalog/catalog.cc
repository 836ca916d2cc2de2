#include "catalog/catalog.h"

#include "catalog/state.h"

namespace corelet {

Transaction& Transaction::require_missing(std::string key) {
    compares.push_back(Compare{Compare::Kind::kMissing, std::move(key), {}, {}});
    return *this;
}
Transaction& Transaction::require_exists(std::string key) {
    compares.push_back(Compare{Compare::Kind::kExists, std::move(key), {}, {}});
    return *this;
}
Transaction& Transaction::require_revision(std::string key, Revision revision) {
    if (revision.is_zero()) return require_missing(std::move(key));
    compares.push_back(Compare{Compare::Kind::kModRevision, std::move(key), revision, {}});
    return *this;
}
Transaction& Transaction::put(std::string key, std::string value, LeaseId lease) {
    operations.push_back(Operation{Operation::Kind::kPut, std::move(key), std::move(value), lease});
    return *this;
}
Transaction& Transaction::remove(std::string key) {
    operations.push_back(Operation{Operation::Kind::kDelete, std::move(key), {}, {}});
    return *this;
}
Transaction& Transaction::read(std::string key) {
    reads.push_back(std::move(key));
    return *this;
}

const KeyValue* TransactionResult::find(std::string_view key) const {
    for (const KeyValue& item : values)
        if (item.key == key) return &item;
    return nullptr;
}

Task<Result<std::optional<KeyValue>>> Catalog::get(std::string key, Instant deadline) {
    Transaction transaction;
    transaction.read(key);
    CO_TRY(TransactionResult result, co_await commit(std::move(transaction), deadline));
    const KeyValue* const found = result.find(key);
    co_return found ? std::optional<KeyValue>(*found) : std::nullopt;
}

RangeResult Catalog::local_range(std::string_view prefix) const {
    return local().range(prefix);
}

}  // namespace corelet
