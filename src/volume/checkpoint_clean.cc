// What follows a commit: deletes, and keeping the map chunks from filling with garbage.
#include <algorithm>

#include "volume/volume.h"

namespace corelet {

namespace {
constexpr usize k_remove_at_once = 1024;
constexpr usize k_dead_map_chunks_kept =
    4;  // a mark in the log for fewer would keep an idle volume busy with itself
}  // namespace

Task<Result<void>> Checkpointer::delete_dead(std::vector<u64> condemned) {
    ContainerTable& table = core_.state.containers;
    for (usize at = 0; at < condemned.size(); at += k_remove_at_once) {
        std::vector<u64> batch;
        for (usize i = at; i < std::min(condemned.size(), at + k_remove_at_once); ++i) {
            Container* const container = table.find(condemned[i]);
            CORELET_ASSERT(container && container->condemned && container->live == 0,
                           "a reference to a condemned chunk");
            container->is_leftover = true;  // also of what could not be removed everywhere
            batch.push_back(condemned[i]);
        }
        auto const removed = co_await core_.chunks.remove(batch, core_.stream->epoch());
        if (!removed) {
            log_warning(core_.deps.log, "volume.remove_failed", [&] { return removed.error().to_string(); });
            break;  // they stay condemned; after the next checkpoint it is tried again
        }
        for (u64 const seq : batch) table.erase(seq);
        core_.counters.chunks_removed += batch.size();
        ++core_.reclaim_count;
        core_.reclaimed.notify_all();
    }
    std::vector<u64> const dead = table.dead();
    if (table.totals().dead_chunks == 0 && dead.size() < k_dead_map_chunks_kept) co_return Result<void>{};
    for (usize at = 0; at < dead.size(); at += k_condemned_max) {
        auto const first = dead.begin() + static_cast<std::ptrdiff_t>(at);
        volume_entry::Condemned mark{
            {first, first + static_cast<std::ptrdiff_t>(std::min(k_condemned_max, dead.size() - at))}};
        auto const marked = co_await core_.append(std::move(mark), {}, {}, true);
        if (core_.is_stopped()) co_return marked;
        if (!marked) break;  // no room in the log even for this: later
    }
    co_return Result<void>{};
}

Task<Result<void>> Checkpointer::clean_map() {
    auto const totals = core_.state.containers.totals();
    u64 const slack = 4 * PageWriter::pages_per_chunk(core_) * k_page_blocks;
    if (totals.map_blocks <= 2 * totals.map_live + slack) co_return Result<void>{};
    std::vector<std::pair<u64, u64>> worst;  // live share, seq
    for (const auto& [seq, chunk] : core_.state.containers.map_chunks())
        if (chunk->live > 0) worst.emplace_back(u64{chunk->live} * 1'000'000 / chunk->blocks, seq);
    std::sort(worst.begin(), worst.end());
    u64 pages = 0;
    u64 const pages_max = std::max<u64>(1, core_.state.map.budget().request_cost_max() / 3);
    for (const auto& [share, seq] : worst) {
        const Container* const chunk = core_.state.containers.find(seq);
        pages += chunk->live / k_page_blocks;
        if (pages > pages_max && seq != worst.front().second) break;
        CO_TRY_VOID(co_await rewrite_pages(seq));
    }
    co_return Result<void>{};
}

// Makes whatever the tree still refers to in this chunk part of the next checkpoint.
Task<Result<void>> Checkpointer::rewrite_pages(u64 chunk) {
    BlockMap& map = core_.state.map;
    u32 const chunk_blocks = core_.state.containers.find(chunk)->blocks;
    CO_TRY(BufferChain const head,
           co_await core_.chunks.get(chunk, chunk_blocks, 0, k_map_index_blocks, {}, TrafficClass::kClient));
    CO_TRY(auto const pages, decode_map_index(head.flatten(), chunk));
    for (const MapIndexEntry& page : pages) {
        if (page.kind == PageKind::kTable) continue;  // written anew each time
        if (page.kind == PageKind::kContainers) {
            if (page.index < container_refs_.size() && container_refs_[page.index].chunk == chunk)
                core_.state.containers.touch_page(static_cast<u32>(page.index));
            continue;
        }
        PageKey const key{static_cast<u8>(page.kind), page.index};
        PageRef ref;
        if (key.level == k_root_level) {
            if (key.index < map.root().size()) ref = map.root()[key.index];
        } else {
            CO_TRY(PagePin const parent, co_await map.pin(key.parent(), false));
            if (parent) ref = parent.page().ref(key.slot_in_parent());
        }
        if (ref.chunk != chunk) continue;
        if (key.level == 1) rewrite_1_.insert(key.index);
        if (key.level == 2) rewrite_2_.insert(key.index);
        if (key.level != 0) continue;
        CO_TRY(PagePin const leaf, co_await map.pin(key, false));
        DirtyBudget::Grant grant;
        // Only a checkpoint makes room for what waits: what does not fit comes with a later one.
        if (!map.budget().try_admit(3, grant)) co_return Result<void>{};
        if (leaf) (void)map.cache().writable(leaf.node());
    }
    co_return Result<void>{};
}

// Left behind by puts that were given up. Nothing can come to refer to a name below the horizon; still they go the
// way of all: a mark in the log, a checkpoint that contains it, and a second look before they are removed
// (protocols 8.4).
Task<Result<void>> Volume::bury(std::vector<u64> seqs, u64 horizon) {
    if (!serving_ || closing_) co_return fail(Code::kNotOwner, "the volume is not served here");
    auto const refers = [this, horizon](u64 seq) {
        return seq >= horizon || core_.standing(seq) != Standing::kNone;
    };
    std::erase_if(seqs, refers);
    for (usize at = 0; at < seqs.size(); at += k_remove_at_once) {
        auto const first = seqs.begin() + static_cast<std::ptrdiff_t>(at);
        std::vector<u64> batch(first,
                               first + static_cast<std::ptrdiff_t>(std::min(k_remove_at_once, seqs.size() - at)));
        CO_TRY_VOID(co_await core_.append(volume_entry::Condemned{batch}, {}, {}, true));
        CO_TRY_VOID(co_await checkpointer_.request());
        std::erase_if(batch, refers);
        CO_TRY_VOID(co_await core_.chunks.remove(batch, core_.stream->epoch()));
        log_info(core_.deps.log, "volume.buried",
                 [&] { return std::to_string(batch.size()) + " chunks that nothing refers to"; });
    }
    co_return Result<void>{};
}

}  // namespace corelet
