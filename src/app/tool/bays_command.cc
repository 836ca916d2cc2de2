// bays.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "app/tool/bay_keeper.h"
#include "app/tool/context.h"
#include "app/tool/json_file.h"
#include "app/tool/table.h"

namespace corelet::app {

namespace {

// None where the keeper has written nothing, or nothing that can be read.
Json read_bays_state(const std::string& directory) {
    auto bays = parse_json_file(directory + "/" + k_bays_state_file, [](const Json& state) -> Result<Json> {
        return state.value("bays", Json::array());
    });
    return bays ? *std::move(bays) : Json::array();
}

std::string bays_table(const Json& bays) {
    Table table({"BAY", "STATE", "CORELET", ""});
    for (const Json& bay : bays)
        table.add({bay.value("bay", ""), bay.value("state", ""), bay.value("corelet", ""), bay.value("words", "")});
    return table.to_string();
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
    Json const out{{"folder", config->bays}, {"mesh", hex64(config->mesh.v)}, {"watched", kept}, {"bays", bays}};
    print_answer(context, out, [&] { return bays_table(bays); });
    if (!kept && !context.json)
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
