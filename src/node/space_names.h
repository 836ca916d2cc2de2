// What people call a space of chunks: by the volume whose stream it is.
#pragma once

#include <map>
#include <string>

#include "base/types.h"
#include "catalog/catalog.h"

namespace corelet {

// Of the volumes that this corelet's view of the catalog holds when it is made.
class SpaceNames {
  public:
    explicit SpaceNames(const Catalog& catalog);
    // "volume demo"; of a space that is no volume's, "stream 7".
    [[nodiscard]] std::string of(SpaceId space) const;

  private:
    std::map<SpaceId, std::string> volumes_;
};

}  // namespace corelet
