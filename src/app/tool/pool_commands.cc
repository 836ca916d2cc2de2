// pool create, ls, rm.
#include <CLI/CLI.hpp>
#include <charconv>
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
    std::string profile;
    u32 min_copies = 0;
    u32 write_quorum = 0;
    u32 read_quorum = 0;
    u32 repair_threshold = 0;
    std::string chunk_size;
    std::string strategy;
    std::string device_class;
    std::string survive;
    std::vector<std::string> max_per;
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
    if (!arguments.profile.empty()) request["profile"] = arguments.profile;
    if (arguments.write_quorum != 0) request["write_quorum"] = arguments.write_quorum;
    if (arguments.read_quorum != 0) request["read_quorum"] = arguments.read_quorum;
    if (arguments.repair_threshold != 0) request["repair_threshold"] = arguments.repair_threshold;
    if (arguments.min_copies != 0) request["min_copies"] = arguments.min_copies;
    if (!arguments.chunk_size.empty()) {
        TRY(u64 const bytes, parse_size(arguments.chunk_size));
        request["chunk_bytes"] = bytes;
    }
    if (!arguments.strategy.empty()) request["strategy"] = arguments.strategy;
    if (!arguments.device_class.empty()) request["device_class"] = arguments.device_class;
    if (!arguments.survive.empty()) request["survive"] = arguments.survive;
    for (const std::string& cap : arguments.max_per) TRY_VOID(add_pool_cap(cap, request["max_per"]));
    TRY(Json const made, run_command(reach, "pool.create", std::move(request), k_command_limit, false));
    if (context.json)
        std::printf("%s\n", made.dump().c_str());
    else
        std::printf("pool %s: %s\n", arguments.name.c_str(), promise_sentence(made).c_str());
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

Result<void> list_pools(const Context& context) {
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
    Table table({"POOL", "REDUNDANCY", "DOMAIN", "STRATEGY", "CAN LOSE", "USABLE"});
    for (const Json& pool : pools)
        table.add({pool.value("name", ""), redundancy_text(pool), pool.value("failure_domain", ""),
                   pool.value("strategy", ""), std::to_string(pool.value("can_lose", 0)),
                   format_size(pool.value("usable_bytes", u64{0}))});
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

void add_quorum_options(CLI::App& create, PoolArguments& arguments) {
    create
        .add_option("--write-quorum", arguments.write_quorum,
                    "a chunk counts as written with so many fragments durable; the rest is put behind")
        ->type_name("W");
    create
        .add_option("--read-quorum", arguments.read_quorum,
                    "a read that has to be decoded asks for so many fragments at once")
        ->type_name("R");
    create
        .add_option("--repair-threshold", arguments.repair_threshold,
                    "with no more than so many members of a slot up, what is down is rebuilt before it is out")
        ->type_name("T");
}

}  // namespace

Result<void> add_pool_cap(const std::string& text, Json& caps) {
    usize const equals = text.find('=');
    u32 most = 0;
    char const* const end = text.data() + text.size();
    bool const parsed = equals != std::string::npos && std::from_chars(text.data() + equals + 1, end, most) ==
                                                           std::from_chars_result{end, std::errc()};
    if (!parsed) return fail(Code::kInvalid, fmt::format("'{}' is no cap; write, for example, zone=2", text));
    caps[text.substr(0, equals)] = most;
    return {};
}

void add_pool_commands(CLI::App& app, Context& context) {
    CLI::App* const pool = app.add_subcommand("pool", "policies that say how data is kept");
    pool->require_subcommand(1);
    auto const arguments = std::make_shared<PoolArguments>();

    CLI::App* const create_command =
        pool->add_subcommand("create", "make a pool; prints what this mesh can in fact lose");
    create_command->add_option("name", arguments->name, "its name")->required()->type_name("NAME");
    CLI::Option_group* const kept = create_command->add_option_group("redundancy");
    kept->add_option("--redundancy", arguments->redundancy, "rep:N copies, or ec:K+M fragments")
        ->type_name("rep:N|ec:K+M");
    kept->add_option("--profile", arguments->profile,
                     "datacenter: ec:10+4, write quorum 11, read quorum 10, repair threshold 12")
        ->type_name("NAME");
    kept->require_option(1, 2);
    create_command
        ->add_option("--failure-domain", arguments->failure_domain,
                     "what fails as one: corelet, chassis, rack or zone")
        ->type_name("LEVEL");
    create_command
        ->add_option("--min-copies", arguments->min_copies, "below so many copies of the log, writes wait")
        ->type_name("N");
    add_quorum_options(*create_command, *arguments);
    create_command->add_option("--chunk-size", arguments->chunk_size, "256K to 64M (default 8M)")
        ->type_name("SIZE");
    create_command
        ->add_option("--strategy", arguments->strategy, "balanced (default), locality, random or zone-aware")
        ->type_name("NAME");
    create_command->add_option("--device-class", arguments->device_class, "only on corelets of this class")
        ->type_name("CLASS");
    create_command
        ->add_option("--max-per", arguments->max_per, "at most N fragments of a chunk in one chassis, rack or zone")
        ->type_name("LEVEL=N");
    create_command
        ->add_option("--survive", arguments->survive,
                     "refuse it unless the loss of any one chassis, rack or zone of this mesh is survived")
        ->type_name("LEVEL");
    create_command->callback(
        [&context, arguments] { context.action = [&context, arguments] { return create(context, *arguments); }; });

    CLI::App* const list_command = pool->add_subcommand("ls", "list the pools");
    list_command->callback([&context] { context.action = [&context] { return list_pools(context); }; });

    CLI::App* const remove_command = pool->add_subcommand("rm", "remove a pool that holds no volume");
    remove_command->add_option("name", arguments->name, "its name")->required()->type_name("NAME");
    remove_command->callback(
        [&context, arguments] { context.action = [&context, arguments] { return remove(context, *arguments); }; });
}

}  // namespace corelet::app
