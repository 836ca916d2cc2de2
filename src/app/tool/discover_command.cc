// discover.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "app/tool/context.h"
#include "app/tool/discover.h"
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

void print_found(const Context& context, const std::vector<FoundMesh>& found) {
    if (context.json) {
        Json meshes = Json::array();
        for (const FoundMesh& mesh : found) {
            Json addresses = Json::array();
            for (const Address& address : mesh.addresses) addresses.push_back(address.to_string());
            meshes.push_back(Json{{"mesh", hex64(mesh.mesh.v)},
                                  {"fingerprint", to_text(mesh.fingerprint)},
                                  {"corelets", mesh.corelets},
                                  {"addresses", std::move(addresses)}});
        }
        std::printf("%s\n", Json{{"meshes", std::move(meshes)}}.dump().c_str());
        return;
    }
    Table table({"MESH", "FINGERPRINT", "CORELETS", "ADDRESSES"});
    for (const FoundMesh& mesh : found)
        table.add(
            {hex64(mesh.mesh.v), to_text(mesh.fingerprint), std::to_string(mesh.corelets), joined_addresses(mesh)});
    std::printf("%s", found.empty() ? "" : table.to_string().c_str());
    std::fprintf(
        stderr, "%s\n",
        found.empty() ? "no mesh answers on this network" : "a token lets you in: corelet token create there");
}

Result<void> run_discover(const Context& context, const DiscoverArguments& arguments) {
    TRY(Duration const wait, parse_duration(arguments.wait));
    if (wait.ns <= 0 || wait > k_longest_wait)
        return fail(Code::kInvalid, "wait between 1ms and 60s for answers, as in --wait 3s");
    TRY(auto const group, arguments.choice.group());
    if (!group) return fail(Code::kInvalid, "without discovery nothing is found; leave out --no-discovery");
    TRY(auto const found, discover(*group, MeshId(), wait));
    print_found(context, found);
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
