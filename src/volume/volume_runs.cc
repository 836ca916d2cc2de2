// Where a volume's blocks lie, for people.
#include "volume/volume.h"

namespace corelet {

namespace {
constexpr usize k_run_leaves_max = 1024;  // looked at for one answer
}

bool MappedRun::goes_on_with(const BlockEntry& entry) const {
    if (!first.has_data()) return !entry.has_data() && entry.is_hole() == first.is_hole();
    return entry.container == first.container && entry.block == first.block + blocks;
}

// As the map is now; what is packed or cleaned meanwhile lies elsewhere a moment later.
Task<Result<std::vector<MappedRun>>> Volume::runs(u64 lba, u64 end, usize limit) {
    CORELET_ASSERT(lba < end && end <= size_bytes() / k_block_bytes && limit > 0);
    if (core_.stop_reason) co_return std::unexpected(*core_.stop_reason);
    if (closing_ || !serving_) co_return fail(Code::kShutdown, "the volume is not served here");
    BlockMap& map = core_.state.map;
    std::vector<MappedRun> out;
    auto const add = [&](u64 first, u64 count, const BlockEntry& entry) {
        if (!out.empty() && out.back().goes_on_with(entry))
            out.back().blocks += count;
        else
            out.push_back({first, count, entry, std::nullopt, 0});
    };
    u64 const leaf_end = leaf_of(end - 1) + 1;
    for (usize leaves = 0; lba < end && leaves < k_run_leaves_max && out.size() <= limit; ++leaves) {
        u64 const leaf = leaf_of(lba);
        CO_TRY(u64 const present, co_await core_.ask_map([&] { return map.next_present(leaf, leaf_end); }));
        u64 const until = std::min(end, std::max(present, leaf + 1) * k_leaf_entries);
        if (present > leaf) {
            add(lba, until - lba, BlockEntry{});
            lba = until;
            continue;
        }
        CO_TRY(auto const entries, co_await look_up({lba, static_cast<u32>(until - lba)}));
        for (const BlockEntry& entry : entries) {
            if (out.size() > limit) break;
            add(lba++, 1, entry);
        }
    }
    // The last one may go on.
    if (out.size() > limit) out.pop_back();
    for (MappedRun& run : out)
        if (const Container* const container = core_.state.containers.find(run.first.container)) {
            run.kind = container->kind;
            run.container_blocks = container->blocks;
        }
    CO_TRY_VOID(co_await core_.wait_readable());
    co_return out;
}

}  // namespace corelet
