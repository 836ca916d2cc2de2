// Where a chunk's bytes lie: data of a chunk is cut into k equal, contiguous fragments.
//
// Fragment i holds bytes [i * L, (i + 1) * L) of the chunk, L = data_bytes / k rounded up to 4 KiB; what lies
// beyond data_bytes is zeros, which are encoded but never asked for. Contiguous, not striped: a small range lies in
// one data fragment (or two neighbours where it crosses a border), so a small read is one request to one corelet.
// With k = 1 every fragment is the whole chunk.
#pragma once

#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/types.h"

namespace corelet::ec {

// A part of a wanted range that lies in one fragment.
struct FragmentRange {
    u8 position = 0;
    u64 offset = 0;        // in the fragment
    u64 length = 0;        // never 0
    u64 range_offset = 0;  // in the wanted range
    friend bool operator==(const FragmentRange&, const FragmentRange&) = default;
};

class ChunkGeometry {
  public:
    // data_bytes: a multiple of 4 KiB, not 0, at most 64 MiB; 1 <= k <= 16. Else kInvalid.
    [[nodiscard]] static Result<ChunkGeometry> make(u64 data_bytes, unsigned k);

    [[nodiscard]] u64 data_bytes() const { return data_bytes_; }
    [[nodiscard]] unsigned k() const { return k_; }
    // L: length of every fragment, parity too; a multiple of 4 KiB.
    [[nodiscard]] u64 fragment_bytes() const { return fragment_bytes_; }
    // How many of fragment `position`'s bytes are the chunk's own; the rest is zeros. position < k.
    [[nodiscard]] u64 filled_bytes(unsigned position) const;

    // The data fragments' parts that make [offset, offset + length), in order. The range must lie in the chunk:
    // kInvalid. For k = 1 they name position 0; any other holds the same.
    [[nodiscard]] Result<std::vector<FragmentRange>> locate(u64 offset, u64 length) const;

    // The k data fragments of `chunk` (data_bytes() long): slices that share its memory, zeros after them where
    // they are needed.
    [[nodiscard]] std::vector<BufferChain> split(const BufferChain& chunk) const;

  private:
    ChunkGeometry(u64 data_bytes, unsigned k);
    u64 data_bytes_;
    u64 fragment_bytes_;
    unsigned k_;
};

inline constexpr u64 k_chunk_data_bytes_max = 64 * k_mib;

}  // namespace corelet::ec
