#include "app/tool/identity.h"

#include <fmt/format.h>

#include "node/gossip_link.h"
#include "os/random.h"

namespace corelet::app {

Result<void> check_makeable(const NewCorelet& wanted) {
    const std::string& directory = wanted.directory;
    if (file_exists(directory + "/" + k_config_file))
        return fail(Code::kExists, fmt::format("'{}' holds a corelet already; run it with: corelet serve --dir {}",
                                               directory, directory));
    return check_socket_path(gossip_address(control_address(directory)).host);
}

Task<Result<CoreletConfig>> make_corelet(Env& env, NewCorelet wanted) {
    const std::string& directory = wanted.directory;
    CO_TRY_VOID(check_makeable(wanted));
    CO_TRY_VOID(make_directory(directory));
    CoreletConfig config = wanted.config;
    config.corelet = CoreletId(os::os_random_seed() | 1);
    config.device = wanted.device.path;
    FormatOptions options;
    options.mesh = config.mesh;
    options.identity = config.corelet;
    options.location = config.location.to_string();
    options.witness = config.role == mesh::Role::kWitness;
    options.force = wanted.force;
    bool const is_new = !file_exists(wanted.device.path);
    CO_TRY_VOID(co_await make_device(env, wanted.device, std::move(options)));
    auto const saved = save_config(directory, config);
    if (saved) co_return config;
    if (is_new) (void)co_await env.disk.remove(wanted.device.path);
    co_return std::unexpected(saved.error());
}

}  // namespace corelet::app
