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
// Each corelet looks for them every 30 to 45 s, and drops what it has seen twice.
constexpr Duration k_segments_bound = 150_s;

class LeftoverJudge final : public Judge {
  public:
    explicit LeftoverJudge(Trial& trial) : Judge(trial, "leftovers") {}

    void at_end() override {
        sim::VirtualTime const from = world().now();
        wait_until_none(k_fragments_bound, &LeftoverJudge::fragment_left);
        wait_until_none(k_segments_bound, &LeftoverJudge::segment_left);
        world().stats().count("tidy-ms", static_cast<u64>((world().now() - from).ms()));
    }

  private:
    void wait_until_none(Duration bound, std::string (LeftoverJudge::*first_left)() const) {
        if (world().failed()) return;
        sim::VirtualTime const from = world().now();
        sim::VirtualTime next = from;
        std::string left;
        auto const tidy = [&] {
            if (world().now() < next) return false;
            next = world().now() + 500_ms;
            left = (this->*first_left)();
            return left.empty();
        };
        judged();
        if (!world().run_until(tidy, bound) && !world().failed())
            fail(left + ", though the mesh has been whole for " + std::to_string((world().now() - from).ms()) +
                 " ms");
    }

    // The first one, if any.
    [[nodiscard]] std::string fragment_left() const {
        for (usize i = 0; i < mesh().size(); ++i) {
            if (mesh().is_absent(i)) continue;
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

    // Of a log, that its stream's record does not list there.
    [[nodiscard]] std::string segment_left() const {
        std::map<SpaceId, pb::Stream> streams;
        for (const std::string& name : trial().volumes) {
            pb::Stream record = mesh().stream_record(name);
            streams.emplace(SpaceId(record.space()), std::move(record));
        }
        for (usize i = 0; i < mesh().size(); ++i) {
            if (!mesh().node(i)) continue;
            for (const SegmentInfo& info : mesh().node(i)->services().store->list_segments()) {
                auto const stream = streams.find(info.id.space);
                if (stream != streams.end() && !lists(stream->second, info.id.seq, mesh().id(i)))
                    return "segment " + to_string(info.id) + " at " + corelet_name(i) + " is listed by no stream";
            }
        }
        return {};
    }

    [[nodiscard]] static bool lists(const pb::Stream& stream, u64 seq, CoreletId holder) {
        return std::ranges::any_of(stream.segments(), [&](const pb::Segment& segment) {
            return segment.seq() == seq &&
                   std::ranges::find(segment.replicas(), holder.v) != segment.replicas().end();
        });
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
