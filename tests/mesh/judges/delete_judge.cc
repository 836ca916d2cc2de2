// What vanishes from a store while its corelet lives is dead, or its place's current member has it. A chunk that is
// dead is never referred to again, so what is referred to now was so when the fragment went.
#include "tests/mesh/judges/holdings.h"
#include "tests/mesh/judges/judges.h"

namespace corelet {

namespace {

class DeleteJudge final : public Judge {
  public:
    explicit DeleteJudge(Trial& trial) : Judge(trial, "deletes", 250_ms), had_(trial.mesh.size()) {}

    void after_turn(usize index) override {
        if (!mesh().node(index)) return;
        std::vector<MapPtr>& maps = had_[index].maps;
        auto map = mesh().node(index)->services().maps->current();
        if (maps.empty() || maps.back() != map) maps.push_back(std::move(map));
    }

    void look() override {
        std::vector<Vanished> vanished;
        for (usize i = 0; i < mesh().size(); ++i) look_at(i, vanished);
        if (vanished.empty()) return;
        auto const live = live_chunks_of(mesh(), trial().volumes);
        for (const Vanished& gone : vanished) {
            judged();
            if (!live.contains(gone.id.chunk)) continue;
            std::optional<std::string> wrong;
            for (const MapPtr& map : gone.maps)
                if (wrong = what_is_wrong(gone, *map); !wrong) break;
            if (wrong) return fail(*wrong);
        }
    }

  private:
    using MapPtr = std::shared_ptr<const mesh::Map>;
    struct Had {
        CoreletId id;
        u64 boot = 0;
        std::vector<MapPtr> maps;  // since it was looked at, the last one before that first
        std::set<FragmentId> fragments;
    };
    struct Vanished {
        usize index = 0;
        FragmentId id;
        std::vector<MapPtr> maps;  // by one of which it went
    };

    void look_at(usize index, std::vector<Vanished>& vanished) {
        Had& had = had_[index];
        if (!mesh().node(index)) return;
        const Store& store = *mesh().node(index)->services().store;
        std::set<FragmentId> now;
        for (const FragmentInfo& info : fragments_of(store)) now.insert(info.id);
        u64 const boot = mesh().machine(index).boots();
        if (had.id == store.identity() && had.boot == boot)
            for (const FragmentId& id : had.fragments)
                if (!now.contains(id)) vanished.push_back({index, id, had.maps});
        had = Had{store.identity(), boot, {mesh().node(index)->services().maps->current()}, std::move(now)};
    }

    [[nodiscard]] std::optional<std::string> what_is_wrong(const Vanished& gone, const mesh::Map& map) const {
        const FragmentId& id = gone.id;
        for (const mesh::Pool& pool : map.pools) {
            u32 const slot = pool.slot(id.chunk);
            if (id.position >= pool.current().width()) continue;
            CoreletId const member = pool.current().at(slot, id.position);
            std::string const what = "fragment " + std::to_string(id.position) + " of " + to_string(id.chunk) +
                                     ", which is referred to, went from " + corelet_name(gone.index);
            if (member == mesh().id(gone.index)) return what + ", its own place";
            auto const holder = mesh().index_of(member);
            if (!holder || !mesh().node(*holder)) continue;
            if (!mesh().node(*holder)->services().store->fragment_info(id))
                return what + " and is not at its place, " + corelet_name(*holder);
            if (trial().atlas.has_rotted(*holder, id))
                return what + ", and what is at its place, " + corelet_name(*holder) + ", has rotted";
        }
        return std::nullopt;
    }

    std::vector<Had> had_;
};

}  // namespace

std::unique_ptr<Judge> make_delete_judge(Trial& trial) {
    return std::make_unique<DeleteJudge>(trial);
}

}  // namespace corelet
