// What vanishes from a store while its corelet lives is dead, or its place's current member has it. A chunk that is
// dead is never referred to again, so what is referred to now was so when the fragment went.
#include "tests/mesh/judges/holdings.h"
#include "tests/mesh/judges/judges.h"

namespace corelet {

namespace {

class DeleteJudge final : public Judge {
  public:
    explicit DeleteJudge(Trial& trial) : Judge(trial, "deletes", 500_ms), had_(trial.mesh.size()) {}

    void look() override {
        std::vector<std::pair<usize, FragmentId>> vanished;
        for (usize i = 0; i < mesh().size(); ++i) look_at(i, vanished);
        if (vanished.empty()) return;
        auto const live = live_chunks_of(mesh(), trial().volumes);
        for (auto const& [index, id] : vanished) {
            judged();
            if (live.contains(id.chunk)) check(index, id);
        }
    }

  private:
    struct Had {
        CoreletId id;
        u64 boot = 0;
        std::set<FragmentId> fragments;
    };

    void look_at(usize index, std::vector<std::pair<usize, FragmentId>>& vanished) {
        Had& had = had_[index];
        if (!mesh().node(index)) return;
        const Store& store = *mesh().node(index)->services().store;
        std::set<FragmentId> now;
        for (const FragmentInfo& info : fragments_of(store)) now.insert(info.id);
        u64 const boot = mesh().machine(index).boots();
        if (had.id == store.identity() && had.boot == boot)
            for (const FragmentId& id : had.fragments)
                if (!now.contains(id)) vanished.emplace_back(index, id);
        had = Had{store.identity(), boot, std::move(now)};
    }

    void check(usize index, const FragmentId& id) const {
        auto const map = mesh().node(index)->services().maps->current();
        for (const mesh::Pool& pool : map->pools) {
            u32 const slot = pool.slot(id.chunk);
            if (id.position >= pool.current().width()) continue;
            CoreletId const member = pool.current().at(slot, id.position);
            std::string const what = "fragment " + std::to_string(id.position) + " of " + to_string(id.chunk) +
                                     ", which is referred to, went from " + corelet_name(index);
            if (member == mesh().id(index)) return fail(what + ", its own place");
            auto const holder = mesh().index_of(member);
            if (holder && mesh().node(*holder) && !mesh().node(*holder)->services().store->fragment_info(id))
                return fail(what + " and is not at its place, " + corelet_name(*holder));
        }
    }

    std::vector<Had> had_;
};

}  // namespace

std::unique_ptr<Judge> make_delete_judge(Trial& trial) {
    return std::make_unique<DeleteJudge>(trial);
}

}  // namespace corelet
