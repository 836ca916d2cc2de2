// A volume: a thin, linear array of 4 KiB blocks over a stream's log and chunks (LSVD's log-structured virtual disk
// is the nearest relative). What is written goes into the log and into the block map; ended segments of the log are
// packed into erasure-coded chunks; checkpoints write the map's changed pages and let the log go.
//
// Life: made; restore() with the committed root; apply() for the records after it; serve(); requests; detach() or
// destruction, which is a crash and safe. Requests in progress must be dropped before it is destroyed. One
// executor.
#pragma once

#include <deque>

#include "volume/block_device.h"
#include "volume/checkpointer.h"
#include "volume/direct_writer.h"
#include "volume/in_flight.h"
#include "volume/packer.h"

namespace corelet {

// Blocks of a volume that lie one after the other in one container, or of which none has data.
struct MappedRun {
    u64 lba = 0;
    u64 blocks = 0;
    BlockEntry first;  // of the first one
    // Of the container; empty if there is no data, or it is gone since.
    std::optional<ContainerKind> kind;
    u32 container_blocks = 0;
    [[nodiscard]] bool goes_on_with(const BlockEntry& entry) const;
};

class Volume final : public BlockDevice, public LogSink {
  public:
    Volume(VolumeDeps deps, VolumeOptions options);
    ~Volume() override;

    // Loads the checkpoint that `root` names; empty: a new volume of options.size_bytes. Errors: kCorrupt,
    // kUnsupported, kLost.
    [[nodiscard]] Task<Result<void>> restore(std::string root, RecordNumber position);
    // All records after the checkpoint were given to apply(): brings the map up to them and takes up work. `stream`
    // outlives the volume.
    [[nodiscard]] Task<Result<void>> serve(LogStream& stream);
    // Refuses new requests (kShutdown), waits for those in progress, checkpoints. The next owner then has nothing
    // to replay.
    [[nodiscard]] Task<Result<void>> detach();
    // Set when no request is served any more; why, in stop_reason().
    [[nodiscard]] Event& stopped() { return core_.stopped; }
    [[nodiscard]] const std::optional<Error>& stop_reason() const { return core_.stop_reason; }

    // BlockDevice
    [[nodiscard]] u64 size_bytes() const override { return core_.state.size_bytes; }
    [[nodiscard]] bool has_volatile_cache() const override { return false; }
    [[nodiscard]] Task<Result<BufferChain>> read(u64 offset, u32 length) override;
    [[nodiscard]] Task<Result<void>> write(u64 offset, BufferChain data, bool fua) override;
    [[nodiscard]] Task<Result<void>> flush() override;
    // Whole blocks within the range become holes; the edges keep what they have.
    [[nodiscard]] Task<Result<void>> trim(u64 offset, u64 length, bool fua) override;
    [[nodiscard]] Task<Result<void>> write_zeroes(u64 offset, u64 length, bool may_trim, bool fua) override;
    [[nodiscard]] Task<Result<std::vector<BlockStatusExtent>>> block_status(u64 offset, u64 length) override;

    // LogSink
    void apply(RecordNumber record, const LogEntry& entry, LogPlace place) override;
    void segment_ended(SegmentId segment, u64 end_bytes) override;

    // kInvalid: smaller than now, beyond k_volume_bytes_max, or no multiple of 4 KiB.
    [[nodiscard]] Task<Result<void>> grow(u64 size_bytes);
    // Returns when a checkpoint that contains everything acknowledged before is committed.
    [[nodiscard]] Task<Result<void>> checkpoint();
    // Removes those of the chunks that are proven dead: below the committed horizon, and referred to by nothing
    // (protocols 8.2 to 8.4).
    [[nodiscard]] Task<Result<void>> bury(std::vector<u64> seqs, u64 horizon);
    [[nodiscard]] VolumeStats stats() const { return core_.stats(); }
    // Where the blocks from `lba` on lie now, at most up to `end`: consecutive runs, at least one, at most `limit`.
    [[nodiscard]] Task<Result<std::vector<MappedRun>>> runs(u64 lba, u64 end, usize limit);
    // For tests and tools that look into it.
    [[nodiscard]] VolumeCore& core() { return core_; }

  private:
    struct Replayed {
        RecordNumber record;
        LogPlace place;
        VolumeEntry entry;
        std::vector<u32> crcs;
        u64 ended_bytes = 0;  // of place.segment; the entry means nothing then
        bool ended = false;
    };
    // Runs the request to its end even if the caller is dropped: what is in the log needs its pages and its place
    // in InFlight.
    [[nodiscard]] Task<Result<void>> run(u64 bytes, Task<Result<void>> request);

    // volume_write.cc
    [[nodiscard]] Task<Result<void>> write_all(u64 offset, BufferChain data);
    [[nodiscard]] Task<Result<void>> write_piece(u64 offset, BufferChain data);
    [[nodiscard]] Task<Result<void>> try_write(u64 offset, BufferChain data, std::vector<u32> crcs);
    [[nodiscard]] Task<Result<Buffer>> complete_blocks(Extent extent, u64 offset, BufferChain data);
    [[nodiscard]] Task<Result<Buffer>> newest(u64 lba);
    [[nodiscard]] Task<bool> wait_for_space();
    [[nodiscard]] Task<Result<void>> zero_all(u64 offset, u64 length, bool keep_allocated);
    [[nodiscard]] Task<Result<void>> clear(u64 first, u64 end, bool keep_allocated);
    [[nodiscard]] Task<Result<u64>> clear_leaves(std::vector<u64> leaves, u64 first, u64 end, bool keep_allocated);
    // volume_read.cc
    [[nodiscard]] Task<Result<std::vector<BlockEntry>>> look_up(Extent extent);
    [[nodiscard]] Task<Result<BufferChain>> read_blocks(Extent extent);
    // volume_attach.cc
    [[nodiscard]] Task<Result<void>> replay(Replayed event);

    VolumeCore core_;
    InFlight in_flight_;
    RangeLocks locks_;
    Semaphore write_bytes_;
    Semaphore read_bytes_;
    std::deque<Replayed> replay_;
    std::optional<Error> replay_error_;
    RecordNumber restored_to_;
    bool serving_ = false;
    bool closing_ = false;
    Packer packer_;
    Checkpointer checkpointer_;
    DirectWriter direct_;
    Scope requests_;
    Scope workers_;
};

}  // namespace corelet
