#include "app/tool/corelet_directory.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "os/socket_address.h"

namespace corelet::app {

namespace {

using Json = nlohmann::json;

Json texts(const std::vector<Address>& addresses) {
    Json out = Json::array();
    for (const Address& address : addresses) out.push_back(address.to_string());
    return out;
}

Result<std::vector<Address>> parse_addresses(const Json& list) {
    std::vector<Address> out;
    for (const Json& text : list) {
        TRY(Address address, Address::parse(text.get<std::string>()));
        out.push_back(std::move(address));
    }
    return out;
}

Result<CoreletConfig> parse_config(const Json& json, const std::string& directory) {
    CoreletConfig config;
    TRY(u64 const mesh, parse_hex64(json.at("mesh").get<std::string>()));
    TRY(u64 const corelet, parse_hex64(json.at("corelet").get<std::string>()));
    config.mesh = MeshId(mesh);
    config.corelet = CoreletId(corelet);
    config.device = json.at("device").get<std::string>();
    if (!config.device.starts_with('/')) config.device = directory + "/" + config.device;
    TRY(config.location, mesh::Location::parse(json.at("location").get<std::string>()));
    config.role = json.at("role").get<std::string>() == "witness" ? mesh::Role::kWitness : mesh::Role::kStorage;
    TRY(config.listen, parse_addresses(json.at("listen")));
    TRY(config.seeds, parse_addresses(json.at("seeds")));
    config.export_directory = json.value("export_directory", directory);
    config.out_after = Duration{json.value("out_after_ms", i64{600'000}) * 1'000'000};
    config.cache_bytes = json.value("cache_bytes", config.cache_bytes);
    config.bootstrap = json.value("bootstrap", false);
    config.insecure = json.value("insecure", false);
    return config;
}

}  // namespace

Result<u64> parse_hex64(std::string_view text) {
    u64 value = 0;
    auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (error != std::errc() || end != text.data() + text.size() || text.size() != 16)
        return fail(Code::kInvalid, fmt::format("'{}' is not sixteen hex digits", text));
    return value;
}

Result<void> check_socket_path(const std::string& path) {
    if (path.size() <= os::k_unix_path_max) return {};
    usize const slash = path.rfind('/');
    return fail(Code::kInvalid,
                fmt::format("the socket '{}' would have a path of {} bytes, and the kernel takes at most {}: "
                            "choose a directory of at most {} bytes",
                            path, path.size(), os::k_unix_path_max,
                            os::k_unix_path_max - std::min(path.size() - slash, os::k_unix_path_max)));
}

Address control_address(const std::string& directory) {
    return Address::unix_path(directory + "/" + k_socket_file);
}

NodeConfig CoreletConfig::to_node_config(const std::string& directory) const {
    NodeConfig out;
    out.mesh = mesh;
    out.device_path = device;
    out.location = location;
    out.role = role;
    out.listen = listen.empty() ? std::vector<Address>{control_address(directory)} : listen;
    out.seeds = seeds;
    out.export_directory = export_directory;
    out.bootstrap = bootstrap;
    out.insecure = insecure;
    out.out_after = out_after;
    out.cache_bytes = cache_bytes;
    return out;
}

Result<CoreletConfig> load_config(const std::string& directory) {
    std::string const path = directory + "/" + k_config_file;
    auto const text = read_file(path);
    if (!text && text.error().code == Code::kNotFound)
        return fail(Code::kNotFound, fmt::format("'{}' is no corelet's directory (it has no {}); make one: "
                                                 "corelet init --dir {} --device PATH:SIZE",
                                                 directory, k_config_file, directory));
    if (!text) return std::unexpected(text.error());
    try {
        auto config = parse_config(Json::parse(*text), directory);
        if (config) return config;
        return fail(Code::kCorrupt, fmt::format("'{}': {}", path, config.error().message));
    } catch (const Json::exception& error) {
        return fail(Code::kCorrupt, fmt::format("'{}' does not parse: {}", path, error.what()));
    }
}

Result<void> save_config(const std::string& directory, const CoreletConfig& config) {
    Json json{{"version", 1},
              {"mesh", hex64(config.mesh.v)},
              {"corelet", to_string(config.corelet)},
              {"device", config.device},
              {"location", config.location.to_string()},
              {"role", mesh::role_name(config.role)},
              {"listen", texts(config.listen)},
              {"seeds", texts(config.seeds)},
              {"export_directory", config.export_directory},
              {"out_after_ms", config.out_after.ms()},
              {"cache_bytes", config.cache_bytes},
              {"bootstrap", config.bootstrap},
              {"insecure", config.insecure}};
    return replace_file(directory + "/" + k_config_file, json.dump(2) + "\n");
}

}  // namespace corelet::app
