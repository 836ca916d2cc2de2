#include "app/tool/bay_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "app/tool/json_file.h"
#include "base/json.h"

namespace corelet::app {

namespace {

constexpr usize k_bay_seeds_max = 16;

Result<BayConfig> parse_bay_config(const Json& json) {
    BayConfig out;
    if (json.at("version").get<int>() != 1)
        return fail(Code::kUnsupported, "it is of a newer version; update this one");
    TRY(u64 const mesh, parse_hex64(json.at("mesh").get<std::string>()));
    out.mesh = MeshId(mesh);
    out.bays = json.at("bays").get<std::string>();
    out.location = json.at("location").get<std::string>();
    out.places = json.value("places", out.places);
    TRY(out.seeds, addresses_from_json(json.at("seeds")));
    TRY(out.listen, addresses_from_json(json.value("listen", Json::array())));
    out.catalog = json.value("catalog", std::string());
    out.device_class = json.value("device_class", std::string());
    out.export_directory = json.value("export_directory", std::string());
    out.out_after = Duration{json.value("out_after_ms", out.out_after.ms()) * 1'000'000};
    out.cache_bytes = json.value("cache_bytes", out.cache_bytes);
    out.insecure = json.value("insecure", false);
    return out;
}

std::string filled_in(std::string text, std::string_view word, const std::string& value) {
    for (usize at = 0; (at = text.find(word, at)) != std::string::npos; at += value.size())
        text.replace(at, word.size(), value);
    return text;
}

void add_seed(std::vector<Address>& seeds, const Address& seed) {
    if (seeds.size() < k_bay_seeds_max && std::ranges::find(seeds, seed) == seeds.end()) seeds.push_back(seed);
}

}  // namespace

Result<BayConfig> load_bay_config(const std::string& directory) {
    return parse_json_file(directory + "/" + k_bays_file, parse_bay_config);
}

Result<void> save_bay_config(const std::string& directory, const BayConfig& config) {
    Json const json{{"version", 1},
                    {"mesh", hex64(config.mesh.v)},
                    {"bays", config.bays},
                    {"location", config.location},
                    {"places", config.places},
                    {"seeds", addresses_to_json(config.seeds)},
                    {"listen", addresses_to_json(config.listen)},
                    {"catalog", config.catalog},
                    {"device_class", config.device_class},
                    {"export_directory", config.export_directory},
                    {"out_after_ms", config.out_after.ms()},
                    {"cache_bytes", config.cache_bytes},
                    {"insecure", config.insecure}};
    return replace_file(directory + "/" + k_bays_file, json.dump(2) + "\n");
}

bool is_bay_name(std::string_view name) {
    constexpr usize k_name_max = 64;
    auto const plain = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
               c == '-';
    };
    return !name.empty() && name.size() <= k_name_max && name.front() != '.' && std::ranges::all_of(name, plain);
}

Result<mesh::Location> location_of_bay(const BayConfig& config, const std::string& bay, const std::string& host) {
    auto const named = config.places.find(bay);
    std::string const text = named != config.places.end()
                                 ? named->second
                                 : filled_in(filled_in(config.location, "{host}", host), "{bay}", bay);
    auto location = mesh::Location::parse(text);
    if (location) return location;
    return std::unexpected(
        with_context(location.error(), fmt::format("'{}' for bay '{}' is no location", config.location, bay)));
}

Result<std::vector<Address>> listen_of_bay(const BayConfig& config, const std::vector<Address>& taken) {
    std::vector<Address> out;
    for (Address address : config.listen) {
        while (std::ranges::find(taken, address) != taken.end()) {
            if (address.port == UINT16_MAX)
                return fail(Code::kNoSpace, "no port is left from " + config.listen.front().to_string() + " on");
            ++address.port;
        }
        out.push_back(std::move(address));
    }
    return out;
}

Result<CoreletConfig> config_of_bay(const BayConfig& config, const std::string& bay, const std::string& host,
                                    const std::vector<CoreletConfig>& neighbours) {
    CoreletConfig out;
    out.mesh = config.mesh;
    TRY(out.location, location_of_bay(config, bay, host));
    std::vector<Address> taken;
    for (const CoreletConfig& other : neighbours)
        taken.insert(taken.end(), other.listen.begin(), other.listen.end());
    TRY(out.listen, listen_of_bay(config, taken));
    for (const Address& seed : config.seeds)
        if (out.seeds.size() < k_bay_seeds_max / 2) add_seed(out.seeds, seed);
    // They heard where the others are more lately than the keeper was told.
    for (const CoreletConfig& other : neighbours)
        for (const Address& seed : other.seeds) add_seed(out.seeds, seed);
    out.catalog = config.catalog;
    out.device_class = config.device_class;
    out.export_directory = config.export_directory;
    out.out_after = config.out_after;
    out.cache_bytes = config.cache_bytes;
    out.insecure = config.insecure;
    return out;
}

}  // namespace corelet::app
