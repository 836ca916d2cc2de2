#include "volume/block_map.h"

#include "base/checksum.h"

namespace corelet {

namespace {
constexpr usize k_loads_at_once = 16;
}

BlockMap::BlockMap(Executor& executor, ChunkIo& chunks, u64 cache_bytes)
    : chunks_(chunks), cache_(static_cast<usize>(cache_bytes / k_page_bytes)), budget_(cache_), loads_(executor) {}

Task<Result<PagePin>> BlockMap::pin(PageKey key, bool create) {
    CORELET_ASSERT(key.level <= k_root_level);
    for (;;) {
        if (PageCache::Node* const node = cache_.find(key)) {
            PagePin held(cache_, *node);
            if (node->state == PageCache::State::kLoading) co_await node->settled.wait();
            if (node->state == PageCache::State::kFailed) co_return std::unexpected(node->error);
            co_return held;
        }
        PageRef ref;
        if (key.level == k_root_level) {
            if (key.index < root_.size()) ref = root_[key.index];
        } else {
            CO_TRY(PagePin const parent, co_await pin(key.parent(), create));
            if (parent) ref = parent.page().ref(key.slot_in_parent());
        }
        // Between here and the insert nothing is awaited, so the reference is the present one; somebody may have
        // been faster.
        if (cache_.find(key)) continue;
        if (ref.is_null()) {
            if (!create) co_return PagePin();
            co_return PagePin(cache_, cache_.insert(key, std::make_shared<PageData>()));
        }
        // A load outlives whoever asked first: others wait for it too.
        PagePin held(cache_, cache_.insert(key));
        loads_.spawn(load(PagePin(cache_, held.node()), ref));
        co_await held.node().settled.wait();
        if (held.node().state == PageCache::State::kFailed) co_return std::unexpected(held.node().error);
        co_return held;
    }
}

Task<void> BlockMap::load(PagePin held, PageRef ref) {
    auto page = co_await fetch(held.node().key, ref);
    ++pages_loaded_;
    if (page) {
        cache_.loaded(held.node(), *std::move(page));
    } else {
        cache_.failed(held.node(), std::move(page).error());
    }
}

Task<Result<std::shared_ptr<PageData>>> BlockMap::fetch(PageKey key, PageRef ref) {
    auto got = co_await chunks_.get(ref.chunk, ref.chunk_blocks, ref.first_block, k_page_blocks,
                                    {ref.crcs.begin(), ref.crcs.end()}, TrafficClass::kClient);
    if (!got) {
        Error error = with_context(std::move(got).error(),
                                   "block map page " + std::to_string(key.level) + "/" + std::to_string(key.index));
        // The reference is of the committed root and cannot have moved: nobody having it is a loss.
        if (error.code == Code::kUnknown) error.code = Code::kLost;
        co_return std::unexpected(std::move(error));
    }
    Buffer const bytes = got->flatten();
    auto page = std::make_shared<PageData>();
    std::memcpy(page->bytes.data(), bytes.data(), k_page_bytes);
    for (u32 block = 0; block < k_page_blocks; ++block) {
        Bytes const part = Bytes(page->bytes).subspan(block * k_block_bytes, k_block_bytes);
        if (crc32c(part) != ref.crcs[block]) co_return fail(Code::kCorrupt, "block map page: checksum", ref.chunk);
    }
    co_return page;
}

Task<void> BlockMap::pin_into(PageKey key, bool create, Result<PagePin>* out) {
    *out = co_await pin(key, create);
}

Task<Result<std::vector<PagePin>>> BlockMap::pin_leaves(std::vector<u64> leaves, bool create) {
    std::vector<PagePin> pins;
    pins.reserve(leaves.size());
    for (usize at = 0; at < leaves.size();) {
        usize const count = std::min(k_loads_at_once, leaves.size() - at);
        std::vector<Result<PagePin>> wave(count);
        {
            Scope scope(co_await this_executor());
            bool any = false;
            for (usize i = 0; i < count; ++i) {
                PageKey const key{0, leaves[at + i]};
                PageCache::Node* const node = cache_.find(key);
                if (node && node->state == PageCache::State::kReady) {
                    wave[i] = PagePin(cache_, *node);
                    continue;
                }
                any = true;
                scope.spawn(pin_into(key, create, &wave[i]));
            }
            if (any) co_await scope.join();
        }
        for (auto& pin : wave) {
            if (!pin) co_return std::unexpected(std::move(pin).error());
            pins.push_back(*std::move(pin));
        }
        at += count;
    }
    co_return pins;
}

Task<Result<u64>> BlockMap::next_present(u64 leaf, u64 limit) {
    constexpr u64 k_below_level_2 = u64{k_directory_entries} * k_directory_entries;
    while (leaf < limit) {
        PageKey const key{0, leaf};
        CO_TRY(PagePin const upper, co_await pin(key.parent().parent(), false));
        PagePin lower;
        if (upper) {
            CO_TRY(lower, co_await pin(key.parent(), false));
        }
        // From here on nothing is awaited until the answer.
        u64 const changed = cache_.next_changed(leaf);
        u64 const end = std::min(limit, upper ? round_down(leaf, k_directory_entries) + k_directory_entries
                                              : round_down(leaf, k_below_level_2) + k_below_level_2);
        u64 found = end;
        for (u64 at = leaf; lower && at < end; ++at) {
            if (lower.page().ref(PageKey{0, at}.slot_in_parent()).is_null()) continue;
            found = at;
            break;
        }
        if (std::min(found, changed) < end) co_return std::min(found, changed);
        leaf = end;
    }
    co_return limit;
}

BlockEntry BlockMap::entry(u64 lba) {
    PageCache::Node* const node = cache_.find({0, leaf_of(lba)});
    CORELET_ASSERT(node && node->state == PageCache::State::kReady, "entry of a page that is not in memory");
    return node->data->entry(slot_of(lba));
}

BlockEntry BlockMap::exchange(u64 lba, const BlockEntry& entry) {
    PageCache::Node* const node = cache_.find({0, leaf_of(lba)});
    CORELET_ASSERT(node && node->state == PageCache::State::kReady, "entry of a page that is not in memory");
    BlockEntry const old = node->data->entry(slot_of(lba));
    if (old == entry) return old;
    cache_.writable(*node).set_entry(slot_of(lba), entry);
    return old;
}

}  // namespace corelet
