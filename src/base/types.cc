#include "base/types.h"

namespace corelet {

std::string hex64(u64 value) {
    std::string out(16, '0');
    for (usize i = 16; i-- > 0; value >>= 4) out[i] = "0123456789abcdef"[value & 15];
    return out;
}

std::string to_string(const ChunkId& id) {
    return std::to_string(id.space.v) + "/" + hex64(id.seq);
}

}  // namespace corelet
