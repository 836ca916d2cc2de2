#include "volume/page_writer.h"

#include "base/checksum.h"

namespace corelet {

namespace {
constexpr usize k_puts_at_once = 3;  // of up to 4 MiB each
}

usize PageWriter::pages_per_chunk(const VolumeCore& core) {
    return std::min<usize>(k_map_chunk_pages_max, (core.chunk_blocks() - k_map_index_blocks) / k_page_blocks);
}

PageWriter::PageWriter(VolumeCore& core, usize pages)
    : core_(core),
      per_chunk_(pages_per_chunk(core)),
      pages_(pages),
      slots_(k_puts_at_once),
      puts_(core.deps.executor) {
    for (usize at = 0; at < pages; at += per_chunk_) {
        u32 const in_chunk = static_cast<u32>(std::min(per_chunk_, pages - at));
        chunks_.push_back({core.stream->new_chunk_id().seq, k_map_index_blocks + in_chunk * k_page_blocks});
    }
}

Task<Result<PageRef>> PageWriter::add(PageKind kind, u64 index, std::shared_ptr<const PageData> page) {
    CORELET_ASSERT(added_ < pages_, "more pages than announced");
    const NewChunk& chunk = chunks_[added_ / per_chunk_];
    usize const in_chunk = added_ % per_chunk_;
    if (in_chunk == 0) current_ = Buffer::allocate(chunk.live() * k_block_bytes);
    PageRef ref{chunk.seq, k_map_index_blocks + static_cast<u32>(in_chunk) * k_page_blocks, chunk.blocks, {}};
    u8* const to = current_.mutable_data() + in_chunk * k_page_bytes;
    std::memcpy(to, page->bytes.data(), k_page_bytes);
    for (u32 block = 0; block < k_page_blocks; ++block) {
        ref.crcs[block] = crc32c(Bytes(to + block * k_block_bytes, k_block_bytes));
        crcs_.push_back(ref.crcs[block]);
    }
    index_.push_back({kind, index});
    ++added_;
    if (index_.size() == per_chunk_ || added_ == pages_) CO_TRY_VOID(co_await put_current());
    co_return ref;
}

Task<Result<void>> PageWriter::put_current() {
    u64 const seq = chunks_[(added_ - 1) / per_chunk_].seq;
    Buffer const head = encode_map_index(seq, index_);
    std::vector<u32> crcs = block_crcs(head);
    crcs.insert(crcs.end(), crcs_.begin(), crcs_.end());
    BufferChain data(head);
    data.append(std::exchange(current_, Buffer()));
    index_.clear();
    crcs_.clear();
    Permit slot = co_await acquire_permit(slots_, 1);
    if (failed_) co_return std::unexpected(*failed_);
    puts_.spawn(put(seq, std::move(data), std::move(crcs), std::move(slot)));
    co_return Result<void>{};
}

Task<void> PageWriter::put(u64 seq, BufferChain data, std::vector<u32> crcs, Permit) {
    auto const done = co_await core_.chunks.put(seq, std::move(data), std::move(crcs), SpaceClass::kCheckpoint);
    if (!done) failed_ = done.error();
}

Task<Result<void>> PageWriter::finish() {
    CORELET_ASSERT(is_complete(), "fewer pages than announced");
    co_await puts_.join();
    if (failed_) co_return std::unexpected(*failed_);
    co_return Result<void>{};
}

}  // namespace corelet
