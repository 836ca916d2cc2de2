// What one corelet can learn of the mesh within half a second: its map and catalog view, and what the others say of
// themselves.
#pragma once

#include "base/json.h"
#include "node/loss_budget.h"
#include "node/node_services.h"

namespace corelet {

struct CoreletReport {
    Json info;     // node_info() of that corelet
    Duration age;  // zero: it answered just now
};
using CoreletReports = std::map<CoreletId, CoreletReport>;

struct MeshView {
    std::shared_ptr<const mesh::Map> map;
    std::vector<KeyValue> streams;  // records of the catalog
    bool fresh = false;             // the catalog's own word; otherwise what is known here
    CoreletReports reports;
};

// Reads the catalog, if it answers, and asks every corelet that the map has up. One that does not answer in time,
// and is heard by membership all the same, is represented by what it said last, if that is no older than ten
// seconds.
[[nodiscard]] Task<MeshView> look_at_mesh(NodeServices& node);

inline constexpr Duration k_word_patience = 500_ms;
// What one corelet answers to a command that corelets may give each other, however long that is; within `patience`.
[[nodiscard]] Task<Result<Json>> ask_corelet(NodeServices& node, CoreletId peer, std::string command,
                                             Json arguments, Duration patience = k_word_patience);
// One corelet's own word, within half a second.
[[nodiscard]] Task<Result<Json>> ask_info(NodeServices& node, CoreletId peer);

// Borrows the view's map.
[[nodiscard]] LossView loss_view(const NodeServices& node, const MeshView& view);

}  // namespace corelet
