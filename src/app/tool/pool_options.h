// What a pool is to be, as it is typed: the options of `pool create` and `pool change`, which `plan pool` takes as
// well.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json_forward.h"
#include "base/result.h"
#include "base/types.h"

namespace CLI {
class App;
}

namespace corelet::app {

// Empty or 0: left out, so the mesh decides.
struct PoolOptions {
    std::string name;
    std::string redundancy;
    std::string profile;
    std::string failure_domain = "corelet";
    u32 min_copies = 0;
    u32 write_quorum = 0;
    u32 read_quorum = 0;
    u32 repair_threshold = 0;
    std::string chunk_size;
    std::string strategy;
    std::string device_class;
    std::string survive;
    std::vector<std::string> max_per;  // LEVEL=N
};

// What is to change: `pool change`, which `plan pool change` takes as well. Not named: it stays.
struct PoolChange {
    std::string name;
    std::optional<std::string> failure_domain, strategy, device_class, survive;
    std::optional<u32> min_copies, write_quorum, read_quorum, repair_threshold;
    std::vector<std::string> max_per;
};

// The name and all options; `options` outlives the command.
void add_pool_options(CLI::App& command, PoolOptions& options);
// The arguments of the command "pool.create". kInvalid: a size or a cap that does not parse; all else the mesh
// judges.
[[nodiscard]] Result<Json> pool_request(const PoolOptions& options);

void add_pool_change_options(CLI::App& command, PoolChange& change);
// Of the command "pool.change". kInvalid: nothing is named, or a cap does not parse.
[[nodiscard]] Result<Json> pool_change_request(const PoolChange& change);

}  // namespace corelet::app
