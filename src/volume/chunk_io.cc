#include "volume/chunk_io.h"

#include <fmt/format.h>

namespace corelet {

namespace {
constexpr u32 k_unknown_tries = 4;
constexpr u32 k_attempts_before_word = 5;
}  // namespace

Duration backoff(u32 attempt) {
    return 10_ms * (i64{1} << std::min<u32>(attempt, 7));
}

Task<Result<void>> ChunkIo::put(u64 seq, BufferChain data, std::vector<u32> crcs, SpaceClass room) {
    CORELET_ASSERT(crcs.size() * k_block_bytes == data.size());
    for (u32 attempt = 0;; ++attempt) {
        auto const put =
            co_await chunks_.put(pool_, {space_, seq}, data, crcs, ChunkPutOptions{TrafficClass::kClient, room});
        if (put) {
            bytes_put_ += data.size();
            co_return Result<void>{};
        }
        Error const& error = put.error();
        // Space comes back: reservations, cleaning and deletes see to it.
        if (!error.is_retryable() && error.code != Code::kNoSpace && error.code != Code::kUnknown)
            co_return std::unexpected(error);
        if (attempt == k_attempts_before_word)
            log_warning(log_, "volume.put_waits",
                        [&] { return fmt::format("chunk {}: {}", hex64(seq), error.to_string()); });
        co_await clock_.sleep(backoff(attempt));
    }
}

Task<Result<bool>> ChunkIo::put_enough(u64 seq, BufferChain data, std::vector<u32> crcs, TrafficClass traffic) {
    u64 const bytes = data.size();
    auto const put = co_await chunks_.put(pool_, {space_, seq}, std::move(data), std::move(crcs),
                                          ChunkPutOptions{traffic, SpaceClass::kClient});
    if (!put) co_return std::unexpected(put.error());
    bytes_put_ += bytes;
    co_return put->is_enough();
}

Task<Result<BufferChain>> ChunkIo::get(u64 seq, u64 chunk_blocks, u64 first, u64 count,
                                       std::vector<u32> expected_crcs, TrafficClass traffic) {
    CORELET_ASSERT(first + count <= chunk_blocks);
    u32 unknown = 0;
    for (u32 attempt = 0;; ++attempt) {
        auto got = co_await chunks_.get(pool_, {space_, seq}, chunk_blocks * k_block_bytes, first * k_block_bytes,
                                        count * k_block_bytes, expected_crcs, traffic);
        if (got) {
            CORELET_ASSERT(got->size() == count * k_block_bytes, "a chunk read of another length");
            co_return got;
        }
        Error const& error = got.error();
        if (error.code == Code::kUnknown ? ++unknown >= k_unknown_tries : !error.is_retryable()) co_return got;
        if (attempt == k_attempts_before_word)
            log_warning(log_, "volume.get_waits",
                        [&] { return fmt::format("chunk {}: {}", hex64(seq), error.to_string()); });
        co_await clock_.sleep(backoff(attempt));
    }
}

Task<Result<ChunkIndex>> ChunkIo::get_index(u64 seq, u32 chunk_blocks, TrafficClass traffic) {
    CO_TRY(BufferChain const head, co_await get(seq, chunk_blocks, 0, 1, {}, traffic));
    CO_TRY(IndexExtent const extent, peek_chunk_index(head.flatten(), seq));
    if (extent.blocks > chunk_blocks) co_return fail(Code::kCorrupt, "chunk index: beyond its chunk", seq);
    if (extent.blocks == 1) co_return decode_chunk_index(head.flatten(), seq);
    CO_TRY(BufferChain const whole, co_await get(seq, chunk_blocks, 0, extent.blocks, {}, traffic));
    co_return decode_chunk_index(whole.flatten(), seq);
}

Task<Result<void>> ChunkIo::remove(std::vector<u64> seqs, Epoch epoch) {
    std::vector<ChunkId> ids;
    ids.reserve(seqs.size());
    for (u64 const seq : seqs) ids.push_back({space_, seq});
    return chunks_.remove(pool_, std::move(ids), epoch);
}

}  // namespace corelet
