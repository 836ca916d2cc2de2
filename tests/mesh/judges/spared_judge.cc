// Who is cordoned, drained or a spare gets no fragments of new chunks, as long as there are slots that do without
// it; a spare gets none at all.
#include <set>

#include "tests/mesh/judges/holdings.h"
#include "tests/mesh/judges/judges.h"

namespace corelet {

namespace {

// All owners go by a map that says so, and what they had begun to put by another one is there.
constexpr Duration k_known_after = 15_s;

class SparedJudge final : public Judge {
  public:
    explicit SparedJudge(Trial& trial) : Judge(trial, "spared"), maps_(trial.mesh.size()) {}

    void map_seen(usize index, const MapPtr& map) override {
        for (const mesh::Corelet& corelet : map->corelets)
            if (corelet.role == mesh::Role::kSpare && has_places(*map, corelet.id))
                fail(to_string(corelet.id) + " is a spare, and has places in a table of epoch " +
                     std::to_string(map->epoch.v));
        Known& known = maps_[index];
        known = Known{map, {}};
        for (const mesh::Corelet& corelet : map->corelets)
            if (!corelet.takes_new() && !is_bound(*map, corelet.id)) known.spared.insert(corelet.id);
        // Also if that is so for a moment only: whoever goes by this map may just choose a place.
        std::erase_if(since_, [&](auto const& item) { return !known.spared.contains(item.first); });
    }

    // For how long everybody that is up has known that it is to be spared, and could spare it.
    void look() override {
        std::set<CoreletId> spared, all;
        bool first = true;
        for (usize i = 0; i < mesh().size(); ++i) {
            if (!mesh().node(i)) continue;
            if (std::exchange(first, false)) {
                all = maps_[i].spared;
            } else {
                std::erase_if(all, [&](CoreletId id) { return !maps_[i].spared.contains(id); });
            }
        }
        std::erase_if(since_, [&](auto const& item) { return !all.contains(item.first); });
        for (CoreletId id : all) since_.try_emplace(id, world().now());
    }

    void fragment_seen(usize index, const FragmentInfo& info, bool fresh) override {
        auto const [born, is_new] = born_.try_emplace(info.id.chunk, world().now());
        CoreletId const holder = mesh().id(index);
        if (fresh && is_spare(index)) {
            judged();
            fail(corelet_name(index) + " is a spare, and holds " + name_of(info.id));
        }
        auto const since = since_.find(holder);
        if (!fresh || info.adopted || since == since_.end()) return;
        judged();
        if (born->second - since->second < k_known_after) return;
        fail(corelet_name(index) + " has got " + name_of(info.id) +
             ", a new chunk, though it takes nothing new since " +
             std::to_string((world().now() - since->second).ms()) + " ms");
    }

    void holdings_seen() override { judged(since_.size()); }

  private:
    // In each of some pool's slots somebody is missing, or it is this one's: then new chunks may go there.
    [[nodiscard]] static bool is_bound(const mesh::Map& map, CoreletId id) {
        return std::ranges::any_of(map.pools, [&](const mesh::Pool& pool) {
            if (!pool.current().has(id)) return false;
            for (u32 slot = 0; slot < pool.current().slots(); ++slot)
                if (map.slot_in_service(pool, slot) && map.slot_takes_new(pool, slot)) return false;
            return true;
        });
    }

    // In tables that count from now on; one that was out, and comes back as a spare, is named by former ones.
    [[nodiscard]] static bool has_places(const mesh::Map& map, CoreletId id) {
        return std::ranges::any_of(map.pools, [&](const mesh::Pool& pool) { return pool.current().has(id); });
    }
    [[nodiscard]] static bool had_places(const mesh::Map& map, CoreletId id) {
        return std::ranges::any_of(map.pools, [&](const mesh::Pool& pool) {
            return std::ranges::any_of(pool.tables, [&](auto const& table) { return table->has(id); });
        });
    }

    // By its own map, and has been for long; what a device that was somebody's still has is a stray.
    [[nodiscard]] bool is_spare(usize index) const {
        auto const map = mesh().node(index)->services().maps->current();
        const mesh::Corelet* const its = map->find(mesh().id(index));
        return its && its->role == mesh::Role::kSpare && !trial().atlas.was_damaged(index) &&
               !had_places(*map, its->id);
    }

    struct Known {
        MapPtr map;
        std::set<CoreletId> spared;
    };
    std::vector<Known> maps_;                      // as each corelet knows it
    std::map<CoreletId, sim::VirtualTime> since_;  // who is spared by everybody, since when
    std::map<ChunkId, sim::VirtualTime> born_;     // when the first fragment of each was seen
};

}  // namespace

std::unique_ptr<Judge> make_spared_judge(Trial& trial) {
    return std::make_unique<SparedJudge>(trial);
}

}  // namespace corelet
