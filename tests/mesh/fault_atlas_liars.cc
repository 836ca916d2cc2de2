// A corelet that keeps nothing of what it is given and says that it has it.
#include "tests/mesh/fault_atlas.h"
#include "tests/mesh/liar.h"

namespace corelet {

namespace {

constexpr Duration k_dropped_every = 500_ms;
constexpr usize k_dropped_at_once = 4096;

Task<void> drop_everything(Store* store, Clock* clock) {
    for (;;) {
        for (const FragmentInfo& info : store->list_fragments(std::nullopt, k_dropped_at_once))
            (void)co_await store->remove_fragment(info.id);
        co_await clock->sleep(k_dropped_every);
    }
}

}  // namespace

// Until it is found out, or its time is over: then its device is replaced.
void FaultAtlas::begin_to_lie() {
    auto const victim = draw_sound();
    if (!victim || options_.beyond || !mesh_.node(*victim)) return;
    NodeServices& services = mesh_.node(*victim)->services();
    if (!services.healer || services.store->fragment_count() == 0) return;
    world_.stats().count("liar");
    spoil(*victim, Trouble::kSpoiled);
    liar_ = Liar{*victim, services.store->identity(), world_.now()};
    services.healer->pause(true);
    answer_challenges_untruly(services);
    mesh_.spawn(*victim, drop_everything(services.store.get(), &services.env.clock));
    after(k_liar_for, &FaultAtlas::end_liar, *victim);
}

void FaultAtlas::end_liar(usize index) {
    liar_.reset();
    crash_spoiled(index);
}

}  // namespace corelet
