#include "volume/volume_core.h"

namespace corelet {

VolumeCore::VolumeCore(VolumeDeps dependencies, VolumeOptions volume_options)
    : deps(dependencies),
      options(volume_options),
      chunks(deps.chunks, deps.clock, deps.log, options.space, options.pool),
      state(deps.executor, chunks, options.map_cache_bytes, options.block_cache_bytes,
            static_cast<u32>(options.chunk_bytes / k_block_bytes / 4)),
      reader(state, chunks) {
    CORELET_ASSERT(options.chunk_bytes % k_block_bytes == 0 && options.chunk_bytes >= 64 * k_kib);
    CORELET_ASSERT(options.size_bytes <= k_volume_bytes_max);
    state.size_bytes = options.size_bytes;
    state.map.budget().set_pressed(&checkpoint_wanted);
}

Task<Result<void>> VolumeCore::append(VolumeEntry entry, BufferChain blocks, std::vector<u32> crcs, bool system) {
    if (stop_reason) co_return std::unexpected(*stop_reason);
    CORELET_ASSERT(stream != nullptr && blocks.size() == crcs.size() * k_block_bytes);
    LogEntry log_entry{encode_volume_entry(entry), std::move(blocks), std::move(crcs)};
    auto const appended = co_await stream->append(std::move(log_entry), system);
    if (appended) co_return Result<void>{};
    Error const& error = appended.error();
    if (error.code == Code::kFenced || error.code == Code::kShutdown) stop(error);
    co_return std::unexpected(error);
}

Task<Result<void>> VolumeCore::wait_readable() {
    while (!stream->may_serve()) {
        auto const readable = co_await stream->wait_readable();
        if (readable) continue;
        if (readable.error().code == Code::kFenced || readable.error().code == Code::kShutdown)
            stop(readable.error());
        co_return readable;
    }
    co_return Result<void>{};
}

void VolumeCore::stop(Error reason) {
    if (stop_reason) return;
    log_info(deps.log, "volume.stopped", [&] { return reason.to_string(); });
    stop_reason = std::move(reason);
    stopped.set();
    state.map.budget().close();
    pack_wanted.notify_all();
    checkpoint_wanted.notify_all();
    reclaimed.notify_all();
}

bool VolumeCore::short_of_space() const {
    if (deps.clock.now() < full_until) return true;
    return deps.space && deps.space->free_permille(options.pool) < options.free_permille_low;
}

Standing VolumeCore::standing(u64 seq) const {
    if (state.puts_in_flight.contains(seq) || packing.contains(seq)) return Standing::kPending;
    if (const Container* const container = state.containers.find(seq))
        return container->in_log() || container->is_leftover ? Standing::kPending : Standing::kLive;
    return state.containers.map_chunks().contains(seq) ? Standing::kLive : Standing::kNone;
}

u64 VolumeCore::reclaimable_blocks() const {
    auto const totals = state.containers.totals();
    u64 const condemned = totals.condemned_data * u64{chunk_blocks()};
    return (totals.chunk_blocks - totals.chunk_live) + (totals.segment_blocks - totals.segment_live) + condemned;
}

VolumeStats VolumeCore::stats() const {
    VolumeStats out = counters;
    auto const totals = state.containers.totals();
    out.size_bytes = state.size_bytes;
    out.logical_bytes = state.mapped_blocks * k_block_bytes;
    out.live_bytes = (totals.chunk_live + totals.segment_live) * k_block_bytes;
    out.garbage_bytes = (totals.chunk_blocks - totals.chunk_live) * k_block_bytes;
    out.unpacked_bytes = totals.segment_live * k_block_bytes;
    out.map_bytes = totals.map_blocks * k_block_bytes;
    auto& cache = const_cast<VolumeState&>(state).map.cache();
    out.map_pages_in_memory = cache.pages() + cache.copies();
    out.map_pages_dirty = cache.dirty_pages();
    out.cache_hits = state.cache.hits();
    out.cache_misses = state.cache.misses();
    out.chunk_bytes_written = chunks.bytes_put();
    return out;
}

}  // namespace corelet
