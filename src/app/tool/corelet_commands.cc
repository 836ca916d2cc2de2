// init, join, serve: one corelet.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "app/tool/catalog_option.h"
#include "app/tool/context.h"
#include "app/tool/discover.h"
#include "app/tool/identity.h"
#include "app/tool/join_mesh.h"
#include "app/tool/listen_option.h"
#include "app/tool/tool_world.h"
#include "app/tool/units.h"
#include "os/random.h"

namespace corelet::app {

namespace {

struct MakeArguments {
    std::string device;
    std::string location;
    std::string seed;
    std::string token;
    std::string out_after;
    u64 scrub_days = CoreletConfig{}.scrub_days;
    std::string cache;
    std::vector<std::string> listen;
    std::string admin_key;
    std::string catalog;
    std::string device_class;
    DiscoveryChoice discovery;
    bool witness = false;
    bool spare = false;
    bool insecure = false;
    bool force = false;
};

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
    if (arguments.scrub_days == 0 || arguments.scrub_days > k_scrub_days_max)
        return fail(
            Code::kInvalid,
            fmt::format("--scrub-days is a number from 1 to {}: within so many days everything on the device "
                        "is read and verified again",
                        k_scrub_days_max));
    wanted.config.scrub_days = arguments.scrub_days;
    if (!arguments.cache.empty()) {
        TRY(wanted.config.cache_bytes, parse_size(arguments.cache));
    }
    for (const std::string& text : arguments.listen) {
        TRY(Address address, parse_listen(text, arguments.insecure));
        wanted.config.listen.push_back(std::move(address));
    }
    if (arguments.witness) wanted.config.role = mesh::Role::kWitness;
    if (arguments.spare) wanted.config.role = mesh::Role::kSpare;
    wanted.config.device_class = arguments.device_class;
    wanted.config.export_directory = wanted.directory;
    wanted.config.insecure = arguments.insecure;
    wanted.force = arguments.force;
    return wanted;
}

// Makes the device a member of that mesh, and tells how it is run.
Result<void> make_member(const Context& context, NewCorelet wanted, JoinedMesh joined) {
    bool const witness = wanted.config.role == mesh::Role::kWitness;
    TRY_VOID(check_catalog(joined.catalog, wanted.config.insecure, witness));
    wanted.config.mesh = joined.mesh;
    wanted.config.catalog = std::move(joined.catalog);
    wanted.config.seeds = std::move(joined.seeds);
    TRY(auto world, make_tool_world());
    std::string const directory = wanted.directory;
    TRY(CoreletConfig const made, world->run_until_done(make_corelet(world->env(), std::move(wanted))));
    TRY_VOID(save_key(directory, joined.key));
    std::string const id = to_string(made.corelet), of = hex64(made.mesh.v);
    print_answer(context, Json{{"mesh", of}, {"id", id}, {"directory", directory}},
                 fmt::format("corelet {} of mesh {} is ready; run it: corelet serve --dir {}", id, of, directory));
    return {};
}

Result<void> init(const Context& context, const MakeArguments& arguments) {
    TRY(NewCorelet wanted, describe(context, arguments));
    wanted.config.bootstrap = true;
    return make_member(context, std::move(wanted),
                       JoinedMesh{MeshId(os::os_random_seed() | 1), new_key(), arguments.catalog, {}});
}

Result<void> take_role(const JoinToken& token, const MakeArguments& arguments, NewCorelet& wanted) {
    if (!token.role) return {};
    bool const named = arguments.witness || arguments.spare;
    if (named && *token.role != wanted.config.role)
        return fail(Code::kDenied, fmt::format("the token lets in a {}, not a {}", mesh::role_name(*token.role),
                                               mesh::role_name(wanted.config.role)));
    wanted.config.role = *token.role;
    return {};
}

Result<void> join_with_token(const Context& context, const MakeArguments& arguments, NewCorelet wanted) {
    TRY(JoinToken const token, decode_token(arguments.token));
    TRY(auto const groups, arguments.discovery.groups());
    TRY_VOID(take_role(token, arguments, wanted));
    // Before a use of the token is spent.
    TRY_VOID(check_makeable(wanted));
    TRY(JoinedMesh joined, join_by_token(token, groups));
    return make_member(context, std::move(wanted), std::move(joined));
}

Result<void> join(const Context& context, const MakeArguments& arguments) {
    TRY(NewCorelet wanted, describe(context, arguments));
    if (!arguments.token.empty()) return join_with_token(context, arguments, std::move(wanted));
    if (arguments.seed.empty())
        return fail(Code::kInvalid,
                    "name what is to be joined: a token (corelet token create makes one in the mesh), or "
                    "--seed ADDRESS with --admin-key FILE");
    TRY(Address seed, Address::parse(arguments.seed));
    TRY(JoinedMesh joined, join_by_seed(std::move(seed), arguments.admin_key));
    return make_member(context, std::move(wanted), std::move(joined));
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
        .add_option("--scrub-days", arguments.scrub_days,
                    "everything on the device is read and verified again within so many days (default 7)")
        ->type_name("N");
    command
        .add_option("--cache", arguments.cache, "memory for the blocks of each volume served here (default 256M)")
        ->type_name("SIZE");
    command
        .add_option("--device-class", arguments.device_class,
                    "what its device is, as pools ask for it: hdd, ssd, nvme, or any other word")
        ->type_name("CLASS");
    command.add_flag("--insecure", arguments.insecure, "listen beyond this host without TLS");
    command.add_flag("--force", arguments.force, "format a device that is formatted already");
}

}  // namespace

void add_corelet_commands(CLI::App& app, Context& context) {
    auto const init_arguments = std::make_shared<MakeArguments>();
    CLI::App* const init_command = app.add_subcommand("init", "format a device and begin a mesh of one");
    add_make_options(*init_command, *init_arguments);
    init_command
        ->add_option("--catalog", init_arguments->catalog,
                     "keep the mesh's catalog in an etcd that runs already, instead of among its corelets")
        ->type_name("etcd:HOST:PORT[,HOST:PORT...]");
    init_command->callback([&context, init_arguments] {
        context.action = [&context, init_arguments] { return init(context, *init_arguments); };
    });

    auto const join_arguments = std::make_shared<MakeArguments>();
    CLI::App* const join_command = app.add_subcommand("join", "format a device and join a mesh");
    add_make_options(*join_command, *join_arguments);
    auto* const token =
        join_command->add_option("token", join_arguments->token, "from `corelet token create` in the mesh")
            ->type_name("TOKEN");
    join_command->add_option("--seed", join_arguments->seed, "any corelet of the mesh: unix:PATH or HOST:PORT")
        ->excludes(token)
        ->type_name("ADDRESS");
    join_command
        ->add_option(
            "--admin-key", join_arguments->admin_key,
            "a file with the mesh's admin key, from any of its corelets' directories (default: the seed's)")
        ->type_name("FILE");
    auto* const witness = join_command->add_flag("--witness", join_arguments->witness,
                                                 "vote, but store nothing (a file of 16M is enough)");
    join_command
        ->add_flag("--spare", join_arguments->spare, "store nothing until a corelet is lost, then take its part")
        ->excludes(witness);
    add_discovery_options(*join_command, join_arguments->discovery);
    join_command->callback([&context, join_arguments] {
        context.action = [&context, join_arguments] { return join(context, *join_arguments); };
    });
    add_serve_command(app, context);
}

}  // namespace corelet::app
