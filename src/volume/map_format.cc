#include "volume/map_format.h"

namespace corelet {

void append_leaves(const Extent& extent, std::vector<u64>& out) {
    if (extent.count == 0) return;
    for (u64 leaf = leaf_of(extent.lba); leaf <= leaf_of(extent.end() - 1); ++leaf)
        if (out.empty() || out.back() != leaf) out.push_back(leaf);
}

}  // namespace corelet
