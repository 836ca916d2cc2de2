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
    // `from`, who has that map, spoke of a newer epoch: it is fetched soon.
    virtual void heard_of(MapEpoch epoch, CoreletId from) = 0;
};

}  // namespace corelet::mesh
