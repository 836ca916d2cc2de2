// heal limit: what healing may take.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "app/tool/context.h"
#include "app/tool/tool_world.h"
#include "app/tool/units.h"
#include "base/json.h"

namespace corelet::app {

namespace {

struct HealArguments {
    std::string corelet, mesh;
};

// "50M" a second; "none".
Result<u64> parse_rate(const std::string& text) {
    if (text == "none") return 0;
    std::string_view size = text;
    if (size.ends_with("/s")) size.remove_suffix(2);
    TRY(u64 const bytes, parse_size(size));
    if (bytes == 0)
        return fail(Code::kInvalid,
                    "a limit of nothing would stop healing: corelet pause --for TIME does, for a "
                    "while; 'none' takes a limit away");
    return bytes;
}

std::string limit_text(u64 bytes) {
    return bytes == 0 ? "no limit" : format_size(bytes) + "/s";
}

Result<void> limit(const Context& context, const HealArguments& arguments) {
    Json request = Json::object();
    if (!arguments.corelet.empty()) {
        TRY(request["corelet_bytes_per_second"], parse_rate(arguments.corelet));
    }
    if (!arguments.mesh.empty()) {
        TRY(request["mesh_bytes_per_second"], parse_rate(arguments.mesh));
    }
    TRY(Reach const reach, context.reach());
    TRY(Json const now, run_command(reach, "healing.limit", request, k_command_limit, true));
    print_answer(context, now,
                 fmt::format("rebuilding by each corelet: {}; by all together: {}",
                             limit_text(now.value("corelet_bytes_per_second", u64{0})),
                             limit_text(now.value("mesh_bytes_per_second", u64{0}))));
    return {};
}

}  // namespace

void add_heal_commands(CLI::App& app, Context& context) {
    auto const arguments = std::make_shared<HealArguments>();
    CLI::App* const heal = app.add_subcommand("heal", "how healing goes about its work");
    heal->require_subcommand(1);
    CLI::App* const command =
        heal->add_subcommand("limit", "how fast healing may rebuild at most; without options: what stands now");
    command->add_option("--corelet", arguments->corelet, "each corelet: bytes a second (50M), or 'none'")
        ->type_name("RATE");
    command
        ->add_option("--mesh", arguments->mesh, "all of them together, shared by those with something to rebuild")
        ->type_name("RATE");
    command->callback(
        [&context, arguments] { context.action = [&context, arguments] { return limit(context, *arguments); }; });
}

}  // namespace corelet::app
