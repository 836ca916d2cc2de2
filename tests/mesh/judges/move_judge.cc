// No more data moves than has to: from one map to the next, counted in places of its tables (slots x width). Where
// everybody is up and shares are even before and after: a tenth more than what one that goes away held, and 1.1 of
// an nth for one of n that comes. Where failure domains are too small for even shares, or somebody is down, half
// as much again as the new shares take at least, if that is more.
#include <set>

#include "tests/mesh/judges/judges.h"

namespace corelet {

namespace {

constexpr usize k_maps_of_moves = 64;

// Pools that this epoch changed as a whole: they are not compared.
bool is_comparable(const mesh::Pool& before, const mesh::Pool& after) {
    return before.current().slots() == after.current().slots() &&
           before.current().width() == after.current().width() && !before.move_wanted && !after.move_wanted;
}

class MoveJudge final : public Judge {
  public:
    explicit MoveJudge(Trial& trial) : Judge(trial, "moves") {}

    void map_seen(usize /*index*/, const MapPtr& map) override {
        if (map->epoch.is_zero() || !maps_.try_emplace(map->epoch, map).second) return;
        auto const at = maps_.find(map->epoch);
        if (at != maps_.begin() && std::prev(at)->first.next() == map->epoch) compare(*std::prev(at)->second, *map);
        if (auto const next = std::next(at); next != maps_.end() && map->epoch.next() == next->first)
            compare(*map, *next->second);
        if (maps_.size() > k_maps_of_moves) maps_.erase(maps_.begin());
    }

  private:
    struct Count {
        usize forced = 0;     // places of whoever is gone, leaves, or holds less from now on
        usize voluntary = 0;  // places of all others
    };

    void compare(const mesh::Map& before, const mesh::Map& after) {
        for (const mesh::Pool& pool : after.pools) {
            const mesh::Pool* const was = before.find(pool.id);
            if (!was || was->tables.front() == pool.tables.front()) continue;
            if (was->current().hash() == pool.current().hash()) continue;
            if (!is_comparable(*was, pool)) {
                world().stats().count("moves.not-compared");
                continue;
            }
            look_at(before, after, *was, pool);
        }
    }

    void look_at(const mesh::Map& before, const mesh::Map& after, const mesh::Pool& was,
                 const mesh::Pool& pool) const {
        const mesh::SlotTable& table = pool.current();
        Count const moved = count(before, after, was.current(), table);
        usize const members = std::max<usize>(table.members().size(), 1);
        judged();
        world().stats().count("moves.places", moved.forced + moved.voluntary);
        usize const come = arrivals(before, after, was.current(), table);
        usize const all = usize{table.slots()} * table.width();
        usize const comers = come * all * 11 / 10 / members;
        // One slot of rounding for each of those that have a share.
        usize const by_shares =
            std::max(shortfall(was.current(), table) * 3 / 2, comers + moved.forced * 11 / 10) + members;
        if (moved.forced + moved.voluntary > by_shares)
            return blame(after, was, pool, moved,
                         "what each holds takes no more than " + std::to_string(by_shares));
        if (!is_even(was.current()) || !is_even(table) || !are_up(after, table)) return;
        world().stats().count("moves.even");
        usize const bound = moved.forced / 10 + comers + members;
        if (moved.voluntary > bound)
            blame(after, was, pool, moved,
                  std::to_string(come) + " of " + std::to_string(members) + " corelets came, so " +
                      std::to_string(bound) + " may");
    }

    void blame(const mesh::Map& after, const mesh::Pool& was, const mesh::Pool& pool, const Count& moved,
               const std::string& why) const {
        fail("with epoch " + std::to_string(after.epoch.v) + ", of pool '" + pool.spec.name + "', " +
             std::to_string(moved.voluntary) + " places moved away from corelets that stay, beside " +
             std::to_string(moved.forced) + " of others; " + why + shares(after, was.current(), pool.current()));
    }

    // So many places those that hold more than before have won: fewer than that cannot move.
    [[nodiscard]] static usize shortfall(const mesh::SlotTable& was, const mesh::SlotTable& table) {
        usize out = 0;
        for (CoreletId id : table.members()) {
            usize const before = was.places_of(id).size(), now = table.places_of(id).size();
            out += now > before ? now - before : 0;
        }
        return out;
    }

    // No failure domain is too small for its share: then shares are as if there were none.
    [[nodiscard]] static bool is_even(const mesh::SlotTable& table) {
        usize least = SIZE_MAX, most = 0;
        for (CoreletId id : table.members()) {
            usize const places = table.places_of(id).size();
            least = std::min(least, places);
            most = std::max(most, places);
        }
        return most <= least + least / 50 + 2;
    }

    // It stays, and holds no less than it did.
    [[nodiscard]] static bool stays(const mesh::Map& before, const mesh::Map& after, CoreletId id) {
        const mesh::Corelet* const was = before.find(id);
        const mesh::Corelet* const its = after.find(id);
        return was && its && its->in_service() && its->duty == mesh::Duty::kServe && its->weight >= was->weight;
    }

    [[nodiscard]] static Count count(const mesh::Map& before, const mesh::Map& after, const mesh::SlotTable& was,
                                     const mesh::SlotTable& table) {
        Count out;
        for (u32 slot = 0; slot < table.slots(); ++slot)
            for (u8 position = 0; position < table.width(); ++position) {
                CoreletId const from = was.at(slot, position);
                // Where a hole is, or becomes one for want of corelets, nothing moves.
                if (from.is_zero() || table.at(slot, position).is_zero() || from == table.at(slot, position))
                    continue;
                ++(stays(before, after, from) ? out.voluntary : out.forced);
            }
        return out;
    }

    // Who is down keeps its places and gets none: then others cannot be had for the least.
    [[nodiscard]] static bool are_up(const mesh::Map& map, const mesh::SlotTable& table) {
        return std::ranges::all_of(table.members(), [&](CoreletId id) { return map.is_up(id); });
    }

    // Who may be given places from this epoch on, and could not before.
    [[nodiscard]] static usize arrivals(const mesh::Map& before, const mesh::Map& after, const mesh::SlotTable& was,
                                        const mesh::SlotTable& table) {
        auto const is_one = [&](CoreletId id) {
            const mesh::Corelet* const earlier = before.find(id);
            const mesh::Corelet* const its = after.find(id);
            bool const fresh = !was.has(id) || !earlier || !earlier->is_up() ||
                               earlier->duty != mesh::Duty::kServe || (its && its->weight > earlier->weight);
            return its && its->is_up() && fresh;
        };
        return static_cast<usize>(std::ranges::count_if(table.members(), is_one));
    }

    // For people: what each had, and has.
    [[nodiscard]] static std::string shares(const mesh::Map& map, const mesh::SlotTable& was,
                                            const mesh::SlotTable& table) {
        std::string out;
        std::set<CoreletId> ids(was.members().begin(), was.members().end());
        ids.insert(table.members().begin(), table.members().end());
        for (CoreletId id : ids) {
            const mesh::Corelet* const its = map.find(id);
            out += "\n  " + to_string(id) + " in " + (its ? its->location.zone : "no zone") + ", " +
                   (its ? mesh::state_name(its->state()) : "removed") + ": " +
                   std::to_string(was.places_of(id).size()) + ", then " +
                   std::to_string(table.places_of(id).size());
        }
        return out;
    }

    std::map<MapEpoch, MapPtr> maps_;
};

}  // namespace

std::unique_ptr<Judge> make_move_judge(Trial& trial) {
    return std::make_unique<MoveJudge>(trial);
}

}  // namespace corelet
