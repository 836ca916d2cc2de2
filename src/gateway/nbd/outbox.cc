#include "gateway/nbd/outbox.h"

namespace corelet::nbd {

namespace {
// Small enough not to be rounded up to whole pages of memory.
constexpr usize k_page_bytes = 1984;
static_assert(k_page_bytes >= k_reply_header_bytes_max);
}  // namespace

u8* Outbox::header_room() {
    if (page_.size() - page_used_ < k_reply_header_bytes_max) {
        if (!batches_.empty()) flush_headers(batches_.back());
        page_ = Buffer::allocate(k_page_bytes);
        page_used_ = page_flushed_ = 0;
    }
    return page_.mutable_data() + page_used_;
}

ReplyBatch& Outbox::open_batch() {
    if (batches_.empty()) {
        batches_.emplace_back();
    } else if (batches_.back().chain.size() + (page_used_ - page_flushed_) >= k_batch_bytes) {
        flush_headers(batches_.back());
        batches_.emplace_back();
    }
    return batches_.back();
}

void Outbox::flush_headers(ReplyBatch& batch) {
    if (page_used_ > page_flushed_) batch.chain.append(page_.slice(page_flushed_, page_used_ - page_flushed_));
    page_flushed_ = page_used_;
}

void Outbox::add(usize header_bytes, const BufferChain& data, u64 held_bytes) {
    CORELET_ASSERT(header_bytes <= page_.size() - page_used_, "a header beyond its room");
    ReplyBatch& batch = open_batch();
    page_used_ += header_bytes;
    batch.held_bytes += held_bytes;
    if (data.empty()) return;
    flush_headers(batch);
    batch.chain.append(data);
}

void Outbox::add_whole(Buffer message, u64 held_bytes) {
    ReplyBatch& batch = open_batch();
    flush_headers(batch);
    batch.chain.append(std::move(message));
    batch.held_bytes += held_bytes;
}

void Outbox::finish_reply(u64 held_bytes, bool whole_lane) {
    CORELET_ASSERT(!batches_.empty());
    ReplyBatch& batch = batches_.back();
    ++batch.replies;
    batch.held_bytes += held_bytes;
    batch.whole_lane |= whole_lane;
}

ReplyBatch Outbox::take() {
    CORELET_ASSERT(!batches_.empty());
    // Headers that are not in a chain yet belong to the last batch.
    if (batches_.size() == 1) flush_headers(batches_.front());
    ReplyBatch batch = std::move(batches_.front());
    batches_.pop_front();
    return batch;
}

}  // namespace corelet::nbd
