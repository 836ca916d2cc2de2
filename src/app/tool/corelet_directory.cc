#include "app/tool/corelet_directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "app/tool/json_file.h"
#include "base/json.h"
#include "os/socket_address.h"

namespace corelet::app {

namespace {

Result<CoreletConfig> parse_config(const Json& json, const std::string& directory) {
    CoreletConfig config;
    TRY(u64 const mesh, parse_hex64(json.at("mesh").get<std::string>()));
    TRY(u64 const corelet, parse_hex64(json.at("corelet").get<std::string>()));
    config.mesh = MeshId(mesh);
    config.corelet = CoreletId(corelet);
    config.device = json.at("device").get<std::string>();
    if (!config.device.starts_with('/')) config.device = directory + "/" + config.device;
    TRY(config.location, mesh::Location::parse(json.at("location").get<std::string>()));
    auto const role = mesh::parse_role(json.at("role").get<std::string>());
    if (!role) return fail(Code::kInvalid, "there is no role " + json.at("role").dump());
    config.role = *role;
    config.device_class = json.value("device_class", std::string());
    TRY(config.listen, addresses_from_json(json.at("listen")));
    TRY(config.seeds, addresses_from_json(json.at("seeds")));
    config.catalog = json.value("catalog", std::string());
    config.export_directory = json.value("export_directory", directory);
    config.out_after = Duration{json.value("out_after_ms", i64{600'000}) * 1'000'000};
    config.scrub_days = std::clamp<u64>(json.value("scrub_days", config.scrub_days), 1, k_scrub_days_max);
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
    out.device_class = device_class;
    out.listen = listen.empty() ? std::vector<Address>{control_address(directory)} : listen;
    out.seeds = seeds;
    out.catalog = catalog;
    out.export_directory = export_directory;
    out.bootstrap = bootstrap;
    out.insecure = insecure;
    out.out_after = out_after;
    out.scrub_pass = Duration{static_cast<i64>(scrub_days) * 24 * 3600 * 1'000'000'000};
    out.cache_bytes = cache_bytes;
    return out;
}

Result<CoreletConfig> load_config(const std::string& directory) {
    auto config = parse_json_file(directory + "/" + k_config_file,
                                  [&](const Json& json) { return parse_config(json, directory); });
    if (!config && config.error().code == Code::kNotFound)
        return fail(Code::kNotFound, fmt::format("'{}' is no corelet's directory (it has no {}); make one: "
                                                 "corelet init --dir {} --device PATH:SIZE",
                                                 directory, k_config_file, directory));
    return config;
}

Result<void> save_config(const std::string& directory, const CoreletConfig& config) {
    Json json{{"version", 1},
              {"mesh", hex64(config.mesh.v)},
              {"corelet", to_string(config.corelet)},
              {"device", config.device},
              {"location", config.location.to_string()},
              {"role", mesh::role_name(config.role)},
              {"device_class", config.device_class},
              {"listen", addresses_to_json(config.listen)},
              {"seeds", addresses_to_json(config.seeds)},
              {"catalog", config.catalog},
              {"export_directory", config.export_directory},
              {"out_after_ms", config.out_after.ms()},
              {"scrub_days", config.scrub_days},
              {"cache_bytes", config.cache_bytes},
              {"bootstrap", config.bootstrap},
              {"insecure", config.insecure}};
    return replace_file(directory + "/" + k_config_file, json.dump(2) + "\n");
}

}  // namespace corelet::app
