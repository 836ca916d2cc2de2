#include "ec/codec.h"

#include <isa-l/erasure_code.h>

#include <array>
#include <bit>

namespace corelet::ec {
namespace {

// ISA-L expands each coefficient to two 16-byte nibble tables.
constexpr usize k_expanded_bytes = 32;
// All streams of a slice together fit a core's private cache; beyond it the memory bounds the encoder.
constexpr usize k_cache_bytes = 256 * k_kib;

using Sources = std::array<const u8*, k_data_max>;
using Targets = std::array<u8*, k_width_max>;

// Multiplies in slices: targets[r] = sum over s of table[r][s] * sources[s].
void multiply(const std::vector<u8>& expanded, const Sources& sources, usize source_count, const Targets& targets,
              usize target_count, usize length) {
    CORELET_ASSERT(expanded.size() >= k_expanded_bytes * source_count * target_count);
    usize const slice_max = round_down(k_cache_bytes / (source_count + target_count), k_block_bytes);
    std::array<u8*, k_data_max> in{};
    std::array<u8*, k_width_max> out{};
    for (usize at = 0; at < length; at += slice_max) {
        for (usize i = 0; i < source_count; ++i) in[i] = const_cast<u8*>(sources[i] + at);  // ISA-L only reads them
        for (usize i = 0; i < target_count; ++i) out[i] = targets[i] + at;
        ec_encode_data(static_cast<int>(std::min(slice_max, length - at)), static_cast<int>(source_count),
                       static_cast<int>(target_count), const_cast<u8*>(expanded.data()), in.data(), out.data());
    }
}

std::vector<u8> expand(const std::vector<u8>& rows, usize row_count, usize columns) {
    CORELET_ASSERT(rows.size() == row_count * columns);
    std::vector<u8> expanded(k_expanded_bytes * row_count * columns);
    if (row_count > 0) {
        ec_init_tables(static_cast<int>(columns), static_cast<int>(row_count), const_cast<u8*>(rows.data()),
                       expanded.data());
    }
    return expanded;
}

void copy_bytes(MutableBytes to, Bytes from) {
    CORELET_ASSERT(to.size() == from.size());
    if (!to.empty()) std::memcpy(to.data(), from.data(), to.size());
}

template <class T>
Result<u32> positions_of(std::span<const T> pieces, unsigned width, usize length) {
    u32 bits = 0;
    for (const T& piece : pieces) {
        if (piece.position >= width) return fail(Code::kInvalid, "fragment position beyond the code's width");
        if (bits >> piece.position & 1U) return fail(Code::kInvalid, "fragment position given twice");
        if (piece.bytes.size() != length) return fail(Code::kInvalid, "fragments differ in length");
        bits |= 1U << piece.position;
    }
    return bits;
}

// The lowest k set bits: data before parity, which makes for more zero and unit coefficients.
u32 lowest_bits(u32 bits, unsigned k) {
    u32 out = 0;
    for (unsigned i = 0; i < k; ++i) {
        out |= bits & (~bits + 1);
        bits &= bits - 1;
    }
    return out;
}

}  // namespace

Result<Codec> Codec::make(unsigned k, unsigned m) {
    if (k < 1 || k > k_data_max || m > k_parity_max) {
        return fail(Code::kInvalid, "a code has 1 to 16 data and 0 to 8 parity fragments");
    }
    return Codec(k, m);
}

Codec::Codec(unsigned k, unsigned m) : k_(k), m_(m), matrix_(static_cast<usize>(k + m) * k) {
    gf_gen_cauchy1_matrix(matrix_.data(), static_cast<int>(width()), static_cast<int>(k));
    if (k == 1) std::fill(matrix_.begin(), matrix_.end(), u8{1});
    expanded_ = expand({matrix_.begin() + k * k, matrix_.end()}, m, k);
}

void Codec::encode(std::span<const Bytes> data, std::span<const MutableBytes> parity) const {
    CORELET_ASSERT(data.size() == k_ && parity.size() == m_, "encode takes k data and m parity fragments");
    usize const length = data[0].size();
    Sources sources{};
    Targets targets{};
    for (usize i = 0; i < k_; ++i) {
        CORELET_ASSERT(data[i].size() == length);
        sources[i] = data[i].data();
    }
    for (usize i = 0; i < m_; ++i) {
        CORELET_ASSERT(parity[i].size() == length);
        targets[i] = parity[i].data();
    }
    if (k_ == 1) {
        for (const MutableBytes& copy : parity) copy_bytes(copy, data[0]);
        return;
    }
    if (m_ > 0) multiply(expanded_, sources, k_, targets, m_, length);
}

Result<> Codec::reconstruct(std::span<const Piece> have, std::span<const MutablePiece> wanted) {
    if (wanted.empty()) return {};
    usize const length = wanted[0].bytes.size();
    TRY(u32 const have_bits, positions_of(have, width(), length));
    TRY(u32 const wanted_bits, positions_of(wanted, width(), length));
    if (static_cast<unsigned>(std::popcount(have_bits)) < k_) {
        return fail(Code::kUnavailable, "fewer than k fragments are at hand");
    }
    std::array<Bytes, k_width_max> by_position{};
    for (const Piece& piece : have) by_position[piece.position] = piece.bytes;

    Targets targets{};
    usize target_count = 0;
    std::array<MutableBytes, k_width_max> missing{};
    for (const MutablePiece& piece : wanted) {
        if (k_ == 1) {
            copy_bytes(piece.bytes, have[0].bytes);
        } else if (have_bits >> piece.position & 1U) {
            copy_bytes(piece.bytes, by_position[piece.position]);
        } else {
            missing[piece.position] = piece.bytes;
        }
    }
    u32 const missing_bits = k_ == 1 ? 0 : wanted_bits & ~have_bits;
    if (missing_bits == 0) return {};
    // More than m missing cannot be: at least k of k + m are at hand.
    CORELET_ASSERT(static_cast<unsigned>(std::popcount(missing_bits)) <= m_);
    for (unsigned i = 0; i < width(); ++i) {
        if (missing_bits >> i & 1U) targets[target_count++] = missing[i].data();
    }
    u32 const source_bits = lowest_bits(have_bits, k_);
    Sources sources{};
    usize source_count = 0;
    for (unsigned i = 0; i < width(); ++i) {
        if (source_bits >> i & 1U) sources[source_count++] = by_position[i].data();
    }
    multiply(decode_table(source_bits, missing_bits).expanded, sources, source_count, targets, target_count,
             length);
    return {};
}

bool Codec::consistent(std::span<const Bytes> fragments) const {
    CORELET_ASSERT(fragments.size() == width());
    usize const length = fragments[0].size();
    std::vector<std::vector<u8>> parity(m_, std::vector<u8>(length));
    std::vector<MutableBytes> views(parity.begin(), parity.end());
    encode(fragments.first(k_), views);
    for (usize i = 0; i < m_; ++i) {
        CORELET_ASSERT(fragments[k_ + i].size() == length);
        if (!std::equal(parity[i].begin(), parity[i].end(), fragments[k_ + i].begin())) return false;
    }
    return true;
}

const Codec::DecodeTable& Codec::decode_table(u32 sources, u32 wanted) {
    ++uses_;
    for (DecodeTable& table : tables_) {
        if (table.sources == sources && table.wanted == wanted) {
            table.used_at = uses_;
            return table;
        }
    }
    DecodeTable fresh{sources, wanted, uses_, {}};
    fresh.expanded = expand(make_decode_matrix(sources, wanted), static_cast<usize>(std::popcount(wanted)), k_);
    if (tables_.size() < k_decode_tables_max) return tables_.emplace_back(std::move(fresh));
    auto oldest = std::min_element(tables_.begin(), tables_.end(),
                                   [](const auto& a, const auto& b) { return a.used_at < b.used_at; });
    return *oldest = std::move(fresh);
}

// fragment = G x data, and the k sources = G' x data with G' the sources' rows; so a wanted row is G_w x
// inverse(G').
std::vector<u8> Codec::make_decode_matrix(u32 sources, u32 wanted) const {
    std::vector<u8> square;
    for (unsigned i = 0; i < width(); ++i) {
        if (sources >> i & 1U)
            square.insert(square.end(), matrix_.begin() + i * k_, matrix_.begin() + (i + 1) * k_);
    }
    CORELET_ASSERT(square.size() == static_cast<usize>(k_) * k_);
    std::vector<u8> inverse(square.size());
    int const singular = gf_invert_matrix(square.data(), inverse.data(), static_cast<int>(k_));
    CORELET_ASSERT(singular == 0, "an MDS code has no singular set of k rows");
    std::vector<u8> rows;
    for (unsigned i = 0; i < width(); ++i) {
        if (!(wanted >> i & 1U)) continue;
        for (unsigned column = 0; column < k_; ++column) {
            u8 sum = 0;
            for (unsigned j = 0; j < k_; ++j) sum ^= gf_mul(matrix_[i * k_ + j], inverse[j * k_ + column]);
            rows.push_back(sum);
        }
    }
    return rows;
}

}  // namespace corelet::ec
