#include "volume/direct_writer.h"

#include <algorithm>

#include "base/checksum.h"
#include "rt/combine.h"

namespace corelet {

namespace {
constexpr u32 k_puts_at_once = 2;
constexpr Duration k_put_patience = 1500_ms;  // then by the log, which rolls away from whoever is slow
constexpr Duration k_pause = 10_s;            // after a put that was not whole
constexpr u64 k_span_blocks_max = u64{1} << 31;
}  // namespace

bool DirectWriter::fits(u64 bytes) const {
    const VolumeOptions& options = core_.options;
    return options.data_fragments > 1 && options.direct_bytes_min != 0 && bytes >= options.direct_bytes_min &&
           bytes / k_block_bytes <= data_blocks_in(core_.chunk_blocks());
}

void DirectWriter::left(u64 bytes) {
    CORELET_ASSERT(present_bytes_ >= bytes);
    present_bytes_ -= bytes;
    consider();
}

Task<Result<bool>> DirectWriter::write(Extent extent, BufferChain data, std::vector<u32> crcs) {
    bool const possible =
        fits(data.size()) && core_.now() >= not_before_ && !core_.short_of_space() && core_.chunks.can_put();
    if (!possible) co_return false;
    auto const waiting = std::make_shared<Waiting>();
    waiting->extent = extent;
    waiting->data = std::move(data);
    waiting->crcs = std::move(crcs);
    queue_.push_back(waiting);
    queued_bytes_ += waiting->data.size();
    consider();
    co_return co_await waiting->done.wait();
}

void DirectWriter::consider() {
    // Less than this would be a small chunk, to be merged with others later.
    const VolumeOptions& options = core_.options;
    u64 const least =
        options.direct_chunk_bytes_min != 0 ? options.direct_chunk_bytes_min : options.chunk_bytes / 4;
    while (!queue_.empty() && !closed_) {
        CORELET_ASSERT(queued_bytes_ <= present_bytes_, "a write that was not announced");
        u64 const enough = puts_ == 0 ? least : 2 * least;
        if (puts_ < k_puts_at_once && queued_bytes_ >= enough && !core_.is_stopped()) {
            ++puts_;
            scope_.spawn(run(next_batch()));
        } else if (queued_bytes_ == present_bytes_ || core_.is_stopped()) {
            // Nothing else is under way: nobody to share a chunk with.
            queued_bytes_ -= queue_.front()->data.size();
            queue_.front()->done.complete(false);
            queue_.pop_front();
        } else {
            return;
        }
    }
}

// As many as make a chunk, by blocks and by leaves to be held for it, from the front.
DirectWriter::Batch DirectWriter::next_batch() {
    Batch batch;
    u64 blocks = 0;
    u64 low = UINT64_MAX, high = 0;
    usize cost = 0;
    while (!queue_.empty()) {
        const Waiting& next = *queue_.front();
        std::vector<u64> leaves;
        append_leaves(next.extent, leaves);
        usize const more = DirtyBudget::cost_of(leaves);
        low = std::min(low, next.extent.lba);
        high = std::max(high, next.extent.end());
        bool const full = blocks + next.extent.count > data_blocks_in(core_.chunk_blocks()) ||
                          cost + more > core_.state.map.budget().request_cost_max() ||
                          high - low > k_span_blocks_max;
        if (full && !batch.empty()) break;
        blocks += next.extent.count;
        cost += more;
        queued_bytes_ -= next.data.size();
        batch.push_back(std::move(queue_.front()));
        queue_.pop_front();
    }
    return batch;
}

Task<void> DirectWriter::run(Batch batch) {
    auto const placed = co_await place(&batch);
    --puts_;
    for (const auto& waiting : batch) waiting->done.complete(placed);
    consider();
}

Task<Result<bool>> DirectWriter::place(const Batch* batch) {
    ChunkIndex index{core_.stream->new_chunk_id().seq, false, {}};
    for (const auto& waiting : *batch)
        for (u32 i = 0; i < waiting->extent.count; ++i)
            index.entries.push_back({waiting->extent.lba + i, 0, 0, waiting->crcs[i]});
    core_.state.puts_in_flight.insert(index.chunk);
    Buffer const head = encode_chunk_index(index);
    std::vector<u32> crcs = block_crcs(head);
    BufferChain chunk(head);
    for (const auto& waiting : *batch) {
        crcs.insert(crcs.end(), waiting->crcs.begin(), waiting->crcs.end());
        chunk.append(waiting->data);
    }
    auto const chunk_blocks = static_cast<u32>(chunk.size() / k_block_bytes);
    auto placed = co_await put(index.chunk, std::move(chunk), std::move(crcs));
    if (placed && *placed) placed = co_await name(batch, &index, chunk_blocks);
    if (placed && *placed) {
        ++core_.counters.chunks_placed;
    } else if (!core_.is_stopped()) {
        not_before_ = core_.now() + k_pause;
        scope_.spawn(give_up(index.chunk, chunk_blocks));
    }
    co_return placed;
}

// False: fewer fragments are durable than the pool's write policy asks for.
Task<Result<bool>> DirectWriter::put(u64 chunk, BufferChain data, std::vector<u32> crcs) {
    Instant const deadline = core_.now() + k_put_patience;
    auto const whole = co_await with_deadline<bool>(
        core_.deps.clock, deadline,
        core_.chunks.put_enough(chunk, std::move(data), std::move(crcs), TrafficClass::kClient));
    if (!whole) log_info(core_.deps.log, "volume.direct_failed", [&] { return whole.error().to_string(); });
    co_return whole.has_value() && *whole;
}

// The entry of the log: from here on the blocks stand in the chunk.
Task<Result<bool>> DirectWriter::name(const Batch* batch, const ChunkIndex* index, u32 chunk_blocks) {
    InFlight::Sent sent;
    std::vector<u64> leaves;
    u64 low = UINT64_MAX, high = 0;
    for (const auto& waiting : *batch) {
        sent.extents.push_back(waiting->extent);
        sent.blocks.append(waiting->data);
        append_leaves(waiting->extent, leaves);
        low = std::min(low, waiting->extent.lba);
        high = std::max(high, waiting->extent.end());
    }
    std::sort(leaves.begin(), leaves.end());
    leaves.erase(std::unique(leaves.begin(), leaves.end()), leaves.end());
    auto const grant = co_await core_.state.map.budget().admit(DirtyBudget::cost_of(leaves));
    CO_TRY(auto const pins, co_await core_.ask_map([&] { return core_.state.map.pin_leaves(leaves, true); }));
    RangeLocks::Held lock;
    // All of them by one lock: several, taken one after the other, could wait for each other.
    if (!locks_.idle()) co_await locks_.lock(lock, Extent{low, static_cast<u32>(high - low)});
    in_flight_.add(sent);
    PackingNote const note(core_, *index);
    // Nobody runs between here and the call of append: what waits for the lock sends after this.
    lock.release();
    auto const appended =
        co_await core_.append(volume_entry::Placed{sent.ticket, index->chunk, chunk_blocks, false}, {}, {}, false);
    if (appended) co_return true;
    if (appended.error().code == Code::kNoSpace) co_return false;
    co_return std::unexpected(appended.error());
}

// It may be there, whole or in part, and nothing will refer to it: the log says so, and cleaning deletes it.
Task<void> DirectWriter::give_up(u64 chunk, u32 chunk_blocks) {
    for (u32 attempt = 0; !core_.is_stopped(); ++attempt) {
        auto const appended =
            co_await core_.append(volume_entry::Placed{0, chunk, chunk_blocks, true}, {}, {}, true);
        if (appended) co_return;
        co_await core_.deps.clock.sleep(backoff(attempt));
    }
}

}  // namespace corelet
