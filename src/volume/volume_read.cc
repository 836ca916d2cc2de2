// Reads of a volume: acknowledged versions only, and only while this owner may answer.
#include <algorithm>

#include "base/fault_point.h"
#include "volume/volume.h"

namespace corelet {

namespace {
constexpr u32 k_keep_blocks_max = 32;       // longer reads do not push out what is in memory
constexpr usize k_status_leaves_max = 256;  // looked at for one answer
constexpr usize k_status_extents_max = 1024;
}  // namespace

Task<Result<BufferChain>> Volume::read(u64 offset, u32 length) {
    CORELET_ASSERT(offset % 512 == 0 && length % 512 == 0 && length <= size_bytes() &&
                   offset <= size_bytes() - length);
    if (core_.stop_reason) co_return std::unexpected(*core_.stop_reason);
    if (closing_ || !serving_) co_return fail(Code::kShutdown, "the volume is not served here");
    BufferChain out;
    u64 const last = offset + length;
    for (u64 at = offset; at < last;) {
        // In steps, so that what one request holds is bounded.
        u64 const end = std::min(last, round_down(at, k_block_bytes) +
                                           std::max<u64>(core_.options.read_bytes_in_flight / 4, 64 * k_kib));
        u64 const first = at / k_block_bytes;
        Extent const extent{first, static_cast<u32>(div_ceil(end, k_block_bytes) - first)};
        Permit const bytes = co_await acquire_permit(read_bytes_, extent.count * k_block_bytes);
        CO_TRY(BufferChain const blocks, co_await read_blocks(extent));
        out.append(blocks.slice(at - first * k_block_bytes, end - at));
        at = end;
    }
    co_return out;
}

Task<Result<std::vector<BlockEntry>>> Volume::look_up(Extent extent) {
    std::vector<BlockEntry> entries;
    entries.reserve(extent.count);
    for (u64 lba = extent.lba; lba < extent.end();) {
        u64 const end = std::min(extent.end(), (leaf_of(lba) + 1) * k_leaf_entries);
        CO_TRY(PagePin const page,
               co_await core_.ask_map([&] { return core_.state.map.pin_leaf(leaf_of(lba), false); }));
        for (; lba < end; ++lba) entries.push_back(page ? page.page().entry(slot_of(lba)) : BlockEntry{});
    }
    co_return entries;
}

Task<Result<BufferChain>> Volume::read_blocks(Extent extent) {
    std::vector<BlockEntry> before;  // of a try that met an unknown container
    u64 generation = 0;
    for (;;) {
        CO_TRY(std::vector<BlockEntry> const entries, co_await look_up(extent));
        if (!before.empty() && entries == before && generation == core_.checkpoint_generation) {
            // As for pages of the map: only who may serve knows.
            if (core_.stream->may_serve())
                co_return fail(Code::kLost, "nobody has a block that the volume names", extent.lba);
            CO_TRY_VOID(co_await core_.wait_readable());
            before.clear();
            continue;
        }
        generation = core_.checkpoint_generation;
        if (FAULT_POINT("volume.read_late")) co_await core_.deps.clock.sleep(100_ms);
        auto blocks = co_await core_.reader.read(entries, extent.count <= k_keep_blocks_max, TrafficClass::kClient);
        if (!blocks && blocks.error().code == Code::kUnknown) {
            // Packed, cleaned or released meanwhile: the entries say where it is now. Only under the same ones, and
            // the same root, it is lost.
            before = entries;
            continue;
        }
        // The entries were read before this: if the lease holds now, no later owner had acknowledged anything then,
        // or let anything go that is missed here.
        if (core_.stream->may_serve()) co_return blocks;
        CO_TRY_VOID(co_await core_.wait_readable());
    }
}

Task<Result<void>> Volume::flush() {
    // Every write that was answered is on all replicas.
    if (core_.stop_reason) co_return std::unexpected(*core_.stop_reason);
    if (closing_ || !serving_) co_return fail(Code::kShutdown, "the volume is not served here");
    co_return Result<void>{};
}

Task<Result<std::vector<BlockStatusExtent>>> Volume::block_status(u64 offset, u64 length) {
    CORELET_ASSERT(length > 0 && length <= size_bytes() && offset <= size_bytes() - length);
    if (core_.stop_reason) co_return std::unexpected(*core_.stop_reason);
    if (closing_ || !serving_) co_return fail(Code::kShutdown, "the volume is not served here");
    BlockMap& map = core_.state.map;
    std::vector<BlockStatusExtent> out;
    u64 at = offset;
    auto const add = [&](u64 end, bool hole, bool zero) {
        end = std::min(end, offset + length);
        if (!out.empty() && out.back().is_hole == hole && out.back().reads_zero == zero) {
            out.back().length_bytes += end - at;
        } else {
            out.push_back({end - at, hole, zero});
        }
        at = end;
    };
    u64 const leaf_end = leaf_of((offset + length - 1) / k_block_bytes) + 1;
    for (usize leaves = 0;
         at < offset + length && leaves < k_status_leaves_max && out.size() < k_status_extents_max; ++leaves) {
        u64 const leaf = leaf_of(at / k_block_bytes);
        CO_TRY(u64 const present, co_await core_.ask_map([&] { return map.next_present(leaf, leaf_end); }));
        if (present > leaf) {
            add(present * k_leaf_entries * k_block_bytes, true, true);
            continue;
        }
        CO_TRY(PagePin const page, co_await core_.ask_map([&] { return map.pin_leaf(leaf, false); }));
        u64 const end = std::min((leaf + 1) * k_leaf_entries * k_block_bytes, offset + length);
        while (at < end) {
            BlockEntry const entry = page ? page.page().entry(slot_of(at / k_block_bytes)) : BlockEntry{};
            add(round_down(at, k_block_bytes) + k_block_bytes, entry.is_hole(), !entry.has_data());
        }
    }
    CO_TRY_VOID(co_await core_.wait_readable());
    co_return out;
}

}  // namespace corelet
