// A corelet: everything of one identity on one device, composed from the five interfaces. The same object in
// production and in the simulator. One executor; destroying it is a crash, and safe.
#pragma once

#include "node/config.h"
#include "node/gossip.h"
#include "node/node_services.h"

namespace corelet {

class CoreletNode {
  public:
    // Mounts the device and starts everything; returns when it listens. What needs the mesh comes up in the
    // background. Errors name the device or the address: kCorrupt, kNotFound, kConflict (in use), kDenied (of
    // another mesh).
    [[nodiscard]] static Task<Result<std::unique_ptr<CoreletNode>>> start(Env& env, NodeConfig config);
    ~CoreletNode();
    CoreletNode(const CoreletNode&) = delete;
    CoreletNode& operator=(const CoreletNode&) = delete;

    [[nodiscard]] CoreletId id() const;
    // Orderly: hands volumes over within `limit`, gives up its session, closes the device.
    [[nodiscard]] Task<void> shut_down(Duration limit);
    // A command of the command line; arguments and result are JSON (docs/guide/commands.md).
    [[nodiscard]] Task<Result<std::string>> command(std::string name, std::string arguments);
    // For judges.
    [[nodiscard]] NodeServices& services() { return *services_; }

  private:
    CoreletNode() = default;
    std::unique_ptr<NodeServices> services_;
};

}  // namespace corelet
