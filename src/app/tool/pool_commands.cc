// pool create, change, ls, rm.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "app/tool/context.h"
#include "app/tool/pool_options.h"
#include "app/tool/table.h"
#include "app/tool/units.h"

namespace corelet::app {

namespace {

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

Result<void> create(const Context& context, const PoolOptions& options) {
    TRY(Reach const reach, context.reach());
    TRY(Json request, pool_request(options));
    TRY(Json const made, run_command(reach, "pool.create", std::move(request), k_command_limit, false));
    print_answer(context, made, [&] { return "pool " + options.name + ": " + promise_sentence(made); });
    return {};
}

Result<void> change(const Context& context, const PoolChange& wish) {
    TRY(Reach const reach, context.reach());
    TRY(Json request, pool_change_request(wish));
    TRY(Json const changed, run_command(reach, "pool.change", std::move(request), k_command_limit, true));
    print_answer(context, changed, [&] {
        return "pool " + wish.name + ": " + promise_sentence(changed) +
               (changed.value("moves", false) ? "; data move to where it wants them, see `corelet status`" : "");
    });
    return {};
}

// "ec:10+4 11/10/12" where the pool names quorums.
std::string redundancy_text(const Json& pool) {
    std::string out = pool.value("redundancy", "");
    int const write = pool.value("write_quorum", 0), repair = pool.value("repair_threshold", 0);
    if (write == 0 && repair == 0) return out;
    auto const number = [](int value) { return value == 0 ? std::string("-") : std::to_string(value); };
    return out + " " + number(write) + "/" + number(pool.value("read_quorum", 0)) + "/" + number(repair);
}

// Of a status; without pools how to make one.
std::string pools_table(const Json& status) {
    const Json& pools = status.at("pools");
    if (pools.empty()) return "no pools yet; make one: corelet pool create NAME --redundancy rep:3";
    Table table({"POOL", "REDUNDANCY", "DOMAIN", "STRATEGY", "CAN LOSE", "USABLE"});
    for (const Json& pool : pools)
        table.add({pool.value("name", ""), redundancy_text(pool), pool.value("failure_domain", ""),
                   pool.value("strategy", ""), std::to_string(pool.value("can_lose", 0)),
                   format_size(pool.value("usable_bytes", u64{0}))});
    return table.to_string();
}

Result<void> list_pools(const Context& context) {
    TRY(Reach const reach, context.reach());
    TRY(Json const status, run_command(reach, "status", Json::object(), k_command_limit, true));
    print_answer(context, status.at("pools"), [&] { return pools_table(status); });
    return {};
}

Result<void> remove(const Context& context, const PoolOptions& options) {
    TRY(Reach const reach, context.reach());
    TRY(Json const gone, run_command(reach, "pool.rm", Json{{"name", options.name}}, k_command_limit, false));
    print_answer(context, gone, "pool " + options.name + " is removed");
    return {};
}

}  // namespace

void add_pool_commands(CLI::App& app, Context& context) {
    CLI::App* const pool = app.add_subcommand("pool", "policies that say how data is kept");
    pool->require_subcommand(1);
    auto const options = std::make_shared<PoolOptions>();

    CLI::App* const create_command =
        pool->add_subcommand("create", "make a pool; prints what this mesh can in fact lose");
    add_pool_options(*create_command, *options);
    create_command->callback(
        [&context, options] { context.action = [&context, options] { return create(context, *options); }; });

    auto const wish = std::make_shared<PoolChange>();
    CLI::App* const change_command = pool->add_subcommand(
        "change", "change what needs no chunk to be written anew; `plan pool change` says what would move");
    add_pool_change_options(*change_command, *wish);
    change_command->callback(
        [&context, wish] { context.action = [&context, wish] { return change(context, *wish); }; });

    CLI::App* const list_command = pool->add_subcommand("ls", "list the pools");
    list_command->callback([&context] { context.action = [&context] { return list_pools(context); }; });

    CLI::App* const remove_command = pool->add_subcommand("rm", "remove a pool that holds no volume");
    remove_command->add_option("name", options->name, "its name")->required()->type_name("NAME");
    remove_command->callback(
        [&context, options] { context.action = [&context, options] { return remove(context, *options); }; });
}

}  // namespace corelet::app
