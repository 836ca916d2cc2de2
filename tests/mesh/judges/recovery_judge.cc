// What each change of a stream's record relies on, at the moment at which it is committed: whom a recovery has
// fenced, that enough copies were listed, and that who is counted on is up as far as the catalog knows
// (protocols 5.2, 7.2, 7.4).
#include <set>

#include "stream/stream_record.h"
#include "tests/mesh/judges/judges.h"

namespace corelet {

namespace {

using Sessions = CatalogChanges::Sessions;

class RecoveryJudge final : public Judge {
  public:
    explicit RecoveryJudge(Trial& trial) : Judge(trial, "recoveries") {}

    void stream_changed(const pb::Stream& before, const pb::Stream& after, const Sessions& sessions) override {
        judged();
        check_widths(before, after, sessions);
        if (before.epoch() != after.epoch()) taken_[after.space()] = world().now();
        if (!is_recovered(after) || recovered_[after.space()] == after.epoch()) return;
        recovered_[after.space()] = after.epoch();
        check_fences(before, after, sessions);
    }

  private:
    // Its owner has listed a segment of its own, or has ended all as a caretaker.
    [[nodiscard]] static bool is_recovered(const pb::Stream& record) {
        return record.ended_by_caretaker() ||
               std::ranges::any_of(record.segments(), [&](const pb::Segment& segment) {
                   return segment.state() == pb::Segment::LISTED && seq_epoch(segment.seq()).v == record.epoch();
               });
    }

    // Never fewer than the pool's least; and with fewer than all, only those that the catalog holds to be up when
    // they are listed.
    void check_widths(const pb::Stream& before, const pb::Stream& after, const Sessions& sessions) const {
        usize const copies = trial().atlas.copies();
        for (const pb::Segment& segment : after.segments()) {
            const pb::Segment* const known = find_segment(before, segment.seq());
            usize const width = static_cast<usize>(segment.replicas_size());
            std::string const what = name_of(after, segment);
            if (!known && width + 1 < copies)
                fail(what + " has " + std::to_string(width) + " replicas, of " + std::to_string(copies));
            bool const activated =
                segment.state() == pb::Segment::LISTED && (!known || known->state() != pb::Segment::LISTED);
            if (!activated || width >= copies) continue;
            for (u64 replica : segment.replicas())
                if (!sessions.contains(session_key(CoreletId(replica))))
                    fail(what + " was activated with " + to_string(CoreletId(replica)) + ", which has no session");
        }
    }

    // Whoever was counted as fenced says so on its device; of each segment that was listed somebody was, and
    // somebody else if any of its others had a session all the while. Who is down now may have been; of one whose
    // device was replaced since, the record's word is all there is.
    void check_fences(const pb::Stream& before, const pb::Stream& after, const Sessions& sessions) const {
        std::map<u64, bool> says;  // those counted that are up
        std::set<u64> replaced;    // those counted of whom nothing is left
        for (const pb::CountedFence& fence : after.fences()) {
            auto const i = mesh().index_of(CoreletId(fence.corelet()));
            if (!i) replaced.insert(fence.corelet());
            if (i && sound_store(*i)) says.emplace(fence.corelet(), false);
        }
        for (const pb::Segment& segment : before.segments()) {
            if (segment.state() != pb::Segment::LISTED) continue;
            SegmentId const id{SpaceId(after.space()), segment.seq()};
            usize fenced = 0;
            bool another_lives = false;
            for (u64 replica : segment.replicas()) {
                auto const i = mesh().index_of(CoreletId(replica));
                bool const here = i && mesh().node(*i) && is_fenced(*i, id, Epoch(after.epoch()));
                if (here && says.contains(replica)) says[replica] = true;
                bool const unknown = i ? !sound_store(*i) : replaced.contains(replica);
                fenced += here || unknown ? 1 : 0;
                another_lives = another_lives || (!here && !unknown && has_lived(replica, after.space(), sessions));
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
    [[nodiscard]] bool has_lived(u64 corelet, u64 space, const Sessions& sessions) const {
        auto const session = sessions.find(session_key(CoreletId(corelet)));
        auto const taken = taken_.find(space);
        return session != sessions.end() && taken != taken_.end() && session->second.since < taken->second;
    }

    [[nodiscard]] bool is_fenced(usize index, SegmentId segment, Epoch epoch) const {
        auto const info = mesh().node(index)->services().store->segment_info(segment);
        return info && info->epoch >= epoch;
    }

    [[nodiscard]] static std::string name_of(const pb::Stream& stream, const pb::Segment& segment) {
        return "segment " + to_string(SegmentId{SpaceId(stream.space()), segment.seq()});
    }

    std::map<u64, sim::VirtualTime> taken_;  // streams
    std::map<u64, u64> recovered_;           // streams, the last epoch
};

}  // namespace

std::unique_ptr<Judge> make_recovery_judge(Trial& trial) {
    return std::make_unique<RecoveryJudge>(trial);
}

}  // namespace corelet
