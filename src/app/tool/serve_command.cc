// serve: one corelet, or those of a folder of bays.
#include <CLI/CLI.hpp>

#include "app/tool/bay_keeper.h"
#include "app/tool/catalog_option.h"
#include "app/tool/context.h"
#include "app/tool/discover.h"
#include "app/tool/join_mesh.h"
#include "app/tool/listen_option.h"
#include "app/tool/serve.h"
#include "app/tool/units.h"

namespace corelet::app {

namespace {

struct ServeArguments {
    bool log_to_file = false;
    bool debug = false;
    DiscoveryChoice discovery;
    std::string bays;
    std::string token_file;
    std::string seed;
    std::string admin_key;
    std::string location;
    std::vector<std::string> listen;
    std::string out_after;
    std::string cache;
    std::string device_class;
    bool insecure = false;
};

// From the token or the seed that was named, else the corelet whose directory this is.
Result<JoinedMesh> mesh_to_join(const ServeArguments& arguments, const std::string& directory) {
    if (!arguments.token_file.empty()) {
        TRY(std::string const text, read_file(absolute_path(arguments.token_file)));
        TRY(JoinToken const token, decode_token(first_line(text)));
        TRY(auto const groups, arguments.discovery.groups());
        return join_by_token(token, groups);
    }
    if (!arguments.seed.empty()) {
        TRY(Address seed, Address::parse(arguments.seed));
        return join_by_seed(std::move(seed), arguments.admin_key);
    }
    auto const own = load_config(directory);
    if (!own)
        return fail(Code::kInvalid,
                    "which mesh are the corelets of these bays to join? Name it at the first start: --token-file "
                    "FILE with a token of it (corelet token create), or --seed ADDRESS with --admin-key FILE");
    JoinedMesh out{own->mesh, read_key(directory), own->catalog, {control_address(directory)}};
    out.seeds.insert(out.seeds.end(), own->seeds.begin(), own->seeds.end());
    return out;
}

// What is named now counts more than what was before.
Result<void> take_options(const ServeArguments& arguments, BayConfig& config) {
    config.bays = absolute_path(arguments.bays);
    if (!arguments.location.empty()) config.location = arguments.location;
    if (config.location.empty()) config.location = k_default_bay_location;
    if (!arguments.out_after.empty()) {
        TRY(config.out_after, parse_duration(arguments.out_after));
    }
    if (!arguments.cache.empty()) {
        TRY(config.cache_bytes, parse_size(arguments.cache));
    }
    if (!arguments.device_class.empty()) config.device_class = arguments.device_class;
    if (arguments.insecure) config.insecure = true;
    if (!arguments.listen.empty()) config.listen.clear();
    for (const std::string& text : arguments.listen) {
        TRY(Address address, parse_listen(text, config.insecure));
        config.listen.push_back(std::move(address));
    }
    TRY_VOID(check_catalog(config.catalog, config.insecure, false));
    TRY(mesh::Location const example, location_of_bay(config, "1", host_name()));
    (void)example;
    return {};
}

// A token is spent once; a keeper that has been here before knows its mesh.
Result<BayConfig> mesh_of_keeper(const ServeArguments& arguments, const std::string& directory) {
    if (file_exists(directory + "/" + k_bays_file)) return load_bay_config(directory);
    TRY(JoinedMesh const joined, mesh_to_join(arguments, directory));
    if (joined.key.empty())
        return fail(Code::kNotFound, "'" + directory + "/" + k_key_file + "' is missing: it is the mesh's secret");
    BayConfig config;
    config.mesh = joined.mesh;
    config.catalog = joined.catalog;
    config.seeds = joined.seeds;
    TRY_VOID(save_key(directory, joined.key));
    return config;
}

Result<void> serve_bays(const ServeArguments& arguments, const std::string& directory) {
    // Said before a token is spent.
    BayConfig trial;
    TRY_VOID(take_options(arguments, trial));
    TRY_VOID(make_directory(trial.bays));
    TRY_VOID(make_directory(directory));
    TRY(BayConfig config, mesh_of_keeper(arguments, directory));
    TRY_VOID(take_options(arguments, config));
    // Somebody may be adding places to it just now.
    auto const saved = load_bay_config(directory);
    if (!saved || *saved != config) TRY_VOID(save_bay_config(directory, config));
    KeeperOptions options;
    options.directory = directory;
    options.log_to_file = arguments.log_to_file;
    if (arguments.debug) options.log_level = LogLevel::kDebug;
    if (arguments.discovery.off) options.serve_options = {"--no-discovery"};
    for (const std::string& group : arguments.discovery.named)
        options.serve_options.insert(options.serve_options.end(), {"--discovery", group});
    return keep_bays(options);
}

Result<void> serve_one(const ServeArguments& arguments, const std::string& directory) {
    ServeOptions options;
    options.directory = directory;
    options.log_to_file = arguments.log_to_file;
    if (arguments.debug) options.log_level = LogLevel::kDebug;
    TRY(options.discovery, arguments.discovery.groups());
    return serve(options);
}

void add_bay_options(CLI::App& command, ServeArguments& arguments) {
    auto* const bays =
        command
            .add_option("--bays", arguments.bays,
                        "watch this folder instead: serve each device that is in it or appears there, one process "
                        "each; blank ones join the mesh")
            ->type_name("FOLDER");
    auto* const token = command
                            .add_option("--token-file", arguments.token_file,
                                        "with --bays, at the first start: a file with a token of the mesh")
                            ->needs(bays)
                            ->type_name("FILE");
    command
        .add_option("--seed", arguments.seed, "with --bays, at the first start: any corelet of the mesh, instead")
        ->needs(bays)
        ->excludes(token)
        ->type_name("ADDRESS");
    command.add_option("--admin-key", arguments.admin_key, "with --seed: a file with the mesh's admin key")
        ->needs(bays)
        ->type_name("FILE");
    command
        .add_option(
            "--location", arguments.location,
            std::string("with --bays: where their corelets stand; {host} and {bay} are filled in (default ") +
                k_default_bay_location + ")")
        ->needs(bays)
        ->type_name("Z/R/C");
    command
        .add_option("--listen", arguments.listen,
                    "with --bays: where the first of them is reached; further ones count the port up")
        ->needs(bays)
        ->type_name("ADDRESS");
    command.add_option("--out-after", arguments.out_after, "with --bays: as for join")
        ->needs(bays)
        ->type_name("TIME");
    command.add_option("--cache", arguments.cache, "with --bays: as for join")->needs(bays)->type_name("SIZE");
    command.add_option("--device-class", arguments.device_class, "with --bays: as for join")
        ->needs(bays)
        ->type_name("CLASS");
    command.add_flag("--insecure", arguments.insecure, "with --bays: as for join")->needs(bays);
}

}  // namespace

void add_serve_command(CLI::App& app, Context& context) {
    auto const arguments = std::make_shared<ServeArguments>();
    CLI::App* const command =
        app.add_subcommand("serve", "run a corelet in the foreground; TERM hands its volumes over");
    command->add_flag("--log", arguments->log_to_file,
                      "log to corelet.log (bays.log) in the directory instead of stderr");
    command->add_flag("--debug", arguments->debug, "log more");
    add_discovery_options(*command, arguments->discovery);
    add_bay_options(*command, *arguments);
    command->callback([&context, arguments] {
        context.action = [&context, arguments]() -> Result<void> {
            TRY(std::string const directory, context.directory());
            return arguments->bays.empty() ? serve_one(*arguments, directory) : serve_bays(*arguments, directory);
        };
    });
}

}  // namespace corelet::app
