// Integer names, and the strong types that keep ids, epochs and counters from being mixed up.
// No I/O, no clock; everything here is a plain value, safe to copy between threads.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>

namespace corelet {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using u128 = unsigned __int128;
using i32 = std::int32_t;
using i64 = std::int64_t;
using usize = std::size_t;

// A number that means one thing. `Tag` is never defined; two Strong types never convert into each other.
template <class Tag, class Rep = u64>
struct Strong {
    using rep = Rep;
    Rep v = 0;
    constexpr Strong() = default;
    constexpr explicit Strong(Rep value) : v(value) {}
    friend constexpr auto operator<=>(Strong, Strong) = default;
    [[nodiscard]] constexpr Strong next() const { return Strong(static_cast<Rep>(v + 1)); }
    [[nodiscard]] constexpr bool is_zero() const { return v == 0; }
};

// Who a corelet is: drawn when its device is formatted, lives on that device. Zero is nobody.
using CoreletId = Strong<struct CoreletIdTag>;
// Counts the mounts of one identity; only grows.
using Incarnation = Strong<struct IncarnationTag>;
using MeshId = Strong<struct MeshIdTag>;
// Version of the map. Each change is one more.
using MapEpoch = Strong<struct MapEpochTag>;
// Fences the owners of a stream: each taking is one more.
using Epoch = Strong<struct EpochTag>;
// Id namespace in which chunks and segments are numbered: one per stream. Given out by the catalog, never reused.
using SpaceId = Strong<struct SpaceIdTag>;
using PoolId = Strong<struct PoolIdTag, u32>;

// Names a chunk or a segment for ever. `seq` is the writer's epoch in the upper 24 bits and a counter in the lower
// 40, so that no two writers ever make the same name.
struct ChunkId {
    SpaceId space;
    u64 seq = 0;
    friend constexpr auto operator<=>(const ChunkId&, const ChunkId&) = default;
};
inline constexpr unsigned k_seq_counter_bits = 40;
[[nodiscard]] constexpr u64 make_seq(Epoch writer, u64 counter) {
    return (writer.v << k_seq_counter_bits) | counter;
}
[[nodiscard]] constexpr Epoch seq_epoch(u64 seq) {
    return Epoch(seq >> k_seq_counter_bits);
}
// A log segment is named like a chunk: in a replicated pool it becomes one in place.
using SegmentId = ChunkId;

// One of the k data or m parity pieces of a chunk; `position` is its place in the slot's order.
struct FragmentId {
    ChunkId chunk;
    u8 position = 0;
    friend constexpr auto operator<=>(const FragmentId&, const FragmentId&) = default;
};

inline constexpr u64 k_kib = 1024;
inline constexpr u64 k_mib = 1024 * k_kib;
inline constexpr u64 k_gib = 1024 * k_mib;
inline constexpr u64 k_tib = 1024 * k_gib;
// The unit of checksums, of volume addresses and of device alignment.
inline constexpr u64 k_block_bytes = 4096;

[[nodiscard]] constexpr u64 round_up(u64 value, u64 unit) {
    return (value + unit - 1) / unit * unit;
}
[[nodiscard]] constexpr u64 round_down(u64 value, u64 unit) {
    return value / unit * unit;
}
[[nodiscard]] constexpr u64 div_ceil(u64 value, u64 unit) {
    return (value + unit - 1) / unit;
}

// Sixteen hex digits: how ids are shown and how they are typed.
[[nodiscard]] std::string hex64(u64 value);
[[nodiscard]] inline std::string to_string(CoreletId id) {
    return hex64(id.v);
}
[[nodiscard]] std::string to_string(const ChunkId& id);

// Hash for lookup-only containers; iteration order of those decides nothing.
struct IdHash {
    template <class Tag, class Rep>
    usize operator()(Strong<Tag, Rep> id) const {
        return static_cast<usize>(id.v * 0x9E3779B97F4A7C15ULL);
    }
    usize operator()(const ChunkId& id) const {
        return static_cast<usize>((id.space.v * 0x9E3779B97F4A7C15ULL) ^ (id.seq * 0xC2B2AE3D27D4EB4FULL));
    }
    usize operator()(const FragmentId& id) const { return (*this)(id.chunk) * 31 + id.position; }
};

}  // namespace corelet
