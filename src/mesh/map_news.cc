#include "mesh/map_news.h"

#include <algorithm>

#include "base/assert.h"

namespace corelet::mesh {
namespace {

// Number and length of a field of bytes of this size.
constexpr usize k_field_bytes = 3;

}  // namespace

void MapNews::map_changed(MapEpoch epoch, std::vector<MapStep> steps) {
    if (epoch <= epoch_) return;
    if (epoch_.is_zero())
        telling_ = epoch;
    else
        round_owed_ = true;
    epoch_ = epoch;
    steps_.assign(std::make_move_iterator(steps.begin()), std::make_move_iterator(steps.end()));
    while (steps_.size() > k_gossip_deltas_max) steps_.pop_front();
    for (const MapStep& step : steps_) CORELET_ASSERT(step.delta.size() <= k_delta_bytes_max);
    CORELET_ASSERT(steps_.empty() || steps_.back().to == epoch);
}

std::optional<Instant> MapNews::round_due() const {
    return round_owed_ ? std::optional(round_after_) : std::nullopt;
}

void MapNews::round_begun(Instant now) {
    round_owed_ = false;
    round_after_ = now + k_round_every;
    told_ = telling_;
    telling_ = epoch_;
}

void MapNews::add_to(GossipMessage& message, MapEpoch theirs) const {
    if (theirs >= epoch_ || steps_.empty()) return;
    auto const from = [&](MapEpoch epoch) {
        return std::find_if(steps_.begin(), steps_.end(), [&](const MapStep& step) { return step.from == epoch; });
    };
    auto step = from(theirs);
    // It was last heard of long ago. What was told before the last round has had its time.
    if (step == steps_.end()) step = from(told_);
    if (step == steps_.end()) step = std::prev(steps_.end());
    usize size = gossip_bytes(message);
    for (; step != steps_.end(); ++step) {
        size += step->delta.size() + k_field_bytes;
        if (size > k_gossip_bytes_max) return;
        message.map_deltas.push_back(step->delta);
    }
}

}  // namespace corelet::mesh
