// init, join, serve: one corelet.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "app/tool/context.h"
#include "app/tool/identity.h"
#include "app/tool/serve.h"
#include "app/tool/tool_world.h"
#include "app/tool/units.h"
#include "os/random.h"

namespace corelet::app {

namespace {

struct MakeArguments {
    std::string device;
    std::string location;
    std::string seed;
    std::string out_after;
    std::string cache;
    std::vector<std::string> listen;
    std::string admin_key;
    bool witness = false;
    bool insecure = false;
    bool force = false;
};

constexpr Duration k_seed_limit = 10_s;

// Said now, not at the first start. The address is also what the others are told: one that means "all of mine"
// would lead them to themselves.
Result<Address> parse_listen(const std::string& text, bool insecure) {
    TRY(Address address, Address::parse(text));
    if (address.host == "0.0.0.0" || address.host == "::")
        return fail(
            Code::kInvalid,
            fmt::format("'{}' is no address that others can be told; name one of this machine's own", text));
    if (!address.is_local() && !insecure)
        return fail(
            Code::kDenied,
            fmt::format("'{}' is beyond this host, and this version neither encrypts nor authenticates there; "
                        "on a network of its own, repeat with --insecure",
                        text));
    return address;
}

Result<NewCorelet> describe(const Context& context, const MakeArguments& arguments) {
    NewCorelet wanted;
    if (context.dir.empty())
        return fail(Code::kInvalid, "name the corelet's directory with --dir DIR; it is made if missing");
    wanted.directory = absolute_path(context.dir);
    TRY(wanted.device, parse_device(arguments.device));
    if (!arguments.location.empty()) {
        TRY(wanted.config.location, mesh::Location::parse(arguments.location));
    }
    if (!arguments.out_after.empty()) {
        TRY(wanted.config.out_after, parse_duration(arguments.out_after));
    }
    if (!arguments.cache.empty()) {
        TRY(wanted.config.cache_bytes, parse_size(arguments.cache));
    }
    for (const std::string& text : arguments.listen) {
        TRY(Address address, parse_listen(text, arguments.insecure));
        wanted.config.listen.push_back(std::move(address));
    }
    wanted.config.role = arguments.witness ? mesh::Role::kWitness : mesh::Role::kStorage;
    wanted.config.export_directory = wanted.directory;
    wanted.config.insecure = arguments.insecure;
    wanted.force = arguments.force;
    return wanted;
}

// A mesh has one admin key. It comes from the file that was named, from the seed's own directory if that is on this
// machine, or is made: then it is this corelet's alone.
Result<std::string> key_of_mesh(const MakeArguments& arguments, const std::vector<Address>& seeds) {
    if (!arguments.admin_key.empty()) {
        std::string const path = absolute_path(arguments.admin_key);
        TRY(std::string const text, read_file(path));
        std::string key = first_line(text);
        if (key.size() < k_key_digits_min)
            return fail(Code::kInvalid,
                        fmt::format("'{}' holds no admin key; name the admin.key of a corelet of the "
                                    "mesh",
                                    path));
        return key;
    }
    for (const Address& seed : seeds) {
        if (seed.kind != Address::Kind::kUnix) continue;
        std::string key = read_key(seed.host.substr(0, seed.host.rfind('/')));
        if (!key.empty()) return key;
    }
    return new_key();
}

Result<void> make_and_tell(const Context& context, const MakeArguments& arguments, NewCorelet wanted) {
    TRY(auto world, make_tool_world());
    std::string const directory = wanted.directory;
    TRY(std::string const key, key_of_mesh(arguments, wanted.config.seeds));
    TRY(CoreletConfig const made, world->run_until_done(make_corelet(world->env(), std::move(wanted))));
    TRY_VOID(save_key(directory, key));
    if (context.json) {
        Json const out{{"mesh", hex64(made.mesh.v)}, {"id", to_string(made.corelet)}, {"directory", directory}};
        std::printf("%s\n", out.dump().c_str());
        return {};
    }
    std::printf("corelet %s of mesh %s is ready; run it: corelet serve --dir %s\n", to_string(made.corelet).c_str(),
                hex64(made.mesh.v).c_str(), directory.c_str());
    return {};
}

Result<void> init(const Context& context, const MakeArguments& arguments) {
    TRY(NewCorelet wanted, describe(context, arguments));
    wanted.config.mesh = MeshId(os::os_random_seed() | 1);
    wanted.config.bootstrap = true;
    return make_and_tell(context, arguments, std::move(wanted));
}

Result<void> join(const Context& context, const MakeArguments& arguments) {
    TRY(NewCorelet wanted, describe(context, arguments));
    TRY(Address seed, Address::parse(arguments.seed));
    if (seed.kind == Address::Kind::kUnix) seed.host = absolute_path(seed.host);
    {
        TRY(auto world, make_tool_world());
        Env& env = world->env();
        ControlClient client(env, Reach{});
        auto const met = world->run_until_done(client.introduce(seed, env.clock.now() + k_seed_limit));
        if (!met)
            return std::unexpected(
                with_context(met.error(), fmt::format("the seed {} does not answer (is it running? corelet "
                                                      "serve --dir ITS_DIR)",
                                                      seed.to_string())));
        wanted.config.mesh = met->mesh;
    }
    wanted.config.seeds = {seed};
    return make_and_tell(context, arguments, std::move(wanted));
}

void add_make_options(CLI::App& command, MakeArguments& arguments) {
    command.add_option("--device", arguments.device, "a file or block device; PATH:SIZE makes a file")
        ->required()
        ->type_name("PATH[:SIZE]");
    command.add_option("--location", arguments.location, "where it stands: zone/rack/chassis")->type_name("Z/R/C");
    command.add_option("--listen", arguments.listen, "where peers reach it (default: its socket in the directory)")
        ->type_name("ADDRESS");
    command
        .add_option("--out-after", arguments.out_after,
                    "rebuild what a lost corelet held after so long (default 10min)")
        ->type_name("TIME");
    command
        .add_option("--cache", arguments.cache, "memory for the blocks of each volume served here (default 256M)")
        ->type_name("SIZE");
    command.add_flag("--insecure", arguments.insecure, "listen beyond this host without TLS");
    command.add_flag("--force", arguments.force, "format a device that is formatted already");
}

}  // namespace

void add_corelet_commands(CLI::App& app, Context& context) {
    auto const init_arguments = std::make_shared<MakeArguments>();
    CLI::App* const init_command = app.add_subcommand("init", "format a device and begin a mesh of one");
    add_make_options(*init_command, *init_arguments);
    init_command->callback([&context, init_arguments] {
        context.action = [&context, init_arguments] { return init(context, *init_arguments); };
    });

    auto const join_arguments = std::make_shared<MakeArguments>();
    CLI::App* const join_command = app.add_subcommand("join", "format a device and join a mesh");
    add_make_options(*join_command, *join_arguments);
    join_command->add_option("--seed", join_arguments->seed, "any corelet of the mesh: unix:PATH or HOST:PORT")
        ->required()
        ->type_name("ADDRESS");
    join_command
        ->add_option(
            "--admin-key", join_arguments->admin_key,
            "a file with the mesh's admin key, from any of its corelets' directories (default: the seed's)")
        ->type_name("FILE");
    join_command->add_flag("--witness", join_arguments->witness,
                           "vote, but store nothing (a file of 16M is enough)");
    join_command->callback([&context, join_arguments] {
        context.action = [&context, join_arguments] { return join(context, *join_arguments); };
    });

    auto const options = std::make_shared<ServeOptions>();
    auto const debug = std::make_shared<bool>(false);
    CLI::App* const serve_command =
        app.add_subcommand("serve", "run a corelet in the foreground; TERM hands its volumes over");
    serve_command->add_flag("--log", options->log_to_file, "log to corelet.log in the directory instead of stderr");
    serve_command->add_flag("--debug", *debug, "log more");
    serve_command->callback([&context, options, debug] {
        context.action = [&context, options, debug]() -> Result<void> {
            TRY(options->directory, context.directory());
            if (*debug) options->log_level = LogLevel::kDebug;
            return serve(*options);
        };
    });
}

}  // namespace corelet::app
