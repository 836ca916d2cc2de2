// Replies that wait to be written, packed for as few system calls and vector entries as possible: headers lie one
// after the other in shared pages, data of reads are passed on as they came. No I/O.
#pragma once

#include <deque>

#include "base/bytes.h"
#include "gateway/nbd/transmission.h"

namespace corelet::nbd {

// What leaves in one write.
struct ReplyBatch {
    BufferChain chain;
    u64 held_bytes = 0;       // of the memory budget, given back once written
    u32 replies = 0;          // requests that are answered with it
    bool whole_lane = false;  // the lane is free again once written
};

// A batch is closed at this size, so that memory is given back as a slow client takes it.
inline constexpr usize k_batch_bytes = 1 * k_mib;

class Outbox {
  public:
    // Room for one message's header, of up to k_reply_header_bytes_max; add() says how much of it was used.
    [[nodiscard]] u8* header_room();
    // Appends the message whose header was put into header_room(), with its data.
    void add(usize header_bytes, const BufferChain& data, u64 held_bytes);
    // Appends a message made elsewhere.
    void add_whole(Buffer message, u64 held_bytes);
    // The message added last was the final one of its request, which holds so much more; and maybe the whole lane.
    void finish_reply(u64 held_bytes, bool whole_lane);
    [[nodiscard]] bool empty() const { return batches_.empty(); }
    [[nodiscard]] ReplyBatch take();

  private:
    ReplyBatch& open_batch();
    void flush_headers(ReplyBatch& batch);
    Buffer page_;  // headers are appended here
    usize page_used_ = 0;
    usize page_flushed_ = 0;  // up to here they are in a batch's chain
    std::deque<ReplyBatch> batches_;
};

}  // namespace corelet::nbd
