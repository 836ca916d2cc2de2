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

#include "rt/sync.h"

namespace corelet::nbd {

inline constexpr u64 k_common_lane_bytes = 20 * k_mib;
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
    // How many connections wait for memory now.
    [[nodiscard]] u32 waiting() const { return waiting_; }
    [[nodiscard]] bool is_idle() const {
        return common_.available() == common_.total() && whole_.available() == whole_.total() && waiting_ == 0;
    }

    // Counts the one who waits, for as long as it lives.
    class Waiting {
      public:
        explicit Waiting(MemoryBudget& budget) : budget_(budget) { ++budget_.waiting_; }
        Waiting(const Waiting&) = delete;
        Waiting& operator=(const Waiting&) = delete;
        ~Waiting() { --budget_.waiting_; }

      private:
        MemoryBudget& budget_;
    };

  private:
    Semaphore common_{k_common_lane_bytes};
    Semaphore whole_{1};
    u32 waiting_ = 0;
};

}  // namespace corelet::nbd
