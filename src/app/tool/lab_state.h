// A lab: a whole mesh as processes on one machine, described by lab.json in its directory.
#pragma once

#include "app/tool/corelet_directory.h"

namespace corelet::app {

inline constexpr const char* k_lab_file = "lab.json";
inline constexpr u32 k_lab_members_max = 64;

struct LabMember {
    u32 index = 0;  // from 1; witnesses after the storage corelets
    CoreletId corelet;
    mesh::Role role = mesh::Role::kStorage;
    mesh::Location location;
    std::string directory;  // absolute
    bool in_bay = false;    // its device is in a bay; which identity is on it, its own directory says
};

struct Lab {
    std::string directory;  // absolute
    MeshId mesh;
    u64 size_bytes = 0;  // of each storage corelet's device
    Duration out_after = 5_s;
    u64 cache_bytes = NodeConfig{}.cache_bytes;  // of blocks, for each volume at its owner
    bool tcp = false;
    std::string catalog;        // outside the lab; empty: the lab keeps its own
    std::string network;        // with tcp: the first three numbers of the members' addresses, "10.77.3"
    std::vector<u32> cut_off;   // members apart from others, ascending
    std::vector<u32> cut_from;  // these others, ascending; empty: all
    std::vector<LabMember> members;

    [[nodiscard]] const LabMember* find(u32 index) const;
    [[nodiscard]] std::string file(std::string_view name) const { return directory + "/" + std::string(name); }
    // The address at which peers reach a member in a network of its own.
    [[nodiscard]] Address peer_address(const LabMember& member) const;
};

[[nodiscard]] bool is_lab(const std::string& directory);
[[nodiscard]] Result<Lab> load_lab(const std::string& directory);
[[nodiscard]] Result<void> save_lab(const Lab& lab);

struct LabPlan {
    std::string directory;
    u32 corelets = 8;
    u32 witnesses = 0;
    u32 zones = 4;
    u64 size_bytes = 4 * k_gib;
    Duration out_after = 5_s;
    u64 cache_bytes = NodeConfig{}.cache_bytes;
    std::string catalog;
    bool tcp = false;
};
// Who is where: zones in turn, each corelet in a chassis of its own. kInvalid: counts out of bounds, or a directory
// too long for sockets. Ids are left zero.
[[nodiscard]] Result<Lab> plan_lab(const LabPlan& plan);

// What a member's own directory says of it, apart from the device.
[[nodiscard]] CoreletConfig member_config(const Lab& lab, const LabMember& member);

// "3" or "1,4": members that exist, each once, ascending. kInvalid, kNotFound.
[[nodiscard]] Result<std::vector<u32>> parse_members(const Lab& lab, std::string_view text);

}  // namespace corelet::app
