#include "volume/volume.h"

#include "rt/combine.h"

namespace corelet {

namespace {
constexpr Duration k_detach_patience = 5_s;

// The chunk whose index says what the entry does, if it is of such a kind.
struct IndexedChunk {
    u64 seq = 0;
    u32 blocks = 0;
};
std::optional<IndexedChunk> indexed_chunk(const VolumeEntry& entry) {
    if (auto const* packed = std::get_if<volume_entry::Packed>(&entry))
        return IndexedChunk{packed->chunk, packed->chunk_blocks};
    auto const* placed = std::get_if<volume_entry::Placed>(&entry);
    if (!placed || placed->given_up) return std::nullopt;
    return IndexedChunk{placed->chunk, placed->chunk_blocks};
}
}  // namespace

Volume::Volume(VolumeDeps deps, VolumeOptions options)
    : core_(deps, options),
      write_bytes_(std::max<u64>(options.write_bytes_in_flight, 256 * k_kib)),
      read_bytes_(std::max<u64>(options.read_bytes_in_flight, 64 * k_block_bytes)),
      packer_(core_),
      checkpointer_(core_),
      direct_(core_, in_flight_, locks_, workers_),
      requests_(deps.executor),
      workers_(deps.executor) {}

Volume::~Volume() {
    // The log may still tell of entries that are on their way.
    closing_ = true;
    serving_ = false;
    direct_.close();
}

Task<Result<void>> Volume::restore(std::string root, RecordNumber position) {
    CORELET_ASSERT(!serving_ && core_.state.applied.is_zero(), "restored twice");
    restored_to_ = position;
    if (root.empty()) co_return Result<void>{};
    co_return co_await checkpointer_.load(std::move(root), position);
}

void Volume::apply(RecordNumber record, const LogEntry& entry, LogPlace place) {
    if (closing_ && !serving_) return;
    if (record <= restored_to_) return;
    auto decoded = decode_volume_entry(entry.meta);
    // What was written is in memory from here on: read and packed without asking the log.
    if (decoded && !entry.blocks.empty()) {
        u32 block = place.first_block;
        for (const Buffer& part : entry.blocks.parts()) {
            if (part.size() % k_block_bytes != 0) break;
            for (usize at = 0; at < part.size(); at += k_block_bytes)
                core_.state.cache.insert(place.segment.seq, block++, part.bytes().subspan(at, k_block_bytes), true);
        }
    }
    if (!serving_) {
        if (decoded) {
            replay_.push_back({record, place, *std::move(decoded), entry.crcs});
        } else if (!replay_error_) {
            replay_error_ = decoded.error();
        }
        return;
    }
    CORELET_ASSERT(decoded.has_value(), "an entry of our own");
    const ChunkIndex* index = nullptr;
    if (auto const chunk = indexed_chunk(*decoded)) {
        auto const known = core_.packing.find(chunk->seq);
        CORELET_ASSERT(known != core_.packing.end(), "a packed chunk of our own");
        index = known->second;
    }
    if (auto const* placed = std::get_if<volume_entry::Placed>(&*decoded)) {
        in_flight_.acknowledged(placed->ticket);
        core_.log_bytes_since_checkpoint += u64{placed->chunk_blocks} * k_block_bytes;
    }
    if (auto const* write = std::get_if<volume_entry::Write>(&*decoded)) in_flight_.acknowledged(write->ticket);
    if (auto const* clear = std::get_if<volume_entry::Clear>(&*decoded)) in_flight_.acknowledged(clear->ticket);
    auto const applied = core_.state.apply(record, *decoded, place, entry.crcs, index);
    CORELET_ASSERT(applied.has_value(), "an entry of our own does not follow our state");
    core_.log_bytes_since_checkpoint += entry.blocks.size() + k_block_bytes;
    ++core_.records_since_checkpoint;
    core_.last_write = core_.now();
    bool const many = core_.log_bytes_since_checkpoint >= core_.options.checkpoint_log_bytes ||
                      core_.records_since_checkpoint >= core_.options.checkpoint_records ||
                      core_.state.map.cache().dirty_cost() >= core_.state.map.budget().cost_max() / 4 * 3;
    if (core_.checkpointer_sleeps || many) core_.checkpoint_wanted.notify_all();
}

void Volume::segment_ended(SegmentId segment, u64 end_bytes) {
    if (closing_ && !serving_) return;
    if (!serving_) {
        Replayed event;
        event.place.segment = segment;
        event.ended = true;
        event.ended_bytes = end_bytes;
        replay_.push_back(std::move(event));
        return;
    }
    core_.state.segment_ended(segment.seq, end_bytes);
    core_.pack_wanted.notify_all();
    if (core_.checkpointer_sleeps) core_.checkpoint_wanted.notify_all();
}

// What run time does, but with time to load what it needs.
Task<Result<void>> Volume::replay(Replayed event) {
    if (event.ended) {
        core_.state.segment_ended(event.place.segment.seq, event.ended_bytes);
        co_return Result<void>{};
    }
    std::optional<ChunkIndex> index;
    if (auto const chunk = indexed_chunk(event.entry)) {
        CO_TRY(index, co_await core_.chunks.get_index(chunk->seq, chunk->blocks, TrafficClass::kClient));
        // Acknowledged by its quorum; what is packed has settled before there is an entry.
        if (std::holds_alternative<volume_entry::Placed>(event.entry)) core_.chunks.watch(chunk->seq);
    }
    bool const create = !std::holds_alternative<volume_entry::Packed>(event.entry) &&
                        !(std::holds_alternative<volume_entry::Clear>(event.entry) &&
                          !std::get<volume_entry::Clear>(event.entry).keep_allocated);
    auto leaves = VolumeState::leaves_of(event.entry, index ? &*index : nullptr);
    CO_TRY(auto const pins, co_await core_.state.map.pin_leaves(std::move(leaves), create));
    ++core_.records_since_checkpoint;
    core_.log_bytes_since_checkpoint += event.crcs.size() * k_block_bytes;
    co_return core_.state.apply(event.record, event.entry, event.place, event.crcs, index ? &*index : nullptr);
}

Task<Result<void>> Volume::serve(LogStream& stream) {
    CORELET_ASSERT(!serving_ && !closing_);
    core_.stream = &stream;
    core_.reader.set_stream(&stream);
    if (replay_error_) co_return std::unexpected(with_context(*replay_error_, "replay"));
    while (!replay_.empty()) {
        Replayed event = std::move(replay_.front());
        replay_.pop_front();
        auto const done = co_await replay(std::move(event));
        if (!done) co_return std::unexpected(with_context(done.error(), "replay"));
    }
    // From here to the end of the function nothing is awaited: an event is either replayed or applied.
    serving_ = true;
    core_.last_write = core_.now();
    workers_.spawn(packer_.run());
    workers_.spawn(checkpointer_.run());
    co_return Result<void>{};
}

Task<Result<void>> Volume::checkpoint() {
    if (core_.stop_reason) co_return std::unexpected(*core_.stop_reason);
    if (!serving_) co_return fail(Code::kShutdown, "the volume is not served here");
    co_return co_await checkpointer_.request();
}

namespace {
Task<Result<void>> join_requests(Scope* scope) {
    co_await scope->join();
    co_return Result<void>{};
}
Task<Result<void>> finish_packing(Packer* packer) {
    co_await packer->finish();
    co_return Result<void>{};
}
}  // namespace

Task<Result<void>> Volume::detach() {
    if (closing_ || !serving_) co_return fail(Code::kShutdown, "the volume is not served here");
    closing_ = true;
    Clock& clock = core_.deps.clock;
    Instant const deadline = core_.now() + k_detach_patience;
    Result<void> done = co_await with_deadline<void>(clock, deadline, join_requests(&requests_));
    if (done && !core_.is_stopped()) done = co_await with_deadline<void>(clock, deadline, finish_packing(&packer_));
    if (done && !core_.is_stopped()) done = co_await with_deadline<void>(clock, deadline, checkpointer_.request());
    // Without the checkpoint the next owner replays what this one did not write: slower, and as good.
    serving_ = false;
    core_.stop({Code::kShutdown, false, 0, "the volume was detached"});
    requests_.cancel();
    workers_.cancel();
    co_return done;
}

}  // namespace corelet
