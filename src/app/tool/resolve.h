// Which corelet is meant.
#pragma once

#include "app/tool/context.h"

namespace corelet::app {

// A number counts in the order in which `status` lists the corelets (in a lab it is the lab's own); sixteen hex
// digits are an id. The id; kNotFound, kInvalid.
[[nodiscard]] Result<std::string> resolve_corelet(const Context& context, const Reach& reach,
                                                  const std::string& text);

}  // namespace corelet::app
