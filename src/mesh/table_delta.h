// A slot table as what it differs in from another one of its pool, or packed where there is none: one of a thousand
// corelets joins, and a thousandth of the cells change.
#pragma once

#include "mesh/map_delta.pb.h"
#include "mesh/slot_table.h"

namespace corelet::mesh {

// The shorter of both forms; `base` null: packed.
[[nodiscard]] pb::TableDelta make_table_delta(const SlotTable* base, const SlotTable& table);

// Cells that differ; nothing if one cannot be told by the other (another width, or fewer slots). A base of fewer
// slots counts as doubled.
[[nodiscard]] std::optional<u32> cells_changed(const SlotTable& base, const SlotTable& table);

// `base` is the one that the delta names; null if it names none. kInvalid: it makes no table.
[[nodiscard]] Result<TablePtr> apply_table_delta(const SlotTable* base, const pb::TableDelta& delta);

}  // namespace corelet::mesh
