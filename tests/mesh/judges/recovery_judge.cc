// What each change of a stream's record relies on, at the moment at which it is committed: whom a recovery has
// fenced, that enough copies were listed, and that who is counted on is up as far as the catalog knows
// (protocols 5.2, 7.2, 7.4).
#include "stream/stream_record.h"
#include "tests/mesh/judges/catalog_changes.h"
#include "tests/mesh/judges/judges.h"

namespace corelet {

namespace {

class RecoveryJudge final : public Judge {
  public:
    explicit RecoveryJudge(Trial& trial) : Judge(trial, "recoveries"), changes_(trial.mesh) {}

    void after_turn(usize index) override {
        if (!mesh().node(index)) return;
        (void)changes_.after_turn(index, [this](const pb::Stream* before, const pb::Stream& after) {
            if (!before) return;
            judged();
            check_widths(*before, after);
            if (before->epoch() != after.epoch()) taken_[after.space()] = world().now();
            if (is_recovered(after) && recovered_[after.space()] != after.epoch()) {
                recovered_[after.space()] = after.epoch();
                check_fences(*before, after);
            }
        });
    }

  private:
    // Its owner has listed a segment of its own, or has ended all as a caretaker.
    [[nodiscard]] static bool is_recovered(const pb::Stream& record) {
        return record.ended_by_caretaker() ||
               std::ranges::any_of(record.segments(), [&](const pb::Segment& segment) {
                   return segment.state() == pb::Segment::LISTED && seq_epoch(segment.seq()).v == record.epoch();
               });
    }

    [[nodiscard]] bool has_session(u64 corelet) const {
        return changes_.sessions().contains(session_key(CoreletId(corelet)));
    }

    // Never fewer than the pool's least; and with fewer than all, only those that the catalog holds to be up when
    // they are listed.
    void check_widths(const pb::Stream& before, const pb::Stream& after) const {
        usize const copies = trial().atlas.copies();
        for (const pb::Segment& segment : after.segments()) {
            auto const known = std::ranges::find(before.segments(), segment.seq(), &pb::Segment::seq);
            bool const is_new = known == before.segments().end();
            usize const width = static_cast<usize>(segment.replicas_size());
            std::string const what = name_of(after, segment);
            if (is_new && width + 1 < copies)
                fail(what + " has " + std::to_string(width) + " replicas, of " + std::to_string(copies));
            bool const activated =
                segment.state() == pb::Segment::LISTED && (is_new || known->state() != pb::Segment::LISTED);
            if (!activated || width >= copies) continue;
            for (u64 replica : segment.replicas())
                if (!has_session(replica))
                    fail(what + " was activated with " + to_string(CoreletId(replica)) + ", which has no session");
        }
    }

    // Whoever was counted as fenced says so on its device; of each segment that was listed somebody was, and
    // somebody else if any of its others had a session all the while. Who is down now may have been.
    void check_fences(const pb::Stream& before, const pb::Stream& after) const {
        std::map<u64, bool> says;  // those counted that are up
        for (const pb::CountedFence& fence : after.fences())
            if (auto const i = mesh().index_of(CoreletId(fence.corelet())); i && is_sound(*i))
                says.emplace(fence.corelet(), false);
        for (const pb::Segment& segment : before.segments()) {
            if (segment.state() != pb::Segment::LISTED) continue;
            SegmentId const id{SpaceId(after.space()), segment.seq()};
            usize fenced = 0;
            bool another_lives = false;
            for (u64 replica : segment.replicas()) {
                auto const i = mesh().index_of(CoreletId(replica));
                bool const here = i && mesh().node(*i) && is_fenced(*i, id, Epoch(after.epoch()));
                if (here && says.contains(replica)) says[replica] = true;
                bool const unknown = i && !is_sound(*i);
                fenced += here || unknown ? 1 : 0;
                another_lives = another_lives || (!here && !unknown && has_lived(replica, after.space()));
            }
            if (fenced == 0 || (fenced == 1 && another_lives))
                fail(name_of(after, segment) + " was listed when epoch " + std::to_string(after.epoch()) +
                     " was recovered, and " + (fenced == 0 ? "no replica is" : "only one is") + " fenced for it");
        }
        for (auto const& [corelet, is_said] : says)
            if (!is_said)
                fail(to_string(CoreletId(corelet)) + " was counted as fenced for epoch " +
                     std::to_string(after.epoch()) + " of stream " + std::to_string(after.space()) +
                     ", and its device knows of no such fence");
    }

    // Has had a session since before the stream was taken.
    [[nodiscard]] bool has_lived(u64 corelet, u64 space) const {
        auto const session = changes_.sessions().find(session_key(CoreletId(corelet)));
        auto const taken = taken_.find(space);
        return session != changes_.sessions().end() && taken != taken_.end() &&
               session->second.since < taken->second;
    }

    [[nodiscard]] bool is_fenced(usize index, SegmentId segment, Epoch epoch) const {
        auto const info = mesh().node(index)->services().store->segment_info(segment);
        return info && info->epoch >= epoch;
    }

    [[nodiscard]] bool is_sound(usize index) const {
        CoreletNode* const node = mesh().node(index);
        return node && !node->services().store->has_forgotten() && !node->services().store->is_failing();
    }

    [[nodiscard]] static std::string name_of(const pb::Stream& stream, const pb::Segment& segment) {
        return "segment " + to_string(SegmentId{SpaceId(stream.space()), segment.seq()});
    }

    CatalogChanges changes_;
    std::map<u64, sim::VirtualTime> taken_;  // streams
    std::map<u64, u64> recovered_;           // streams, the last epoch
};

}  // namespace

std::unique_ptr<Judge> make_recovery_judge(Trial& trial) {
    return std::make_unique<RecoveryJudge>(trial);
}

}  // namespace corelet
