// Healers over the corelets of ChunkWorld, with hand-made answers of the node.
#pragma once

#include "chunk/chunk_testing.h"
#include "heal/healer.h"

namespace corelet::testing {

inline constexpr SpaceId k_space{7};

class HandSpaces final : public SpaceDirectory {
  public:
    [[nodiscard]] std::optional<PoolId> pool_of(SpaceId) const override { return k_pool; }
    [[nodiscard]] bool seems_deleted(SpaceId space) const override { return deleted.contains(space); }
    [[nodiscard]] u64 version() const override { return 1; }
    std::set<SpaceId> deleted;
};

// What all corelets of a test are told.
struct HandNode {
    std::function<Result<ChunkFates>(const std::vector<u64>&)> fates;  // none: nobody owns the space
    std::function<void(CoreletId, MapEpoch, u64)> clean;
    std::set<SpaceId> proven_deleted;
    std::set<u64> listed_segments;
    Healer::Options options;
    std::vector<std::pair<CoreletId, std::string>> audits_failed;
};

struct HealRig final : HealPort {
    HealRig(Holder& holder, HandNode& the_node)
        : node(the_node),
          id(holder.rpc->id()),
          healer(holder.env, *holder.store, *holder.rpc, holder.maps, *holder.chunks, *holder.fragments, spaces,
                 *this, the_node.options) {}
    [[nodiscard]] Task<Result<void>> report_clean(PoolId, MapEpoch table_epoch, u64 table_hash) override {
        if (node.clean) node.clean(id, table_epoch, table_hash);
        co_return {};
    }
    [[nodiscard]] Task<Result<ChunkFates>> fates(SpaceId, std::vector<u64> seqs) override {
        if (!node.fates) co_return fail(Code::kUnavailable, "nobody owns the space");
        co_return node.fates(seqs);
    }
    [[nodiscard]] Task<Result<bool>> is_space_deleted(SpaceId space) override {
        co_return node.proven_deleted.contains(space);
    }
    [[nodiscard]] Task<Result<std::set<u64>>> listed_segments(SpaceId) override { co_return node.listed_segments; }

    void audit_failed(CoreletId holder, FragmentId, std::string why) override {
        node.audits_failed.emplace_back(holder, std::move(why));
    }

    HandNode& node;
    CoreletId id;
    HandSpaces spaces;
    Healer healer;
};

class HealWorld {
  public:
    HealWorld(u64 seed, usize corelets, std::string_view redundancy, Healer::Options options = {})
        : node{{}, {}, {}, {}, options, {}},
          chunks(seed, corelets, redundancy, [this](Holder& holder) -> std::shared_ptr<void> {
              auto rig = std::make_shared<HealRig>(holder, node);
              rigs[holder.rpc->id()] = rig;
              return rig;
          }) {
        // What all agree on is committed.
        node.clean = [this](CoreletId id, MapEpoch epoch, u64 hash) {
            clean_reports.emplace_back(id, epoch);
            chunks.change(mesh::SlotsClean{k_pool, id, epoch, hash});
        };
    }
    [[nodiscard]] Healer& healer(usize index) { return rig(index).healer; }
    [[nodiscard]] HealRig& rig(usize index) { return *rigs[ChunkWorld::id(index)].lock(); }
    [[nodiscard]] HealStatus status(usize index) { return healer(index).status(); }
    [[nodiscard]] static ChunkId chunk(u64 seq) { return ChunkId{k_space, seq}; }

    void put_some(u64 count, u64 blocks = 8) {
        for (u64 seq = 1; seq <= count; ++seq) {
            auto const put = chunks.put(0, chunk(seq), data(seq, blocks));
            ASSERT_TRUE(put.has_value()) << put.error().to_string();
        }
    }
    [[nodiscard]] static Buffer data(u64 seq, u64 blocks = 8) { return ChunkWorld::bytes(1000 + seq, blocks); }
    // Every chunk of 1..count has each of its fragments at home, sound; and nobody has anything else of them.
    [[nodiscard]] std::string what_is_wrong(u64 count, bool strays_too = true) {
        for (u64 seq = 1; seq <= count; ++seq) {
            u32 const slot = chunks.slot(chunk(seq));
            for (usize i = 0; i < 24; ++i) {
                if (!rigs.contains(ChunkWorld::id(i)) || rigs[ChunkWorld::id(i)].expired()) continue;
                u32 const held = positions_held(*chunks.at(i).store, chunk(seq), 24);
                auto const place = chunks.pool().current().position_of(slot, ChunkWorld::id(i));
                u32 const wanted = place ? 1U << *place : 0;
                if ((held & wanted) != wanted)
                    return "chunk " + std::to_string(seq) + " misses a fragment at n" + std::to_string(i + 1);
                if (strays_too && held != wanted)
                    return "chunk " + std::to_string(seq) + " has a stray at n" + std::to_string(i + 1);
            }
        }
        return {};
    }
    [[nodiscard]] bool settles(u64 count, Duration bound = 120_s, bool strays_too = true) {
        return chunks.until([&] { return what_is_wrong(count, strays_too).empty(); }, bound);
    }
    void out(usize index) {
        chunks.crash(index);
        chunks.change(mesh::CoreletDown{ChunkWorld::id(index), Incarnation(1)});
        chunks.change(mesh::CoreletOut{ChunkWorld::id(index), false});
        for (auto& [id, rig] : rigs)
            if (auto const alive = rig.lock()) alive->healer.wake();
    }

    HandNode node;
    std::vector<std::pair<CoreletId, MapEpoch>> clean_reports;
    std::map<CoreletId, std::weak_ptr<HealRig>> rigs;
    ChunkWorld chunks;
};

}  // namespace corelet::testing
