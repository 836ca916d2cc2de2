#include "base/checksum.h"

#include <isa-l/crc.h>

#include <array>
#include <climits>

namespace corelet {

namespace {

constexpr u32 k_polynomial_reflected = 0x82F63B78;

// Multiplication of polynomials over GF(2) modulo the CRC's, bit-reflected as zlib's multmodp does.
constexpr u32 multiply(u32 a, u32 b) {
    u32 product = 0;
    for (u32 bit = 1U << 31; bit != 0; bit >>= 1) {
        if (a & bit) product ^= b;
        b = (b & 1) ? (b >> 1) ^ k_polynomial_reflected : b >> 1;
    }
    return product;
}

// x^(2^n) for n = 0..63.
constexpr std::array<u32, 64> make_powers() {
    std::array<u32, 64> powers{};
    u32 p = 1U << 30;  // x^1
    for (auto& power : powers) {
        power = p;
        p = multiply(p, p);
    }
    return powers;
}
constexpr auto k_powers = make_powers();

// x^(8 * bytes): multiplying a CRC by it appends that many zero bytes.
constexpr u32 shift_operator(u64 bytes) {
    u32 result = 1U << 31;  // x^0
    for (unsigned n = 3; bytes != 0; bytes >>= 1, ++n)
        if (bytes & 1) result = multiply(k_powers[n], result);
    return result;
}

// The shift by one block, tabulated by bytes: 4 lookups instead of 32 steps.
struct BlockShift {
    std::array<std::array<u32, 256>, 4> table{};
    constexpr BlockShift() {
        u32 const op = shift_operator(k_block_bytes);
        for (u32 byte = 0; byte < 4; ++byte)
            for (u32 value = 0; value < 256; ++value) table[byte][value] = multiply(op, value << (8 * byte));
    }
    [[nodiscard]] u32 operator()(u32 crc) const {
        return table[0][crc & 255] ^ table[1][(crc >> 8) & 255] ^ table[2][(crc >> 16) & 255] ^ table[3][crc >> 24];
    }
};
constinit const BlockShift k_block_shift;

}  // namespace

u32 crc32c(Bytes bytes, u32 continued_from) {
    u32 crc = ~continued_from;
    while (!bytes.empty()) {
        usize const step = std::min<usize>(bytes.size(), INT_MAX);
        // ISA-L's signature lacks the const; it only reads.
        crc = crc32_iscsi(const_cast<unsigned char*>(bytes.data()), static_cast<int>(step), crc);
        bytes = bytes.subspan(step);
    }
    return ~crc;
}

u32 crc32c_chain(const BufferChain& chain, u32 continued_from) {
    for (const Buffer& part : chain.parts()) continued_from = crc32c(part.bytes(), continued_from);
    return continued_from;
}

std::vector<u32> block_crcs(const BufferChain& chain) {
    CORELET_ASSERT(chain.size() % k_block_bytes == 0);
    std::vector<u32> out;
    out.reserve(chain.size() / k_block_bytes);
    u32 crc = 0;
    usize missing = k_block_bytes;  // of the present block
    for (const Buffer& part : chain.parts()) {
        Bytes rest = part.bytes();
        while (!rest.empty()) {
            usize const step = std::min(missing, rest.size());
            crc = crc32c(rest.first(step), crc);
            rest = rest.subspan(step);
            missing -= step;
            if (missing != 0) continue;
            out.push_back(crc);
            crc = 0;
            missing = k_block_bytes;
        }
    }
    return out;
}

u32 crc32c_combine(u32 crc_a, u32 crc_b, u64 length_b) {
    return multiply(shift_operator(length_b), crc_a) ^ crc_b;
}

u32 crc32c_of_blocks(std::span<const u32> block_crcs, u32 continued_from) {
    for (u32 const block : block_crcs) continued_from = k_block_shift(continued_from) ^ block;
    return continued_from;
}

u32 crc32c_zero_block() {
    static constexpr u32 k_zero_block_crc = 0x98F94189;  // checked by a test against crc32c() of a zero block
    return k_zero_block_crc;
}

u32 bind_block_crc(u32 data_crc, const Place& place) {
    static_assert(sizeof(Place) == 24);
    u32 const place_crc = crc32c({reinterpret_cast<const u8*>(&place), sizeof place});
    return k_block_shift(place_crc) ^ data_crc;
}

}  // namespace corelet
