// bays.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "app/tool/bay_keeper.h"
#include "app/tool/context.h"
#include "app/tool/table.h"

namespace corelet::app {

namespace {

Json read_bays_state(const std::string& directory) {
    auto const text = read_file(directory + "/" + k_bays_state_file);
    Json const parsed = text ? Json::parse(*text, nullptr, false) : Json();
    return parsed.is_object() ? parsed.value("bays", Json::array()) : Json::array();
}

Result<void> list_bays(const Context& context) {
    TRY(std::string const directory, context.directory());
    auto const config = load_bay_config(directory);
    if (!config && config.error().code == Code::kNotFound)
        return fail(Code::kNotFound, "no bays are kept in '" + directory + "' (it has no " + k_bays_file +
                                         "); begin: corelet serve --bays FOLDER --token-file FILE --dir " +
                                         directory);
    if (!config) return std::unexpected(config.error());
    bool const kept = keeper_runs(directory);
    Json bays = read_bays_state(directory);
    for (Json& bay : bays) {
        auto const own = load_config(directory + "/" + bay.value("bay", ""));
        bay["corelet"] = own ? to_string(own->corelet) : std::string();
    }
    if (context.json) {
        Json const out{
            {"folder", config->bays}, {"mesh", hex64(config->mesh.v)}, {"watched", kept}, {"bays", bays}};
        std::printf("%s\n", out.dump().c_str());
        return {};
    }
    Table table({"BAY", "STATE", "CORELET", ""});
    for (const Json& bay : bays)
        table.add({bay.value("bay", ""), bay.value("state", ""), bay.value("corelet", ""), bay.value("words", "")});
    std::printf("%s", table.to_string().c_str());
    if (!kept)
        std::fprintf(stderr, "nobody watches '%s' now; begin: corelet serve --bays %s --dir %s\n",
                     config->bays.c_str(), config->bays.c_str(), directory.c_str());
    return {};
}

}  // namespace

void add_bays_command(CLI::App& app, Context& context) {
    app.add_subcommand("bays", "what a keeper of bays (serve --bays) has found in them")->callback([&context] {
        context.action = [&context] { return list_bays(context); };
    });
}

}  // namespace corelet::app
