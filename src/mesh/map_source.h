// Where a room reads the present map: a value that is replaced as epochs come in, never changed.
#pragma once

#include <memory>

#include "mesh/map.h"

namespace corelet::mesh {

class MapSource {
  public:
    virtual ~MapSource() = default;
    // Never null; epoch 0 and empty before the first map is known.
    [[nodiscard]] virtual std::shared_ptr<const Map> current() const = 0;
    // Somebody spoke of a newer epoch: fetch it soon.
    virtual void heard_of(MapEpoch epoch) = 0;
};

}  // namespace corelet::mesh
