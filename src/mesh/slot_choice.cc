#include "mesh/slot_choice.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "mesh/strategy.h"

namespace corelet::mesh {
namespace {

// How far the nearest member of each row is from the owner: 0 itself, then the smallest level they share.
class Nearness {
  public:
    Nearness(const Map& map, CoreletId owner) : map_(map), owner_(map.find(owner)) {}

    [[nodiscard]] u32 of_row(const SlotTable& table, u32 slot) {
        u32 nearest = k_far;
        for (unsigned i = 0; i < table.width(); ++i) {
            CoreletId const member = table.at(slot, i);
            if (!member.is_zero()) nearest = std::min(nearest, of(member));
        }
        return nearest;
    }

  private:
    static constexpr u32 k_far = k_level_count;
    [[nodiscard]] u32 of(CoreletId member) {
        auto const [known, fresh] = by_member_.try_emplace(member, k_far);
        const Corelet* const corelet = fresh ? map_.find(member) : nullptr;
        if (corelet == nullptr || owner_ == nullptr) return known->second;
        return known->second = corelet->id == owner_->id ? 0 : corelet->location.distance(owner_->location);
    }

    const Map& map_;
    const Corelet* owner_;
    std::map<CoreletId, u32> by_member_;
};

u32 members_of(const std::set<CoreletId>& some, const SlotTable& table, u32 slot) {
    u32 count = 0;
    for (unsigned i = 0; i < table.width() && !some.empty(); ++i) count += some.contains(table.at(slot, i)) ? 1 : 0;
    return count;
}

}  // namespace

std::vector<bool> choice_of_slots(const Map& map, const Pool& pool, CoreletId owner,
                                  const std::set<CoreletId>& avoided) {
    const SlotTable& table = pool.current();
    const Strategy* const strategy = find_strategy(pool.spec.strategy);
    bool const near = strategy != nullptr && strategy->prefers_owner;
    Nearness nearness(map, owner);
    std::vector<std::tuple<bool, bool, u32, u32>> costs;
    costs.reserve(table.slots());
    for (u32 slot = 0; slot < table.slots(); ++slot)
        costs.emplace_back(!map.slot_in_service(pool, slot), !map.slot_takes_new(pool, slot),
                           members_of(avoided, table, slot), near ? nearness.of_row(table, slot) : 0);
    auto const least = *std::min_element(costs.begin(), costs.end());
    std::vector<bool> out;
    out.reserve(costs.size());
    for (auto const& cost : costs) out.push_back(cost == least);
    return out;
}

}  // namespace corelet::mesh
