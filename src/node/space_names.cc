#include "node/space_names.h"

#include "node/node.pb.h"

namespace corelet {

SpaceNames::SpaceNames(const Catalog& catalog) {
    for (const KeyValue& item : catalog.local_range("volumes/").items) {
        pb::Volume volume;
        if (volume.ParseFromString(item.value)) volumes_[SpaceId(volume.space())] = volume.name();
    }
}

std::string SpaceNames::of(SpaceId space) const {
    auto const found = volumes_.find(space);
    return found == volumes_.end() ? "stream " + std::to_string(space.v) : "volume " + found->second;
}

}  // namespace corelet
