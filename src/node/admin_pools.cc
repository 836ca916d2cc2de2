// Pools, as the command line makes, changes and removes them.
#include "node/admin_pools.h"

#include "mesh/survival.h"
#include "node/admin_arguments.h"
#include "node/admin_commands.h"
#include "node/loss_budget.h"

namespace corelet {

namespace {

// In fact, not only by the pool's fragments: the log and the catalog go with it.
Result<Json> pool_answer(NodeServices& node, const std::string& name) {
    auto const map = node.maps->current();
    const mesh::Pool* const pool = map->find_pool(name);
    if (!pool) return fail(Code::kUnavailable, "the pool was created; its table is not here yet");
    PoolPromise const promise = pool_promise(*map, *pool, node.raft != nullptr);
    mesh::Survival const survives = mesh::survival(*map, *pool);
    return Json{{"name", name},
                {"id", pool->id.v},
                {"redundancy", pool->spec.redundancy.to_string()},
                {"promise", survives.promise},
                {"can_lose", promise.can_lose},
                {"limited_by", promise.limited_by},
                {"survives", survives.sentence}};
}

}  // namespace

Task<Result<Json>> pool_create(NodeServices& node, Json arguments) {
    CO_TRY(PoolWish const wish, pool_wish(arguments));
    const mesh::PoolSpec& spec = wish.spec;
    auto const changed = co_await node.maps->change(mesh::PoolCreated{spec, wish.survive}, admin_patience(node));
    if (!changed) co_return std::unexpected(no_quorum(changed.error()));
    co_return pool_answer(node, spec.name);
}

// What is named changes, by the pool as it is then.
Task<Result<Json>> pool_change(NodeServices& node, Json arguments) {
    auto const map = node.maps->current();
    CO_TRY(const mesh::Pool* const pool, pool_argument(*map, arguments));
    std::string const name = pool->spec.name;
    CO_TRY(PoolWish const wish, pool_change_wish(*pool, arguments));
    mesh::PoolChanged const change{pool->id, wish.spec, wish.survive, pool->spec};
    auto const changed = co_await node.maps->change(change, admin_patience(node));
    if (!changed) co_return std::unexpected(no_quorum(changed.error()));
    CO_TRY(Json out, pool_answer(node, name));
    out["moves"] = node.maps->current()->find_pool(name)->tables.size() > 1;
    co_return out;
}

Task<Result<Json>> pool_remove(NodeServices& node, Json arguments) {
    auto const map = node.maps->current();
    CO_TRY(const mesh::Pool* const pool, pool_argument(*map, arguments));
    std::string const name = pool->spec.name;
    auto const volumes = co_await node.catalog->range("volumes/", admin_patience(node));
    if (!volumes) co_return std::unexpected(no_quorum(volumes.error()));
    for (const KeyValue& item : volumes->items) {
        pb::Volume volume;
        if (volume.ParseFromString(item.value) && volume.pool() == pool->id.v)
            co_return fail(Code::kConflict, "volume '" + volume.name() + "' lies in pool '" + name +
                                                "'; remove it first: corelet volume rm " + volume.name());
    }
    auto const changed = co_await node.maps->change(mesh::PoolRemoved{pool->id}, admin_patience(node));
    if (!changed) co_return std::unexpected(no_quorum(changed.error()));
    co_return Json{{"removed", name}};
}

}  // namespace corelet
