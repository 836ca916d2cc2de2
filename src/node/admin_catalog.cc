// catalog export, check of the live one, accept.
#include "base/json.h"
#include "node/admin_commands.h"
#include "node/catalog_check.h"
#include "node/catalog_export.h"
#include "stream/stream_record.h"

namespace corelet {

namespace {

Task<Result<RangeResult>> read_all(NodeServices& node) {
    auto const all = co_await node.catalog->range("", admin_patience(node));
    if (!all) co_return std::unexpected(no_quorum(all.error()));
    co_return *all;
}

}  // namespace

Json to_json(const std::vector<CatalogFinding>& findings) {
    Json out = Json::array();
    for (const CatalogFinding& finding : findings)
        out.push_back(Json{{"grade", finding.grade == CatalogFinding::Grade::kError ? "error" : "note"},
                           {"key", finding.key},
                           {"what", finding.what},
                           {"next", finding.next}});
    return out;
}

Task<Result<Json>> catalog_export(NodeServices& node) {
    CO_TRY(RangeResult const all, co_await read_all(node));
    CatalogExport out;
    out.mesh = node.config.mesh;
    out.source = node.store->identity();
    out.live = out.has_catalog = true;
    out.voters = node.catalog->voters();
    out.catalog.set_revision(all.revision.v);
    out.catalog.set_level(node.catalog->local().level());
    for (const KeyValue& item : all.items) encode_item(item, *out.catalog.add_items());
    // Lengths are known where the log is held.
    for (auto const& [id, lease] : node.catalog->local().leases()) {
        auto* const added = out.catalog.add_leases();
        added->set_id(id.v);
        added->set_ttl_ns(static_cast<u64>(lease.ttl.ns));
    }
    co_return Json{{"text", encode_export(out)}, {"keys", all.items.size()}, {"revision", all.revision.v}};
}

Task<Result<Json>> catalog_check(NodeServices& node) {
    CO_TRY(RangeResult const all, co_await read_all(node));
    CatalogView const view{node.config.mesh, all.items, node.catalog->voters()};
    co_return Json{
        {"keys", all.items.size()}, {"revision", all.revision.v}, {"findings", to_json(check_catalog(view))}};
}

// From here on what is proven dead is deleted again.
Task<Result<Json>> catalog_accept(NodeServices& node) {
    auto const item = co_await node.catalog->get(k_recovery_key, admin_patience(node));
    if (!item) co_return std::unexpected(no_quorum(item.error()));
    if (!*item) co_return Json{{"accepted", false}};
    Transaction transaction;
    transaction.require_exists(k_recovery_key).remove(k_recovery_key);
    auto const done = co_await node.catalog->commit(std::move(transaction), admin_patience(node));
    if (!done) co_return std::unexpected(no_quorum(done.error()));
    co_return Json{{"accepted", true}};
}

}  // namespace corelet
