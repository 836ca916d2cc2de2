// What a stream's owner needs of the rest of the corelet: its replicas on other corelets, and whom it may choose.
// The node implements both over RPC and the map; tests over memory.
#pragma once

#include "stream/segment.h"

namespace corelet {

struct FenceAnswer {
    u64 end_bytes = 0;  // of the records that verify there, as a hint
    Incarnation incarnation;
    u64 durable_seq = 0;
};

// Replicas of segments, one's own among them. Every call is sent once; an error means that nothing is known of its
// effect, except kFenced, kUnknown, kForgotten, kNoSpace and kInvalid, which are the replica's own words.
class ReplicaPort {
  public:
    virtual ~ReplicaPort() = default;
    struct PrepareRequest {
        LogSegment segment;
        Epoch epoch;
        u64 initial_bytes = k_mib;
        u64 reserve_bytes = 0;  // for the packed form
        bool system = false;
    };
    [[nodiscard]] virtual Task<Result<void>> prepare(CoreletId replica, PrepareRequest request) = 0;
    // `record_crc`: of all its bytes. Success: the record and all before it are on media there. Takes its place in
    // the order of appends when called, not when awaited.
    [[nodiscard]] virtual Task<Result<void>> append(CoreletId replica, SegmentId segment, u64 offset,
                                                    BufferChain record, u32 record_crc) = 0;
    [[nodiscard]] virtual Task<Result<void>> heartbeat(CoreletId replica, SegmentId segment, Epoch epoch) = 0;
    // The owner's last word at its epoch: promises end.
    [[nodiscard]] virtual Task<Result<void>> release(CoreletId replica, SegmentId segment, Epoch epoch) = 0;
    // Answers when the replica's promise to the former owner has run out.
    [[nodiscard]] virtual Task<Result<FenceAnswer>> fence(CoreletId replica, SegmentId segment, Epoch epoch,
                                                          Instant deadline) = 0;
    // Raw bytes, at most `length`, fewer at the end of the segment's extents.
    [[nodiscard]] virtual Task<Result<Buffer>> read(CoreletId replica, SegmentId segment, u64 offset,
                                                    u64 length) = 0;
    // After the end is committed: cuts what lies beyond.
    [[nodiscard]] virtual Task<Result<void>> seal(CoreletId replica, SegmentId segment, u64 end_bytes) = 0;
    // The sealed segment, verified to its end, becomes fragment `position` of the replicated chunk of the same name
    // (protocols 8.8).
    [[nodiscard]] virtual Task<Result<void>> adopt(CoreletId replica, SegmentId segment, u64 end_bytes, u8 position,
                                                   u8 copies) = 0;
    [[nodiscard]] virtual Task<Result<void>> drop(CoreletId replica, SegmentId segment, Epoch epoch) = 0;
};

// The pool's policy as far as its log goes.
struct LogPolicy {
    u32 width = 1;  // R: the promise + 1
    u32 min_copies = 1;
};

class LogPlacement {
  public:
    virtual ~LogPlacement() = default;
    [[nodiscard]] virtual LogPolicy policy(PoolId pool) const = 0;
    // Up to `width` corelets that are up and store, oneself first if it stores, spread over the pool's failure
    // domains, none of `avoid`. `salt` varies the choice.
    [[nodiscard]] virtual std::vector<CoreletId> choose(PoolId pool, usize width,
                                                        const std::vector<CoreletId>& avoid, u64 salt) const = 0;
    // How many there are by the map's word alone, whoever hears them.
    [[nodiscard]] virtual usize count_up() const = 0;
    // In a replicated pool, where a chunk of this name belongs, in the slot's order; empty otherwise. A segment
    // that lies there becomes a chunk without being written again.
    [[nodiscard]] virtual std::vector<CoreletId> homes(PoolId pool, SegmentId segment) const = 0;
    // Whether a new chunk of this name would lie where it should: with corelets that are there, near its owner. A
    // matter of taste only: any name will do.
    [[nodiscard]] virtual bool suits(PoolId pool, ChunkId chunk) const = 0;
    // All corelets that fail together with this one, by the pool's failure domain; itself among them.
    [[nodiscard]] virtual std::vector<CoreletId> domain_of(PoolId pool, CoreletId corelet) const = 0;
    // Not down, failing or out by the map's word, and heard of here.
    [[nodiscard]] virtual bool is_up(CoreletId corelet) const = 0;
    // It is to leave the mesh, and is there until nothing needs it: what it has is as good as any other's, and what
    // is open there goes elsewhere, where that can be had.
    [[nodiscard]] virtual bool is_leaving(CoreletId /*corelet*/) const { return false; }
    // Confirmed dead (down or out): recovery does not wait for it.
    [[nodiscard]] virtual bool is_confirmed_dead(CoreletId corelet) const = 0;
    // Bytes of log the pool's packed form of a segment may take, reserved where a segment is prepared.
    [[nodiscard]] virtual u64 packed_reservation(PoolId pool, u64 segment_bytes) const = 0;
};

}  // namespace corelet
