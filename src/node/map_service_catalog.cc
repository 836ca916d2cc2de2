// MapService: the map in the catalog, read linearizably and changed by compare-and-set (map_record.h says how it
// stands there).
#include "base/fault_point.h"
#include "catalog/limits.h"
#include "catalog/state.h"
#include "node/catalog_keys.h"
#include "node/map_service.h"

namespace corelet {

namespace {

constexpr Duration k_read_again_after = 20_ms;
// Of a map that counts as too large though it is not.
constexpr MapWriteLimits k_limits_parted{0, 2 * k_kib};
static_assert(k_map_whole_bytes_max + k_map_piece_bytes_max < k_catalog_transaction_bytes_max / 2);

// The mark that forbids what the event does: that whom it brings in was removed. Empty: nobody comes in.
std::string forbidding_mark(const mesh::MapEvent& event) {
    if (auto const* const joined = std::get_if<mesh::CoreletJoined>(&event)) return removed_key(joined->corelet.id);
    if (auto const* const replaced = std::get_if<mesh::CoreletReplaced>(&event))
        return removed_key(replaced->fresh.id);
    return {};
}

}  // namespace

// Pieces that are here are not read, and none if the present map is the one of the head. Empty: one of them is
// gone, so the head must have moved on.
Task<Result<std::optional<mesh::Map>>> MapService::assemble(const MapRecord* record, Instant deadline) {
    std::map<std::string, std::string> pieces;
    for (;;) {
        std::string missing;
        auto map = assemble_map(*record, *current_, [&](const std::string& key) -> const std::string* {
            if (auto const found = pieces.find(key); found != pieces.end()) return &found->second;
            if (const KeyValue* const item = catalog_.local().find(key)) return &item->value;
            missing = key;
            return nullptr;
        });
        if (map) co_return std::optional(*std::move(map));
        if (map.error().code != Code::kUnknown) co_return std::unexpected(map.error());
        CO_TRY(auto piece, co_await catalog_.get(missing, deadline));
        if (!piece) co_return std::optional<mesh::Map>();
        pieces[missing] = std::move(piece->value);
    }
}

Task<Result<MapService::Stored>> MapService::read(Instant deadline) {
    for (;;) {
        CO_TRY(auto item, co_await catalog_.get(k_map_key, deadline));
        if (!item) co_return fail(Code::kUnavailable, "the mesh has no map yet");
        CO_TRY(MapRecord record, decode_map_record(item->value, *current_));
        CO_TRY(auto map, co_await assemble(&record, deadline));
        if (map) co_return Stored{std::move(record), *std::move(map), item->mod_revision};
        if (env_.clock.now() >= deadline)
            co_return fail(Code::kCorrupt, "the catalog lacks pieces of the map that it names");
        co_await env_.clock.sleep(k_read_again_after);
    }
}

Task<Result<void>> MapService::refresh(Instant deadline) {
    CO_TRY(Stored stored, co_await read(deadline));
    if (stored.map.epoch > current_->epoch) take(std::move(stored.map));
    co_return {};
}

Task<Result<void>> MapService::create(MeshId mesh, Instant deadline) {
    auto const bytes = mesh::encode_map(mesh::first_map(mesh));
    Transaction transaction;
    transaction.require_missing(k_map_key).put(k_map_key, std::string(bytes.begin(), bytes.end()));
    CO_TRY(auto result, co_await catalog_.commit(std::move(transaction), deadline));
    if (!result.succeeded) co_return fail(Code::kExists, "the mesh has a map");
    co_return {};
}

// Parts of a base are named by their contents: one that is there is the same.
Task<Result<bool>> MapService::commit(MapWrite write, Revision revision, std::string missing, Instant deadline) {
    Transaction last;
    last.require_revision(k_map_key, revision);
    if (!missing.empty()) last.require_missing(std::move(missing));
    for (auto& [key, value] : write.before) {
        last.require_exists(key);
        Transaction first;
        first.require_missing(key).put(key, std::move(value));
        CO_TRY_VOID(co_await catalog_.commit(std::move(first), deadline));
    }
    for (auto& [key, value] : write.with) last.put(key, std::move(value));
    last.put(k_map_key, std::move(write.value));
    CO_TRY(auto const result, co_await catalog_.commit(std::move(last), deadline));
    co_return result.succeeded;
}

Task<Result<void>> MapService::change(mesh::MapEvent event, Instant deadline) {
    std::string const mark = forbidding_mark(event);
    for (;;) {
        CO_TRY(Stored stored, co_await read(deadline));
        CO_TRY(mesh::Map next, mesh::apply_event(stored.map, event));
        if (next.epoch == stored.map.epoch) {
            if (stored.map.epoch > current_->epoch) take(std::move(stored.map));
            co_return {};
        }
        bool const parted = FAULT_POINT("map.parted");
        CO_TRY(MapWrite write,
               plan_map_write(stored.record, stored.map, next, parted ? k_limits_parted : MapWriteLimits{}));
        CO_TRY(bool const committed, co_await commit(std::move(write), stored.revision, mark, deadline));
        if (!committed) {
            // An operator's word may have come between.
            if (mark.empty()) continue;
            CO_TRY(auto const marked, co_await catalog_.get(mark, deadline));
            if (marked) co_return fail(Code::kFenced, "it was removed from the mesh");
            continue;
        }
        if (next.epoch > current_->epoch) take(std::move(next));
        co_return {};
    }
}

std::vector<std::string> MapService::unused_pieces() const {
    const CatalogState& local = catalog_.local();
    const KeyValue* const item = local.find(k_map_key);
    std::vector<std::string> keys;
    for (auto const& [key, piece] : local.items(k_map_pieces_prefix)) keys.push_back(key);
    if (!item || keys.empty()) return {};
    auto const record = decode_map_record(item->value, *current_);
    return record ? pieces_unused(*record, keys) : std::vector<std::string>{};
}

Task<Result<void>> MapService::remove_unused_pieces(Instant deadline) {
    const KeyValue* const item = catalog_.local().find(k_map_key);
    if (!item) co_return {};
    Transaction transaction;
    transaction.require_revision(k_map_key, item->mod_revision);
    for (const std::string& key : unused_pieces()) transaction.remove(key);
    if (transaction.operations.empty()) co_return {};
    CO_TRY_VOID(co_await catalog_.commit(std::move(transaction), deadline));
    co_return {};
}

}  // namespace corelet
