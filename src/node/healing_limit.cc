#include "node/healing_limit.h"

#include "node/node.pb.h"

namespace corelet {

std::string encode_limit(const HealingLimit& limit) {
    pb::HealingLimit out;
    out.set_corelet_bytes_per_second(limit.corelet);
    out.set_mesh_bytes_per_second(limit.mesh);
    return out.SerializeAsString();
}

std::optional<HealingLimit> decode_limit(std::string_view bytes) {
    pb::HealingLimit in;
    if (!in.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return std::nullopt;
    return HealingLimit{in.corelet_bytes_per_second(), in.mesh_bytes_per_second()};
}

}  // namespace corelet
