#include "app/tool/cli.h"

#include <CLI/CLI.hpp>
#include <cstdio>

#include "app/tool/context.h"
#include "base/json.h"

namespace corelet::app {

namespace {

constexpr const char* k_description =
    "Corelet: a decentralised, self-healing storage mesh.\n"
    "Try it on this machine:  corelet lab up --corelets 3 --dir /tmp/lab";

// The words of the command, as in "volume create".
std::string words_of(const CLI::App& app) {
    std::string words;
    for (const CLI::App* at = &app; at;) {
        auto const chosen = at->get_subcommands();
        at = chosen.empty() ? nullptr : chosen.front();
        if (at) words += (words.empty() ? "" : " ") + at->get_name();
    }
    return words;
}

void print_error(const Context& context, const Error& error) {
    std::string const text = error.message.empty() ? code_name(error.code) : error.message;
    if (context.json) {
        Json const out{
            {"error", {{"command", context.command}, {"code", code_name(error.code)}, {"message", text}}}};
        std::fprintf(stderr, "%s\n", out.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
        return;
    }
    std::string const command = context.command.empty() ? "corelet" : "corelet " + context.command;
    std::fprintf(stderr, "%s: %s\n", command.c_str(), text.c_str());
}

int run(CLI::App& app, Context& context, int argc, char** argv) {
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& help) {
        return app.exit(help);
    } catch (const CLI::ParseError& error) {
        context.command = words_of(app);
        print_error(context, Error{Code::kInvalid, false, 0,
                                   std::string(error.what()) + "; see: corelet " +
                                       (context.command.empty() ? "" : context.command + " ") + "--help"});
        return 2;
    }
    context.command = words_of(app);
    auto const done = context.action();
    if (done) return 0;
    print_error(context, done.error());
    return 1;
}

}  // namespace

int run_cli(int argc, char** argv) {
    Context context;
    CLI::App app(k_description, "corelet");
    app.require_subcommand(1);
    app.fallthrough();
    app.add_option("--dir", context.dir, "directory of a corelet or of a lab (or set CORELET_DIR)")
        ->type_name("DIR");
    app.add_option("--connect", context.connect, "unix:PATH or HOST:PORT of any corelet")->type_name("ADDRESS");
    app.add_flag("--json", context.json, "print JSON");
    app.set_version_flag("--version", "corelet " + NodeConfig{}.version);
    add_corelet_commands(app, context);
    add_life_commands(app, context);
    add_heal_commands(app, context);
    add_catalog_commands(app, context);
    add_token_commands(app, context);
    add_discover_command(app, context);
    add_bays_command(app, context);
    add_status_command(app, context);
    add_events_command(app, context);
    add_pool_commands(app, context);
    add_volume_commands(app, context);
    add_connect_command(app, context);
    add_plan_commands(app, context);
    add_lab_commands(app, context);
    try {
        return run(app, context, argc, argv);
    } catch (const std::exception& error) {  // of CLI11 or the JSON library
        print_error(context, Error{Code::kInvalid, false, 0, error.what()});
        return 1;
    }
}

}  // namespace corelet::app
