// Meshes of this network, found without an address; and being found.
#pragma once

#include <memory>

#include "node/corelet.h"
#include "node/discovery.h"
#include "os/loop.h"

namespace CLI {
class App;
}

namespace corelet::app {

inline constexpr const char* k_discovery_group = "239.255.67.76:7767";
inline constexpr Duration k_discovery_wait = 1_s;

// The options --discovery and --no-discovery.
struct DiscoveryChoice {
    std::string named;  // empty: not named
    bool off = false;
    // Nothing: discovery is off. kInvalid: no multicast group.
    [[nodiscard]] Result<std::optional<Address>> group() const;
};
void add_discovery_options(CLI::App& command, DiscoveryChoice& choice);

struct FoundMesh {
    MeshId mesh;
    MeshFingerprint fingerprint{};
    u32 corelets = 0;  // that are up: the most that one of them says
    std::vector<Address> addresses;
};
// Asks the group, and gathers answers for `wait`. `wanted` zero: any mesh. Two that claim one mesh id with
// different fingerprints are two.
[[nodiscard]] Result<std::vector<FoundMesh>> discover(const Address& group, MeshId wanted, Duration wait);

// Answers to whoever asks, until dropped. Where no group can be joined it says so in the log, and ends.
[[nodiscard]] Task<void> answer_discovery(Env* env, os::Loop* loop, CoreletNode* node, Address group);

}  // namespace corelet::app
