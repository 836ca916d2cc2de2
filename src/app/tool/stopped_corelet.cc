#include "app/tool/stopped_corelet.h"

#include <fmt/format.h>

namespace corelet::app {

namespace {

Task<Result<std::unique_ptr<Store>>> mount_stopped(Env* env, std::string directory) {
    CO_TRY(CoreletConfig const config, load_config(directory));
    auto file = co_await env->disk.open(config.device, OpenOptions{});
    if (!file && file.error().code == Code::kConflict)
        co_return fail(Code::kConflict, fmt::format("the corelet in '{}' runs; stop it first", directory));
    if (!file) co_return std::unexpected(with_context(file.error(), "device " + config.device));
    auto store = co_await Store::mount(*std::move(file), StoreEnv::of(*env), StoreOptions{});
    if (!store) co_return std::unexpected(with_context(store.error(), "device " + config.device));
    co_return store;
}

}  // namespace

Task<Result<CatalogExport>> survey_stopped(Env* env, std::string directory) {
    CO_TRY(auto store, co_await mount_stopped(env, directory));
    auto found = co_await survey_device(store.get());
    co_await store->close();
    if (!found) co_return std::unexpected(with_context(found.error(), directory));
    co_return found;
}

Task<Result<void>> begin_at_stopped(Env* env, std::string directory, RecoveredCatalog recovered) {
    CO_TRY(auto store, co_await mount_stopped(env, directory));
    auto const begun = co_await begin_catalog_anew(store.get(), std::move(recovered));
    co_await store->close();
    co_return begun;
}

}  // namespace corelet::app
