#include <CLI/CLI.hpp>

#include "app/tool/context.h"
#include "app/tool/report.h"

namespace corelet::app {

namespace {

Result<void> status(const Context& context) {
    TRY(Reach const reach, context.reach());
    TRY(Json const found, ask_status(context, reach));
    print_answer(context, found, [&] { return report(found); });
    return {};
}

}  // namespace

void add_status_command(CLI::App& app, Context& context) {
    CLI::App* const command = app.add_subcommand("status", "the state of the mesh, in twelve lines or fewer");
    command->callback([&context] { context.action = [&context] { return status(context); }; });
}

}  // namespace corelet::app
