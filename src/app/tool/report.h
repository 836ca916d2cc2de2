// The state of a mesh, as people read it.
#pragma once

#include "app/tool/context.h"
#include "base/json.h"

namespace corelet::app {

inline constexpr usize k_report_lines_max = 12;

// `corelets` in the lab's order, with an `index` each; one that the mesh does not know is `absent`. Behind them
// those that have joined from elsewhere, without an index. Identities that are out and belong to nobody any more go
// to `retired`.
void order_corelets(Json& status, const Lab& lab);
// The mesh's status, in a lab with its order.
[[nodiscard]] Result<Json> ask_status(const Context& context, const Reach& reach);
// For the words of another answer. With --json nobody reads them: an empty object, and nothing is asked.
[[nodiscard]] Result<Json> status_for_words(const Context& context, const Reach& reach);
// "corelet 3" in a lab, else "corelet" and the id.
[[nodiscard]] std::string corelet_label(const Json& status, const std::string& id);
// A newcomer's summary: at most k_report_lines_max lines.
[[nodiscard]] std::string report(const Json& status);
// "you can lose any 2 corelets", "... no corelet".
[[nodiscard]] std::string loss_sentence(const Json& status);

}  // namespace corelet::app
