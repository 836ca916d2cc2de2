#include "mesh/map_history.h"

#include <algorithm>

#include "base/assert.h"

namespace corelet::mesh {

void MapHistory::advance(const Map& from, const Map& to, std::vector<u8> delta) {
    CORELET_ASSERT(steps_.empty() || steps_.back().to == from.epoch, "a map follows the present one");
    // From nothing everything is news: that is the map itself, and is told as such.
    if (from.epoch.is_zero()) return;
    if (delta.empty()) delta = make_delta(from, to);
    bytes_ += delta.size();
    steps_.push_back({from.epoch, to.epoch, std::move(delta)});
    while (!steps_.empty() && (steps_.size() > k_deltas_max || bytes_ > k_bytes_max)) {
        bytes_ -= steps_.front().delta.size();
        steps_.pop_front();
    }
}

std::vector<const MapStep*> MapHistory::since(MapEpoch epoch) const {
    auto const first =
        std::find_if(steps_.begin(), steps_.end(), [&](const MapStep& step) { return step.from == epoch; });
    std::vector<const MapStep*> out;
    for (auto step = first; step != steps_.end(); ++step) out.push_back(&*step);
    return out;
}

std::vector<const MapStep*> MapHistory::last_small(usize count, usize bytes_each) const {
    std::vector<const MapStep*> out;
    for (auto step = steps_.rbegin(); step != steps_.rend() && out.size() < count; ++step) {
        if (step->delta.size() > bytes_each) break;
        out.insert(out.begin(), &*step);
    }
    return out;
}

}  // namespace corelet::mesh
