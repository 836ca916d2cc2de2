// Commands to a running mesh, over the control socket of one of its corelets.
#pragma once

#include "base/json.h"
#include "mesh/map.h"
#include "node/join_token.h"
#include "wire/rpc.h"

namespace corelet::app {

// How to reach a mesh.
struct Reach {
    std::vector<Address> targets;  // in order of preference
    std::string key;               // of the directory; presented with each command
    std::string start_hint;        // the command that would start it, for when nobody answers
};

// As a tool: it has no identity, and takes whoever answers.
class ToolPolicy final : public HelloPolicy {
  public:
    [[nodiscard]] Hello local_hello() override { return {}; }
    [[nodiscard]] Result<void> judge(const Hello& /*remote*/, const PeerContext& /*context*/) override {
        return {};
    }
};

struct Introduction {
    MeshId mesh;
    std::vector<CoreletId> voters;
    bool catalog_available = false;
    std::string catalog;  // where it stands outside the mesh; empty: it does not
};

class ControlClient {
  public:
    ControlClient(Env& env, Reach reach);

    // Asks the first in order that answers and reaches the catalog; of those that have not answered within a second
    // nothing more is hoped. If nobody reaches the catalog, the first that answers. Ends after `limit` at the
    // latest. `repeatable` commands are carried on by the next corelet when one dies over them.
    [[nodiscard]] Task<Result<Json>> command(std::string name, Json arguments, Duration limit, bool repeatable);
    // Of the corelet at `address` alone.
    [[nodiscard]] Task<Result<Json>> command_at(Address address, std::string name, Json arguments,
                                                Instant deadline);
    // The mesh's key for a join token, from the corelet at `address`. kDenied, kNotFound: its own words of the
    // token.
    [[nodiscard]] Task<Result<std::string>> redeem(Address address, JoinToken token, Instant deadline);
    // Which mesh the corelet there belongs to.
    [[nodiscard]] Task<Result<Introduction>> introduce(Address address, Instant deadline);

  private:
    struct Probe;
    [[nodiscard]] Task<Result<usize>> choose(std::vector<bool> excluded, Instant deadline);
    [[nodiscard]] Task<void> probe(usize index, std::shared_ptr<Probe> probe, Instant deadline);

    Env& env_;
    Reach reach_;
    ToolPolicy policy_;
    RpcNode rpc_;
};

// One command in a world of its own.
[[nodiscard]] Result<Json> run_command(const Reach& reach, std::string name, Json arguments, Duration limit,
                                       bool repeatable);

// For commands that change the catalog, and for those that wait for more than it.
inline constexpr Duration k_command_limit{10'000'000'000};
inline constexpr Duration k_attach_limit{40'000'000'000};

}  // namespace corelet::app
