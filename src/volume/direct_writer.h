// Large writes of a pool with k > 1: straight into chunks, the log holding the reference. Written once with the
// pool's redundancy, they need no copy in the log and no packing.
//
// Writes that are under way together share a chunk, so that chunks stay as large as packing makes them; what would
// make a small one goes by the log. A write counts when all k + m fragments are durable, or the write quorum that
// the pool names, and the entry that names the chunk is acknowledged: then it is as safe as a packed one. Where
// that cannot be had (a member is away or slow, the pool is full) it goes by the log, as if nothing had been tried,
// and the chunk that was begun is given up: an entry says so, and it is deleted like any other dead chunk.
#pragma once

#include <deque>

#include "volume/in_flight.h"
#include "volume/volume_core.h"

namespace corelet {

class DirectWriter {
  public:
    // All outlive it. Tasks run in `scope`.
    DirectWriter(VolumeCore& core, InFlight& in_flight, RangeLocks& locks, Scope& scope)
        : core_(core), in_flight_(in_flight), locks_(locks), scope_(scope) {}

    // A large write is under way as long as this lives, whichever way it takes: others wait for its company.
    class Presence {
      public:
        Presence() = default;
        Presence(DirectWriter& writer, u64 bytes) : writer_(&writer), bytes_(bytes) {
            writer.present_bytes_ += bytes;
        }
        Presence(Presence&& other) noexcept
            : writer_(std::exchange(other.writer_, nullptr)), bytes_(other.bytes_) {}
        Presence& operator=(Presence&&) = delete;
        ~Presence() {
            if (writer_) writer_->left(bytes_);
        }

        [[nodiscard]] bool is_large() const { return writer_ != nullptr; }

      private:
        DirectWriter* writer_ = nullptr;
        u64 bytes_ = 0;
    };
    // Of a write of whole blocks; empty if it is too small to go here.
    [[nodiscard]] Presence announce(u64 bytes) { return fits(bytes) ? Presence(*this, bytes) : Presence(); }
    // True: written and acknowledged. False: nothing happened, write it by the log. Errors as of an append. The
    // write is announced.
    [[nodiscard]] Task<Result<bool>> write(Extent extent, BufferChain data, std::vector<u32> crcs);

    // Begins nothing any more: the scope is going.
    void close() { closed_ = true; }

  private:
    struct Waiting {
        Extent extent;
        BufferChain data;
        std::vector<u32> crcs;
        Completion<Result<bool>> done;
    };
    using Batch = std::vector<std::shared_ptr<Waiting>>;

    [[nodiscard]] bool fits(u64 bytes) const;
    void left(u64 bytes);
    // Begins what can begin now, and sends to the log what would wait in vain.
    void consider();
    [[nodiscard]] Batch next_batch();
    [[nodiscard]] Task<void> run(Batch batch);
    [[nodiscard]] Task<Result<bool>> place(const Batch* batch);
    [[nodiscard]] Task<Result<bool>> put(u64 chunk, BufferChain data, std::vector<u32> crcs);
    [[nodiscard]] Task<Result<bool>> name(const Batch* batch, const ChunkIndex* index, u32 chunk_blocks);
    [[nodiscard]] Task<void> give_up(u64 chunk, u32 chunk_blocks);

    VolumeCore& core_;
    InFlight& in_flight_;
    RangeLocks& locks_;
    Scope& scope_;
    std::deque<std::shared_ptr<Waiting>> queue_;
    u64 queued_bytes_ = 0;
    u64 present_bytes_ = 0;
    u32 puts_ = 0;
    bool closed_ = false;
    Instant not_before_{INT64_MIN};  // after a failure
};

}  // namespace corelet
