// plan add, drain, remove, pool create, pool change: what would come of it.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "app/tool/context.h"
#include "app/tool/pool_options.h"
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
    PoolOptions pool;
    PoolChange pool_change;
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

std::string plan_text(const Json& plan, const Json& status) {
    std::string out = fmt::format("If {}:\n", plan.value("change", ""));
    out += fmt::format("  moves       {}; {}\n", load_text(plan.at("moved")), pace_text(plan));
    if (plan.at("rebuilt").value("fragments", u64{0}) != 0)
        out += fmt::format("  of these    {} are made again from others\n", load_text(plan.at("rebuilt")));
    if (plan.at("without_a_place").value("fragments", u64{0}) != 0)
        out += fmt::format("  LOSES       {} find no other place: too few corelets\n",
                           load_text(plan.at("without_a_place")));
    out += fmt::format("  can lose    now {}; meanwhile {}; afterwards {}\n", lose_text(plan.at("before")),
                       lose_text(plan.at("during")), lose_text(plan.at("after")));
    for (const Json& each : plan.at("also")) out += fmt::format("  also        {}\n", each.get<std::string>());
    for (const Json& each : plan.at("caveats")) out += fmt::format("  note        {}\n", each.get<std::string>());
    if (!plan.value("fits", true)) out += "  DOES NOT FIT: see the table\n";
    return out + corelets_table(plan, status);
}

Result<void> show(const Context& context, const Reach& reach, Json request) {
    TRY(Json const plan, run_command(reach, "plan", std::move(request), k_command_limit, true));
    TRY(Json const status, status_for_words(context, reach));
    print_answer(context, plan, [&] { return plan_text(plan, status); });
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
    TRY(Json request, pool_request(arguments.pool));
    request["change"] = "pool.create";
    return show(context, reach, std::move(request));
}

Result<void> plan_pool_change(const Context& context, const PlanArguments& arguments) {
    TRY(Reach const reach, context.reach());
    TRY(Json request, pool_change_request(arguments.pool_change));
    request["change"] = "pool.change";
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
    CLI::App* const pool = plan->add_subcommand("pool", "a pool is made, or changed");
    pool->require_subcommand(1);
    add_pool_options(*add_plan(*pool, context, arguments, "create", "a pool is made", plan_pool), arguments->pool);
    add_pool_change_options(*add_plan(*pool, context, arguments, "change", "a pool is changed", plan_pool_change),
                            arguments->pool_change);
}

}  // namespace corelet::app
