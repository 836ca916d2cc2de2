#include "mesh/departure.h"

#include <algorithm>

namespace corelet::mesh {
namespace {

usize others_for(const Map& map, const PoolSpec& spec, CoreletId leaving) {
    return static_cast<usize>(std::ranges::count_if(map.corelets, [&](const Corelet& other) {
        return other.id != leaving && other.in_service() && other.weight > 0 && other.suits(spec);
    }));
}

bool holds_places(const Pool& pool, CoreletId id) {
    return std::ranges::any_of(pool.tables, [&](const TablePtr& table) { return table->has(id); });
}

}  // namespace

Result<> check_departure(const Map& map, CoreletId leaving) {
    if (map.find(leaving) == nullptr)
        return fail(Code::kNotFound, "there is no corelet " + to_string(leaving) + "; `corelet status` lists them");
    for (const Pool& pool : map.pools) {
        unsigned const width = pool.spec.redundancy.width();
        usize const others = others_for(map, pool.spec, leaving);
        if (others >= width || !holds_places(pool, leaving)) continue;
        std::string const of_class =
            pool.spec.device_class.empty() ? "" : " with devices of class " + pool.spec.device_class;
        return fail(Code::kInvalid, "pool '" + pool.spec.name + "' is " + pool.spec.redundancy.to_string() +
                                        " and takes " + std::to_string(width) + " corelets" + of_class +
                                        "; without this one there are " + std::to_string(others) + ". Add " +
                                        std::to_string(width - others) + " first: corelet join");
    }
    return {};
}

std::vector<std::string> pools_bound_to(const Map& map, CoreletId id) {
    std::vector<std::string> out;
    for (const Pool& pool : map.pools) {
        const SlotTable& table = pool.current();
        bool bound = table.has(id);
        for (u32 slot = 0; slot < table.slots() && bound; ++slot) {
            auto const row = table.row(slot);
            bound = std::ranges::find(row, id) != row.end();
        }
        if (bound) out.push_back(pool.spec.name);
    }
    return out;
}

}  // namespace corelet::mesh
