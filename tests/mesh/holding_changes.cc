#include "tests/mesh/holding_changes.h"

#include "tests/mesh/judges/holdings.h"

namespace corelet {

void HoldingChanges::look(const OnSeen& on_seen, const OnGone& on_gone) {
    for (usize i = 0; i < had_.size(); ++i)
        if (mesh_.node(i)) look_at(i, on_seen, on_gone);
}

void HoldingChanges::look_at(usize index, const OnSeen& on_seen, const OnGone& on_gone) {
    Had& had = had_[index];
    const Store& store = *mesh_.node(index)->services().store;
    u64 const boot = mesh_.machine(index).boots();
    bool const same = had.id == store.identity() && had.boot == boot;
    if (!same) had = Had{store.identity(), boot, {}};
    auto now = fragments_of(store);
    auto before = had.fragments.begin();
    for (const FragmentInfo& info : now) {
        for (; before != had.fragments.end() && before->id < info.id; ++before) on_gone(index, before->id);
        if (before != had.fragments.end() && before->id == info.id)
            ++before;
        else
            on_seen(index, info, same);
    }
    for (; before != had.fragments.end(); ++before) on_gone(index, before->id);
    had.fragments = std::move(now);
}

}  // namespace corelet
