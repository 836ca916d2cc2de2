// What lies where in a simulated mesh, for judges.
#pragma once

#include <set>

#include "tests/mesh/judge.h"

namespace corelet {

// All of a store's, in order.
[[nodiscard]] std::vector<FragmentInfo> fragments_of(const Store& store);
// Those that a volume's present state refers to, of the volumes that exactly one corelet serves now.
[[nodiscard]] std::set<ChunkId> live_chunks_of(SimMesh& mesh, const std::vector<std::string>& volumes);

}  // namespace corelet
