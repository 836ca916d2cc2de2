#include "catalog/state.h"

namespace corelet {

Result<void> check_transaction(const Transaction& transaction) {
    if (transaction.operations.size() + transaction.compares.size() + transaction.reads.size() >
        k_catalog_operations_max)
        return fail(Code::kInvalid,
                    "a transaction of more than " + std::to_string(k_catalog_operations_max) + " parts");
    for (const Operation& operation : transaction.operations)
        if (operation.key.empty() || operation.key.size() > k_catalog_key_bytes_max ||
            operation.value.size() > k_catalog_value_bytes_max)
            return fail(Code::kInvalid, "a key or value beyond its bound");
    for (const Compare& compare : transaction.compares)
        if (compare.key.empty() || compare.key.size() > k_catalog_key_bytes_max)
            return fail(Code::kInvalid, "a key beyond its bound");
    return {};
}

void encode_transaction(const Transaction& transaction, pb::CatalogTransaction& out) {
    for (const Compare& compare : transaction.compares) {
        auto* const c = out.add_compares();
        c->set_kind(static_cast<u32>(compare.kind));
        c->set_key(compare.key);
        c->set_revision(compare.revision.v);
        c->set_value(compare.value);
    }
    for (const Operation& operation : transaction.operations) {
        auto* const o = out.add_operations();
        o->set_kind(static_cast<u32>(operation.kind));
        o->set_key(operation.key);
        o->set_value(operation.value);
        o->set_lease(operation.lease.v);
    }
    for (const std::string& key : transaction.reads) out.add_reads(key);
}

Transaction decode_transaction(const pb::CatalogTransaction& in) {
    Transaction out;
    for (const auto& c : in.compares())
        out.compares.push_back(
            Compare{static_cast<Compare::Kind>(c.kind()), c.key(), Revision(c.revision()), c.value()});
    for (const auto& o : in.operations())
        out.operations.push_back(
            Operation{static_cast<Operation::Kind>(o.kind()), o.key(), o.value(), LeaseId(o.lease())});
    for (const auto& key : in.reads()) out.reads.push_back(key);
    return out;
}

void encode_item(const KeyValue& item, pb::CatalogItem& out) {
    out.set_key(item.key);
    out.set_value(item.value);
    out.set_create_revision(item.create_revision.v);
    out.set_mod_revision(item.mod_revision.v);
    out.set_lease(item.lease.v);
}

KeyValue decode_item(const pb::CatalogItem& in) {
    return KeyValue{in.key(), in.value(), Revision(in.create_revision()), Revision(in.mod_revision()),
                    LeaseId(in.lease())};
}

namespace {
pb::CatalogResult refusal(Code code, std::string message) {
    pb::CatalogResult result;
    result.set_code(static_cast<u32>(code));
    result.set_message(std::move(message));
    return result;
}
}  // namespace

pb::CatalogResult CatalogState::apply(Bytes command) {
    pb::CatalogCommand parsed;
    if (!parsed.ParseFromArray(command.data(), static_cast<int>(command.size())))
        return refusal(Code::kInvalid, "malformed command");
    if (parsed.has_request()) {
        if (const Done* const before = recall(parsed.request())) {
            pb::CatalogResult result = before->result;
            if (parsed.has_transaction()) add_values(decode_transaction(parsed.transaction()), result);
            return result;
        }
    }
    pb::CatalogResult result;
    if (parsed.has_transaction()) {
        Transaction const transaction = decode_transaction(parsed.transaction());
        if (auto const valid = check_transaction(transaction); !valid)
            return refusal(valid.error().code, valid.error().message);
        result = run_transaction(transaction);
    } else if (parsed.grant_lease_ttl_ns() != 0) {
        LeaseId const lease(next_lease_++);
        leases_.emplace(lease, Lease{Duration{static_cast<i64>(parsed.grant_lease_ttl_ns())}, {}});
        result.set_succeeded(true);
        result.set_lease(lease.v);
    }
    for (u64 lease : parsed.end_leases()) end_lease(LeaseId(lease));
    if (parsed.end_leases_size() != 0) result.set_succeeded(true);
    result.set_revision(revision_.v);
    if (parsed.has_request()) remember(parsed.request(), result);
    return result;
}

bool CatalogState::holds(const Compare& compare) const {
    const KeyValue* const item = find(compare.key);
    switch (compare.kind) {
        case Compare::Kind::kExists:
            return item != nullptr;
        case Compare::Kind::kMissing:
            return item == nullptr;
        case Compare::Kind::kModRevision:
            return item && item->mod_revision == compare.revision;
        case Compare::Kind::kValue:
            return item && item->value == compare.value;
    }
    return false;
}

pb::CatalogResult CatalogState::run_transaction(const Transaction& transaction) {
    bool const all = std::all_of(transaction.compares.begin(), transaction.compares.end(),
                                 [&](const Compare& c) { return holds(c); });
    pb::CatalogResult result;
    if (all) {
        for (const Operation& operation : transaction.operations)
            if (operation.kind == Operation::Kind::kPut && !operation.lease.is_zero() &&
                !leases_.contains(operation.lease))
                return refusal(Code::kInvalid, "lease " + std::to_string(operation.lease.v) + " does not exist");
        result.set_succeeded(true);
        if (!transaction.operations.empty()) revision_ = revision_.next();
        for (const Operation& operation : transaction.operations) {
            switch (operation.kind) {
                case Operation::Kind::kPut:
                    put(operation);
                    break;
                case Operation::Kind::kDelete:
                    erase(operation.key);
                    break;
                case Operation::Kind::kDeletePrefix:
                    erase_prefix(operation.key);
                    break;
            }
        }
    }
    add_values(transaction, result);
    return result;
}

void CatalogState::add_values(const Transaction& transaction, pb::CatalogResult& result) const {
    for (const std::string& key : transaction.reads)
        if (const KeyValue* const item = find(key)) encode_item(*item, *result.add_values());
}

void CatalogState::put(const Operation& operation) {
    KeyValue& item = items_[operation.key];
    if (item.key.empty()) {
        item.key = operation.key;
        item.create_revision = revision_;
    }
    if (!item.lease.is_zero() && item.lease != operation.lease)
        if (auto const old = leases_.find(item.lease); old != leases_.end()) old->second.keys.erase(operation.key);
    item.value = operation.value;
    item.mod_revision = revision_;
    item.lease = operation.lease;
    if (!operation.lease.is_zero()) leases_.at(operation.lease).keys.insert(operation.key);
    note(item, false);
}

void CatalogState::erase(const std::string& key) {
    auto const found = items_.find(key);
    if (found == items_.end()) return;
    if (auto const lease = leases_.find(found->second.lease); lease != leases_.end()) lease->second.keys.erase(key);
    KeyValue gone;
    gone.key = key;
    gone.mod_revision = revision_;
    items_.erase(found);
    note(gone, true);
}

void CatalogState::erase_prefix(const std::string& prefix) {
    for (auto at = items_.lower_bound(prefix); at != items_.end() && at->first.starts_with(prefix);) {
        std::string const key = at->first;
        ++at;
        erase(key);
    }
}

void CatalogState::end_lease(LeaseId lease) {
    auto const found = leases_.find(lease);
    if (found == leases_.end()) return;
    std::set<std::string> const keys = found->second.keys;
    if (!keys.empty()) revision_ = revision_.next();
    for (const std::string& key : keys) erase(key);
    leases_.erase(lease);
}

void CatalogState::note(const KeyValue& item, bool deleted) {
    history_.push_back(Change{revision_, WatchEvent{deleted, item}});
    while (history_.size() > k_catalog_history_kept) {
        history_from_ = history_.front().revision;
        history_.pop_front();
    }
}

std::optional<std::vector<CatalogState::Change>> CatalogState::changes_after(Revision from) const {
    if (from < history_from_) return std::nullopt;
    auto const first =
        std::partition_point(history_.begin(), history_.end(), [&](const Change& c) { return c.revision <= from; });
    return std::vector<Change>(first, history_.end());
}

const KeyValue* CatalogState::find(std::string_view key) const {
    auto const found = items_.find(key);
    return found == items_.end() ? nullptr : &found->second;
}

RangeResult CatalogState::range(std::string_view prefix) const {
    RangeResult out;
    out.revision = revision_;
    for (auto at = items_.lower_bound(prefix); at != items_.end() && at->first.starts_with(prefix); ++at)
        out.items.push_back(at->second);
    return out;
}

void CatalogState::remember(const pb::RequestId& request, const pb::CatalogResult& result) {
    Done done{request.client(), request.number(), result};
    done.result.clear_values();
    done_index_[{done.client, done.number}] = done.result;
    done_.push_back(std::move(done));
    if (done_.size() <= k_catalog_requests_kept) return;
    done_index_.erase({done_.front().client, done_.front().number});
    done_.pop_front();
}

const CatalogState::Done* CatalogState::recall(const pb::RequestId& request) const {
    if (!done_index_.contains({request.client(), request.number()})) return nullptr;
    for (auto at = done_.rbegin(); at != done_.rend(); ++at)
        if (at->client == request.client() && at->number == request.number()) return &*at;
    CORELET_UNREACHABLE("a remembered request is in the list");
}

std::string CatalogState::encode_snapshot() const {
    pb::CatalogSnapshot out;
    out.set_revision(revision_.v);
    out.set_next_lease(next_lease_);
    for (auto const& [key, item] : items_) encode_item(item, *out.add_items());
    for (auto const& [id, lease] : leases_) {
        auto* const l = out.add_leases();
        l->set_id(id.v);
        l->set_ttl_ns(static_cast<u64>(lease.ttl.ns));
    }
    for (const Done& done : done_) {
        auto* const d = out.add_done();
        d->mutable_request()->set_client(done.client);
        d->mutable_request()->set_number(done.number);
        d->set_succeeded(done.result.succeeded());
        d->set_revision(done.result.revision());
        d->set_lease(done.result.lease());
        d->set_code(done.result.code());
    }
    return out.SerializeAsString();
}

Result<void> CatalogState::restore_snapshot(Bytes snapshot) {
    pb::CatalogSnapshot in;
    if (!in.ParseFromArray(snapshot.data(), static_cast<int>(snapshot.size())))
        return fail(Code::kCorrupt, "malformed catalog snapshot");
    *this = CatalogState();
    revision_ = Revision(in.revision());
    history_from_ = revision_;
    next_lease_ = in.next_lease();
    for (const auto& lease : in.leases())
        leases_.emplace(LeaseId(lease.id()), Lease{Duration{static_cast<i64>(lease.ttl_ns())}, {}});
    for (const auto& encoded : in.items()) {
        KeyValue item = decode_item(encoded);
        if (auto const lease = leases_.find(item.lease); lease != leases_.end())
            lease->second.keys.insert(item.key);
        std::string key = item.key;
        items_.emplace(std::move(key), std::move(item));
    }
    for (const auto& done : in.done()) {
        pb::CatalogResult result;
        result.set_succeeded(done.succeeded());
        result.set_revision(done.revision());
        result.set_lease(done.lease());
        result.set_code(done.code());
        remember(done.request(), result);
    }
    return {};
}

void CatalogState::mirror(const pb::CatalogPullReply& pulled) {
    if (Revision(pulled.revision()) < revision_ && !pulled.whole()) return;
    if (pulled.whole()) {
        // What is gone is told as deleted, so that watches go on.
        std::set<std::string> present;
        for (const auto& change : pulled.changes()) present.insert(change.item().key());
        std::vector<std::string> gone;
        for (auto const& [key, item] : items_)
            if (!present.contains(key)) gone.push_back(key);
        revision_ = Revision(pulled.revision());
        for (const std::string& key : gone) erase(key);
    }
    for (const auto& change : pulled.changes()) {
        KeyValue item = decode_item(change.item());
        revision_ = std::max(revision_, item.mod_revision);
        if (change.deleted()) {
            Revision const present = revision_;
            revision_ = item.mod_revision;
            erase(item.key);
            revision_ = present;
            continue;
        }
        const KeyValue* const known = find(item.key);
        if (known && known->mod_revision == item.mod_revision) continue;
        item.lease = {};  // leases are the voters' matter
        std::string const key = item.key;
        items_[key] = item;
        history_.push_back(
            Change{pulled.whole() ? Revision(pulled.revision()) : item.mod_revision, WatchEvent{false, item}});
    }
    revision_ = std::max(revision_, Revision(pulled.revision()));
    while (history_.size() > k_catalog_history_kept) {
        history_from_ = history_.front().revision;
        history_.pop_front();
    }
}

}  // namespace corelet
