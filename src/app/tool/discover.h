// Meshes of this network, found without an address; and being found.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "node/corelet.h"
#include "node/discovery.h"
#include "os/loop.h"

namespace CLI {
class App;
}

namespace corelet::app {

// One for each version of IP; a network may carry only one of them.
inline constexpr std::array<std::string_view, 2> k_discovery_groups{"239.255.67.76:7767", "[ff12::434c]:7767"};
inline constexpr Duration k_discovery_wait = 1_s;

// The options --discovery, which may come several times, and --no-discovery.
struct DiscoveryChoice {
    std::vector<std::string> named;  // empty: k_discovery_groups
    bool off = false;
    // Empty: discovery is off. kInvalid: one is no multicast group.
    [[nodiscard]] Result<std::vector<Address>> groups() const;
};
void add_discovery_options(CLI::App& command, DiscoveryChoice& choice);

struct FoundMesh {
    MeshId mesh;
    MeshFingerprint fingerprint{};
    u32 corelets = 0;  // that are up: the most that one of them says
    std::vector<Address> addresses;
};
// Asks the groups, and gathers answers for `wait`. `wanted` zero: any mesh. Two that claim one mesh id with
// different fingerprints are two. Groups by which this machine cannot ask are left out; an error if it can by none.
[[nodiscard]] Result<std::vector<FoundMesh>> discover(std::vector<Address> groups, MeshId wanted, Duration wait);

// Answers to whoever asks, once, by whichever of the groups it was asked; until dropped. Where one cannot be joined
// it says so in the log, and listens at the others.
[[nodiscard]] Task<void> answer_discovery(Env* env, os::Loop* loop, CoreletNode* node, std::vector<Address> groups);

}  // namespace corelet::app
