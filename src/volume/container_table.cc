#include "volume/container_table.h"

#include "base/codec.h"

namespace corelet {

ContainerTable::ContainerTable(u32 small_chunk_blocks) : small_chunk_blocks_(small_chunk_blocks) {}
ContainerTable::~ContainerTable() = default;

Container* ContainerTable::find(u64 seq) {
    if (last_found_ && last_found_->seq == seq) return last_found_;
    auto const found = by_seq_.find(seq);
    if (found == by_seq_.end()) return nullptr;
    return last_found_ = found->second.get();
}

Container& ContainerTable::add(u64 seq, ContainerKind kind, u32 blocks) {
    if (kind == ContainerKind::kMap) return create(seq, kind, blocks, 0);
    if (free_slots_.empty()) {
        free_slots_.insert(static_cast<u32>(slots_.size()));
        slots_.push_back(nullptr);
        changed_.resize(page_count(), 1);
    }
    u32 const slot = *free_slots_.begin();
    free_slots_.erase(free_slots_.begin());
    return create(seq, kind, blocks, slot);
}

Container& ContainerTable::create(u64 seq, ContainerKind kind, u32 blocks, u32 slot) {
    auto& owned = by_seq_[seq];
    CORELET_ASSERT(seq != 0 && !owned, "a container's name is given once");
    owned = std::make_unique<Container>();
    Container& container = *owned;
    container.seq = seq;
    container.kind = kind;
    container.blocks = blocks;
    container.slot = slot;
    if (kind == ContainerKind::kMap) {
        map_chunks_.emplace(seq, &container);
    } else {
        slots_[slot] = &container;
    }
    if (container.in_log()) {
        container.index = std::make_unique<SegmentIndex>();
        segments_.emplace(seq, &container);
    }
    count_in(container);
    place(container);
    changed(container);
    return container;
}

Container& ContainerTable::segment(u64 seq) {
    if (Container* const known = find(seq)) return *known;
    return add(seq, ContainerKind::kSegment, 0);
}

void ContainerTable::erase(u64 seq) {
    Container* const container = find(seq);
    CORELET_ASSERT(container && container->live == 0, "a container that the map names");
    changed(*container);
    count_out(*container);
    if (container->kind == ContainerKind::kMap) {
        map_chunks_.erase(seq);
    } else {
        slots_[container->slot] = nullptr;
        free_slots_.insert(container->slot);
    }
    if (container->in_log()) {
        segments_.erase(seq);
        std::erase(ended_, seq);
    }
    condemned_.erase(seq);
    small_.erase(seq);
    last_found_ = nullptr;
    by_seq_.erase(seq);
}

void ContainerTable::gain(Container& container, u32 block, u64 lba, u32 crc) {
    if (container.index) {
        CORELET_ASSERT(container.in_log());
        SegmentIndex& index = *container.index;
        if (block >= index.lba.size()) {
            index.lba.resize(block + 1, SegmentIndex::k_none);
            index.crc.resize(block + 1);
        }
        CORELET_ASSERT(index.lba[block] == SegmentIndex::k_none, "a block of the log has one address");
        index.lba[block] = lba;
        index.crc[block] = crc;
        if (block >= container.blocks) {
            segment_blocks_ += block + 1 - container.blocks;
            container.blocks = block + 1;
        }
    }
    CORELET_ASSERT(!container.condemned && block < container.blocks);
    count_live(container, 1);
}

void ContainerTable::lose(const BlockEntry& old) {
    if (!old.has_data()) return;
    Container* const container = find(old.container);
    CORELET_ASSERT(container && container->live > 0, "the map named a container that is not known");
    if (container->index) {
        CORELET_ASSERT(container->index->lba.at(old.block) != SegmentIndex::k_none);
        container->index->lba[old.block] = SegmentIndex::k_none;
    }
    count_live(*container, -1);
}

void ContainerTable::set_live(Container& container, u32 live) {
    CORELET_ASSERT(live <= container.blocks);
    count_live(container, i64{live} - i64{container.live});
}

void ContainerTable::end_segment(u64 seq, u64 end_bytes) {
    Container& container = segment(seq);
    if (container.kind != ContainerKind::kSegment) return;
    count_out(container);
    container.kind = ContainerKind::kEnded;
    container.blocks = std::max(container.blocks, static_cast<u32>(end_bytes / k_block_bytes));
    count_in(container);
    ended_.push_back(seq);
    changed(container);
}

void ContainerTable::adopt(Container& segment, u32 blocks, u64 index_chunk) {
    CORELET_ASSERT(segment.kind == ContainerKind::kEnded && blocks >= segment.blocks);
    count_out(segment);
    segments_.erase(segment.seq);
    std::erase(ended_, segment.seq);
    adopted_.push_back(segment.seq);
    segment.kind = ContainerKind::kAdopted;
    segment.blocks = blocks;
    segment.index_chunk = index_chunk;
    segment.index.reset();
    count_in(segment);
    place(segment);
    changed(segment);
}

void ContainerTable::condemn(u64 seq, RecordNumber at) {
    Container* const container = find(seq);
    // Gone already: the mark was replayed after the delete, or an index went with its segment.
    if (!container || container->condemned) return;
    CORELET_ASSERT(container->live == 0, "a mark on what the map names");
    count_out(*container);
    container->condemned = true;
    container->condemned_at = at;
    condemned_.emplace(seq, container);
    small_.erase(seq);
    count_in(*container);
    place(*container);
    changed(*container);
}

std::vector<Container*> ContainerTable::packable() const {
    std::vector<Container*> out;
    for (u64 const seq : ended_) {
        Container* const container = by_seq_.at(seq).get();
        if (container->live > 0 && !container->lost_blocks) out.push_back(container);
    }
    return out;
}

void ContainerTable::forget_losses() {
    for (Container* const container : slots_)
        if (container) container->lost_blocks = false;
}

std::vector<u64> ContainerTable::releasable() const {
    std::vector<u64> out;
    for (u64 const seq : ended_)
        if (by_seq_.at(seq)->live == 0) out.push_back(seq);
    return out;
}

void ContainerTable::forget_adopted(usize count) {
    CORELET_ASSERT(count <= adopted_.size());
    adopted_.erase(adopted_.begin(), adopted_.begin() + static_cast<std::ptrdiff_t>(count));
}

std::vector<u64> ContainerTable::dead() const {
    std::vector<u64> out;
    const_cast<IntrusiveList<Container>&>(buckets_[0]).for_each([&](Container& container) {
        out.push_back(container.seq);
        if (container.index_chunk != 0) out.push_back(container.index_chunk);
    });
    for (const auto& [seq, container] : map_chunks_)
        if (container->live == 0 && !container->condemned) out.push_back(seq);
    return out;
}

std::vector<u64> ContainerTable::live_chunks() const {
    std::vector<u64> out;
    for (const Container* const container : slots_) {
        if (!container || container->in_log() || container->live == 0 || container->condemned) continue;
        out.push_back(container->seq);
    }
    for (auto const& [seq, chunk] : map_chunks_)
        if (chunk->live != 0 && !chunk->condemned) out.push_back(seq);
    return out;
}

std::vector<u64> ContainerTable::condemned() const {
    std::vector<u64> out;
    for (const auto& [seq, container] : condemned_) out.push_back(seq);
    return out;
}

std::vector<Container*> ContainerTable::victims(u64 live_blocks_max, u32 live_permille_max, usize count_max) const {
    std::vector<Container*> out;
    u64 live = 0;
    for (usize bucket = 1; bucket < k_buckets; ++bucket) {
        const_cast<IntrusiveList<Container>&>(buckets_[bucket]).for_each([&](Container& container) {
            bool const poor = u64{container.live} * 1000 <= u64{container.blocks} * live_permille_max;
            if (!poor || container.lost_blocks || out.size() >= count_max ||
                (!out.empty() && live + container.live > live_blocks_max))
                return;
            live += container.live;
            out.push_back(&container);
        });
        if (out.size() >= count_max || live >= live_blocks_max) break;
    }
    return out;
}

usize ContainerTable::bucket_of(const Container& container) {
    if (container.live == 0) return 0;
    return std::max<usize>(1, usize{container.live} * (k_buckets - 1) / container.blocks);
}

// Data chunks stand in the list of their live share.
void ContainerTable::place(Container& container) {
    container.unlink();
    if (!container.is_data_chunk() || container.condemned) return;
    buckets_[bucket_of(container)].push_back(container);
    bool const small = container.live > 0 && container.blocks < small_chunk_blocks_;
    if (small) small_.emplace(container.seq, &container);
    if (!small) small_.erase(container.seq);
}

void ContainerTable::count_live(Container& container, i64 change) {
    u32 const before = container.live;
    usize const bucket = container.is_data_chunk() ? bucket_of(container) : 0;
    container.live = static_cast<u32>(i64{before} + change);
    CORELET_ASSERT(container.live <= container.blocks);
    auto const shift = static_cast<u64>(change);  // wraps as wanted
    if (container.in_log()) segment_live_ += shift;
    if (container.kind == ContainerKind::kMap) map_live_ += shift;
    if (container.is_data_chunk()) {
        chunk_live_ += shift;
        if (before == 0 && container.live != 0) --dead_count_, dead_blocks_ -= container.blocks;
        if (before != 0 && container.live == 0) ++dead_count_, dead_blocks_ += container.blocks;
        if (bucket_of(container) != bucket || before == 0 || container.live == 0) place(container);
    }
    changed(container);
}

void ContainerTable::count_in(const Container& container) {
    if (container.in_log()) segment_blocks_ += container.blocks, segment_live_ += container.live;
    if (container.kind == ContainerKind::kMap) map_blocks_ += container.blocks, map_live_ += container.live;
    if (container.is_data_chunk() && !container.condemned) {
        chunk_blocks_ += container.blocks, chunk_live_ += container.live;
        if (container.live == 0) ++dead_count_, dead_blocks_ += container.blocks;
    }
    if (container.condemned && container.kind != ContainerKind::kMap) ++condemned_data_;
}

void ContainerTable::count_out(const Container& container) {
    if (container.in_log()) segment_blocks_ -= container.blocks, segment_live_ -= container.live;
    if (container.kind == ContainerKind::kMap) map_blocks_ -= container.blocks, map_live_ -= container.live;
    if (container.is_data_chunk() && !container.condemned) {
        chunk_blocks_ -= container.blocks, chunk_live_ -= container.live;
        if (container.live == 0) --dead_count_, dead_blocks_ -= container.blocks;
    }
    if (container.condemned && container.kind != ContainerKind::kMap) --condemned_data_;
}

void ContainerTable::changed(const Container& container) {
    if (container.kind != ContainerKind::kMap) changed_.at(container.slot / k_records_per_page) = 1;
}

std::map<u32, ContainerTable::Page> ContainerTable::take_changed_pages(const std::vector<u64>& without) {
    std::set<u64> const left_out(without.begin(), without.end());
    for (u64 const seq : without) changed(*find(seq));
    std::map<u32, Page> out;
    for (u32 page = 0; page < changed_.size(); ++page) {
        if (!std::exchange(changed_[page], u8{0})) continue;
        auto data = std::make_shared<PageData>();
        for (u32 i = 0; i < k_records_per_page && page * k_records_per_page + i < slots_.size(); ++i) {
            const Container* const container = slots_[page * k_records_per_page + i];
            if (!container || left_out.contains(container->seq)) continue;
            Writer record;
            record.put(container->seq).put(container->blocks).put(container->live);
            record.put(static_cast<u8>(container->kind))
                .put(static_cast<u8>(container->condemned ? 1 : 0))
                .put(u16{0});
            record.put(u32{0}).put(container->index_chunk);
            CORELET_ASSERT(record.size() == k_record_bytes);
            std::memcpy(data->bytes.data() + i * k_record_bytes, record.data().data(), k_record_bytes);
        }
        out.emplace(page, std::move(data));
    }
    return out;
}

Result<void> ContainerTable::restore_page(u32 page, const PageData& data) {
    u32 const first = page * k_records_per_page;
    if (slots_.size() < first + k_records_per_page) slots_.resize(first + k_records_per_page);
    changed_.resize(page_count(), 0);
    for (u32 i = 0; i < k_records_per_page; ++i) {
        Reader in(Bytes(data.bytes).subspan(i * k_record_bytes, k_record_bytes));
        u64 const seq = in.get<u64>();
        u32 const blocks = in.get<u32>();
        u32 const live = in.get<u32>();
        u8 const kind = in.get<u8>();
        u8 const flags = in.get<u8>();
        (void)in.get_raw(6);
        u64 const index_chunk = in.get<u64>();
        if (seq == 0) {
            free_slots_.insert(first + i);
            continue;
        }
        if (kind < 1 || kind > 5 || live > blocks || by_seq_.contains(seq) || ((flags & 1) != 0 && live > 0))
            return fail(Code::kCorrupt, "container table: bad record", seq);
        Container& container = create(seq, static_cast<ContainerKind>(kind), blocks, first + i);
        container.index_chunk = index_chunk;
        if (container.kind == ContainerKind::kEnded) ended_.push_back(seq);
        if (container.kind == ContainerKind::kAdopted) adopted_.push_back(seq);
        count_out(container);
        container.live = live;
        container.condemned = (flags & 1) != 0;
        if (container.condemned) condemned_.emplace(seq, &container);
        container.is_leftover = container.condemned || (container.is_data_chunk() && live == 0);
        count_in(container);
        place(container);
    }
    changed_[page] = 0;
    return {};
}

std::vector<ContainerTable::LiveBlock> ContainerTable::live_blocks(const Container& segment) {
    std::vector<LiveBlock> out;
    if (!segment.index) return out;
    out.reserve(segment.live);
    const SegmentIndex& index = *segment.index;
    for (u32 block = 0; block < index.lba.size(); ++block)
        if (index.lba[block] != SegmentIndex::k_none) out.push_back({block, index.lba[block], index.crc[block]});
    CORELET_ASSERT(out.size() == segment.live);
    return out;
}

Result<void> ContainerTable::restore_index(u64 segment, const std::vector<LiveBlock>& live) {
    Container* const container = find(segment);
    if (!container || !container->index || live.size() != container->live)
        return fail(Code::kCorrupt, "checkpoint: live blocks of a segment that does not have them", segment);
    SegmentIndex& index = *container->index;
    index.lba.assign(container->blocks, SegmentIndex::k_none);
    index.crc.assign(container->blocks, 0);
    for (const LiveBlock& block : live) {
        if (block.block >= container->blocks)
            return fail(Code::kCorrupt, "checkpoint: block beyond its segment", segment);
        index.lba[block.block] = block.lba;
        index.crc[block.block] = block.crc;
    }
    return {};
}

ContainerTable::Totals ContainerTable::totals() const {
    return {.chunk_blocks = chunk_blocks_,
            .chunk_live = chunk_live_,
            .dead_blocks = dead_blocks_,
            .segment_blocks = segment_blocks_,
            .segment_live = segment_live_,
            .map_blocks = map_blocks_,
            .map_live = map_live_,
            .containers = by_seq_.size(),
            .dead_chunks = dead_count_,
            .condemned = condemned_.size(),
            .condemned_data = condemned_data_};
}

}  // namespace corelet
