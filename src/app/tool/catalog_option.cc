#include "app/tool/catalog_option.h"

#include <fmt/format.h>

#include "app/tool/tool_world.h"
#include "catalog/etcd/etcd_catalog.h"
#include "node/outside_catalog.h"

namespace corelet::app {

namespace {
constexpr Duration k_limit = 5_s;

Task<Result<void>> reach(Env* env, std::vector<Address> endpoints) {
    EtcdCatalog catalog(*env, std::move(endpoints), MeshId(1));
    CO_TRY_VOID(co_await catalog.range("reachable", env->clock.now() + k_limit));
    co_return {};
}
}  // namespace

Result<void> check_catalog(const std::string& catalog, bool insecure, bool witness) {
    if (catalog.empty()) return {};
    if (witness)
        return fail(Code::kInvalid,
                    fmt::format("the mesh's catalog is kept by {}, so nobody of the mesh votes, and a "
                                "witness would do nothing else; leave it out",
                                catalog));
    TRY(auto endpoints, parse_outside_catalog(catalog, insecure));
    TRY(auto world, make_tool_world());
    auto const reached = world->run_until_done(reach(&world->env(), std::move(endpoints)));
    if (reached) return {};
    return std::unexpected(
        with_context(reached.error(), fmt::format("the catalog {} cannot be reached; start it, or name the client "
                                                  "addresses of one that runs",
                                                  catalog)));
}

}  // namespace corelet::app
