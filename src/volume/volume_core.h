// What the parts of an attached volume share: its state, its log, its chunks, and what is wanted of the workers in
// the background.
#pragma once

#include "volume/block_reader.h"
#include "volume/ports.h"

namespace corelet {

struct VolumeDeps {
    Executor& executor;
    Clock& clock;
    Log& log;
    Chunks& chunks;
    SegmentAdoption* adoption = nullptr;  // pools with k = 1; without it their segments are packed
    const PoolSpace* space = nullptr;
};

// What a number of the space (a chunk, a segment) is to the volume.
enum class Standing : u8 {
    kNone,     // nothing here refers to it; dead for good below the committed horizon
    kPending,  // on its way in or out, or in the log: it may be there in part, and nobody heals it as a chunk
    kLive,
};

struct VolumeOptions {
    SpaceId space;
    PoolId pool;
    u64 size_bytes = 0;           // of a new volume; afterwards the log knows
    u32 data_fragments = 1;       // k of the pool
    u64 chunk_bytes = 8 * k_mib;  // of the pool, at least 256 KiB
    u64 map_cache_bytes = 64 * k_mib;
    u64 block_cache_bytes = 256 * k_mib;
    u64 write_bytes_in_flight = 32 * k_mib;  // below the stream's own bound, so that append() never waits for room
    u64 read_bytes_in_flight = 32 * k_mib;
    u64 checkpoint_log_bytes =
        128 * k_mib;  // replay reads at most about this much, and what is written during a checkpoint
    u64 checkpoint_records = 64 * 1024;
    Duration idle_checkpoint = 5_s;  // without a write for so long
    Duration space_poll = 2_s;       // while there is garbage
    u32 free_permille_low = 150;     // of the pool: below, cleaning frees whatever it can
    u32 garbage_permille_max = 350;  // of the data chunks: above, cleaning runs in any case
    usize small_chunks_max = 16;     // more small chunks than this are merged
    Duration reclaim_wait = 5_s;     // a write that meets a full pool waits so long for cleaning to get on
    u64 direct_bytes_min =
        256 * k_kib;  // k > 1: writes of so much go straight to chunks, if they make a large one; 0: never
    u64 direct_chunk_bytes_min = 0;  // the least that such a chunk holds; 0: a quarter of chunk_bytes
};

struct VolumeStats {
    u64 size_bytes = 0;
    u64 logical_bytes = 0;   // mapped
    u64 live_bytes = 0;      // the same, as the containers count it
    u64 garbage_bytes = 0;   // in data chunks, what the map names no more; indexes included
    u64 unpacked_bytes = 0;  // live, in the log only
    u64 map_bytes = 0;       // of map chunks
    u64 map_pages_in_memory = 0;
    u64 map_pages_dirty = 0;
    u64 cache_hits = 0, cache_misses = 0;
    u64 client_bytes_written = 0;
    u64 log_bytes_written = 0;    // blocks; one copy
    u64 chunk_bytes_written = 0;  // packing, cleaning and map; before redundancy
    u64 checkpoints = 0;
    u64 chunks_packed = 0, chunks_removed = 0, segments_released = 0, segments_adopted = 0, chunks_cleaned = 0;
    u64 chunks_placed = 0;
    // Bytes written, before redundancy, for 1,000 that clients wrote; 0 if they wrote nothing.
    [[nodiscard]] u64 write_amplification_permille() const {
        return client_bytes_written == 0 ? 0
                                         : (log_bytes_written + chunk_bytes_written) * 1000 / client_bytes_written;
    }
};

class VolumeCore {
  public:
    VolumeCore(VolumeDeps dependencies, VolumeOptions volume_options);

    // Appends and waits until it is applied. Errors of the stream that end this owner stop the volume.
    [[nodiscard]] Task<Result<void>> append(VolumeEntry entry, BufferChain blocks, std::vector<u32> crcs,
                                            bool system);
    // Until the lease holds (again); an error that ends this owner stops the volume.
    [[nodiscard]] Task<Result<void>> wait_readable();
    // What `ask` finds in the map. An owner that has been replaced names what the next one may have let go of long
    // ago: only while it may serve is a page that nobody has a loss.
    template <class Ask>
    [[nodiscard]] std::invoke_result_t<Ask> ask_map(Ask ask) {
        for (;;) {
            auto found = co_await ask();
            if (found || stream->may_serve()) co_return found;
            CO_TRY_VOID(co_await wait_readable());
        }
    }
    // No request is served from now on; the first reason counts.
    void stop(Error reason);
    [[nodiscard]] bool is_stopped() const { return stop_reason.has_value(); }

    // Free space is short: the pool says so, or a write was refused lately.
    [[nodiscard]] bool short_of_space() const;
    void note_full() { full_until = now() + options.reclaim_wait; }
    [[nodiscard]] Standing standing(u64 seq) const;
    // Blocks that cleaning, checkpoints and deletes can still give back.
    [[nodiscard]] u64 reclaimable_blocks() const;

    [[nodiscard]] u32 chunk_blocks() const { return static_cast<u32>(options.chunk_bytes / k_block_bytes); }
    [[nodiscard]] VolumeStats stats() const;
    [[nodiscard]] Instant now() const { return deps.clock.now(); }

    VolumeDeps deps;
    VolumeOptions options;
    ChunkIo chunks;
    VolumeState state;
    BlockReader reader;
    LogStream* stream = nullptr;  // from serve() on
    std::optional<Error> stop_reason;
    Event stopped;

    // Chunks whose Packed or Placed entry is on its way: what it moves or writes.
    std::map<u64, const ChunkIndex*> packing;
    Notify pack_wanted;
    Notify checkpoint_wanted;
    bool checkpointer_sleeps = false;  // without a timer: the first change has to wake it
    Notify reclaimed;                  // something was released, or removed
    u64 reclaim_count = 0;
    Instant full_until{INT64_MIN};
    Instant last_write;
    u64 log_bytes_since_checkpoint = 0;
    u64 records_since_checkpoint = 0;
    u64 checkpoint_generation = 0;  // of the root that reads rest on
    VolumeStats counters;           // those that only count up
};

// While it lives the index is at hand for the entry that names the chunk.
class PackingNote {
  public:
    PackingNote(VolumeCore& core, const ChunkIndex& index) : core_(core), chunk_(index.chunk) {
        core_.packing.emplace(chunk_, &index);
    }
    PackingNote(const PackingNote&) = delete;
    PackingNote& operator=(const PackingNote&) = delete;
    ~PackingNote() { core_.packing.erase(chunk_); }

  private:
    VolumeCore& core_;
    u64 chunk_;
};

}  // namespace corelet
