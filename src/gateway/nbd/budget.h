// Memory of all connections of one export, in two lanes, so that no behaviour of clients takes more than the export
// has.
//
// - The common lane: payloads and replies of up to a piece (1 MiB) each, and receive buffers.
// - The whole lane: one read at a time whose reply must be in memory whole before its first byte may go (a client
// without
//   structured replies, or one that asked not to fragment), of up to 32 MiB.
//
// A connection may hold as much of the common lane as is left free (the dynamic threshold of Choudhury and Hahne,
// 1998): one alone gets half, and there is always some left for one that comes anew.
#pragma once

#include "gateway/nbd/protocol.h"
#include "rt/sync.h"

namespace corelet::nbd {

inline constexpr u64 k_common_lane_bytes = 18 * k_mib;
inline constexpr u64 k_piece_bytes = 1 * k_mib;
// A request's coroutine, operation and reply header.
inline constexpr u64 k_request_overhead_bytes = 2 * k_kib;
// What describing a range may take: extents from the device, and the reply.
inline constexpr u64 k_status_bytes = 768 * k_kib;
// What a buffer of this size takes of memory: it is aligned to a block, and its own header lies in the block
// before.
[[nodiscard]] constexpr u64 buffer_cost(u64 size) {
    return round_up(size, k_block_bytes) + k_block_bytes;
}

class MemoryBudget {
  public:
    [[nodiscard]] Semaphore& common() { return common_; }
    [[nodiscard]] Semaphore& whole() { return whole_; }
    // Whether a connection that holds `held` bytes of the common lane may take `more`.
    [[nodiscard]] bool is_fair(u64 held, u64 more) const { return held == 0 || held + more <= common_.available(); }
    // Bytes that connections hold now; the whole lane counts as its largest reply.
    [[nodiscard]] u64 held_bytes() const {
        u64 const whole = whole_.available() == 0 ? k_block_maximum : 0;
        return common_.total() - common_.available() + whole;
    }

    void give_back(u64 bytes) {
        common_.release(bytes);
        released_.notify_all();
    }
    // For who found a share unfair: something was given back.
    [[nodiscard]] WaitAwaiter wait_for_release() { return released_.wait(); }

  private:
    Semaphore common_{k_common_lane_bytes};
    Semaphore whole_{1};
    Notify released_;
};

}  // namespace corelet::nbd
