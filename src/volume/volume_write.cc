// Writes, trims and zeroes of a volume.
//
// The order in which entries reach the log decides. From the moment an entry is sent its blocks stand in InFlight
// until it is acknowledged; whoever writes part of a block locks the block, reads its newest sent version, and
// sends before it lets go.
#include <algorithm>

#include "base/checksum.h"
#include "rt/combine.h"
#include "volume/volume.h"

namespace corelet {

namespace {

constexpr u64 k_piece_bytes = k_entry_blocks_max * k_block_bytes;
constexpr u64 k_request_bytes_min = 32 * k_kib;  // what a request counts for, however small
constexpr u32 k_reclaim_tries = 64;
constexpr usize k_clear_leaves_max = 512;       // an entry: 2 GiB of the volume
constexpr u64 k_clear_span_max = u64{1} << 20;  // leaves between the first and the last

Extent covering(u64 offset, u64 length) {
    u64 const first = offset / k_block_bytes;
    return {first, static_cast<u32>(div_ceil(offset + length, k_block_bytes) - first)};
}
bool is_whole(u64 offset, u64 length) {
    return offset % k_block_bytes == 0 && length % k_block_bytes == 0;
}

Task<void> run_to_end(Task<Result<void>> request, Permit, std::shared_ptr<Completion<Result<void>>> done) {
    done->complete(co_await std::move(request));
}

}  // namespace

// What waits for room waits with its caller and goes with it; only what has room outlives it.
Task<Result<void>> Volume::run(u64 bytes, Task<Result<void>> request) {
    Permit room =
        co_await acquire_permit(write_bytes_, std::clamp(bytes, k_request_bytes_min, write_bytes_.total()));
    if (core_.stop_reason) co_return std::unexpected(*core_.stop_reason);
    if (closing_ || !serving_) co_return fail(Code::kShutdown, "the volume is not served here");
    auto const done = std::make_shared<Completion<Result<void>>>();
    requests_.spawn(run_to_end(std::move(request), std::move(room), done));
    co_return co_await done->wait();
}

Task<Result<void>> Volume::write(u64 offset, BufferChain data, bool) {
    CORELET_ASSERT(offset % 512 == 0 && data.size() % 512 == 0 && data.size() <= size_bytes() &&
                   offset <= size_bytes() - data.size());
    u64 const bytes = data.size();
    return run(bytes, write_all(offset, std::move(data)));
}

Task<Result<void>> Volume::write_all(u64 offset, BufferChain data) {
    if (data.empty()) co_return Result<void>{};
    core_.counters.client_bytes_written += data.size();
    if (offset % k_block_bytes + data.size() <= k_piece_bytes)
        co_return co_await write_piece(offset, std::move(data));
    std::vector<Task<Result<void>>> pieces;
    for (u64 at = 0; at < data.size();) {
        u64 const end = std::min<u64>(data.size(), round_down(offset + at, k_block_bytes) + k_piece_bytes - offset);
        pieces.push_back(write_piece(offset + at, data.slice(at, end - at)));
        at = end;
    }
    auto const done = co_await join_all<Result<void>>(std::move(pieces));
    for (const auto& piece : done)
        if (!piece) co_return piece;
    co_return Result<void>{};
}

// One entry of the log; again, if the pool was full and cleaning gave room.
Task<Result<void>> Volume::write_piece(u64 offset, BufferChain data) {
    std::vector<u32> crcs;
    bool const whole = is_whole(offset, data.size());
    if (whole) crcs = block_crcs(data);
    auto const presence = whole ? direct_.announce(data.size()) : DirectWriter::Presence();
    if (presence.is_large()) {
        CO_TRY(bool const written, co_await direct_.write(covering(offset, data.size()), data, crcs));
        if (written) co_return Result<void>{};
    }
    for (u32 attempt = 0;; ++attempt) {
        bool const admitted = !core_.deps.space || core_.deps.space->may_write(core_.options.pool);
        Result<void> done = fail(Code::kNoSpace, "the pool is full");
        if (admitted) done = co_await try_write(offset, data, crcs);
        if (done || done.error().code != Code::kNoSpace || attempt == k_reclaim_tries) co_return done;
        bool const again = co_await wait_for_space();
        if (!again) co_return done;
    }
}

Task<Result<void>> Volume::try_write(u64 offset, BufferChain data, std::vector<u32> crcs) {
    Extent const extent = covering(offset, data.size());
    std::vector<u64> leaves;
    append_leaves(extent, leaves);
    auto const grant = co_await core_.state.map.budget().admit(DirtyBudget::cost_of(leaves));
    CO_TRY(auto const pins, co_await core_.ask_map([&] { return core_.state.map.pin_leaves(leaves, true); }));
    RangeLocks::Held lock;
    bool const partial = !is_whole(offset, data.size());
    if (partial || !locks_.idle()) co_await locks_.lock(lock, extent);
    if (partial) {
        CO_TRY(Buffer whole, co_await complete_blocks(extent, offset, std::move(data)));
        data = BufferChain(std::move(whole));
        crcs = block_crcs(data);
    }
    InFlight::Sent sent;
    sent.extents.push_back(extent);
    sent.blocks = data;
    in_flight_.add(sent);
    volume_entry::Write write{sent.ticket, {}};
    write.extents.push_back(extent);
    core_.counters.log_bytes_written += data.size();
    // Nobody runs between here and the call of append: what waits for the lock sends after this.
    lock.release();
    co_return co_await core_.append(std::move(write), std::move(data), std::move(crcs), false);
}

// The blocks of the extent with `data` laid over what they hold.
Task<Result<Buffer>> Volume::complete_blocks(Extent extent, u64 offset, BufferChain data) {
    Buffer whole = Buffer::allocate(extent.count * k_block_bytes);
    u64 const lead = offset - extent.lba * k_block_bytes;
    if (lead != 0) {
        CO_TRY(Buffer const first, co_await newest(extent.lba));
        std::memcpy(whole.mutable_data(), first.data(), k_block_bytes);
    }
    if ((lead + data.size()) % k_block_bytes != 0 && (lead == 0 || extent.count > 1)) {
        CO_TRY(Buffer const last, co_await newest(extent.end() - 1));
        std::memcpy(whole.mutable_data() + (extent.count - 1) * k_block_bytes, last.data(), k_block_bytes);
    }
    u8* to = whole.mutable_data() + lead;
    for (const Buffer& part : data.parts()) {
        std::memcpy(to, part.data(), part.size());
        to += part.size();
    }
    co_return whole;
}

// The newest sent version of a block whose leaf is held and which is locked.
Task<Result<Buffer>> Volume::newest(u64 lba) {
    for (;;) {
        if (auto const sent = in_flight_.newest(lba))
            co_return sent->empty() ? Buffer::zeroed(k_block_bytes) : *sent;
        BlockEntry const entry = core_.state.map.entry(lba);
        u64 const generation = core_.checkpoint_generation;
        auto const block =
            co_await core_.reader.read(std::vector<BlockEntry>(1, entry), true, TrafficClass::kClient);
        if (block) co_return block->flatten();
        bool const same = core_.state.map.entry(lba) == entry && core_.checkpoint_generation == generation;
        bool const unknown = block.error().code == Code::kUnknown;
        if (unknown && !same) continue;
        // As for a read: an owner that has been replaced does not know.
        if (core_.stream->may_serve())
            co_return unknown ? fail(Code::kLost, "nobody has a block that the volume names", lba)
                              : std::unexpected(block.error());
        CO_TRY_VOID(co_await core_.wait_readable());
    }
}

// The pool took no write. True: something was given back meanwhile, try again.
Task<bool> Volume::wait_for_space() {
    core_.note_full();
    core_.pack_wanted.notify_all();
    core_.checkpoint_wanted.notify_all();
    // Garbage of less than a chunk is not worth waiting for: half-empty containers always have some.
    if (core_.reclaimable_blocks() < core_.chunk_blocks()) co_return false;
    u64 const before = core_.reclaim_count;
    Instant const deadline = core_.now() + core_.options.reclaim_wait;
    while (core_.reclaim_count == before && core_.now() < deadline && !core_.is_stopped())
        co_await core_.reclaimed.wait_until(core_.deps.clock, deadline);
    co_return core_.reclaim_count != before;
}

Task<Result<void>> Volume::trim(u64 offset, u64 length, bool) {
    CORELET_ASSERT(offset % 512 == 0 && length % 512 == 0 && length <= size_bytes() &&
                   offset <= size_bytes() - length);
    return run(0, clear(div_ceil(offset, k_block_bytes), (offset + length) / k_block_bytes, false));
}

Task<Result<void>> Volume::write_zeroes(u64 offset, u64 length, bool may_trim, bool) {
    CORELET_ASSERT(offset % 512 == 0 && length % 512 == 0 && length <= size_bytes() &&
                   offset <= size_bytes() - length);
    return run(0, zero_all(offset, length, !may_trim));
}

// Whole blocks are cleared in the map, the edges are written.
Task<Result<void>> Volume::zero_all(u64 offset, u64 length, bool keep_allocated) {
    u64 const first = round_up(offset, k_block_bytes);
    u64 const end = round_down(offset + length, k_block_bytes);
    if (first >= end) {
        // No whole block: at most 8 KiB, in one or two blocks.
        co_return co_await write_all(
            offset, length == 0 ? BufferChain() : BufferChain(Buffer::zeroed(static_cast<usize>(length))));
    }
    if (first > offset) CO_TRY_VOID(co_await write_all(offset, Buffer::zeroed(static_cast<usize>(first - offset))));
    if (offset + length > end)
        CO_TRY_VOID(co_await write_all(end, Buffer::zeroed(static_cast<usize>(offset + length - end))));
    co_return co_await clear(first / k_block_bytes, end / k_block_bytes, keep_allocated);
}

// Piece by piece, each an entry, so that the pages held are bounded. Leaves that are nowhere are holes already.
Task<Result<void>> Volume::clear(u64 first, u64 end, bool keep_allocated) {
    BlockMap& map = core_.state.map;
    u64 const leaf_end = first < end ? leaf_of(end - 1) + 1 : 0;
    u64 recorded = 0;
    for (u64 leaf = leaf_of(first); first < end && leaf < leaf_end;) {
        std::vector<u64> leaves;
        usize cost = 0;
        while (leaf < leaf_end) {
            if (!keep_allocated) {
                CO_TRY(leaf, co_await core_.ask_map([&] { return map.next_present(leaf, leaf_end); }));
            }
            usize const more = DirtyBudget::cost_of_next(leaves, leaf);
            bool const full = cost + more > map.budget().request_cost_max() ||
                              leaves.size() == k_clear_leaves_max ||
                              (!leaves.empty() && leaf - leaves.front() >= k_clear_span_max);
            if (leaf == leaf_end || full) break;
            cost += more;
            leaves.push_back(leaf++);
        }
        if (leaves.empty()) continue;
        CO_TRY(u64 const blocks, co_await clear_leaves(std::move(leaves), first, end, keep_allocated));
        recorded += blocks;
    }
    // That the rest reads as zeros already is what a read would have said: only under the lease is it so
    // (protocols 6.4).
    if (first < end && recorded != end - first) co_return co_await core_.wait_readable();
    co_return Result<void>{};
}

// How many blocks the record covers that was made; none when nothing differs.
Task<Result<u64>> Volume::clear_leaves(std::vector<u64> leaves, u64 first, u64 end, bool keep_allocated) {
    BlockMap& map = core_.state.map;
    auto const grant = co_await map.budget().admit(DirtyBudget::cost_of(leaves));
    CO_TRY(auto const pins, co_await core_.ask_map([&] { return map.pin_leaves(leaves, keep_allocated); }));
    BlockEntry const cleared = keep_allocated ? k_zero_entry : BlockEntry{};
    volume_entry::Clear entry{0, keep_allocated, {}};
    u64 blocks = 0;
    for (usize i = 0; i < leaves.size(); ++i) {
        if (!pins[i]) continue;
        u64 const from = std::max(first, leaves[i] * k_leaf_entries);
        u64 const to = std::min(end, (leaves[i] + 1) * k_leaf_entries);
        bool differs = false;
        for (u64 lba = from; lba < to && !differs; ++lba) differs = pins[i].page().entry(slot_of(lba)) != cleared;
        // A write in flight to it is beside this one: either may be first, so what reads as it should is left
        // alone.
        if (!differs) continue;
        blocks += to - from;
        if (!entry.extents.empty() && entry.extents.back().end() == from) {
            entry.extents.back().count += static_cast<u32>(to - from);
        } else {
            entry.extents.push_back({from, static_cast<u32>(to - from)});
        }
    }
    if (entry.extents.empty()) co_return u64{0};
    RangeLocks::Held lock;
    Extent const whole{entry.extents.front().lba,
                       static_cast<u32>(entry.extents.back().end() - entry.extents.front().lba)};
    if (!locks_.idle()) co_await locks_.lock(lock, whole);
    InFlight::Sent sent;
    sent.extents = entry.extents;
    in_flight_.add(sent);
    entry.ticket = sent.ticket;
    lock.release();
    CO_TRY_VOID(co_await core_.append(std::move(entry), {}, {}, true));
    co_return blocks;
}

Task<Result<void>> Volume::grow(u64 size) {
    if (size < size_bytes() || size > k_volume_bytes_max || size % k_block_bytes != 0)
        co_return fail(Code::kInvalid, "a volume only grows, to a multiple of 4 KiB of at most 64 TiB");
    co_return co_await run(0, core_.append(volume_entry::Resized{size}, {}, {}, true));
}

}  // namespace corelet
