// Reed-Solomon over GF(2^8), systematic: fragments 0..k-1 are the data, k..k+m-1 the parity; any k of them give
// all.
//
// The generator is the identity over a Cauchy matrix (parity row i, column j: 1 / ((k + i) xor j) in the field of
// polynomial 0x11D), every square submatrix of which is regular, so the code is MDS for all bounds below (Blomer et
// al., "An XOR-based erasure-resilient coding scheme", 1995). k = 1 is replication: each fragment is a copy, no
// arithmetic. Parity bytes are a disk format: the golden vectors in codec_test.cc never change.
//
// The code works byte by byte: byte x of every fragment depends on byte x of the others alone. So whatever is said
// of fragments here holds for the same byte range of each, and a degraded read decodes just the range it wants.
#pragma once

#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/types.h"

namespace corelet::ec {

inline constexpr unsigned k_data_max = 16;
inline constexpr unsigned k_parity_max = 8;
inline constexpr unsigned k_width_max = k_data_max + k_parity_max;
// Decode tables kept by one codec; each is at most 4 KiB, the one unused for longest makes room.
inline constexpr usize k_decode_tables_max = 64;

// A fragment, or the same byte range of it as of all others in the call.
struct Piece {
    u8 position = 0;
    Bytes bytes;
};
struct MutablePiece {
    u8 position = 0;
    MutableBytes bytes;
};

// Not thread-safe (it caches decode tables); borrows its arguments for the call only. No I/O, no allocation but of
// tables.
class Codec {
  public:
    // 1 <= k <= 16, 0 <= m <= 8; anything else is kInvalid.
    [[nodiscard]] static Result<Codec> make(unsigned k, unsigned m);

    [[nodiscard]] unsigned k() const { return k_; }
    [[nodiscard]] unsigned m() const { return m_; }
    [[nodiscard]] unsigned width() const { return k_ + m_; }

    // Fills the m parity fragments from the k data fragments. All of one length, any length; nothing may overlap.
    void encode(std::span<const Bytes> data, std::span<const MutableBytes> parity) const;

    // Fills `wanted` (any positions, data or parity) from any k of `have`; the cheapest k are taken, data first.
    // All pieces have one length and positions below width(), none twice; else kInvalid. Fewer than k in `have`:
    // kUnavailable. A wanted position that `have` holds is copied.
    [[nodiscard]] Result<> reconstruct(std::span<const Piece> have, std::span<const MutablePiece> wanted);

    // True if the parity in `fragments` (all k + m, in order, of one length) belongs to the data.
    [[nodiscard]] bool consistent(std::span<const Bytes> fragments) const;

    [[nodiscard]] usize cached_tables() const { return tables_.size(); }

  private:
    // How to make the positions of `wanted` (bits) from exactly the k of `sources` (bits).
    struct DecodeTable {
        u32 sources = 0;
        u32 wanted = 0;
        u64 used_at = 0;
        std::vector<u8> expanded;
    };

    Codec(unsigned k, unsigned m);
    [[nodiscard]] const DecodeTable& decode_table(u32 sources, u32 wanted);
    [[nodiscard]] std::vector<u8> make_decode_matrix(u32 sources, u32 wanted) const;

    unsigned k_;
    unsigned m_;
    std::vector<u8> matrix_;    // width x k coefficients
    std::vector<u8> expanded_;  // of the parity rows, in ISA-L's form
    std::vector<DecodeTable> tables_;
    u64 uses_ = 0;
};

}  // namespace corelet::ec
