#include "volume/packer.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/checksum.h"

namespace corelet {

namespace {
constexpr u64 k_batch_blocks = 32 * 1024;  // candidates in memory: 128 MiB of data, 768 KiB of list
constexpr usize k_victims_max = 64;
constexpr usize k_chunks_at_once = 2;  // one is put while the next is gathered
constexpr u64 k_roll_blocks = 256;     // of log that are worth a roll when space is short
constexpr Duration k_retry_lost = 30_s;
}  // namespace

Task<void> Packer::run() {
    for (u32 attempt = 0; !finishing_ && !core_.is_stopped();) {
        Work const work = next_work();
        if (work == Work::kNone) {
            co_await wait_for_work();
            continue;
        }
        auto const done = co_await round(work);
        core_.checkpoint_wanted.notify_all();
        if (done) {
            attempt = 0;
            continue;
        }
        log_warning(core_.deps.log, "volume.pack_failed", [&] { return done.error().to_string(); });
        if (!finishing_ && !core_.is_stopped())
            co_await core_.pack_wanted.wait_until(core_.deps.clock, core_.deps.clock.now() + backoff(attempt++));
    }
    ended_ = true;
    idle_.set();
}

Task<void> Packer::finish() {
    finishing_ = true;
    core_.pack_wanted.notify_all();
    co_await idle_.wait();
}

// Timers only while there is something that may become work by itself: free space is asked for, not told.
Task<void> Packer::wait_for_work() {
    auto const totals = core_.state.containers.totals();
    Instant const now = core_.deps.clock.now();
    bool const lost = now >= retry_lost_at_ && retry_lost_at_.ns != 0;
    if (lost) {
        retry_lost_at_ = {};
        core_.state.containers.forget_losses();
        co_return;
    }
    if (core_.short_of_space() && totals.segment_blocks >= k_roll_blocks &&
        totals.segment_blocks > totals.segment_live)
        core_.stream->request_roll();
    bool const poll =
        totals.chunk_blocks > totals.chunk_live || totals.segment_blocks > 0 || retry_lost_at_.ns != 0;
    if (!poll) {
        co_await core_.pack_wanted.wait();
    } else {
        co_await core_.pack_wanted.wait_until(core_.deps.clock, now + core_.options.space_poll);
    }
}

Packer::Work Packer::next_work() const {
    if (!core_.stream || !core_.chunks.can_put()) return Work::kNone;
    if (!core_.state.containers.packable().empty()) return Work::kPack;
    if (!victims(Work::kClean).empty()) return Work::kClean;
    if (!victims(Work::kMerge).empty()) return Work::kMerge;
    return Work::kNone;
}

std::vector<u64> Packer::victims(Work work) const {
    const ContainerTable& table = core_.state.containers;
    u64 const capacity = data_blocks_in(core_.chunk_blocks());
    std::vector<u64> out;
    u64 blocks = 0, live = 0;
    auto const take = [&](const Container& container) {
        out.push_back(container.seq);
        blocks += container.blocks;
        live += container.live;
    };
    if (work == Work::kMerge) {
        if (table.small_chunks().size() <= core_.options.small_chunks_max) return {};
        for (const auto& [seq, container] : table.small_chunks())
            if (!container->lost_blocks && (out.empty() || live + container->live <= capacity)) take(*container);
        return out.size() > 1 ? out : std::vector<u64>{};
    }
    auto const totals = table.totals();
    u64 const garbage = totals.chunk_blocks - totals.chunk_live - totals.dead_blocks;
    u64 const waiting = totals.dead_blocks + totals.condemned_data * core_.chunk_blocks();
    bool const is_short = core_.short_of_space();
    bool const wasteful = garbage >= 2 * capacity && garbage * 1000 > (totals.chunk_blocks - totals.dead_blocks) *
                                                                          core_.options.garbage_permille_max;
    // What was cleaned is given back by two checkpoints: until then cleaning takes space, so it does not run far
    // ahead.
    if (!(is_short || wasteful) || waiting > 4 * core_.chunk_blocks()) return {};
    for (const Container* container : table.victims(2 * capacity, is_short ? 900 : 800, k_victims_max))
        take(*container);
    u64 const moved = live + index_blocks_for(live);
    return blocks >= moved + std::max<u64>(1, live / 16) ? out : std::vector<u64>{};
}

Task<Result<void>> Packer::round(Work work) {
    std::vector<Candidate> candidates;
    if (work == Work::kPack) CO_TRY_VOID(co_await add_segments(&candidates));
    // A chunk that holds next to nothing joins whatever is packed.
    if (work != Work::kPack || core_.short_of_space()) {
        auto chosen = victims(work == Work::kMerge ? Work::kMerge : Work::kClean);
        core_.counters.chunks_cleaned += chosen.size();
        CO_TRY_VOID(co_await add_chunks(std::move(chosen), &candidates));
    }
    std::stable_sort(candidates.begin(), candidates.end(),
                     [](const Candidate& a, const Candidate& b) { return a.lba < b.lba; });
    std::optional<Error> failed;
    Semaphore slots(k_chunks_at_once);
    Scope chunks(core_.deps.executor);
    for (usize at = 0; at < candidates.size() && !finishing_ && !failed;) {
        Permit slot = co_await acquire_permit(slots, 1);
        Portion portion = next_portion(candidates, at);
        at = portion.end;
        chunks.spawn(pack_beside(&candidates, std::move(portion), &failed, std::move(slot)));
    }
    co_await chunks.join();
    if (failed) co_return std::unexpected(*failed);
    co_return Result<void>{};
}

Task<Result<void>> Packer::add_segments(std::vector<Candidate>* out) {
    std::vector<u64> segments;
    for (const Container* segment : core_.state.containers.packable()) segments.push_back(segment->seq);
    std::optional<Error> later;
    for (u64 const seq : segments) {
        auto const adopted = co_await adopt(seq);
        if (!adopted) later = adopted.error();
        if (!adopted || *adopted) continue;
        // It may have been released while adoption was asked for.
        const Container* const segment = core_.state.containers.find(seq);
        if (!segment || segment->kind != ContainerKind::kEnded) continue;
        for (const auto& block : ContainerTable::live_blocks(*segment))
            out->push_back({block.lba, seq, block.block, block.crc});
        if (out->size() >= k_batch_blocks) break;
    }
    if (out->empty() && later) co_return std::unexpected(*later);
    co_return Result<void>{};
}

// Also false where it does not pay: garbage and record headers stay with an adopted segment, and it needs an index
// chunk.
Task<Result<bool>> Packer::adopt(u64 seq) {
    const Container* segment = core_.state.containers.find(seq);
    bool const eligible = core_.deps.adoption && core_.options.data_fragments == 1 && segment &&
                          segment->kind == ContainerKind::kEnded && segment->live * 2 >= segment->blocks &&
                          segment->blocks >= core_.chunk_blocks() / 4;
    if (!eligible) co_return false;
    u32 const blocks = segment->blocks;
    CO_TRY(bool const fits,
           co_await core_.deps.adoption->verify({core_.options.space, seq}, blocks * k_block_bytes));
    segment = core_.state.containers.find(seq);
    if (!fits || !segment || segment->live == 0) co_return false;
    ChunkIndex index{core_.stream->new_chunk_id().seq, true, {}};
    for (const auto& block : ContainerTable::live_blocks(*segment))
        index.entries.push_back({block.lba, seq, block.block, block.crc});
    core_.state.puts_in_flight.insert(index.chunk);
    Buffer const bytes = encode_chunk_index(index);
    auto const put = co_await core_.chunks.put(index.chunk, bytes, block_crcs(bytes), SpaceClass::kPacking);
    if (!put) {
        core_.state.puts_in_flight.erase(index.chunk);
        co_return std::unexpected(put.error());
    }
    co_await core_.chunks.settle();
    volume_entry::Adopted entry{seq, blocks, index.chunk, static_cast<u32>(bytes.size() / k_block_bytes)};
    for (u32 attempt = 0;; ++attempt) {
        auto const appended = co_await core_.append(entry, {}, {}, true);
        if (appended) break;
        if (core_.is_stopped() || appended.error().code != Code::kNoSpace)
            co_return std::unexpected(appended.error());
        co_await core_.deps.clock.sleep(backoff(attempt));
    }
    ++core_.counters.segments_adopted;
    co_return true;
}

Task<Result<ChunkIndex>> Packer::read_index(u64 seq) {
    const Container* container = core_.state.containers.find(seq);
    if (!container) co_return fail(Code::kUnknown, "chunk is gone", seq);
    if (container->kind == ContainerKind::kAdopted) container = core_.state.containers.find(container->index_chunk);
    CORELET_ASSERT(container != nullptr, "an adopted segment has an index");
    co_return co_await core_.chunks.get_index(container->seq, container->blocks, TrafficClass::kClient);
}

Task<Result<void>> Packer::add_chunks(std::vector<u64> victims, std::vector<Candidate>* out) {
    for (u64 const seq : victims) {
        auto const index = co_await read_index(seq);
        Container* const container = core_.state.containers.find(seq);
        if (!container) continue;
        if (!index) {
            // Its data may still be readable by the map; only cleaning it is not possible now.
            container->lost_blocks = true;
            retry_lost_at_ = core_.deps.clock.now() + k_retry_lost;
            say_lost("volume.index_lost", index.error().to_string());
            continue;
        }
        u32 const index_blocks = index_blocks_for(index->entries.size());
        for (u32 i = 0; i < index->entries.size(); ++i) {
            const IndexEntry& entry = index->entries[i];
            out->push_back({entry.lba, seq, index->of_segment ? entry.old_block : index_blocks + i, entry.crc});
        }
    }
    co_return Result<void>{};
}

void Packer::note_lost(const IndexEntry& entry, const Error& error) {
    Container* const container = core_.state.containers.find(entry.old_container);
    // Written or cleared meanwhile, and released: nothing is missing.
    if (!core_.state.map.entry(entry.lba).names(entry.old_container, entry.old_block) || !container) return;
    container->lost_blocks = true;
    retry_lost_at_ = core_.deps.clock.now() + k_retry_lost;
    say_lost("volume.block_lost", fmt::format("block {} of the volume: {}", entry.lba, error.to_string()));
}

// Without the lease it may have been replaced, and the next owner have released what is missed here.
void Packer::say_lost(std::string_view event, const std::string& what) const {
    if (core_.stream->may_serve()) log_error(core_.deps.log, event, what);
}

// As many candidates from `begin` on as make a chunk: by blocks, and by leaves to be held for it.
Packer::Portion Packer::next_portion(const std::vector<Candidate>& candidates, usize begin) const {
    usize const capacity = data_blocks_in(core_.chunk_blocks());
    usize const cost_max = core_.state.map.budget().request_cost_max();
    Portion portion{begin, begin, {}, 0};
    for (; portion.end < candidates.size() && portion.end - begin < capacity; ++portion.end) {
        u64 const lba = candidates[portion.end].lba;
        usize const more = DirtyBudget::cost_of_next(portion.leaves, leaf_of(lba));
        if (portion.cost + more > cost_max) break;
        portion.cost += more;
        append_leaves({lba, 1}, portion.leaves);
    }
    CORELET_ASSERT(portion.end > begin);
    return portion;
}

Task<void> Packer::pack_beside(const std::vector<Candidate>* candidates, Portion portion,
                               std::optional<Error>* failed, Permit) {
    auto const done = co_await pack_chunk(candidates, std::move(portion));
    if (!done && !*failed) *failed = done.error();
}

Task<Result<void>> Packer::pack_chunk(const std::vector<Candidate>* candidates, Portion portion) {
    BlockMap& map = core_.state.map;
    auto const grant = co_await map.budget().admit(portion.cost);
    CO_TRY(auto const pins, co_await map.pin_leaves(portion.leaves, false));
    std::vector<IndexEntry> entries;
    std::vector<BlockEntry> sources;
    for (usize at = portion.begin; at < portion.end; ++at) {
        const Candidate& block = (*candidates)[at];
        if (!map.is_in_memory(leaf_of(block.lba))) continue;  // holes
        BlockEntry const entry = map.entry(block.lba);
        if (!entry.names(block.container, block.block)) continue;
        entries.push_back({block.lba, block.container, block.block, entry.crc});
        sources.push_back(entry);
    }
    if (entries.empty()) co_return Result<void>{};
    Buffer data = Buffer::allocate(entries.size() * k_block_bytes);
    auto const errors = co_await core_.reader.gather(std::move(sources), data, TrafficClass::kClient);
    usize kept = 0;
    for (usize i = 0; i < entries.size(); ++i) {
        if (errors[i]) {
            note_lost(entries[i], *errors[i]);
            continue;
        }
        if (kept != i) {
            std::memcpy(data.mutable_data() + kept * k_block_bytes, data.data() + i * k_block_bytes, k_block_bytes);
            entries[kept] = entries[i];
        }
        ++kept;
    }
    entries.resize(kept);
    if (kept == 0) co_return Result<void>{};
    co_return co_await put_chunk(std::move(entries), data.slice(0, kept * k_block_bytes));
}

Task<Result<void>> Packer::put_chunk(std::vector<IndexEntry> entries, Buffer data) {
    ChunkIndex index{core_.stream->new_chunk_id().seq, false, std::move(entries)};
    core_.state.puts_in_flight.insert(index.chunk);
    Buffer const head = encode_chunk_index(index);
    std::vector<u32> crcs = block_crcs(head);
    for (const IndexEntry& entry : index.entries) crcs.push_back(entry.crc);
    BufferChain chunk(head);
    chunk.append(std::move(data));
    volume_entry::Packed const packed{index.chunk, static_cast<u32>(chunk.size() / k_block_bytes)};
    auto const put =
        co_await core_.chunks.put(index.chunk, std::move(chunk), std::move(crcs), SpaceClass::kPacking);
    if (!put) {
        // Nothing refers to it and nothing will: it is dead by the horizon.
        core_.state.puts_in_flight.erase(index.chunk);
        co_return put;
    }
    // Nobody waits for it but the log, which has the blocks in more copies than a write quorum may leave of them.
    co_await core_.chunks.settle();
    PackingNote const note(core_, index);
    for (u32 attempt = 0;; ++attempt) {
        auto const appended = co_await core_.append(packed, {}, {}, true);
        if (appended) break;
        if (core_.is_stopped() || appended.error().code != Code::kNoSpace) co_return appended;
        co_await core_.deps.clock.sleep(backoff(attempt));
    }
    ++core_.counters.chunks_packed;
    co_return Result<void>{};
}

}  // namespace corelet
