// How the present map came about, as far as it is kept: the last changes as deltas, to be told to whoever knows an
// older map.
#pragma once

#include <deque>

#include "mesh/map_delta.h"

namespace corelet::mesh {

class MapHistory {
  public:
    // Whoever is further behind gets the whole map.
    static constexpr usize k_deltas_max = 64;
    static constexpr usize k_bytes_max = 256 * k_kib;

    // The present map was `from`, and is `to`; `delta` leads there, or is empty and is made here.
    void advance(const Map& from, const Map& to, std::vector<u8> delta = {});
    // The steps from this map to the present one, oldest first; none if it is not kept, or is the present one.
    [[nodiscard]] std::vector<const MapStep*> since(MapEpoch epoch) const;
    // The last steps, each of them of at most so many bytes.
    [[nodiscard]] std::vector<const MapStep*> last_small(usize count, usize bytes_each) const;
    [[nodiscard]] usize bytes() const { return bytes_; }
    [[nodiscard]] usize size() const { return steps_.size(); }

  private:
    std::deque<MapStep> steps_;  // oldest first, each from where the one before it led
    usize bytes_ = 0;
};

}  // namespace corelet::mesh
