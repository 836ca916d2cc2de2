// What lies where in a simulated mesh, for judges.
#pragma once

#include <set>

#include "tests/mesh/judge.h"

namespace corelet {

// All of a store's, in order.
[[nodiscard]] std::vector<FragmentInfo> fragments_of(const Store& store);
// For people: "fragment 2 of 1/0000010000000004".
[[nodiscard]] std::string name_of(const FragmentId& id);
// Who has it, the first of those that are up, and what it says of it.
[[nodiscard]] std::optional<std::pair<usize, FragmentInfo>> find_fragment(SimMesh& mesh, const FragmentId& id);
// Those that a volume's present state refers to, of the volumes that exactly one corelet serves now.
[[nodiscard]] std::set<ChunkId> live_chunks_of(SimMesh& mesh, const std::vector<std::string>& volumes);

}  // namespace corelet
