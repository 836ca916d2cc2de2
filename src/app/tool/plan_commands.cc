// plan add, drain, remove, pool create: what would come of it.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>

#include "app/tool/context.h"
#include "app/tool/report.h"
#include "app/tool/resolve.h"
#include "app/tool/table.h"
#include "app/tool/units.h"

namespace corelet::app {

namespace {

struct PlanArguments {
    std::string location, size, device_class, id;
    u64 count = 1;
    std::string corelet;
    std::string pool, redundancy, failure_domain = "corelet", strategy, survive, chunk_size;
    std::vector<std::string> max_per;
};

std::string load_text(const Json& load) {
    return fmt::format("{} in {} fragments", format_size(load.value("bytes", u64{0})),
                       load.value("fragments", u64{0}));
}

std::string lose_text(const Json& budget) {
    int const losses = budget.value("can_lose", 0);
    if (std::string const what = budget.value("unreadable", std::string()); !what.empty())
        return "NOT ALL CAN BE READ: " + what;
    return losses == 0 ? "no corelet" : losses == 1 ? "any corelet" : fmt::format("any {} corelets", losses);
}

std::string pace_text(const Json& plan) {
    if (plan.at("moved").value("fragments", u64{0}) == 0) return "nothing moves";
    return fmt::format(
        "about {} at {}/s a corelet ({})",
        format_duration(Duration{static_cast<i64>(plan.value("seconds", u64{0}) * 1'000'000'000)}),
        format_size(plan.value("bytes_per_second", u64{0})),
        plan.value("pace", "") == "measured" ? "as measured" : "assumed: nobody has measured it yet");
}

std::string percent(u64 permille) {
    return fmt::format("{}.{} %", permille / 10, permille % 10);
}

std::string name_of(const Json& status, const std::string& id) {
    for (const Json& corelet : status.value("corelets", Json::array()))
        if (corelet.value("id", "") == id) return corelet_label(status, id);
    return "new, " + id;
}

std::string corelets_table(const Json& plan, const Json& status) {
    Table table({"CORELET", "LOCATION", "TAKES IN", "HANDS ON", "FULL NOW", "THEN"});
    for (const Json& each : plan.at("corelets")) {
        bool const stays = each.value("stays", true);
        table.add({name_of(status, each.value("id", "")), each.value("location", ""),
                   format_size(each.at("in").value("bytes", u64{0})),
                   format_size(each.at("out").value("bytes", u64{0})),
                   percent(each.value("full_before_permille", u64{0})),
                   !stays ? "gone"
                          : percent(each.value("full_after_permille", u64{0})) +
                                (each.value("fits", true) ? "" : ", TOO FULL")});
    }
    return table.to_string();
}

void print_plan(const Json& plan, const Json& status) {
    std::printf("If %s:\n", plan.value("change", "").c_str());
    std::printf("  moves       %s; %s\n", load_text(plan.at("moved")).c_str(), pace_text(plan).c_str());
    if (plan.at("rebuilt").value("fragments", u64{0}) != 0)
        std::printf("  of these    %s are made again from others\n", load_text(plan.at("rebuilt")).c_str());
    if (plan.at("without_a_place").value("fragments", u64{0}) != 0)
        std::printf("  LOSES       %s find no other place: too few corelets\n",
                    load_text(plan.at("without_a_place")).c_str());
    std::printf("  can lose    now %s; meanwhile %s; afterwards %s\n", lose_text(plan.at("before")).c_str(),
                lose_text(plan.at("during")).c_str(), lose_text(plan.at("after")).c_str());
    for (const Json& each : plan.at("also")) std::printf("  also        %s\n", each.get<std::string>().c_str());
    for (const Json& each : plan.at("caveats")) std::printf("  note        %s\n", each.get<std::string>().c_str());
    if (!plan.value("fits", true)) std::printf("  DOES NOT FIT: see the table\n");
    std::fputs(corelets_table(plan, status).c_str(), stdout);
}

Result<void> show(const Context& context, const Reach& reach, Json request) {
    TRY(Json const plan, run_command(reach, "plan", std::move(request), k_command_limit, true));
    if (context.json) {
        std::printf("%s\n", plan.dump().c_str());
        return {};
    }
    TRY(Json status, run_command(reach, "status", Json::object(), k_command_limit, true));
    if (auto const lab = context.lab()) order_corelets(status, *lab);
    print_plan(plan, status);
    return {};
}

Result<void> plan_add(const Context& context, const PlanArguments& arguments) {
    TRY(Reach const reach, context.reach());
    Json request{{"change", "add"}, {"location", arguments.location}, {"count", arguments.count}};
    if (!arguments.size.empty()) {
        TRY(u64 const size, parse_size(arguments.size));
        request["size_bytes"] = size;
    }
    if (!arguments.device_class.empty()) request["device_class"] = arguments.device_class;
    if (!arguments.id.empty()) request["id"] = arguments.id;
    return show(context, reach, std::move(request));
}

Result<void> plan_for(const Context& context, const PlanArguments& arguments, const char* change) {
    TRY(Reach const reach, context.reach());
    TRY(std::string const id, resolve_corelet(context, reach, arguments.corelet));
    return show(context, reach, Json{{"change", change}, {"id", id}});
}

Result<void> plan_drain(const Context& context, const PlanArguments& arguments) {
    return plan_for(context, arguments, "drain");
}

Result<void> plan_remove(const Context& context, const PlanArguments& arguments) {
    return plan_for(context, arguments, "remove");
}

Result<void> plan_pool(const Context& context, const PlanArguments& arguments) {
    TRY(Reach const reach, context.reach());
    Json request{{"change", "pool.create"},
                 {"name", arguments.pool},
                 {"redundancy", arguments.redundancy},
                 {"failure_domain", arguments.failure_domain}};
    if (!arguments.strategy.empty()) request["strategy"] = arguments.strategy;
    if (!arguments.device_class.empty()) request["device_class"] = arguments.device_class;
    if (!arguments.survive.empty()) request["survive"] = arguments.survive;
    if (!arguments.chunk_size.empty()) {
        TRY(u64 const bytes, parse_size(arguments.chunk_size));
        request["chunk_bytes"] = bytes;
    }
    for (const std::string& text : arguments.max_per) TRY_VOID(add_pool_cap(text, request["max_per"]));
    return show(context, reach, std::move(request));
}

using PlanAct = Result<void> (*)(const Context&, const PlanArguments&);

CLI::App* add_plan(CLI::App& app, Context& context, const std::shared_ptr<PlanArguments>& arguments,
                   const char* name, const char* description, PlanAct act) {
    CLI::App* const command = app.add_subcommand(name, description);
    command->callback([&context, arguments, act] {
        context.action = [&context, arguments, act] { return act(context, *arguments); };
    });
    return command;
}

void add_pool_options(CLI::App& command, PlanArguments& arguments) {
    command.add_option("name", arguments.pool, "its name")->required()->type_name("NAME");
    command.add_option("--redundancy", arguments.redundancy, "rep:N copies, or ec:K+M fragments")
        ->required()
        ->type_name("rep:N|ec:K+M");
    command.add_option("--failure-domain", arguments.failure_domain, "corelet, chassis, rack or zone")
        ->type_name("LEVEL");
    command.add_option("--strategy", arguments.strategy, "placement strategy")->type_name("NAME");
    command.add_option("--device-class", arguments.device_class, "only on corelets of this class")
        ->type_name("CLASS");
    command.add_option("--chunk-size", arguments.chunk_size, "256K to 64M")->type_name("SIZE");
    command.add_option("--max-per", arguments.max_per, "at most N fragments of a chunk in one of LEVEL")
        ->type_name("LEVEL=N");
    command.add_option("--survive", arguments.survive, "the loss of any one of LEVEL")->type_name("LEVEL");
}

}  // namespace

void add_plan_commands(CLI::App& app, Context& context) {
    CLI::App* const plan = app.add_subcommand(
        "plan", "what a change would move, how long, how full, what may be lost; changes nothing");
    plan->require_subcommand(1);
    auto const arguments = std::make_shared<PlanArguments>();
    CLI::App* const add_command = add_plan(*plan, context, arguments, "add", "corelets are added", plan_add);
    add_command->add_option("--location", arguments->location, "where: zone/rack/chassis")
        ->required()
        ->type_name("Z/R/C");
    add_command->add_option("--size", arguments->size, "of each device (default: as others have)")
        ->type_name("SIZE");
    add_command->add_option("--count", arguments->count, "so many (default 1)")->type_name("N");
    add_command->add_option("--device-class", arguments->device_class, "of their devices")->type_name("CLASS");
    add_command->add_option("--id", arguments->id, "of one that is formatted already: then the plan is exact")
        ->type_name("ID");
    for (auto const& [name, description, act] :
         {std::tuple{"drain", "a corelet is drained, then removed", &plan_drain},
          std::tuple{"remove", "a corelet is gone at once: what others make again", &plan_remove}})
        add_plan(*plan, context, arguments, name, description, act)
            ->add_option("corelet", arguments->corelet, "its id, or its number")
            ->required()
            ->type_name("CORELET");
    CLI::App* const pool = plan->add_subcommand("pool", "a pool is made");
    pool->require_subcommand(1);
    add_pool_options(*add_plan(*pool, context, arguments, "create", "a pool is made", plan_pool), *arguments);
}

}  // namespace corelet::app
