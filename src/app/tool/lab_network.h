// A network for a lab whose corelets talk TCP: a namespace for each, on a bridge that this machine reaches too.
// Needs root and iproute2.
#pragma once

#include "app/tool/lab_state.h"

namespace corelet::app {

// The first three numbers of addresses that no interface of this machine uses. kDenied without root, kNotFound
// without iproute2.
[[nodiscard]] Result<std::string> choose_network(const std::string& directory);
// What is there already and whole is left as it is.
[[nodiscard]] Result<void> raise_network(const Lab& lab);
// All that a lab in this directory has left on the machine, whole or not.
void remove_network(const std::string& directory);
[[nodiscard]] std::string bridge_of(const Lab& lab);
[[nodiscard]] std::string namespace_of(const Lab& lab, const LabMember& member);

// Packets between members of `lab.cut_off` and `lab.cut_from`, or all others, vanish, both ways, until mended.
// Mending is harmless when there is nothing to mend.
[[nodiscard]] Result<void> cut_network(const Lab& lab);
[[nodiscard]] Result<void> mend_network(const Lab& lab);

}  // namespace corelet::app
