// The inventory against what is plainly counted, while fragments come and go, spaces become known and places move.
#include "heal/inventory.h"
#include "chunk/chunk_testing.h"

namespace corelet {
namespace {

using namespace corelet::testing;

class SomeSpaces final : public SpaceDirectory {
  public:
    [[nodiscard]] std::optional<PoolId> pool_of(SpaceId space) const override {
        return known.contains(space) ? std::optional(k_pool) : std::nullopt;
    }
    [[nodiscard]] bool seems_deleted(SpaceId) const override { return false; }
    [[nodiscard]] u64 version() const override { return known.size(); }
    std::set<SpaceId> known;
};

struct Counted {
    std::map<u32, SlotHoldings> slots;
    u64 unplaced = 0;
};

Counted count(Store& store, const mesh::Pool& pool, const SpaceDirectory& spaces) {
    Counted out;
    std::set<ChunkId> seen;
    for (const FragmentInfo& info : store.list_fragments(std::nullopt, 1'000'000)) {
        if (!spaces.pool_of(info.id.chunk.space)) {
            ++out.unplaced;
            continue;
        }
        SlotHoldings& slot = out.slots[pool.slot(info.id.chunk)];
        ++slot.fragments;
        if (pool.current().at(pool.slot(info.id.chunk), info.id.position) == store.identity())
            slot.at_home.add(info.id.chunk);
        if (!seen.insert(info.id.chunk).second) continue;
        slot.held.add(info.id.chunk);
        slot.chunks.push_back(info.id.chunk);
    }
    return out;
}

void expect_same(const Inventory& inventory, const Counted& counted, const mesh::Pool& pool) {
    u64 strays = 0;
    for (u32 slot = 0; slot < pool.current().slots(); ++slot) {
        const SlotHoldings* const held = inventory.find(k_pool, slot);
        auto const wanted = counted.slots.find(slot);
        ASSERT_EQ(held == nullptr, wanted == counted.slots.end()) << slot;
        if (!held) continue;
        EXPECT_EQ(held->chunks, wanted->second.chunks);
        EXPECT_EQ(held->held, wanted->second.held);
        EXPECT_EQ(held->at_home, wanted->second.at_home);
        EXPECT_EQ(held->fragments, wanted->second.fragments);
        strays += held->strays();
    }
    EXPECT_EQ(inventory.strays(k_pool), strays);
    EXPECT_EQ(inventory.unplaced(), counted.unplaced);
}

TEST(Inventory, IsWhatIsCounted) {
    ChunkWorld world(21, 4, "ec:2+1");
    Store& store = *world.at(0).store;
    SomeSpaces spaces;
    spaces.known = {SpaceId(1), SpaceId(2)};
    Inventory inventory(store);
    store.on_fragment_change([&](const FragmentId& id, bool here) { inventory.changed(id, here); });
    Prng draws(5);
    auto const draw = [&] {
        return FragmentId{{SpaceId(1 + draws.below(3)), 1 + draws.below(60)}, static_cast<u8>(draws.below(3))};
    };
    for (int step = 0; step < 400; ++step) {
        FragmentId const id = draw();
        if (store.fragment_info(id)) {
            ASSERT_TRUE(world.run(0, store.remove_fragment(id)).has_value());
        } else {
            world.plant(0, id, {2, 1}, 2 * k_block_bytes, ChunkWorld::bytes(id.chunk.seq, 1));
        }
        if (step == 150) spaces.known.insert(SpaceId(3));
        if (step % 100 == 60) {
            u32 const slot = static_cast<u32>(draws.below(world.pool().current().slots()));
            auto row = world.pool().current().row(slot);
            std::rotate(row.begin(), row.begin() + 1, row.end());
            world.set_map(world.with_row(slot, row));
        }
        if (step % 7 != 0) continue;
        (void)world.run(
            0, [](Inventory* i, std::shared_ptr<const mesh::Map> map, const SpaceDirectory* s) -> Task<int> {
                co_await i->bring_up(map, s);
                co_return 0;
            }(&inventory, world.map_of(0), &spaces));
        expect_same(inventory, count(store, world.pool(), spaces), world.pool());
    }
    EXPECT_LE(inventory.walks(), 1U + 4U + 1U)
        << "walked once, for each new table, and for the space that became known";
    store.on_fragment_change({});
}

// Changes that come while the index is walked are neither lost nor counted twice.
TEST(Inventory, ChangesDuringAWalkCount) {
    ChunkWorld world(22, 4, "ec:2+1");
    Store& store = *world.at(0).store;
    SomeSpaces spaces;
    spaces.known = {SpaceId(1)};
    for (u64 seq = 1; seq <= 2500; ++seq)
        world.plant(0, {{SpaceId(1), seq * 2}, 0}, {2, 1}, 2 * k_block_bytes, ChunkWorld::bytes(seq, 1));
    Inventory inventory(store);
    store.on_fragment_change([&](const FragmentId& id, bool here) { inventory.changed(id, here); });
    struct Tasks {
        static Task<void> walk(Inventory* i, std::shared_ptr<const mesh::Map> map, const SpaceDirectory* s,
                               bool* done) {
            co_await i->bring_up(map, s);
            *done = true;
        }
        // As fast as a walk's batches: what changes is here and there of where the walk is.
        static Task<void> disturb(Inventory* inventory, const bool* done) {
            for (u64 seq = 1; !*done; seq += 2) {
                inventory->changed({{SpaceId(1), seq}, 0}, true);
                inventory->changed({{SpaceId(1), 5001 - seq}, 0}, true);
                inventory->changed({{SpaceId(1), seq}, 0}, false);
                inventory->changed({{SpaceId(1), 5001 - seq}, 0}, false);
                co_await yield();
            }
        }
    };
    // An inventory that is up already, and made anew for a new table.
    bool done = false;
    world.machine(0).spawn(Tasks::walk(&inventory, world.map_of(0), &spaces, &done));
    ASSERT_TRUE(world.until([&] { return done; }, 10_s));
    auto row = world.pool().current().row(3);
    std::rotate(row.begin(), row.begin() + 1, row.end());
    world.set_map(world.with_row(3, row));
    done = false;
    world.machine(0).spawn(Tasks::walk(&inventory, world.map_of(0), &spaces, &done));
    world.machine(0).spawn(Tasks::disturb(&inventory, &done));
    ASSERT_TRUE(world.until([&] { return done; }, 10_s));
    expect_same(inventory, count(store, world.pool(), spaces), world.pool());
    EXPECT_LT(inventory.memory_bytes(), 2500U * 64U);
    store.on_fragment_change({});
}

}  // namespace
}  // namespace corelet
