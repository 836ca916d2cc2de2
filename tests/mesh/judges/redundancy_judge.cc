// In the end, and within a bound, all fragments of each chunk that a volume refers to lie where the map says.
// Looked up on the devices: healing's own word is that nothing is missing already.
#include "tests/mesh/judges/holdings.h"
#include "tests/mesh/judges/judges.h"

namespace corelet {

namespace {

// A chunk that was put just before is made whole in the next round of healing.
constexpr Duration k_redundant_within = 30_s;

class RedundancyJudge final : public Judge {
  public:
    explicit RedundancyJudge(Trial& trial) : Judge(trial, "redundancy") {}

    void at_end() override {
        sim::VirtualTime const from = world().now();
        sim::VirtualTime next = from;
        std::string missing;
        auto const complete = [&] {
            if (world().now() < next) return false;
            next = world().now() + 500_ms;
            missing = fragment_missing();
            return missing.empty();
        };
        if (!world().run_until(complete, k_redundant_within) && !world().failed())
            fail(missing + ", though all has been said to be whole for " +
                 std::to_string((world().now() - from).ms()) + " ms");
    }

  private:
    [[nodiscard]] std::string fragment_missing() const {
        auto const asked = mesh().catalog_leader();
        if (!asked) return "nobody leads the catalog";
        auto const map = mesh().node(*asked)->services().maps->current();
        if (map->pools.size() != 1) return {};  // else somebody has to say in which of them a chunk lies
        const mesh::Pool& pool = map->pools.front();
        for (ChunkId chunk : live_chunks_of(mesh(), trial().volumes)) {
            judged();
            for (u8 position = 0; position < pool.current().width(); ++position) {
                CoreletId const member = pool.current().at(pool.slot(chunk), position);
                auto const index = mesh().index_of(member);
                const Store* const store = index ? sound_store(*index) : nullptr;
                if (!store || !store->fragment_info({chunk, position}))
                    return name_of({chunk, position}) + " is not at its place, " + to_string(member);
            }
        }
        return {};
    }
};

}  // namespace

std::unique_ptr<Judge> make_redundancy_judge(Trial& trial) {
    return std::make_unique<RedundancyJudge>(trial);
}

}  // namespace corelet
