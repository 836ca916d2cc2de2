// Contents of blocks, given their entries: from memory, from the log, or from a chunk; always verified against the
// entry.
#pragma once

#include "volume/volume_state.h"

namespace corelet {

class BlockReader {
  public:
    BlockReader(VolumeState& state, ChunkIo& chunks) : state_(state), chunks_(chunks) {}
    void set_stream(LogStream* stream) { stream_ = stream; }

    // The contents of the entries, in order. Neighbours in one container are one read, several are under way at
    // once. What comes from afar is kept in memory if `keep`. kUnknown: a container is not where it was (look the
    // entries up again); kCorrupt, kLost.
    [[nodiscard]] Task<Result<BufferChain>> read(std::vector<BlockEntry> entries, bool keep, TrafficClass traffic);
    // All of them into `out`, each in its place, read in whatever order is cheapest: for packing. Some may fail:
    // says which. Memory of one read, at most 1 MiB, times 16, beside `out`.
    [[nodiscard]] Task<std::vector<std::optional<Error>>> gather(std::vector<BlockEntry> entries, Buffer out,
                                                                 TrafficClass traffic);

  private:
    // [first, first + count) of the entries are one read.
    struct Run {
        usize first = 0;
        usize count = 0;
    };
    [[nodiscard]] Task<Result<BufferChain>> fetch(u64 container, u32 first_block, std::vector<u32> crcs,
                                                  TrafficClass traffic);
    [[nodiscard]] Task<Result<BufferChain>> fetch_once(u64 container, u32 first_block, std::vector<u32> crcs,
                                                       TrafficClass traffic);
    [[nodiscard]] Task<Result<BufferChain>> fetch_run(const std::vector<BlockEntry>* entries, Run run,
                                                      TrafficClass traffic);
    [[nodiscard]] bool from_memory(const BlockEntry& entry, u8* out);
    [[nodiscard]] Buffer zeros(usize blocks);
    [[nodiscard]] Buffer copy_cached(const std::vector<BlockEntry>& entries, usize at);
    [[nodiscard]] Task<void> gather_run(const std::vector<BlockEntry>* entries, std::vector<usize> order, u8* out,
                                        TrafficClass traffic, std::vector<std::optional<Error>>* errors);

    VolumeState& state_;
    ChunkIo& chunks_;
    LogStream* stream_ = nullptr;
    Buffer zeros_;
};

}  // namespace corelet
