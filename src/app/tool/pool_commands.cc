// pool create, ls, rm.
#include <CLI/CLI.hpp>
#include <cstdio>

#include <fmt/format.h>

#include "app/tool/context.h"
#include "app/tool/table.h"
#include "app/tool/units.h"

namespace corelet::app {

namespace {

struct PoolArguments {
    std::string name;
    std::string redundancy;
    std::string failure_domain = "corelet";
    u32 min_copies = 0;
    std::string chunk_size;
};

// What the mesh can in fact lose with the pool, which its size may keep below what the pool promises.
std::string promise_sentence(const Json& made) {
    int const losses = made.value("can_lose", 0);
    std::string const survives = made.value("survives", std::string());
    if (losses == made.value("promise", 0))
        return losses == 0 ? "promises to survive no loss" : "this mesh can lose " + survives;
    std::string const any =
        losses == 0 ? "no corelet"
                    : fmt::format("any {}", losses == 1 ? "1 corelet" : fmt::format("{} corelets", losses));
    return fmt::format(
        "promises the loss of {}, but this mesh can lose {} (limited by {}); its fragments survive {}",
        made.value("promise", 0), any, made.value("limited_by", std::string()), survives);
}

Result<void> create(const Context& context, const PoolArguments& arguments) {
    TRY(Reach const reach, context.reach());
    Json request{{"name", arguments.name},
                 {"redundancy", arguments.redundancy},
                 {"failure_domain", arguments.failure_domain}};
    if (arguments.min_copies != 0) request["min_copies"] = arguments.min_copies;
    if (!arguments.chunk_size.empty()) {
        TRY(u64 const bytes, parse_size(arguments.chunk_size));
        request["chunk_bytes"] = bytes;
    }
    TRY(Json const made, run_command(reach, "pool.create", std::move(request), k_command_limit, false));
    if (context.json)
        std::printf("%s\n", made.dump().c_str());
    else
        std::printf("pool %s: %s\n", arguments.name.c_str(), promise_sentence(made).c_str());
    return {};
}

Result<void> list(const Context& context) {
    TRY(Reach const reach, context.reach());
    TRY(Json const status, run_command(reach, "status", Json::object(), k_command_limit, true));
    const Json& pools = status.at("pools");
    if (context.json) {
        std::printf("%s\n", pools.dump().c_str());
        return {};
    }
    if (pools.empty()) {
        std::printf("no pools yet; make one: corelet pool create NAME --redundancy rep:3\n");
        return {};
    }
    Table table({"POOL", "REDUNDANCY", "DOMAIN", "CAN LOSE", "USABLE"});
    for (const Json& pool : pools)
        table.add({pool.value("name", ""), pool.value("redundancy", ""), pool.value("failure_domain", ""),
                   std::to_string(pool.value("can_lose", 0)), format_size(pool.value("usable_bytes", u64{0}))});
    std::fputs(table.to_string().c_str(), stdout);
    return {};
}

Result<void> remove(const Context& context, const PoolArguments& arguments) {
    TRY(Reach const reach, context.reach());
    TRY(Json const gone, run_command(reach, "pool.rm", Json{{"name", arguments.name}}, k_command_limit, false));
    if (context.json)
        std::printf("%s\n", gone.dump().c_str());
    else
        std::printf("pool %s is removed\n", arguments.name.c_str());
    return {};
}

}  // namespace

void add_pool_commands(CLI::App& app, Context& context) {
    CLI::App* const pool = app.add_subcommand("pool", "policies that say how data is kept");
    pool->require_subcommand(1);
    auto const arguments = std::make_shared<PoolArguments>();

    CLI::App* const create_command =
        pool->add_subcommand("create", "make a pool; prints what this mesh can in fact lose");
    create_command->add_option("name", arguments->name, "its name")->required()->type_name("NAME");
    create_command->add_option("--redundancy", arguments->redundancy, "rep:N copies, or ec:K+M fragments")
        ->required()
        ->type_name("rep:N|ec:K+M");
    create_command
        ->add_option("--failure-domain", arguments->failure_domain,
                     "what fails as one: corelet, chassis, rack or zone")
        ->type_name("LEVEL");
    create_command
        ->add_option("--min-copies", arguments->min_copies, "below so many copies of the log, writes wait")
        ->type_name("N");
    create_command->add_option("--chunk-size", arguments->chunk_size, "256K to 64M (default 8M)")
        ->type_name("SIZE");
    create_command->callback(
        [&context, arguments] { context.action = [&context, arguments] { return create(context, *arguments); }; });

    CLI::App* const list_command = pool->add_subcommand("ls", "list the pools");
    list_command->callback([&context] { context.action = [&context] { return list(context); }; });

    CLI::App* const remove_command = pool->add_subcommand("rm", "remove a pool that holds no volume");
    remove_command->add_option("name", arguments->name, "its name")->required()->type_name("NAME");
    remove_command->callback(
        [&context, arguments] { context.action = [&context, arguments] { return remove(context, *arguments); }; });
}

}  // namespace corelet::app
