// The directory of one corelet: what it is and where its things are. docs/format/directory.md lists the files.
#pragma once

#include "app/tool/files.h"
#include "mesh/location.h"
#include "node/config.h"

namespace corelet::app {

inline constexpr const char* k_config_file = "corelet.json";
inline constexpr const char* k_socket_file = "corelet.sock";
inline constexpr const char* k_log_file = "corelet.log";
inline constexpr const char* k_key_file = "admin.key";
inline constexpr const char* k_pid_file = "corelet.pid";
inline constexpr const char* k_tasks_file = "corelet.tasks";

// The longest directory whose sockets fit the kernel's limit.
[[nodiscard]] Result<void> check_socket_path(const std::string& path);

inline constexpr u64 k_scrub_days_max = 365;

struct CoreletConfig {
    MeshId mesh;
    CoreletId corelet;
    std::string device;  // absolute
    mesh::Location location;
    mesh::Role role = mesh::Role::kStorage;
    std::string device_class;
    std::vector<Address> listen;  // where peers reach it; empty: at its socket in the directory
    std::vector<Address> seeds;
    std::string catalog;           // as in NodeConfig
    std::string export_directory;  // absolute; of default NBD sockets
    Duration out_after = 600_s;
    u64 scrub_days = 7;                          // everything on the device is read again within so many
    u64 cache_bytes = NodeConfig{}.cache_bytes;  // of blocks, for each volume served here
    bool bootstrap = false;
    bool insecure = false;

    // `directory` is absolute.
    [[nodiscard]] NodeConfig to_node_config(const std::string& directory) const;
};

// kNotFound (no corelet's directory), kCorrupt (no such configuration), kDenied.
[[nodiscard]] Result<CoreletConfig> load_config(const std::string& directory);
[[nodiscard]] Result<void> save_config(const std::string& directory, const CoreletConfig& config);

// Sixteen hex digits.
[[nodiscard]] Result<u64> parse_hex64(std::string_view text);
[[nodiscard]] Address control_address(const std::string& directory);

}  // namespace corelet::app
