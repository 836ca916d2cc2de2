#include "volume/volume_state.h"

namespace corelet {

VolumeState::VolumeState(Executor& executor, ChunkIo& chunks, u64 map_cache_bytes, u64 block_cache_bytes,
                         u32 small_chunk_blocks)
    : map(executor, chunks, map_cache_bytes), containers(small_chunk_blocks), cache(block_cache_bytes) {}

std::vector<u64> VolumeState::leaves_of(const VolumeEntry& entry, const ChunkIndex* index) {
    std::vector<u64> leaves;
    if (auto const* write = std::get_if<volume_entry::Write>(&entry)) {
        for (const Extent& extent : write->extents) append_leaves(extent, leaves);
    } else if (auto const* clear = std::get_if<volume_entry::Clear>(&entry)) {
        for (const Extent& extent : clear->extents) append_leaves(extent, leaves);
    } else if (index) {
        for (const IndexEntry& block : index->entries) append_leaves({block.lba, 1}, leaves);
    }
    return leaves;
}

Result<void> VolumeState::apply(RecordNumber record, const VolumeEntry& entry, LogPlace place,
                                const std::vector<u32>& crcs, const ChunkIndex* index) {
    CORELET_ASSERT(record >= applied, "entries are applied in order");
    Result<void> done;
    if (auto const* write = std::get_if<volume_entry::Write>(&entry)) {
        done = apply_write(*write, place, crcs);
    } else if (auto const* clear = std::get_if<volume_entry::Clear>(&entry)) {
        apply_clear(*clear);
    } else if (auto const* packed = std::get_if<volume_entry::Packed>(&entry)) {
        done = apply_packed(*packed, index);
    } else if (auto const* placed = std::get_if<volume_entry::Placed>(&entry)) {
        done = apply_placed(*placed, index);
    } else if (auto const* adopted = std::get_if<volume_entry::Adopted>(&entry)) {
        done = apply_adopted(*adopted);
    } else if (auto const* condemned = std::get_if<volume_entry::Condemned>(&entry)) {
        for (u64 const container : condemned->containers) containers.condemn(container, record);
    } else if (auto const* resized = std::get_if<volume_entry::Resized>(&entry)) {
        size_bytes = std::max(size_bytes, resized->size_bytes);
    }
    applied = record;
    return done;
}

void VolumeState::replace(u64 lba, const BlockEntry& entry) {
    BlockEntry const old = map.exchange(lba, entry);
    if (old == entry) return;
    mapped_blocks += (entry.has_data() ? 1U : 0U);
    if (!old.has_data()) return;
    --mapped_blocks;
    containers.lose(old);
}

Result<void> VolumeState::apply_write(const volume_entry::Write& write, LogPlace place,
                                      const std::vector<u32>& crcs) {
    u64 blocks = 0;
    for (const Extent& extent : write.extents) blocks += extent.count;
    if (blocks != crcs.size()) return fail(Code::kCorrupt, "volume log: a write without its checksums");
    Container& segment = containers.segment(place.segment.seq);
    if (!segment.in_log())
        return fail(Code::kCorrupt, "volume log: a write in a segment that is a chunk", segment.seq);
    u32 at = 0;
    for (const Extent& extent : write.extents) {
        for (u64 lba = extent.lba; lba < extent.end(); ++lba, ++at) {
            BlockEntry const old = map.entry(lba);
            if (old.has_data()) cache.erase(old.container, old.block);
            replace(lba, {segment.seq, place.first_block + at, crcs[at]});
            containers.gain(segment, place.first_block + at, lba, crcs[at]);
        }
    }
    return {};
}

void VolumeState::apply_clear(const volume_entry::Clear& clear) {
    BlockEntry const cleared = clear.keep_allocated ? k_zero_entry : BlockEntry{};
    for (const Extent& extent : clear.extents) {
        for (u64 lba = extent.lba; lba < extent.end(); ++lba) {
            // A leaf that is nowhere is holes already.
            if (!map.is_in_memory(leaf_of(lba))) {
                CORELET_ASSERT(!clear.keep_allocated);
                lba = (leaf_of(lba) + 1) * k_leaf_entries - 1;
                continue;
            }
            BlockEntry const old = map.entry(lba);
            if (old.has_data()) cache.erase(old.container, old.block);
            replace(lba, cleared);
        }
    }
}

Result<void> VolumeState::apply_packed(const volume_entry::Packed& packed, const ChunkIndex* index) {
    CORELET_ASSERT(index != nullptr && index->chunk == packed.chunk);
    u32 const index_blocks = index_blocks_for(index->entries.size());
    if (index_blocks + index->entries.size() > packed.chunk_blocks || containers.find(packed.chunk))
        return fail(Code::kCorrupt, "volume log: packed chunk", packed.chunk);
    containers.add(packed.chunk, ContainerKind::kChunk, packed.chunk_blocks);
    puts_in_flight.erase(packed.chunk);
    for (u32 i = 0; i < index->entries.size(); ++i) {
        const IndexEntry& block = index->entries[i];
        // Written, cleared or moved since it was gathered: the relocation names the old place and means that alone.
        if (!map.is_in_memory(leaf_of(block.lba))) continue;  // a leaf that is nowhere: holes
        if (!map.entry(block.lba).names(block.old_container, block.old_block)) continue;
        u32 const new_block = index_blocks + i;
        cache.rename(block.old_container, block.old_block, packed.chunk, new_block);
        replace(block.lba, {packed.chunk, new_block, block.crc});
        containers.gain(*containers.find(packed.chunk), new_block, block.lba, block.crc);
    }
    return {};
}

// Later entries of the index win over earlier ones: writes of one chunk may overlap.
Result<void> VolumeState::apply_placed(const volume_entry::Placed& placed, const ChunkIndex* index) {
    if (containers.find(placed.chunk)) return fail(Code::kCorrupt, "volume log: placed chunk", placed.chunk);
    u32 const index_blocks = index ? index_blocks_for(index->entries.size()) : 0;
    u64 const named = index ? index_blocks + index->entries.size() : 0;
    CORELET_ASSERT(placed.given_up == (index == nullptr));
    if (named > placed.chunk_blocks) return fail(Code::kCorrupt, "volume log: placed chunk", placed.chunk);
    // Given up it is dead from the start: whatever there is of it is deleted as all dead chunks are.
    Container& chunk = containers.add(placed.chunk, ContainerKind::kChunk, placed.chunk_blocks);
    chunk.is_leftover = placed.given_up;
    puts_in_flight.erase(placed.chunk);
    for (u32 i = 0; index && i < index->entries.size(); ++i) {
        const IndexEntry& block = index->entries[i];
        BlockEntry const old = map.entry(block.lba);
        if (old.has_data()) cache.erase(old.container, old.block);
        replace(block.lba, {placed.chunk, index_blocks + i, block.crc});
        containers.gain(chunk, index_blocks + i, block.lba, block.crc);
    }
    return {};
}

Result<void> VolumeState::apply_adopted(const volume_entry::Adopted& adopted) {
    puts_in_flight.erase(adopted.index_chunk);
    Container* const segment = containers.find(adopted.segment);
    if (containers.find(adopted.index_chunk))
        return fail(Code::kCorrupt, "volume log: index chunk", adopted.index_chunk);
    if (!segment || segment->kind != ContainerKind::kEnded) {
        // Nothing of it was live any more and it was released meanwhile. Its index is a dead chunk.
        containers.add(adopted.index_chunk, ContainerKind::kChunk, adopted.index_blocks);
        return {};
    }
    if (adopted.segment_blocks < segment->blocks)
        return fail(Code::kCorrupt, "volume log: adopted segment", adopted.segment);
    containers.adopt(*segment, adopted.segment_blocks, adopted.index_chunk);
    containers.add(adopted.index_chunk, ContainerKind::kIndex, adopted.index_blocks);
    return {};
}

}  // namespace corelet
