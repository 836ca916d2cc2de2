// What a keeper of bays knows: which mesh its corelets belong to, and what each of them is to be. bays.json in its
// directory; docs/format/directory.md. The corelet of bay B has the directory B in there.
#pragma once

#include <map>

#include "app/tool/corelet_directory.h"

namespace corelet::app {

inline constexpr const char* k_bays_file = "bays.json";
inline constexpr const char* k_bays_state_file = "bays.state.json";
inline constexpr const char* k_keeper_log_file = "bays.log";
inline constexpr const char* k_keeper_pid_file = "bays.pid";
inline constexpr const char* k_default_bay_location = "default/default/{host}";

struct BayConfig {
    MeshId mesh;
    std::string bays;                           // the folder, absolute
    std::string location;                       // a template: {host} and {bay} stand for their names
    std::map<std::string, std::string> places;  // of bays that stand elsewhere: location by bay
    std::vector<Address> seeds;                 // at least one
    std::vector<Address> listen;                // of the first bay; further ones count the ports up
    std::string catalog;
    std::string device_class;
    std::string export_directory;  // empty: each corelet's own
    Duration out_after = 600_s;
    u64 cache_bytes = NodeConfig{}.cache_bytes;
    bool insecure = false;
    friend bool operator==(const BayConfig&, const BayConfig&) = default;
};

// kNotFound, kCorrupt.
[[nodiscard]] Result<BayConfig> load_bay_config(const std::string& directory);
[[nodiscard]] Result<void> save_bay_config(const std::string& directory, const BayConfig& config);

// Letters, digits, '.', '_' and '-', at most 64, the first no '.': it names a directory, and may name a chassis.
[[nodiscard]] bool is_bay_name(std::string_view name);
// kInvalid: what comes out is no location.
[[nodiscard]] Result<mesh::Location> location_of_bay(const BayConfig& config, const std::string& bay,
                                                     const std::string& host);
// Where its corelet listens: each address of `config`, its port counted up past those that `taken` has.
[[nodiscard]] Result<std::vector<Address>> listen_of_bay(const BayConfig& config,
                                                         const std::vector<Address>& taken);
// A new corelet for a bay, all but its identity and its device. `neighbours`: configurations of the other bays.
[[nodiscard]] Result<CoreletConfig> config_of_bay(const BayConfig& config, const std::string& bay,
                                                  const std::string& host,
                                                  const std::vector<CoreletConfig>& neighbours);

}  // namespace corelet::app
