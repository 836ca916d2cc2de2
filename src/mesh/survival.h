// What a mesh can lose. Honest arithmetic over slot tables: of fragments only; logs and voters are counted by their
// owners.
#pragma once

#include <string>
#include <vector>

#include "mesh/map.h"

namespace corelet::mesh {

struct CanLose {
    // So many further corelets (or chassis, racks, zones), any of them, may be lost with every fragment
    // recoverable. -1: some slot cannot be read now.
    int losses = 0;
    u32 slot = 0;  // one that allows no more
    friend bool operator==(const CanLose&, const CanLose&) = default;
};

// The minimum over the pool's slots, and over all tables data may still lie by. A fragment counts if somebody who
// is up surely has it: who reported clean under a table has all that this table gives it. While a move is not yet
// reported clean, the fragment is with its old or its new corelet and nobody knows with which, so it counts only
// while both are up, and is lost with either.
[[nodiscard]] CanLose can_lose(const Map& map, const Pool& pool, Level level);

// Domains of `level` (corelets by id) whose loss alone would make some slot unreadable, ascending, at most `limit`.
[[nodiscard]] std::vector<std::string> fatal_domains(const Map& map, const Pool& pool, Level level,
                                                     usize limit = 16);

// The answer for people: which losses a pool survives now, level by level.
struct Survival {
    int losses[k_level_count] = {};  // by Level
    int promise = 0;
    // "any 2 corelets, any chassis, any rack; not zone z1"
    std::string sentence;
};
[[nodiscard]] Survival survival(const Map& map, const Pool& pool);

}  // namespace corelet::mesh
