#include "catalog/state.h"

namespace corelet {

namespace {
usize size_of(const KeyValue& item) {
    return item.key.size() + item.value.size() + k_catalog_item_bytes;
}
}  // namespace

Result<void> check_transaction(const Transaction& transaction) {
    usize const parts = transaction.operations.size() + transaction.compares.size() + transaction.reads.size();
    if (parts > k_catalog_operations_max)
        return fail(Code::kInvalid,
                    "a transaction of more than " + std::to_string(k_catalog_operations_max) + " parts; split it",
                    parts);
    usize bytes = parts * k_catalog_item_bytes;
    auto const fits = [&bytes](const std::string& key, const std::string& value) {
        bytes += key.size() + value.size();
        return !key.empty() && key.size() <= k_catalog_key_bytes_max;
    };
    bool keys = true;
    for (const Operation& operation : transaction.operations) keys = fits(operation.key, operation.value) && keys;
    for (const Compare& compare : transaction.compares) keys = fits(compare.key, compare.value) && keys;
    for (const std::string& key : transaction.reads) keys = fits(key, {}) && keys;
    if (!keys)
        return fail(Code::kInvalid,
                    "a key has between 1 and " + std::to_string(k_catalog_key_bytes_max) + " bytes");
    if (bytes > k_catalog_transaction_bytes_max)
        return fail(Code::kInvalid,
                    "a transaction of " + std::to_string(bytes) + " bytes; the catalog takes " +
                        std::to_string(k_catalog_transaction_bytes_max),
                    bytes);
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
    if (parsed.level() > level_)
        return refusal(Code::kUnsupported, "the catalog is at feature level " + std::to_string(level_) +
                                               ", the command needs " + std::to_string(parsed.level()));
    if (parsed.has_request()) {
        if (const pb::CatalogResult* const before = recall(parsed.request())) {
            pb::CatalogResult result = *before;
            if (parsed.has_transaction()) add_values(decode_transaction(parsed.transaction()), result);
            return result;
        }
    }
    pb::CatalogResult result = run(parsed);
    result.set_revision(revision_.v);
    // A refusal changed nothing: a repeat may be judged anew.
    if (parsed.has_request() && result.code() == 0) remember(parsed.request(), result);
    return result;
}

pb::CatalogResult CatalogState::run(const pb::CatalogCommand& command) {
    pb::CatalogResult result;
    if (command.has_transaction()) {
        Transaction const transaction = decode_transaction(command.transaction());
        if (auto const valid = check_transaction(transaction); !valid)
            return refusal(valid.error().code, valid.error().message);
        result = run_transaction(transaction);
    } else if (command.grant_lease_ttl_ns() != 0) {
        if (leases_.size() >= k_catalog_leases_max)
            return refusal(Code::kNoSpace, "the catalog has no room for another lease");
        LeaseId const lease(next_lease_++);
        leases_.emplace(lease, Lease{Duration{static_cast<i64>(command.grant_lease_ttl_ns())}, {}});
        result.set_succeeded(true);
        result.set_lease(lease.v);
    } else if (command.raise_level() != 0) {
        if (command.raise_level() != level_ + 1)
            return refusal(Code::kInvalid,
                           "the feature level rises by one at a time, from " + std::to_string(level_));
        level_ = command.raise_level();
        result.set_succeeded(true);
    }
    for (u64 lease : command.end_leases()) end_lease(LeaseId(lease));
    if (command.end_leases_size() != 0) result.set_succeeded(true);
    return result;
}

pb::CatalogResult CatalogState::read(const Transaction& transaction) const {
    pb::CatalogResult result;
    result.set_succeeded(std::all_of(transaction.compares.begin(), transaction.compares.end(),
                                     [&](const Compare& c) { return holds(c); }));
    result.set_revision(revision_.v);
    add_values(transaction, result);
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

// How much larger the items are afterwards, at most: what a prefix deletes is not counted twice where a key is
// named as well.
i64 CatalogState::growth(const Transaction& transaction) const {
    i64 grown = 0;
    std::map<std::string_view, i64> now;  // of keys the transaction has touched
    auto const size_now = [&](std::string_view key) {
        auto const touched = now.find(key);
        if (touched != now.end()) return touched->second;
        const KeyValue* const item = find(key);
        return item ? static_cast<i64>(size_of(*item)) : i64{0};
    };
    auto const becomes = [&](std::string_view key, i64 size) {
        grown += size - size_now(key);
        now[key] = size;
    };
    for (const Operation& operation : transaction.operations) {
        switch (operation.kind) {
            case Operation::Kind::kPut:
                becomes(operation.key,
                        static_cast<i64>(operation.key.size() + operation.value.size() + k_catalog_item_bytes));
                break;
            case Operation::Kind::kDelete:
                becomes(operation.key, 0);
                break;
            case Operation::Kind::kDeletePrefix:
                for (auto at = items_.lower_bound(operation.key);
                     at != items_.end() && at->first.starts_with(operation.key); ++at)
                    becomes(at->first, 0);
                for (auto at = now.lower_bound(operation.key);
                     at != now.end() && at->first.starts_with(operation.key); ++at)
                    becomes(at->first, 0);
                break;
        }
    }
    return grown;
}

// Deletes pass, and whatever makes the catalog no larger.
Result<void> CatalogState::check_room(const Transaction& transaction) const {
    i64 const grown = growth(transaction);
    if (grown <= 0 || bytes_ + static_cast<usize>(grown) <= k_catalog_bytes_max) return {};
    return fail(Code::kNoSpace, "the catalog is full: " + std::to_string(bytes_) + " of " +
                                    std::to_string(k_catalog_bytes_max) + " bytes");
}

std::optional<pb::CatalogResult> CatalogState::why_not(const Transaction& transaction) const {
    for (const Operation& operation : transaction.operations)
        if (operation.kind == Operation::Kind::kPut && !operation.lease.is_zero() &&
            !leases_.contains(operation.lease))
            return refusal(Code::kInvalid, "lease " + std::to_string(operation.lease.v) + " does not exist");
    if (auto const room = check_room(transaction); !room) return refusal(room.error().code, room.error().message);
    return std::nullopt;
}

pb::CatalogResult CatalogState::run_transaction(const Transaction& transaction) {
    bool const all = std::all_of(transaction.compares.begin(), transaction.compares.end(),
                                 [&](const Compare& c) { return holds(c); });
    pb::CatalogResult result;
    if (all) {
        if (auto refused = why_not(transaction)) return *std::move(refused);
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
    } else {
        bytes_ -= size_of(item);
    }
    if (!item.lease.is_zero() && item.lease != operation.lease)
        if (auto const old = leases_.find(item.lease); old != leases_.end()) old->second.keys.erase(operation.key);
    item.value = operation.value;
    item.mod_revision = revision_;
    item.lease = operation.lease;
    if (!operation.lease.is_zero()) leases_.at(operation.lease).keys.insert(operation.key);
    bytes_ += size_of(item);
    note(item, false, revision_);
}

void CatalogState::erase(const std::string& key) {
    auto const found = items_.find(key);
    if (found == items_.end()) return;
    if (auto const lease = leases_.find(found->second.lease); lease != leases_.end()) lease->second.keys.erase(key);
    KeyValue gone;
    gone.key = key;
    gone.mod_revision = revision_;
    bytes_ -= size_of(found->second);
    items_.erase(found);
    note(gone, true, revision_);
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

void CatalogState::note(const KeyValue& item, bool deleted, Revision revision) {
    history_bytes_ += size_of(item);
    history_.push_back(Change{revision, WatchEvent{deleted, item}});
    while (history_.size() > k_catalog_history_kept ||
           (history_bytes_ > k_catalog_history_bytes && history_.size() > 1)) {
        history_bytes_ -= size_of(history_.front().event.item);
        history_from_ = history_.front().revision;
        history_.pop_front();
    }
}

std::optional<CatalogState::Changes> CatalogState::changes_after(Revision from) const {
    if (from < history_from_) return std::nullopt;
    auto const first = std::ranges::partition_point(history_, [&](const Change& c) { return c.revision <= from; });
    return Changes(first, history_.end());
}

const KeyValue* CatalogState::find(std::string_view key) const {
    auto const found = items_.find(key);
    return found == items_.end() ? nullptr : &found->second;
}

RangeResult CatalogState::range(std::string_view prefix) const {
    RangeResult out;
    out.revision = revision_;
    for (auto const& [key, item] : items(prefix)) out.items.push_back(item);
    return out;
}

std::ranges::subrange<CatalogState::Items::const_iterator> CatalogState::items(std::string_view prefix) const {
    auto const first = items_.lower_bound(prefix);
    auto end = first;
    while (end != items_.end() && end->first.starts_with(prefix)) ++end;
    return {first, end};
}

void CatalogState::remember(const pb::RequestId& request, const pb::CatalogResult& result) {
    RequestKey const key{request.client(), request.number()};
    pb::CatalogResult& kept = done_index_[key];
    kept = result;
    kept.clear_values();
    done_.push_back(key);
    if (done_.size() <= k_catalog_requests_kept) return;
    done_index_.erase(done_.front());
    done_.pop_front();
}

const pb::CatalogResult* CatalogState::recall(const pb::RequestId& request) const {
    auto const found = done_index_.find({request.client(), request.number()});
    return found == done_index_.end() ? nullptr : &found->second;
}

std::string CatalogState::encode_snapshot() const {
    pb::CatalogSnapshot out;
    out.set_revision(revision_.v);
    out.set_next_lease(next_lease_);
    out.set_level(level_);
    for (auto const& [key, item] : items_) encode_item(item, *out.add_items());
    for (auto const& [id, lease] : leases_) {
        auto* const l = out.add_leases();
        l->set_id(id.v);
        l->set_ttl_ns(static_cast<u64>(lease.ttl.ns));
    }
    for (const RequestKey& key : done_) {
        const pb::CatalogResult& result = done_index_.at(key);
        auto* const d = out.add_done();
        d->mutable_request()->set_client(key.first);
        d->mutable_request()->set_number(key.second);
        d->set_succeeded(result.succeeded());
        d->set_revision(result.revision());
        d->set_lease(result.lease());
        d->set_code(result.code());
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
    level_ = std::max(in.level(), 1U);
    for (const auto& lease : in.leases())
        leases_.emplace(LeaseId(lease.id()), Lease{Duration{static_cast<i64>(lease.ttl_ns())}, {}});
    for (const auto& encoded : in.items()) {
        KeyValue item = decode_item(encoded);
        if (auto const lease = leases_.find(item.lease); lease != leases_.end())
            lease->second.keys.insert(item.key);
        bytes_ += size_of(item);
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

void CatalogState::tell(Revision after, usize bytes_max, pb::CatalogPullReply& reply) const {
    reply.set_revision(revision_.v);
    // Who lags behind the one that asks has nothing to say to it: there are no changes after that.
    auto const changes = after.is_zero() ? std::nullopt : changes_after(after);
    if (!changes) {
        reply.set_whole(true);
        for (auto const& [key, item] : items_) encode_item(item, *reply.add_changes()->mutable_item());
        return;
    }
    usize bytes = 0;
    Revision told = after;
    for (const Change& change : *changes) {
        if (bytes > bytes_max && change.revision != told) {
            reply.set_revision(told.v);
            return;
        }
        auto* const out = reply.add_changes();
        encode_item(change.event.item, *out->mutable_item());
        out->set_deleted(change.event.deleted);
        bytes += size_of(change.event.item);
        told = change.revision;
    }
}

void CatalogState::mirror(const pb::CatalogPullReply& pulled) {
    if (Revision(pulled.revision()) < revision_ && !pulled.whole()) return;
    if (pulled.whole()) {
        // What happened in between is not known, only what there is now: watches are told that they missed
        // something.
        items_.clear();
        bytes_ = 0;
        history_.clear();
        history_bytes_ = 0;
        for (const auto& change : pulled.changes()) {
            KeyValue item = decode_item(change.item());
            bytes_ += size_of(item);
            std::string key = item.key;
            items_.emplace(std::move(key), std::move(item));
        }
        history_from_ = revision_ = Revision(pulled.revision());
        return;
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
        if (const KeyValue* const known = find(item.key)) bytes_ -= size_of(*known);
        bytes_ += size_of(item);
        note(item, false, item.mod_revision);
        items_[item.key] = item;
    }
    revision_ = std::max(revision_, Revision(pulled.revision()));
}

}  // namespace corelet
