// discover.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "app/tool/context.h"
#include "app/tool/discover.h"
#include "app/tool/json_file.h"
#include "app/tool/table.h"
#include "app/tool/units.h"

namespace corelet::app {

namespace {

struct DiscoverArguments {
    DiscoveryChoice choice;
    std::string wait = "1s";
};

constexpr Duration k_longest_wait = 60_s;

std::string joined_addresses(const FoundMesh& mesh) {
    std::string out;
    for (const Address& address : mesh.addresses) out += (out.empty() ? "" : " ") + address.to_string();
    return out;
}

Json meshes_to_json(const std::vector<FoundMesh>& found) {
    Json meshes = Json::array();
    for (const FoundMesh& mesh : found)
        meshes.push_back(Json{{"mesh", hex64(mesh.mesh.v)},
                              {"fingerprint", to_text(mesh.fingerprint)},
                              {"corelets", mesh.corelets},
                              {"addresses", addresses_to_json(mesh.addresses)}});
    return Json{{"meshes", std::move(meshes)}};
}

std::string meshes_table(const std::vector<FoundMesh>& found) {
    if (found.empty()) return {};
    Table table({"MESH", "FINGERPRINT", "CORELETS", "ADDRESSES"});
    for (const FoundMesh& mesh : found)
        table.add(
            {hex64(mesh.mesh.v), to_text(mesh.fingerprint), std::to_string(mesh.corelets), joined_addresses(mesh)});
    return table.to_string();
}

Result<void> run_discover(const Context& context, const DiscoverArguments& arguments) {
    TRY(Duration const wait, parse_duration(arguments.wait));
    if (wait.ns <= 0 || wait > k_longest_wait)
        return fail(Code::kInvalid, "wait between 1ms and 60s for answers, as in --wait 3s");
    TRY(auto const groups, arguments.choice.groups());
    if (groups.empty()) return fail(Code::kInvalid, "without discovery nothing is found; leave out --no-discovery");
    TRY(auto const found, discover(groups, MeshId(), wait));
    print_answer(context, meshes_to_json(found), [&] { return meshes_table(found); });
    if (context.json) return {};
    std::fprintf(
        stderr, "%s\n",
        found.empty() ? "no mesh answers on this network" : "a token lets you in: corelet token create there");
    return {};
}

}  // namespace

void add_discover_command(CLI::App& app, Context& context) {
    auto const arguments = std::make_shared<DiscoverArguments>();
    CLI::App* const command = app.add_subcommand("discover", "list the meshes that answer on this network");
    add_discovery_options(*command, arguments->choice);
    command->add_option("--wait", arguments->wait, "for answers (default 1s)")->type_name("TIME");
    command->callback([&context, arguments] {
        context.action = [&context, arguments] { return run_discover(context, *arguments); };
    });
}

}  // namespace corelet::app
