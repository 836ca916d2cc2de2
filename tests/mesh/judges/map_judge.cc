// All maps of one epoch are the same map, byte for byte, whichever way they came: from the catalog, in parts, as
// changes with gossip or an answer, from the device. At the end the catalog has no pieces left but those of the
// map.
#include "base/hash.h"
#include "mesh/map_codec.h"
#include "tests/mesh/judges/judges.h"

namespace corelet {

namespace {

class MapJudge final : public Judge {
  public:
    explicit MapJudge(Trial& trial) : Judge(trial, "maps") {}

    void map_seen(usize index, const MapPtr& map) override {
        if (map->epoch.is_zero()) return;
        auto const bytes = mesh::encode_map(*map);
        u64 const hash = hash64(as_text(bytes));
        auto const [seen, first] = seen_.try_emplace(map->epoch, Seen{hash, index, bytes.size()});
        if (first) return;
        judged();
        if (seen->second.hash != hash || seen->second.bytes != bytes.size())
            fail("the map of epoch " + std::to_string(map->epoch.v) + " is another one at " + corelet_name(index) +
                 " than at " + corelet_name(seen->second.index));
    }

    // They go some seconds after nothing names them any more.
    void at_end() override {
        auto const tidy = [&] { return pieces_left() == 0; };
        if (!world().run_until(tidy, k_pieces_bound) && !world().failed())
            fail(std::to_string(pieces_left()) + " pieces of former maps are left in the catalog");
    }

  private:
    static constexpr Duration k_pieces_bound = 20_s;

    [[nodiscard]] usize pieces_left() const {
        for (usize i = 0; i < mesh().size(); ++i)
            if (mesh().node(i)) return mesh().node(i)->services().maps->unused_pieces().size();
        return 0;
    }

    struct Seen {
        u64 hash = 0;
        usize index = 0;  // where it was seen first
        usize bytes = 0;
    };
    std::map<MapEpoch, Seen> seen_;
};

}  // namespace

std::unique_ptr<Judge> make_map_judge(Trial& trial) {
    return std::make_unique<MapJudge>(trial);
}

}  // namespace corelet
