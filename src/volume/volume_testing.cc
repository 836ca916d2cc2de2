#include "volume/volume_testing.h"

#include <gtest/gtest.h>

#include "base/checksum.h"
#include "base/hash.h"

namespace corelet {

bool ManualClock::advance_to_next() {
    if (heap_.empty()) return false;
    now_ = std::max(now_, heap_.earliest());
    heap_.fire_due(now_);
    return true;
}

void CollectingLog::write(LogLevel level, std::string_view event, std::string_view text) {
    ++counts_[std::string(event)];
    if (level == LogLevel::kError) errors.push_back(std::string(event) + ": " + std::string(text));
}

usize CollectingLog::count(std::string_view event) const {
    auto const found = counts_.find(event);
    return found == counts_.end() ? 0 : found->second;
}

// --- the pool
// ---------------------------------------------------------------------------------------------------------

Task<void> FakeWorld::delay() {
    if (faults.delay_us_max == 0) co_return;
    i64 const times = prng.chance(faults.slow_permille, 1000) ? 400 : 1;
    co_await clock.sleep(Duration{static_cast<i64>(prng.below(faults.delay_us_max)) * 1000 * times});
}

u64 FakeWorld::bytes_used() const {
    u64 used = 0;
    for (const auto& [seq, data] : chunks) used += data.size();
    for (const auto& [seq, segment] : segments) used += segment.blocks * k_block_bytes;
    return used;
}

bool FakeWorld::admits(u64 bytes) const {
    u64 used = bytes_used() + bytes;
    for (const auto& [seq, segment] : segments) used += segment.blocks * k_block_bytes;
    return used <= capacity_bytes / 10 * 9;
}

Task<Result<ChunkPutResult>> FakeWorld::put(PoolId, ChunkId chunk, BufferChain data, std::vector<u32> crcs,
                                            ChunkPutOptions options) {
    ++puts;
    co_await delay();
    EXPECT_EQ(block_crcs(data), crcs);
    EXPECT_NE(seq_epoch(chunk.seq).v, 0U);
    if (!pool_up) co_return fail(Code::kUnavailable, "pool is down");
    bool const failing = fails();
    if (failing && prng.chance(1, 2)) co_return fail(Code::kTimeout, "put lost");
    auto const known = chunks.find(chunk.seq);
    if (known != chunks.end() && as_text(known->second) != as_text(data.flatten())) {
        ADD_FAILURE() << "two chunks of one name";
        co_return fail(Code::kExists);
    }
    // The reserve and what the log's packed form was promised are not for client data: else nothing could be
    // cleaned.
    bool const has_room =
        options.room != SpaceClass::kClient ? bytes_used() + data.size() <= capacity_bytes : admits(data.size());
    if (!has_room) co_return fail(Code::kNoSpace, "pool is full");
    chunks[chunk.seq] = Buffer::copy_of(data.flatten());
    co_await delay();
    if (failing) co_return fail(Code::kTimeout, "answer lost");
    co_return ChunkPutResult{MapEpoch(1), 6, !puts_incomplete, puts_behind};
}

Task<Result<BufferChain>> FakeWorld::get(PoolId, ChunkId chunk, u64 chunk_bytes, u64 offset, u64 length,
                                         std::vector<u32> expected_crcs, TrafficClass) {
    ++gets;
    co_await delay();
    if (!pool_up) co_return fail(Code::kUnavailable, "pool is down");
    if (fails()) co_return fail(Code::kTimeout, "get lost");
    if (prng.chance(faults.unknown_permille, 1000)) co_return fail(Code::kUnknown, "not yet here");
    Buffer data;
    if (auto const found = chunks.find(chunk.seq); found != chunks.end()) data = found->second;
    // An adopted segment is a chunk of the same name.
    if (auto const found = segments.find(chunk.seq); data.empty() && found != segments.end() && found->second.ended)
        data = found->second.whole();
    if (data.empty()) co_return fail(Code::kUnknown, "no such chunk", chunk.seq);
    EXPECT_EQ(data.size(), chunk_bytes);
    EXPECT_LE(offset + length, data.size());
    BufferChain const part(Buffer::copy_of(data.bytes().subspan(offset, length)));
    if (!expected_crcs.empty() && block_crcs(part) != expected_crcs) co_return fail(Code::kCorrupt, "checksums");
    co_return part;
}

Buffer FakeWorld::Segment::whole() const {
    Buffer out = Buffer::zeroed(blocks * k_block_bytes);
    for (const auto& [block, bytes] : data)
        std::memcpy(out.mutable_data() + block * k_block_bytes, bytes.data(), k_block_bytes);
    return out;
}

Task<void> FakeWorld::settle(SpaceId) {
    if (settled_at && clock.now() < *settled_at) co_await clock.sleep(*settled_at - clock.now());
}

Task<Result<void>> FakeWorld::remove(PoolId, std::vector<ChunkId> ids, Epoch by) {
    co_await delay();
    EXPECT_EQ(by, epoch);
    for (const ChunkId& id : ids) {
        auto const mark = condemned.find(id.seq);
        EXPECT_TRUE(mark != condemned.end() && mark->second <= position)
            << "deleted before a checkpoint contains its mark: " << hex64(id.seq);
    }
    bool const failing = fails();
    if (failing && prng.chance(1, 2)) co_return fail(Code::kTimeout, "remove lost");
    for (const ChunkId& id : ids) {
        EXPECT_FALSE(segments.contains(id.seq)) << "deleted while the stream lists it: " << hex64(id.seq);
        chunks.erase(id.seq);
    }
    if (failing) co_return fail(Code::kTimeout, "answer lost");
    co_return Result<void>{};
}

// --- the log
// ----------------------------------------------------------------------------------------------------------

FakeLogStream::FakeLogStream(FakeWorld& world, Options options, LogSink& sink)
    : world_(world), options_(options), sink_(sink), tasks_(world.executor) {
    world_.epoch = world_.epoch.next();
    epoch_ = world_.epoch;
}

void FakeLogStream::open_segment() {
    open_ = make_seq(world_.epoch, next_counter_++);
    world_.segments[open_];
}

Task<Result<void>> FakeLogStream::take(Volume& volume) {
    next_record_ = world_.last_record.next();
    CO_TRY_VOID(co_await volume.restore(world_.root, world_.position));
    bool const ends_first = world_.prng.chance(1, 2);
    auto const tell_ends = [&] {
        for (auto& [seq, segment] : world_.segments) {
            segment.ended = true;
            sink_.segment_ended({options_.space, seq}, segment.blocks * k_block_bytes);
        }
    };
    auto const old = world_.segments.size();
    if (ends_first) tell_ends();
    for (const auto& logged : world_.log) {
        LogEntry entry = logged.entry;
        if (world_.prng.chance(1, 2)) entry.blocks.clear();
        sink_.apply(logged.record, entry, logged.place);
    }
    CORELET_ASSERT(world_.segments.size() == old);
    if (!ends_first) tell_ends();
    open_segment();
    tasks_.spawn(acknowledge_loop());
    co_return co_await volume.serve(*this);
}

// The next owner finds a prefix of what was in flight, and copies it into a segment of its own.
void FakeLogStream::crash() {
    tasks_.cancel();
    fenced_ = true;
    for (auto& [seq, segment] : world_.segments) {
        segment.blocks = segment.ended ? segment.blocks : segment.acknowledged_blocks;
        std::erase_if(segment.data, [&](const auto& block) { return block.first >= segment.blocks; });
    }
    usize const kept = world_.prng.below(in_flight_.size() + 1);
    if (kept > 0) {
        u64 const own = make_seq(world_.epoch.next(), 900'000'000);
        FakeWorld::Segment& segment = world_.segments[own];
        for (usize i = 0; i < kept; ++i) {
            Sent& sent = in_flight_[i];
            u32 const base = segment.blocks;
            u32 const shift = base + 1;
            u32 const old_first = sent.first_block.empty() ? 0 : sent.first_block.front();
            for (u32& first : sent.first_block) first = first - old_first + shift;
            sent.segment = own;
            segment.blocks += sent.blocks;
            segment.acknowledged_blocks = segment.blocks;
            store(sent);
            world_.last_record = sent.number;
        }
    }
    in_flight_.clear();
    std::erase_if(world_.segments, [](const auto& segment) { return segment.second.blocks == 0; });
}

Task<Result<RecordNumber>> FakeLogStream::append(LogEntry entry, bool system) {
    if (fenced_) co_return fail(Code::kFenced, "a newer epoch");
    EXPECT_LE(entry.meta.size(), k_entry_meta_bytes_max);
    EXPECT_LE(entry.crcs.size(), k_entry_blocks_max);
    EXPECT_EQ(entry.crcs, block_crcs(entry.blocks));
    u64 const used = world_.bytes_used() + entry.blocks.size();
    if (used > world_.capacity_bytes || (!system && !world_.admits(2 * entry.blocks.size())))
        co_return fail(Code::kNoSpace, "pool is full");
    auto const done = std::make_shared<Completion<Result<RecordNumber>>>();
    pending_.push_back({std::move(entry), done});
    if (pending_.size() == 1) tasks_.spawn(flush());
    co_return co_await done->wait();
}

Task<void> FakeLogStream::flush() {
    if (world_.prng.chance(1, 2)) co_await yield{};
    while (!pending_.empty()) {
        usize const count = std::min<usize>(pending_.size(), options_.batch_entries_max);
        std::vector<Waiting> batch(std::make_move_iterator(pending_.begin()),
                                   std::make_move_iterator(pending_.begin() + static_cast<std::ptrdiff_t>(count)));
        pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(count));
        send(std::move(batch));
    }
}

void FakeLogStream::roll() {
    if (world_.segments[open_].blocks == 0) return;
    to_end_.push_back(open_);
    open_segment();
    end_segments();
}

void FakeLogStream::end_segments() {
    std::vector<u64> still;
    for (u64 const seq : std::exchange(to_end_, {})) {
        FakeWorld::Segment& segment = world_.segments[seq];
        if (segment.acknowledged_blocks != segment.blocks) {
            still.push_back(seq);
            continue;
        }
        segment.ended = true;
        sink_.segment_ended({options_.space, seq}, segment.blocks * k_block_bytes);
    }
    to_end_ = std::move(still);
}

void FakeLogStream::send(std::vector<Waiting> entries) {
    u32 blocks = 1;  // its header
    for (const Waiting& waiting : entries) blocks += static_cast<u32>(waiting.entry.crcs.size());
    if (std::exchange(roll_wanted_, false) || world_.segments[open_].blocks >= options_.segment_blocks) roll();
    FakeWorld::Segment& segment = world_.segments[open_];
    Sent sent{next_record_, open_, blocks, std::move(entries), {}, {}};
    next_record_ = next_record_.next();
    u32 at = segment.blocks + 1;
    for (const Waiting& waiting : sent.entries) {
        sent.first_block.push_back(at);
        at += static_cast<u32>(waiting.entry.crcs.size());
    }
    segment.blocks += blocks;
    sent.due =
        world_.clock.now() + Duration{static_cast<i64>(world_.prng.below(world_.faults.delay_us_max + 1)) * 1000};
    in_flight_.push_back(std::move(sent));
    sent_.notify_all();
}

Task<void> FakeLogStream::acknowledge_loop() {
    for (;;) {
        while (in_flight_.empty()) co_await sent_.wait();
        if (in_flight_.front().due > world_.clock.now()) co_await world_.clock.sleep_until(in_flight_.front().due);
        acknowledge(std::move(in_flight_.front()));
        in_flight_.pop_front();
        end_segments();
    }
}

void FakeLogStream::acknowledge(Sent sent) {
    FakeWorld::Segment& segment = world_.segments[sent.segment];
    segment.acknowledged_blocks += sent.blocks;
    world_.last_record = sent.number;
    store(sent);
    for (usize i = 0; i < sent.entries.size(); ++i)
        sink_.apply(sent.number, sent.entries[i].entry, {{options_.space, sent.segment}, sent.first_block[i]});
    for (Waiting& waiting : sent.entries) waiting.done->complete(sent.number);
}

// Into what survives.
void FakeLogStream::store(const Sent& sent) {
    FakeWorld::Segment& segment = world_.segments[sent.segment];
    for (usize i = 0; i < sent.entries.size(); ++i) {
        const LogEntry& entry = sent.entries[i].entry;
        Buffer const bytes = entry.blocks.flatten();
        for (u32 block = 0; block < entry.crcs.size(); ++block)
            segment.data[sent.first_block[i] + block] =
                Buffer::copy_of(bytes.bytes().subspan(block * k_block_bytes, k_block_bytes));
        auto const decoded = decode_volume_entry(entry.meta);
        if (auto const* mark = std::get_if<volume_entry::Condemned>(&*decoded))
            for (u64 const seq : mark->containers) world_.condemned.emplace(seq, sent.number);
        // A record after the committed checkpoint refers to nothing that the horizon declares dead.
        if (auto const* packed = std::get_if<volume_entry::Packed>(&*decoded))
            EXPECT_GE(packed->chunk, world_.horizon);
        if (auto const* adopted = std::get_if<volume_entry::Adopted>(&*decoded)) {
            EXPECT_GE(adopted->index_chunk, world_.horizon);
            world_.segments.at(adopted->segment).adopted = true;
        }
        if (auto const* placed = std::get_if<volume_entry::Placed>(&*decoded); placed && !placed->given_up)
            EXPECT_GE(placed->chunk, world_.horizon);
        LogEntry kept{entry.meta, bytes.empty() ? BufferChain() : BufferChain(Buffer::copy_of(bytes)), entry.crcs};
        world_.log.push_back({sent.number, {{options_.space, sent.segment}, sent.first_block[i]}, std::move(kept)});
    }
}

Task<Result<BufferChain>> FakeLogStream::read(SegmentId id, u32 first_block, u32 blocks,
                                              std::vector<u32> expected_crcs) {
    co_await world_.delay();
    if (world_.fails()) co_return fail(Code::kTimeout, "read lost");
    auto const segment = world_.segments.find(id.seq);
    if (segment == world_.segments.end()) co_return fail(Code::kUnknown, "no such segment");
    BufferChain out;
    for (u32 block = first_block; block < first_block + blocks; ++block) {
        auto const found = segment->second.data.find(block);
        if (found == segment->second.data.end()) co_return fail(Code::kUnknown, "no such block");
        out.append(found->second);
    }
    if (block_crcs(out) != expected_crcs) co_return fail(Code::kCorrupt, "checksums");
    co_return out;
}

bool FakeLogStream::may_serve() const {
    if (fenced_) return false;
    if (!lapsed_ && world_.prng.chance(world_.faults.lease_permille, 1000)) lapsed_ = true;
    return !lapsed_;
}

Task<Result<void>> FakeLogStream::wait_readable() {
    co_await world_.delay();
    if (fenced_) co_return fail(Code::kFenced, "a newer epoch");
    lapsed_ = false;
    co_return Result<void>{};
}

Task<Result<void>> FakeLogStream::commit_checkpoint(Checkpoint checkpoint) {
    co_await world_.delay();
    if (fenced_) co_return fail(Code::kFenced, "a newer epoch");
    bool const failing = world_.fails();
    if (failing && world_.prng.chance(1, 2)) co_return fail(Code::kUnavailable, "commit lost");
    EXPECT_GE(checkpoint.position, world_.position);
    EXPECT_LE(checkpoint.position, world_.last_record);
    EXPECT_GE(checkpoint.horizon, world_.horizon);
    EXPECT_LE(checkpoint.root.size(), 4096U);
    world_.root = checkpoint.root;
    world_.position = checkpoint.position;
    world_.horizon = checkpoint.horizon;
    for (const SegmentId& id : checkpoint.released) {
        auto const found = world_.segments.find(id.seq);
        if (found == world_.segments.end()) continue;
        EXPECT_TRUE(found->second.ended) << "released before its end";
        for (const auto& entry : world_.log)
            EXPECT_TRUE(entry.place.segment != id || entry.record <= checkpoint.position)
                << "released with records that replay needs";
        if (found->second.adopted) world_.chunks.emplace(id.seq, found->second.whole());
        world_.segments.erase(found);
    }
    while (!world_.log.empty() && world_.log.front().record <= world_.position) world_.log.pop_front();
    co_await world_.delay();
    if (failing) co_return fail(Code::kUnavailable, "answer lost");
    co_return Result<void>{};
}

u64 FakeLogStream::unreleased_bytes() const {
    u64 bytes = 0;
    for (const auto& [seq, segment] : world_.segments) bytes += segment.blocks * k_block_bytes;
    return bytes;
}

// --- the rig
// ----------------------------------------------------------------------------------------------------------

VolumeRig::VolumeRig(u64 seed, VolumeOptions volume_options)
    : prng(Prng(seed).fork("rig")), world(executor, clock, seed), options(volume_options) {
    options.space = SpaceId(7);
    options.pool = PoolId(1);
}

VolumeRig::~VolumeRig() {
    volume.reset();
    stream.reset();
}

void VolumeRig::attach() {
    CORELET_ASSERT(!volume);
    VolumeDeps const deps{executor, clock, log, chunks ? *chunks : world, adoption, space};
    volume = std::make_unique<Volume>(deps, options);
    stream = std::make_unique<FakeLogStream>(world, stream_options, *volume);
    auto const taken = await(stream->take(*volume));
    ASSERT_TRUE(taken) << taken.error().to_string();
}

void VolumeRig::crash() {
    stream->crash();
    volume.reset();
    stream.reset();
}

void VolumeRig::step() {
    if (executor.run_ready(1) > 0) return;
    ASSERT_TRUE(clock.advance_to_next()) << "nothing can go on:\n" << executor.backtrace();
}

void VolumeRig::run(usize steps) {
    for (usize i = 0; i < steps; ++i)
        if (executor.run_ready(1) == 0 && !clock.advance_to_next()) return;
}

void VolumeRig::run_for(Duration duration) {
    Instant const end = clock.now() + duration;
    while (clock.now() < end)
        if (executor.run_ready(1) == 0 && !clock.advance_to_next()) return;
}

Buffer VolumeRig::pattern(u64 stamp, u64 length) {
    Buffer out = Buffer::zeroed(static_cast<usize>(length));
    for (usize at = 0; stamp != 0 && at + 8 <= length; at += 8) {
        u64 const word = at % 512 == 0 ? stamp : hash64(stamp, at % 512);
        std::memcpy(out.mutable_data() + at, &word, 8);
    }
    return out;
}

void VolumeRig::write(u64 offset, u64 length, u64 stamp) {
    auto const done = await(volume->write(offset, pattern(stamp, length), false));
    ASSERT_TRUE(done) << done.error().to_string();
}

void VolumeRig::expect(u64 offset, u64 length, u64 stamp) {
    auto const got = await(volume->read(offset, static_cast<u32>(length)));
    ASSERT_TRUE(got) << got.error().to_string();
    ASSERT_TRUE(as_text(got->flatten()) == as_text(pattern(stamp, length)))
        << "at " << offset << ", stamp " << stamp;
}

void VolumeRig::expect_zeros(u64 offset, u64 length) {
    expect(offset, length, 0);
}

usize VolumeRig::check_no_leak() {
    usize orphans = 0;
    for (const auto& [seq, data] : world.chunks) {
        if (volume->core().state.containers.find(seq)) continue;
        // Put by an owner that died before it could refer to it: collected by inventories, by proof of the horizon.
        EXPECT_LT(seq_epoch(seq), world.epoch) << "a chunk that nobody knows: " << hex64(seq);
        EXPECT_LT(seq, world.horizon) << "an orphan that cannot be proven dead";
        ++orphans;
    }
    return orphans;
}

}  // namespace corelet
