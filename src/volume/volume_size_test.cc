// A large volume stays within its bounds of memory. The map of 100 GiB is made up: pages are computed when they are
// asked for.
#include <gtest/gtest.h>

#include <fstream>  // host: reads this process's memory

#include "base/checksum.h"
#include "device/fragment_index.h"
#include "volume/volume_testing.h"

namespace corelet {
namespace {

// A checkpoint of a volume whose every block is mapped, with one content throughout.
class SyntheticVolume final : public Chunks {
  public:
    SyntheticVolume(FakeWorld& world, u64 bytes) : world_(world), blocks_(bytes / k_block_bytes) {
        std::memset(content_.mutable_data(), 0x5A, k_block_bytes);
        crc_ = crc32c(content_.bytes());
        u64 const leaves = div_ceil(blocks_, k_leaf_entries);
        for (u64 leaf = 0; leaf < leaves; ++leaf) refs_.push_back(ref_of(k_leaf_base, leaf, leaf_page(leaf)));
        for (u64 index = 0; index < div_ceil(leaves, k_directory_entries); ++index)
            directory_.push_back(ref_of(k_directory_base, index, directory_page(index)));
        build_root();
    }

    [[nodiscard]] const std::string& root() const { return root_; }

    [[nodiscard]] Task<Result<ChunkPutResult>> put(PoolId pool, ChunkId chunk, BufferChain data,
                                                   std::vector<u32> crcs, ChunkPutOptions options) override {
        return world_.put(pool, chunk, std::move(data), std::move(crcs), options);
    }
    [[nodiscard]] Task<Result<BufferChain>> get(PoolId pool, ChunkId chunk, u64 chunk_bytes, u64 offset, u64 length,
                                                std::vector<u32> expected_crcs, TrafficClass traffic) override {
        if (seq_epoch(chunk.seq).v != 0)
            co_return co_await world_.get(pool, chunk, chunk_bytes, offset, length, expected_crcs, traffic);
        u64 const kind = chunk.seq / k_kind_step * k_kind_step;
        u64 const index = chunk.seq % k_kind_step;
        if (kind == k_data_base) {
            BufferChain out;
            for (u64 at = 0; at < length; at += k_block_bytes) out.append(content_);
            co_return out;
        }
        u64 const page = index * k_pages_per_chunk + (offset / k_block_bytes - 1) / k_page_blocks;
        co_return BufferChain(kind == k_leaf_base        ? leaf_page(page)
                              : kind == k_directory_base ? directory_page(page)
                                                         : made_[page]);
    }
    [[nodiscard]] Task<Result<void>> remove(PoolId, std::vector<ChunkId>, Epoch) override {
        co_return Result<void>{};
    }
    [[nodiscard]] bool can_put(PoolId) const override { return true; }

  private:
    // Epoch 0: names that no owner gives.
    static constexpr u64 k_kind_step = u64{1} << 36;
    static constexpr u64 k_data_base = 1 * k_kind_step, k_leaf_base = 2 * k_kind_step,
                         k_directory_base = 3 * k_kind_step, k_made_base = 4 * k_kind_step;
    static constexpr u64 k_pages_per_chunk = k_map_chunk_pages_max;
    static constexpr u32 k_map_chunk_blocks = 1 + k_map_chunk_pages_max * k_page_blocks;
    static constexpr u32 k_chunk_blocks = 2048;

    [[nodiscard]] static PageRef ref_of(u64 base, u64 page, const Buffer& bytes) {
        PageRef ref{base + page / k_pages_per_chunk,
                    1 + static_cast<u32>(page % k_pages_per_chunk) * k_page_blocks,
                    k_map_chunk_blocks,
                    {}};
        auto const crcs = block_crcs(bytes);
        std::copy(crcs.begin(), crcs.end(), ref.crcs.begin());
        return ref;
    }
    [[nodiscard]] Buffer leaf_page(u64 leaf) const {
        PageData page;
        u64 const per_chunk = data_blocks_in(k_chunk_blocks);
        for (u32 i = 0; i < k_leaf_entries; ++i) {
            u64 const lba = leaf * k_leaf_entries + i;
            if (lba >= blocks_) break;
            page.set_entry(i, {k_data_base + lba / per_chunk, 12 + static_cast<u32>(lba % per_chunk), crc_});
        }
        return Buffer::copy_of(page.bytes);
    }
    [[nodiscard]] Buffer directory_page(u64 index) const {
        PageData page;
        for (u32 i = 0; i < k_directory_entries && index * k_directory_entries + i < refs_.size(); ++i)
            page.set_ref(i, refs_[index * k_directory_entries + i]);
        return Buffer::copy_of(page.bytes);
    }
    PageRef made(const PageData& page) {
        made_.push_back(Buffer::copy_of(page.bytes));
        return ref_of(k_made_base, made_.size() - 1, made_.back());
    }

    void build_root() {
        CheckpointRoot root;
        root.size_bytes = blocks_ * k_block_bytes;
        root.mapped_blocks = blocks_;
        root.position = RecordNumber(1);
        PageData top;
        for (u32 i = 0; i < directory_.size(); ++i) top.set_ref(i, directory_[i]);
        root.pages.push_back(made(top));
        CheckpointTable table;
        ContainerTable containers(1);
        u32 const per_chunk = data_blocks_in(k_chunk_blocks);
        for (u64 first = 0; first < blocks_; first += per_chunk) {
            Container& chunk =
                containers.add(k_data_base + first / per_chunk, ContainerKind::kChunk, k_chunk_blocks);
            for (u32 i = 0; i < per_chunk && first + i < blocks_; ++i)
                containers.gain(chunk, 12 + i, first + i, crc_);
        }
        for (const auto& [index, page] : containers.take_changed_pages({}))
            table.container_pages.push_back(made(*page));
        auto const list = [&](u64 base, u64 pages) {
            for (u64 i = 0; i * k_pages_per_chunk < pages; ++i) {
                u32 const live =
                    static_cast<u32>(std::min(k_pages_per_chunk, pages - i * k_pages_per_chunk)) * k_page_blocks;
                table.map_chunks.push_back({base + i, k_map_chunk_blocks, live, false});
            }
        };
        list(k_leaf_base, refs_.size());
        list(k_directory_base, directory_.size());
        list(k_made_base, made_.size() + 1);
        std::vector<u8> const bytes = encode_table(table);
        ASSERT_LE(bytes.size(), k_page_bytes);
        PageData page;
        std::memcpy(page.bytes.data(), bytes.data(), bytes.size());
        PageRef const ref = made(page);
        root.table.push_back({ref.chunk, ref.chunk_blocks, ref.first_block, k_page_blocks});
        root.table_bytes = bytes.size();
        root.table_crc = crc32c(bytes);
        root_ = encode_root(root);
    }

    FakeWorld& world_;
    u64 blocks_;
    Buffer content_ = Buffer::allocate(k_block_bytes);
    u32 crc_ = 0;
    std::vector<PageRef> refs_, directory_;
    std::vector<Buffer> made_;
    std::string root_;
};

u64 resident_bytes() {
    std::ifstream in("/proc/self/statm");  // host: the bound is on real memory
    u64 total = 0, resident = 0;
    in >> total >> resident;
    return resident * 4096;
}

// The fragments of a full device: 100 GiB in pieces of 256 KiB, the smallest a chunk of 1 MiB gives with k = 4.
FragmentIndex full_index() {
    FragmentIndex index;
    u64 const fragment = 256 * k_kib;
    for (u64 i = 0; i < 100 * k_gib / fragment; ++i) {
        FragmentEntry entry;
        entry.space = 1 + i % 5;
        entry.seq = make_seq(Epoch(1 + i % 3), i);
        entry.blocks = static_cast<u32>(fragment / k_block_bytes);
        entry.first_unit = static_cast<u32>(i * 5);
        entry.k = 4;
        entry.m = 2;
        index.insert(entry, {{entry.first_unit, 5}});
    }
    return index;
}

TEST(SlowVolumeSize, HundredGiBWrittenFitIntoTheBounds) {
    u64 const size = 100 * k_gib;
    VolumeOptions options;
    options.data_fragments = 4;
    options.block_cache_bytes = 16 * k_mib;
    VolumeRig rig(1, options);
    rig.world.faults.delay_us_max = 0;
    SyntheticVolume synthetic(rig.world, size);
    rig.chunks = &synthetic;
    rig.world.root = synthetic.root();
    rig.world.position = rig.world.last_record = RecordNumber(1);
    FragmentIndex const index = full_index();
    RecordProperty("index_mib", static_cast<int>(index.memory_bytes() / k_mib));
    u64 const before = resident_bytes();
    rig.attach();
    ASSERT_EQ(rig.volume->stats().logical_bytes, size);
    auto& cache = rig.volume->core().state.map.cache();
    EXPECT_LT(cache.pages(), 100U) << "an attached volume has loaded next to nothing";
    EXPECT_LT(resident_bytes() - before, 32 * k_mib);
    Prng draw(3);
    std::string const content(4096, 0x5A);
    u64 peak = 0, process_peak = 0;
    for (u32 i = 0; i < 12000; ++i) {
        u64 const offset = draw.below(size / 4096) * 4096;
        if (i % 2 == 0) {
            rig.write(offset, 4096, i + 1);
        } else {
            auto const got = rig.await(rig.volume->read(offset, 4096));
            ASSERT_TRUE(got) << got.error().to_string();
        }
        ASSERT_LE(cache.pages() + cache.copies(), 64 * k_mib / k_page_bytes);
        u64 const now = resident_bytes();
        // What the pool of this test keeps in memory is not the volume's.
        u64 const fake = i % 100 == 0 ? rig.world.bytes_used() : 0;
        if (i % 100 == 0) process_peak = std::max(process_peak, now > 2 * fake ? now - 2 * fake : 0);
        if (i % 100 == 0) peak = std::max(peak, now > before + 2 * fake ? now - before - 2 * fake : 0);
    }
    EXPECT_GT(rig.volume->stats().checkpoints, 1U);
    EXPECT_LT(peak, 160 * k_mib);
    // A whole corelet, less its own few MiB of connections and catalog: index, map, caches, and the program.
    EXPECT_LT(process_peak, 224 * k_mib);
    EXPECT_EQ(index.size(), 100 * k_gib / (256 * k_kib));
    RecordProperty("process_peak_mib", static_cast<int>(process_peak / k_mib));
    RecordProperty("peak_mib", static_cast<int>(peak / k_mib));
    RecordProperty("checkpoints", static_cast<int>(rig.volume->stats().checkpoints));
}

}  // namespace
}  // namespace corelet
