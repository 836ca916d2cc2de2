#include "app/tool/join_mesh.h"

#include <fmt/format.h>

#include <algorithm>

#include "app/tool/context.h"
#include "app/tool/discover.h"
#include "app/tool/tool_world.h"

namespace corelet::app {

namespace {

constexpr Duration k_seed_limit = 10_s;
constexpr Duration k_redeem_limit = 5_s;

// The mesh's secret, from the file that was named, or from the seed's own directory if that is on this machine.
Result<std::string> key_beside_seed(const Address& seed, const std::string& admin_key) {
    if (!admin_key.empty()) {
        std::string const path = absolute_path(admin_key);
        TRY(std::string const text, read_file(path));
        std::string key = first_line(text);
        if (key.size() < k_key_digits_min)
            return fail(Code::kInvalid,
                        fmt::format("'{}' holds no admin key; name the admin.key of a corelet of the "
                                    "mesh",
                                    path));
        return key;
    }
    if (seed.kind == Address::Kind::kUnix) {
        std::string key = read_key(seed.host.substr(0, seed.host.rfind('/')));
        if (!key.empty()) return key;
    }
    return fail(
        Code::kInvalid,
        "the mesh's secret is needed, without which no corelet hears this one: copy the admin.key of a corelet "
        "of the mesh and name it with --admin-key FILE");
}

struct Redeemed {
    std::string key;
    Address from;
};

// What does not depend on whom is asked is said at once; a corelet that does not answer is no matter as long as
// another one does. kUnavailable: none did, and `tried` says whom.
Result<Redeemed> redeem_at(const JoinToken& token, const std::vector<Address>& addresses, std::string& tried) {
    for (const Address& address : addresses) {
        TRY(auto world, make_tool_world());
        Env& env = world->env();
        ControlClient client(env, Reach{});
        auto key = world->run_until_done(client.redeem(address, token, env.clock.now() + k_redeem_limit));
        if (key) return Redeemed{*std::move(key), address};
        if (key.error().code == Code::kDenied || key.error().code == Code::kNotFound)
            return std::unexpected(with_context(key.error(), "the corelet at " + address.to_string()));
        tried += (tried.empty() ? "" : ", ") + address.to_string() + " (" + key.error().to_string() + ")";
    }
    return fail(Code::kUnavailable, "no corelet of the mesh answers");
}

bool is_pinned(const JoinToken& token) {
    return token.ca_pin.size() == sizeof(MeshFingerprint);
}

// Whoever shows another fingerprint than the token's is not asked.
std::vector<Address> found_on_network(const JoinToken& token, const std::vector<Address>& groups) {
    std::vector<Address> out;
    auto const meshes = discover(groups, token.mesh, k_discovery_wait);
    if (!meshes) return out;
    for (const FoundMesh& found : *meshes) {
        if (is_pinned(token) && !std::ranges::equal(token.ca_pin, found.fingerprint)) continue;
        out.insert(out.end(), found.addresses.begin(), found.addresses.end());
    }
    return out;
}

Result<Redeemed> redeem_anywhere(const JoinToken& token, const std::vector<Address>& discovery) {
    std::string tried;
    auto redeemed = redeem_at(token, token.addresses, tried);
    if (redeemed || redeemed.error().code != Code::kUnavailable) return redeemed;
    if (!discovery.empty()) {
        auto const found = found_on_network(token, discovery);
        redeemed = redeem_at(token, found, tried);
        if (redeemed || redeemed.error().code != Code::kUnavailable) return redeemed;
        if (found.empty()) tried += ", and none of them on this network by multicast";
    }
    return fail(Code::kUnavailable,
                "none of the corelets in the token answers: " + tried +
                    "; start one, see that this machine can reach it, or make another token in the mesh");
}

Result<Introduction> meet(const Address& address) {
    TRY(auto world, make_tool_world());
    Env& env = world->env();
    ControlClient client(env, Reach{});
    return world->run_until_done(client.introduce(address, env.clock.now() + k_seed_limit));
}

}  // namespace

Result<JoinedMesh> join_by_token(const JoinToken& token, const std::vector<Address>& discovery) {
    TRY(Redeemed const redeemed, redeem_anywhere(token, discovery));
    if (is_pinned(token) && !std::ranges::equal(token.ca_pin, mesh_fingerprint(token.mesh, redeemed.key)))
        return fail(Code::kDenied, "the key that " + redeemed.from.to_string() +
                                       " gave is not the one that the token was made for; make another token: "
                                       "corelet token create");
    JoinedMesh out{token.mesh, redeemed.key, {}, token.addresses};
    // Who answered comes first, and may be one that the token does not know.
    std::erase(out.seeds, redeemed.from);
    out.seeds.insert(out.seeds.begin(), redeemed.from);
    // The token does not say where the catalog stands.
    if (auto const met = meet(redeemed.from)) out.catalog = met->catalog;
    return out;
}

Result<JoinedMesh> join_by_seed(Address seed, const std::string& admin_key) {
    if (seed.kind == Address::Kind::kUnix) seed.host = absolute_path(seed.host);
    auto const met = meet(seed);
    if (!met)
        return std::unexpected(
            with_context(met.error(), fmt::format("the seed {} does not answer (is it running? corelet "
                                                  "serve --dir ITS_DIR)",
                                                  seed.to_string())));
    TRY(std::string key, key_beside_seed(seed, admin_key));
    return JoinedMesh{met->mesh, std::move(key), met->catalog, {seed}};
}

}  // namespace corelet::app
