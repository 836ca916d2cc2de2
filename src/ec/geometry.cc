#include "ec/geometry.h"

#include <algorithm>

#include "ec/codec.h"

namespace corelet::ec {

Result<ChunkGeometry> ChunkGeometry::make(u64 data_bytes, unsigned k) {
    if (k < 1 || k > k_data_max) return fail(Code::kInvalid, "a chunk has 1 to 16 data fragments");
    if (data_bytes == 0 || data_bytes > k_chunk_data_bytes_max || data_bytes % k_block_bytes != 0) {
        return fail(Code::kInvalid, "a chunk holds 4 KiB to 64 MiB, in whole blocks of 4 KiB");
    }
    return ChunkGeometry(data_bytes, k);
}

ChunkGeometry::ChunkGeometry(u64 data_bytes, unsigned k)
    : data_bytes_(data_bytes), fragment_bytes_(round_up(div_ceil(data_bytes, k), k_block_bytes)), k_(k) {
    CORELET_ASSERT(fragment_bytes_ * k >= data_bytes);
}

u64 ChunkGeometry::filled_bytes(unsigned position) const {
    CORELET_ASSERT(position < k_);
    u64 const start = fragment_bytes_ * position;
    return start >= data_bytes_ ? 0 : std::min(fragment_bytes_, data_bytes_ - start);
}

Result<std::vector<FragmentRange>> ChunkGeometry::locate(u64 offset, u64 length) const {
    if (offset > data_bytes_ || length > data_bytes_ - offset) {
        return fail(Code::kInvalid, "the range does not lie in the chunk");
    }
    std::vector<FragmentRange> parts;
    for (u64 done = 0; done < length;) {
        u64 const at = offset + done;
        u64 const inside = at % fragment_bytes_;
        u64 const take = std::min(length - done, fragment_bytes_ - inside);
        parts.push_back({static_cast<u8>(at / fragment_bytes_), inside, take, done});
        done += take;
    }
    return parts;
}

std::vector<BufferChain> ChunkGeometry::split(const BufferChain& chunk) const {
    CORELET_ASSERT(chunk.size() == data_bytes_);
    std::vector<BufferChain> fragments;
    for (unsigned i = 0; i < k_; ++i) {
        u64 const filled = filled_bytes(i);
        BufferChain fragment = filled > 0 ? chunk.slice(fragment_bytes_ * i, filled) : BufferChain();
        if (filled < fragment_bytes_) fragment.append(Buffer::zeroed(fragment_bytes_ - filled));
        fragments.push_back(std::move(fragment));
    }
    return fragments;
}

}  // namespace corelet::ec
