#include "volume/checkpointer.h"

#include "base/fault_point.h"

#include <fmt/format.h>

#include "base/checksum.h"

namespace corelet {

namespace {
constexpr Duration k_urgent_interval = 200_ms;  // between checkpoints that only space asks for
constexpr Duration k_pool_poll = 1_s;           // while the pool takes no chunks
constexpr usize k_released_at_once = 32;        // packed segments that ask for a checkpoint by themselves
}  // namespace

Task<Result<void>> Checkpointer::request() {
    u64 const mine = ++requested_;
    core_.checkpoint_wanted.notify_all();
    while (completed_ < mine) {
        if (core_.is_stopped()) co_return std::unexpected(*core_.stop_reason);
        co_await completed_changed_.wait();
    }
    co_return Result<void>{};
}

bool Checkpointer::has_deletes() const {
    auto const totals = core_.state.containers.totals();
    return totals.dead_chunks > 0 || totals.condemned_data > 0 || !core_.state.containers.releasable().empty();
}

bool Checkpointer::is_wanted() const {
    if (requested_ > completed_) return true;
    BlockMap& map = core_.state.map;
    if (map.cache().dirty_pages() > 0 &&
        (map.budget().is_waited_for() || map.cache().dirty_cost() >= map.budget().cost_max() / 4 * 3))
        return true;
    if (core_.log_bytes_since_checkpoint >= core_.options.checkpoint_log_bytes) return true;
    if (core_.records_since_checkpoint >= core_.options.checkpoint_records) return true;
    // Ended segments stand in the stream's record in the catalog until a checkpoint releases them: small ones (many
    // rolls, small targets) would make it large long before they are many bytes.
    bool const many = core_.state.containers.ended_segments() >= k_released_at_once;
    if (many && core_.state.containers.releasable().size() >= k_released_at_once) return true;
    return core_.short_of_space() && core_.now() >= last_checkpoint_ + k_urgent_interval && has_deletes();
}

bool Checkpointer::is_wanted_when_idle() const {
    return core_.state.map.cache().dirty_pages() > 0 || has_deletes();
}

Task<void> Checkpointer::wait_until_wanted() {
    for (;;) {
        if (core_.is_stopped()) co_return;
        if (!core_.chunks.can_put()) {
            // It would freeze pages and wait; requests are better served by dirty ones.
            co_await core_.checkpoint_wanted.wait_until(core_.deps.clock, core_.now() + k_pool_poll);
            continue;
        }
        if (is_wanted()) co_return;
        if (!is_wanted_when_idle()) {
            core_.checkpointer_sleeps = true;
            co_await core_.checkpoint_wanted.wait();
            core_.checkpointer_sleeps = false;
            continue;
        }
        Instant due = std::max(core_.last_write, last_checkpoint_) + core_.options.idle_checkpoint;
        if (core_.now() >= due || FAULT_POINT("volume.checkpoint_early")) co_return;
        if (core_.short_of_space()) due = std::min(due, core_.now() + k_urgent_interval);
        co_await core_.checkpoint_wanted.wait_until(core_.deps.clock, due);
    }
}

Task<void> Checkpointer::run() {
    while (!core_.is_stopped()) {
        co_await wait_until_wanted();
        if (core_.is_stopped()) break;
        u64 const serves = requested_;
        auto const done = co_await checkpoint();
        last_checkpoint_ = core_.now();
        if (!done) {
            // What time heals was waited for inside. Without checkpoints the volume would only run full: the next
            // owner tries.
            core_.stop(with_context(done.error(), "checkpoint"));
            break;
        }
        completed_ = serves;
        completed_changed_.notify_all();
        core_.pack_wanted.notify_all();
    }
    completed_changed_.notify_all();
}

// No await in here: what is gathered is the state after record `position`, whatever is acknowledged while it is
// written.
Checkpointer::Cut Checkpointer::make_cut() {
    VolumeState& state = core_.state;
    Cut cut;
    cut.position = state.applied;
    // All names below the next are given; a put in flight is referred to, if ever, by a record after the cut.
    cut.horizon = core_.stream->new_chunk_id().seq;
    if (!state.puts_in_flight.empty()) cut.horizon = std::min(cut.horizon, *state.puts_in_flight.begin());
    cut.size_bytes = state.size_bytes;
    cut.mapped_blocks = state.mapped_blocks;
    cut.released = state.containers.releasable();
    cut.adopted = state.containers.adopted();
    cut.condemned = state.containers.condemned();
    cut.leaves = state.map.cache().freeze();
    cut.container_pages = state.containers.take_changed_pages(cut.released);
    cut.container_page_count = state.containers.page_count();
    cut.table.container_pages = container_refs_;
    cut.table.container_pages.resize(cut.container_page_count);
    for (const auto& [seq, segment] : state.containers.segments())
        if (segment->live > 0) cut.table.segments.push_back({seq, ContainerTable::live_blocks(*segment)});
    core_.log_bytes_since_checkpoint = 0;
    core_.records_since_checkpoint = 0;
    return cut;
}

usize Checkpointer::count_pages(const Cut& cut) const {
    usize pages = cut.container_pages.size();
    std::set<u64> level_1 = rewrite_1_;
    for (const auto& leaf : cut.leaves) {
        if (!leaf.data->is_all_null()) ++pages;
        level_1.insert(leaf.key.parent().index);
    }
    std::set<u64> level_2 = rewrite_2_;
    for (u64 const index : level_1) level_2.insert(PageKey{1, index}.parent().index);
    pages += level_1.size() + level_2.size();
    // The table lists the chunks that it lies in itself: its size depends on their number, which depends on its
    // size.
    usize const per_chunk = PageWriter::pages_per_chunk(core_);
    usize const old_chunks = core_.state.containers.map_chunks().size();
    usize table_pages = 1;
    for (;;) {
        usize const new_chunks = (pages + table_pages + per_chunk - 1) / per_chunk;
        usize const needed = div_ceil(encoded_table_bytes(cut.table, old_chunks + new_chunks), k_page_bytes);
        if (needed <= table_pages) return pages + table_pages;
        table_pages = needed;
    }
}

Task<Result<void>> Checkpointer::checkpoint() {
    CO_TRY_VOID(co_await clean_map());
    Cut cut = make_cut();
    freed_blocks_.clear();
    new_pages_.clear();
    PageWriter writer(core_, count_pages(cut));
    CO_TRY(CheckpointRoot root, co_await write(&cut, &writer));
    CO_TRY_VOID(co_await writer.finish());
    // With the commit the log lets go of what the chunks hold, and their entries end: what is put behind is settled
    // first, or nobody would know of it any more.
    co_await core_.chunks.settle();
    CO_TRY_VOID(co_await commit(&cut, root));
    auto const condemned = cut.condemned;
    install(std::move(cut), std::move(root), writer);
    ++core_.counters.checkpoints;
    co_return co_await delete_dead(condemned);
}

Task<Result<CheckpointRoot>> Checkpointer::write(Cut* cut, PageWriter* writer) {
    Changes level_1, level_2, root_changes;
    for (u64 const index : std::exchange(rewrite_1_, {})) level_1[index];
    for (u64 const index : std::exchange(rewrite_2_, {})) level_2[index];
    CO_TRY_VOID(co_await write_leaves(cut, writer, &level_1));
    for (const auto& [index, page] : cut->container_pages) {
        CO_TRY(PageRef const ref, co_await writer->add(PageKind::kContainers, index, page));
        freed(cut->table.container_pages[index]);
        cut->table.container_pages[index] = ref;
    }
    CO_TRY_VOID(co_await write_directories(1, std::move(level_1), writer, &level_2));
    CO_TRY_VOID(co_await write_directories(2, std::move(level_2), writer, &root_changes));
    CheckpointRoot root{cut->size_bytes, cut->mapped_blocks, cut->position, core_.state.map.root(), {}, 0, 0};
    for (const auto& [index, changes] : root_changes) {
        CORELET_ASSERT(index == 0);
        for (const auto& [slot, ref] : changes) {
            if (root.pages.size() <= slot) root.pages.resize(slot + 1);
            freed(root.pages[slot]);
            root.pages[slot] = ref;
        }
    }
    CO_TRY_VOID(co_await write_table(cut, writer, &root));
    co_return root;
}

Task<Result<void>> Checkpointer::write_leaves(Cut* cut, PageWriter* writer, Changes* changes) {
    for (const auto& leaf : cut->leaves) {
        PageRef ref;
        if (!leaf.data->is_all_null()) {
            CO_TRY(ref, co_await writer->add(PageKind::kLeaf, leaf.key.index, leaf.data));
        }
        (*changes)[leaf.key.parent().index].emplace_back(leaf.key.slot_in_parent(), ref);
    }
    co_return Result<void>{};
}

// A directory page changes only by checkpoints, so its next version can be made beside it and take its place at the
// commit.
Task<Result<void>> Checkpointer::write_directories(u8 level, Changes changes, PageWriter* writer, Changes* above) {
    PageKind const kind = level == 1 ? PageKind::kDirectory1 : PageKind::kDirectory2;
    for (const auto& [index, slots] : changes) {
        PageKey const key{level, index};
        CO_TRY(PagePin pin, co_await core_.state.map.pin(key, true));
        auto data = std::make_shared<PageData>(pin.page());
        for (const auto& [slot, ref] : slots) {
            freed(data->ref(slot));
            data->set_ref(slot, ref);
        }
        CO_TRY(PageRef const ref, co_await writer->add(kind, index, data));
        (*above)[key.parent().index].emplace_back(key.slot_in_parent(), ref);
        new_pages_.push_back({std::move(pin), std::move(data)});
        core_.state.map.cache().set_extra_copies(new_pages_.size());
    }
    co_return Result<void>{};
}

Task<Result<void>> Checkpointer::write_table(Cut* cut, PageWriter* writer, CheckpointRoot* root) {
    for (const TableExtent& extent : table_) freed_blocks_[extent.chunk] += extent.blocks;
    for (const auto& [seq, chunk] : core_.state.containers.map_chunks()) {
        auto const gone = freed_blocks_.find(seq);
        u32 const live = chunk->live - (gone == freed_blocks_.end() ? 0 : gone->second);
        cut->table.map_chunks.push_back({seq, chunk->blocks, live, chunk->condemned});
    }
    for (const auto& chunk : writer->chunks())
        cut->table.map_chunks.push_back({chunk.seq, chunk.blocks, chunk.live(), false});
    std::vector<u8> const bytes = encode_table(cut->table);
    root->table_bytes = bytes.size();
    root->table_crc = crc32c(bytes);
    // Announced by a bound: what is left over beyond the table is a page of zeros.
    for (usize at = 0; !writer->is_complete(); at += k_page_bytes) {
        auto page = std::make_shared<PageData>();
        if (at < bytes.size())
            std::memcpy(page->bytes.data(), bytes.data() + at, std::min<usize>(k_page_bytes, bytes.size() - at));
        CO_TRY(PageRef const ref, co_await writer->add(PageKind::kTable, at / k_page_bytes, page));
        if (root->table.empty() || root->table.back().chunk != ref.chunk)
            root->table.push_back({ref.chunk, ref.chunk_blocks, ref.first_block, 0});
        root->table.back().blocks += k_page_blocks;
    }
    CORELET_ASSERT(writer->is_complete() && !root->table.empty());
    co_return Result<void>{};
}

Task<Result<void>> Checkpointer::commit(const Cut* cut, CheckpointRoot root) {
    Checkpoint const checkpoint{cut->position, encode_root(root), {}, cut->horizon};
    for (u32 attempt = 0;; ++attempt) {
        Checkpoint copy = checkpoint;
        for (auto const* gone : {&cut->released, &cut->adopted})
            for (u64 const seq : *gone) copy.released.push_back({core_.options.space, seq});
        auto const committed = co_await core_.stream->commit_checkpoint(std::move(copy));
        if (committed) co_return Result<void>{};
        // The same again is harmless: it is conditional on this owner's epoch.
        if (!committed.error().is_retryable()) co_return committed;
        co_await core_.deps.clock.sleep(backoff(attempt));
    }
}

void Checkpointer::install(Cut cut, CheckpointRoot root, const PageWriter& writer) {
    VolumeState& state = core_.state;
    state.map.set_root(std::move(root.pages));
    for (NewPage& page : new_pages_) page.pin.node().data = std::move(page.data);
    new_pages_.clear();
    state.map.cache().set_extra_copies(0);
    cut.leaves.clear();
    state.map.cache().thaw();
    state.map.budget().room_made();
    for (const auto& chunk : writer.chunks())
        state.containers.set_live(state.containers.add(chunk.seq, ContainerKind::kMap, chunk.blocks), chunk.live());
    for (const auto& [seq, blocks] : freed_blocks_) {
        Container* const chunk = state.containers.find(seq);
        CORELET_ASSERT(chunk && chunk->kind == ContainerKind::kMap && chunk->live >= blocks);
        state.containers.set_live(*chunk, chunk->live - blocks);
    }
    for (u64 const seq : cut.released) {
        Container* const segment = state.containers.find(seq);
        // An adoption may have overtaken the release: then it is a chunk by now, a dead one.
        if (segment && segment->kind == ContainerKind::kEnded) state.containers.erase(seq);
    }
    state.containers.forget_adopted(cut.adopted.size());
    container_refs_ = std::move(cut.table.container_pages);
    table_ = std::move(root.table);
    core_.counters.segments_released += cut.released.size();
    if (!cut.released.empty()) ++core_.reclaim_count;
    ++core_.checkpoint_generation;
    core_.reclaimed.notify_all();
    log_debug(core_.deps.log, "volume.checkpoint", [&] { return fmt::format("record {}", cut.position.v); });
}

}  // namespace corelet
