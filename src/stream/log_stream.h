// A stream as its user (volume, table) sees it: an append-only log with one owner, in which places are named for
// ever, and a checkpoint root that is committed with it.
//
// The user implements LogSink: it is told of every record that counts, in order, once; at run time when it is
// acknowledged, in replay when the stream is taken. One executor.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"
#include "rt/task.h"

namespace corelet {

// Number of a record in its stream: grows by one, over segments and owners. Zero: before the first.
using RecordNumber = Strong<struct RecordNumberTag>;

// What a record holds: the user's own encoding, and whole blocks.
struct LogEntry {
    std::vector<u8> meta;   // at most k_entry_meta_bytes_max; the user's format
    BufferChain blocks;     // a multiple of 4 KiB, at most k_entry_blocks_max blocks
    std::vector<u32> crcs;  // plain CRC32C of each block, computed where the data entered
};
inline constexpr usize k_entry_meta_bytes_max = 48 * 1024;
inline constexpr usize k_entry_blocks_max = 1024;

// Where an entry's blocks lie: consecutive 4 KiB blocks of the segment from `first_block` (counted from the
// segment's start, record headers included).
struct LogPlace {
    SegmentId segment;
    u32 first_block = 0;
};

class LogSink {
  public:
    virtual ~LogSink() = default;
    // The entry is acknowledged (run time) or counts (replay). In replay `blocks` are given too if they are at
    // hand, else empty. Called in the order of records; must not call back into the stream.
    virtual void apply(RecordNumber record, const LogEntry& entry, LogPlace place) = 0;
    // The segment takes no more records, its end is committed: it may be packed. Also for segments found ended in
    // replay.
    virtual void segment_ended(SegmentId segment, u64 end_bytes) = 0;
};

struct Checkpoint {
    RecordNumber position;            // everything up to and including it is contained
    std::string root;                 // the user's own encoding; a few KiB
    std::vector<SegmentId> released;  // ended segments that neither this checkpoint nor any snapshot needs
    u64 horizon = 0;                  // below this seq an unreferenced chunk is dead, above it unknown
};

class LogStream {
  public:
    virtual ~LogStream() = default;

    // Returns when the entry is durable by the write policy, after the sink has been told. Entries are numbered in
    // the order of the calls; those waiting together travel in one record. Waits while the stream has too few
    // copies. Errors: kFenced/kShutdown (no longer the owner: the entry may or may not be in the log), kNoSpace
    // (nothing was appended). `system` entries (trims, packing, checkpoints) may use the reserve.
    [[nodiscard]] virtual Task<Result<RecordNumber>> append(LogEntry entry, bool system = false) = 0;

    // Bytes of log blocks from a segment that is open or unpacked: from the own device if it holds a replica, else
    // from others. Blocks are verified against `expected_crcs`; a bad or missing copy is passed over and reported.
    [[nodiscard]] virtual Task<Result<BufferChain>> read(SegmentId segment, u32 first_block, u32 blocks,
                                                         std::vector<u32> expected_crcs) = 0;

    // True if this owner may answer a read now. Check after the request has arrived and after reading what the
    // answer depends on; if it has lapsed, wait_readable() before answering, or drop the answer.
    [[nodiscard]] virtual bool may_serve() const = 0;
    // Until may_serve(); kFenced/kShutdown if that will not come.
    [[nodiscard]] virtual Task<Result<void>> wait_readable() = 0;

    // A name for a new chunk in the stream's space; never given twice.
    [[nodiscard]] virtual ChunkId new_chunk_id() = 0;
    // Commits the checkpoint in the catalog, conditional on this owner's epoch. Only after that may anything that
    // the former checkpoint needed be deleted.
    [[nodiscard]] virtual Task<Result<void>> commit_checkpoint(Checkpoint checkpoint) = 0;
    // Ends the open segment and goes on in a standby (for size, idleness, or to make a segment safe).
    virtual void request_roll() = 0;

    [[nodiscard]] virtual Epoch epoch() const = 0;
    [[nodiscard]] virtual PoolId pool() const = 0;
    [[nodiscard]] virtual RecordNumber last_acknowledged() const = 0;
    // Bytes in segments not yet released.
    [[nodiscard]] virtual u64 unreleased_bytes() const = 0;
};

}  // namespace corelet
