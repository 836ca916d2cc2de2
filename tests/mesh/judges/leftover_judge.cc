// At the end, when all is whole: within a bound no fragment lies outside of its slot's members, and none that its
// volume does not know stays; replicas of the log lie where the stream's record lists them.
#include "stream/stream_record.h"
#include "tests/mesh/judges/holdings.h"
#include "tests/mesh/judges/judges.h"

namespace corelet {

namespace {

// Strays are offered, and the dead asked for, in each round of healing, which takes 5 s at most here; the owner may
// have to move its horizon first, every 10 s at most. Twice that, for what began in the middle of a round.
constexpr Duration k_fragments_bound = 60_s;

class LeftoverJudge final : public Judge {
  public:
    explicit LeftoverJudge(Trial& trial) : Judge(trial, "leftovers") {}

    void at_end() override {
        sim::VirtualTime const from = world().now();
        sim::VirtualTime next = from;
        std::string left;
        auto const tidy = [&] {
            if (world().now() < next) return false;
            next = world().now() + 500_ms;
            left = fragment_left();
            return left.empty();
        };
        judged();
        if (!world().run_until(tidy, k_fragments_bound) && !world().failed())
            fail(left + ", though the mesh has been whole for " + std::to_string((world().now() - from).ms()) +
                 " ms");
        world().stats().count("tidy-ms", static_cast<u64>((world().now() - from).ms()));
    }

  private:
    // The first one, if any.
    [[nodiscard]] std::string fragment_left() const {
        for (usize i = 0; i < mesh().size(); ++i) {
            if (!mesh().node(i)) return corelet_name(i) + " is not up";
            auto const map = mesh().node(i)->services().maps->current();
            for (const FragmentInfo& info : fragments_of(*mesh().node(i)->services().store)) {
                std::string const what = name_of(info.id) + " at " + corelet_name(i);
                if (!is_at_home(*map, info.id, mesh().id(i))) return what + " lies outside of its slot";
                if (!is_known(info.id.chunk)) return what + " is not known to its volume";
            }
        }
        return {};
    }

    [[nodiscard]] static bool is_at_home(const mesh::Map& map, const FragmentId& id, CoreletId holder) {
        return std::ranges::any_of(map.pools, [&](const mesh::Pool& pool) {
            return id.position < pool.current().width() &&
                   pool.current().at(pool.slot(id.chunk), id.position) == holder;
        });
    }

    // Of a volume that nobody serves nothing is known.
    [[nodiscard]] bool is_known(ChunkId chunk) const {
        for (const std::string& name : trial().volumes)
            for (usize server : mesh().servers_of(name))
                if (auto const known = mesh().node(server)->services().volumes->knows(name, chunk)) return *known;
        return true;
    }
};

}  // namespace

std::unique_ptr<Judge> make_leftover_judge(Trial& trial) {
    return std::make_unique<LeftoverJudge>(trial);
}

}  // namespace corelet
