#include "device/fragment_index.h"

#include <algorithm>

#include "base/assert.h"
#include "base/hash.h"

namespace corelet {

namespace {
constexpr usize k_block_entries = 128;
constexpr usize k_header_fixed_bytes = 1152;  // as in device/fragment_header.h
}  // namespace

struct FragmentIndex::Block {
    usize count = 0;
    std::array<FragmentEntry, k_block_entries> entries;

    [[nodiscard]] usize lower_bound(const FragmentId& id) const {
        auto const end = entries.begin() + static_cast<std::ptrdiff_t>(count);
        auto const at = std::ranges::lower_bound(entries.begin(), end, id, {}, &FragmentEntry::id);
        return static_cast<usize>(at - entries.begin());
    }
};

FragmentIndex::FragmentIndex() : digests_(k_digest_buckets) {
    blocks_.push_back(std::make_unique<Block>());
}
FragmentIndex::~FragmentIndex() = default;
FragmentIndex::FragmentIndex(FragmentIndex&&) noexcept = default;
FragmentIndex& FragmentIndex::operator=(FragmentIndex&&) noexcept = default;

u64 FragmentIndex::digest_hash(const ChunkId& id) {
    return hash64(id.space.v, id.seq);
}

usize FragmentIndex::block_for(const FragmentId& id) const {
    // The last block whose first entry is not above `id`.
    auto const above = std::ranges::upper_bound(blocks_.begin() + 1, blocks_.end(), id, {},
                                                [](const auto& block) { return block->entries[0].id(); });
    return static_cast<usize>(above - blocks_.begin()) - 1;
}

const FragmentEntry* FragmentIndex::find(const FragmentId& id) const {
    const Block& block = *blocks_[block_for(id)];
    usize const at = block.lower_bound(id);
    return at < block.count && block.entries[at].id() == id ? &block.entries[at] : nullptr;
}
FragmentEntry* FragmentIndex::find(const FragmentId& id) {
    return const_cast<FragmentEntry*>(std::as_const(*this).find(id));
}

void FragmentIndex::split(usize index) {
    Block& full = *blocks_[index];
    CORELET_ASSERT(full.count == k_block_entries);
    // Ids mostly come in rising order: a full last block stays full.
    usize const keep = index + 1 == blocks_.size() ? k_block_entries - 1 : k_block_entries / 2;
    auto next = std::make_unique<Block>();
    next->count = full.count - keep;
    std::copy_n(full.entries.begin() + static_cast<std::ptrdiff_t>(keep), next->count, next->entries.begin());
    full.count = keep;
    blocks_.insert(blocks_.begin() + static_cast<std::ptrdiff_t>(index) + 1, std::move(next));
}

void FragmentIndex::insert(FragmentEntry entry, const std::vector<UnitExtent>& extents) {
    CORELET_ASSERT(!extents.empty());
    FragmentId const id = entry.id();
    entry.first_unit = extents.front().start;
    entry.flags = static_cast<u8>(entry.flags & ~FragmentEntry::k_scattered);
    if (extents.size() > 1) {
        entry.flags |= FragmentEntry::k_scattered;
        scattered_[id] = extents;
    }
    usize index = block_for(id);
    if (blocks_[index]->count == k_block_entries) {
        split(index);
        index = block_for(id);
    }
    Block& block = *blocks_[index];
    usize const at = block.lower_bound(id);
    CORELET_ASSERT(at == block.count || block.entries[at].id() != id, "inserted twice");
    auto const place = block.entries.begin() + static_cast<std::ptrdiff_t>(at);
    std::copy_backward(place, block.entries.begin() + static_cast<std::ptrdiff_t>(block.count),
                       block.entries.begin() + static_cast<std::ptrdiff_t>(block.count) + 1);
    *place = entry;
    ++block.count;
    ++size_;
    FragmentDigest& digest = digests_[bucket_of(id.chunk)];
    ++digest.count;
    digest.sum += digest_hash(id.chunk);
}

void FragmentIndex::erase(const FragmentId& id) {
    usize const index = block_for(id);
    Block& block = *blocks_[index];
    usize const at = block.lower_bound(id);
    CORELET_ASSERT(at < block.count && block.entries[at].id() == id, "erased what is not there");
    if (block.entries[at].is(FragmentEntry::k_scattered)) scattered_.erase(id);
    auto const place = block.entries.begin() + static_cast<std::ptrdiff_t>(at);
    std::copy(place + 1, block.entries.begin() + static_cast<std::ptrdiff_t>(block.count), place);
    --block.count;
    --size_;
    FragmentDigest& digest = digests_[bucket_of(id.chunk)];
    --digest.count;
    digest.sum -= digest_hash(id.chunk);
    // Joined with the next one when both are thin, so that memory follows the number of entries.
    if (index + 1 < blocks_.size() && block.count + blocks_[index + 1]->count <= k_block_entries / 2) {
        Block& next = *blocks_[index + 1];
        std::copy_n(next.entries.begin(), next.count,
                    block.entries.begin() + static_cast<std::ptrdiff_t>(block.count));
        block.count += next.count;
        blocks_.erase(blocks_.begin() + static_cast<std::ptrdiff_t>(index) + 1);
    } else if (block.count == 0 && blocks_.size() > 1) {
        blocks_.erase(blocks_.begin() + static_cast<std::ptrdiff_t>(index));
    }
}

std::vector<UnitExtent> FragmentIndex::extents_of(const FragmentEntry& entry) const {
    if (entry.is(FragmentEntry::k_scattered)) return scattered_.at(entry.id());
    return {{entry.first_unit, static_cast<u32>(fragment_units(entry.blocks))}};
}

void FragmentIndex::for_each_after(const std::optional<FragmentId>& after,
                                   const std::function<bool(const FragmentEntry&)>& visit) const {
    usize index = after ? block_for(*after) : 0;
    usize at = 0;
    if (after) {
        at = blocks_[index]->lower_bound(*after);
        if (at < blocks_[index]->count && blocks_[index]->entries[at].id() == *after) ++at;
    }
    for (; index < blocks_.size(); ++index, at = 0)
        for (; at < blocks_[index]->count; ++at)
            if (!visit(blocks_[index]->entries[at])) return;
}

usize FragmentIndex::memory_bytes() const {
    usize bytes = blocks_.capacity() * sizeof blocks_[0] + blocks_.size() * (sizeof(Block) + 16) +
                  digests_.size() * sizeof digests_[0];
    for (const auto& [id, extents] : scattered_) bytes += 96 + extents.capacity() * sizeof(UnitExtent);
    return bytes;
}

FragmentShape fragment_shape(u64 blocks, usize extents, bool adopted) {
    CORELET_ASSERT(blocks > 0 && extents > 0);
    FragmentShape shape;
    u64 const header_bytes = k_header_fixed_bytes + 4 * blocks + sizeof(UnitExtent) * (extents - 1);
    shape.header_blocks = div_ceil(header_bytes, k_block_bytes);
    if (adopted) {
        shape.data_start_block = round_up(shape.header_blocks, k_unit_blocks);
        shape.total_units = shape.data_start_block / k_unit_blocks + div_ceil(blocks, k_unit_blocks);
    } else {
        shape.data_start_block = shape.header_blocks;
        shape.total_units = div_ceil(shape.header_blocks + blocks, k_unit_blocks);
    }
    return shape;
}

}  // namespace corelet
