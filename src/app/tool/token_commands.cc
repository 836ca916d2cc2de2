// token create.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "app/tool/context.h"
#include "app/tool/json_file.h"
#include "app/tool/units.h"
#include "base/base64.h"
#include "node/join_token.h"
#include "os/random.h"

namespace corelet::app {

namespace {

struct TokenArguments {
    std::string expires = "24h";
    std::string role;
    u32 uses = 1;
};

// Drawn here, so that the secret is known to nobody but who is given the token.
TokenSecret new_secret() {
    TokenSecret out{};
    for (usize at = 0; at < out.size(); at += 8) {
        u64 const drawn = os::os_random_seed();
        for (usize i = 0; i < 8; ++i) out[at + i] = static_cast<u8>(drawn >> (8 * i));
    }
    return out;
}

Result<std::optional<mesh::Role>> parse_token_role(const std::string& name) {
    if (name.empty()) return std::nullopt;
    auto const role = mesh::parse_role(name);
    if (!role || *role == mesh::Role::kGateway)
        return fail(Code::kInvalid, "'" + name + "' is no role to join as; choose storage, witness or spare");
    return role;
}

Result<void> create(const Context& context, const TokenArguments& arguments) {
    TRY(Duration const length, parse_duration(arguments.expires));
    JoinToken token;
    TRY(token.role, parse_token_role(arguments.role));
    TRY(Reach const reach, context.reach());
    TRY(Json const status, run_command(reach, "status", Json::object(), k_command_limit, true));
    TRY(u64 const mesh_id, parse_hex64(status.at("mesh").get<std::string>()));
    token.mesh = MeshId(mesh_id);
    token.id = os::os_random_seed() | 1;
    token.secret = new_secret();
    Json const request{{"id", token.id},
                       {"verifier", to_base64(token_verifier(token.mesh, token.id, token.secret))},
                       {"length_ms", length.ms()},
                       {"uses", arguments.uses}};
    TRY(Json const made, run_command(reach, "token.create", request, k_command_limit, false));
    token.expires = WallTime{made.at("expires_unix").get<i64>() * 1'000'000'000};
    if (auto const pin = from_base64(made.value("fingerprint", std::string()))) token.ca_pin = *pin;
    TRY(token.addresses, addresses_from_json(made.at("addresses")));
    std::string const text = encode_token(token);
    Json const out{{"token", text}, {"expires_unix", made["expires_unix"]}, {"uses", arguments.uses}};
    print_answer(context, out, text);
    if (context.json) return {};
    std::fprintf(stderr, "until %s, for %u; on the new machine: corelet join TOKEN --dir DIR --device PATH\n",
                 format_time(made["expires_unix"].get<i64>()).c_str(), arguments.uses);
    return {};
}

}  // namespace

void add_token_commands(CLI::App& app, Context& context) {
    CLI::App* const token = app.add_subcommand("token", "what lets a corelet into the mesh");
    token->require_subcommand(1);
    auto const arguments = std::make_shared<TokenArguments>();
    CLI::App* const create_command = token->add_subcommand("create", "make a token for `corelet join`");
    create_command->add_option("--expires", arguments->expires, "good for so long (default 24h)")
        ->type_name("TIME");
    create_command->add_option("--uses", arguments->uses, "lets in so many corelets (default 1)")->type_name("N");
    create_command->add_option("--role", arguments->role, "only as that: storage, witness or spare")
        ->type_name("ROLE");
    create_command->callback(
        [&context, arguments] { context.action = [&context, arguments] { return create(context, *arguments); }; });
}

}  // namespace corelet::app
