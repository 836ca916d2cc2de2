// What a volume is at one record of its log: block map, containers, size; and how each entry changes it. The same
// code runs when an entry is acknowledged and when it is replayed. No awaits: the leaves that an entry touches are
// held by whoever applies it.
#pragma once

#include <set>

#include "volume/block_cache.h"
#include "volume/block_map.h"
#include "volume/chunk_index.h"
#include "volume/container_table.h"
#include "volume/log_entry.h"

namespace corelet {

class VolumeState {
  public:
    VolumeState(Executor& executor, ChunkIo& chunks, u64 map_cache_bytes, u64 block_cache_bytes,
                u32 small_chunk_blocks);

    // Leaves that must be held (those that exist; for Write and Placed all) when the entry is applied. `index`: of
    // a packed or placed chunk.
    [[nodiscard]] static std::vector<u64> leaves_of(const VolumeEntry& entry, const ChunkIndex* index);
    // kCorrupt: an entry that cannot follow this state; only replay meets one. `index`: of a packed or placed
    // chunk.
    [[nodiscard]] Result<void> apply(RecordNumber record, const VolumeEntry& entry, LogPlace place,
                                     const std::vector<u32>& crcs, const ChunkIndex* index);
    void segment_ended(u64 segment, u64 end_bytes) { containers.end_segment(segment, end_bytes); }

    BlockMap map;
    ContainerTable containers;
    BlockCache cache;
    u64 size_bytes = 0;
    u64 mapped_blocks = 0;  // entries with data
    RecordNumber applied;
    // Names of chunks that are being put and that no acknowledged entry refers to yet: they hold the horizon down.
    std::set<u64> puts_in_flight;

  private:
    [[nodiscard]] Result<void> apply_write(const volume_entry::Write& write, LogPlace place,
                                           const std::vector<u32>& crcs);
    [[nodiscard]] Result<void> apply_packed(const volume_entry::Packed& packed, const ChunkIndex* index);
    [[nodiscard]] Result<void> apply_placed(const volume_entry::Placed& placed, const ChunkIndex* index);
    [[nodiscard]] Result<void> apply_adopted(const volume_entry::Adopted& adopted);
    void apply_clear(const volume_entry::Clear& clear);
    // Puts the entry and settles the accounts of the place that the block had.
    void replace(u64 lba, const BlockEntry& entry);
};

}  // namespace corelet
