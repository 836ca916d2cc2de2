// The records of streams in the catalog, state after state as whoever is furthest applies it: what may only grow,
// what is for ever, that each recovery keeps what was acknowledged, that records lie in listed segments which their
// replicas hold, and that nobody answers for a volume, or would, after a later owner's recovery was committed.
#include "stream/stream_record.h"
#include "tests/mesh/judges/judges.h"

namespace corelet {

namespace {

class StreamJudge final : public Judge {
  public:
    explicit StreamJudge(Trial& trial) : Judge(trial, "streams"), applied_(trial.mesh.size()) {}

    void after_turn(usize index) override {
        if (!mesh().node(index)) return;
        auto const& services = mesh().node(index)->services();
        raft::Index const applied = services.raft->core().applied();
        if (applied == applied_[index]) return;
        applied_[index] = applied;
        // An installed snapshot is the core's before it is the catalog's: what the catalog says counts.
        Revision const revision = services.catalog->local().revision();
        if (revision <= revision_) return;
        revision_ = revision;
        look_at(*services.catalog);
    }

    void look() override {
        for (auto& [space, seen] : seen_) check_replicas(seen.record);
        for (const std::string& volume : trial().volumes) check_alone(volume);
        for (const std::string& volume : trial().volumes)
            for (usize server : mesh().servers_of(volume))
                if (Seen* const seen = stream_of(volume)) {
                    auto const status = mesh().stream_status(server, volume).value();
                    acknowledged(*seen, status);
                    check_standbys(*seen, status);
                }
    }

    void answered(const Answer& answer) override {
        after_turn(answer.server);  // it may have learned in this very turn what it goes by
        Seen* const seen = stream_of(answer.volume);
        if (!seen) return;
        judged();
        acknowledged(*seen, answer.stream);
        check_late(*seen, answer);
        if (!answer.is_read) check_listed(*seen, answer);
    }

  private:
    struct Recovery {
        RecordNumber kept;  // the last record of the former epochs that it kept
        sim::VirtualTime at;
    };
    struct Seen {
        std::string value;  // as the catalog has it
        pb::Stream record;
        std::map<u64, u64> ends;  // of ended segments
        std::set<u64> gone;       // no longer listed
        std::set<u64> here;
        std::map<Epoch, RecordNumber> acknowledged;  // the last record, by each owner
        std::map<Epoch, Recovery> recoveries;        // as committed
    };

    [[nodiscard]] Seen* stream_of(const std::string& volume) {
        auto const space = spaces_.find(volume);
        auto const seen = space == spaces_.end() ? seen_.end() : seen_.find(space->second);
        return seen == seen_.end() ? nullptr : &seen->second;
    }

    // Begun after the recovery of a later epoch was committed somewhere: no order of true time explains an answer
    // by the former owner.
    void check_late(const Seen& seen, const Answer& answer) const {
        auto const later = seen.recoveries.upper_bound(answer.stream.epoch);
        if (later == seen.recoveries.end() || answer.begun <= later->second.at) return;
        fail(corelet_name(answer.server) + " answered for " + answer.volume + " at epoch " +
             std::to_string(answer.stream.epoch.v) + (answer.is_read ? " a read" : " a write") + " that began at " +
             std::to_string(answer.begun.ns / 1'000'000) + " ms, after the recovery of epoch " +
             std::to_string(later->first.v) + " was committed, at " +
             std::to_string(later->second.at.ns / 1'000'000) + " ms");
    }

    // Nobody need have asked: whoever holds that it may answer reads without asking anybody would have.
    void check_alone(const std::string& volume) {
        const Seen* const seen = stream_of(volume);
        if (!seen || seen->recoveries.empty()) return;
        auto const& [epoch, recovery] = *seen->recoveries.rbegin();
        for (usize i = 0; i < mesh().size(); ++i) {
            auto const stream = mesh().stream_status(i, volume);
            if (stream && stream->epoch < epoch && stream->may_serve)
                fail(corelet_name(i) + " would answer reads of " + volume + " at epoch " +
                     std::to_string(stream->epoch.v) + ", and the recovery of epoch " + std::to_string(epoch.v) +
                     " was committed at " + std::to_string(recovery.at.ns / 1'000'000) + " ms");
        }
    }

    // What this owner has acknowledged is kept by whoever recovers, then or long ago: after a fence nothing that
    // the recovery has not found is acknowledged.
    void acknowledged(Seen& seen, const StreamStatus& status) const {
        RecordNumber& last = seen.acknowledged[status.epoch];
        if (status.acknowledged <= last) return;
        last = status.acknowledged;
        auto const later = seen.recoveries.upper_bound(status.epoch);
        if (later != seen.recoveries.end()) check_kept(status.epoch, last, later->first, later->second.kept);
    }

    void check_kept(Epoch by, RecordNumber acknowledged, Epoch later, RecordNumber kept) const {
        if (acknowledged <= kept || trial().atlas.may_hide_losses()) return;
        fail("the owner at epoch " + std::to_string(by.v) + " acknowledged up to record " +
             std::to_string(acknowledged.v) + ", and the recovery of epoch " + std::to_string(later.v) +
             " has kept what is up to " + std::to_string(kept.v));
    }

    // Records go where a recovery looks for them.
    void check_listed(const Seen& seen, const Answer& answer) const {
        const StreamStatus& stream = answer.stream;
        if (stream.open_seq == 0 || seen.record.epoch() != stream.epoch.v) return;
        for (const pb::Segment& segment : seen.record.segments())
            if (segment.seq() == stream.open_seq && segment.state() == pb::Segment::LISTED) return;
        fail(corelet_name(answer.server) + " writes into segment " + std::to_string(stream.open_seq) + " of " +
             answer.volume + ", which is not listed");
    }

    // What its owner may roll to is listed. Whoever has asked that it be taken off the list does not know for a
    // while whether it was.
    void check_standbys(const Seen& seen, const StreamStatus& stream) {
        constexpr Duration k_known_within = 5_s;
        if (seen.record.epoch() != stream.epoch.v) return;
        for (const LogSegment& standby : stream.standbys) {
            SegmentId const id = standby.id;
            bool const listed = std::ranges::any_of(seen.record.segments(), [&](const pb::Segment& segment) {
                return segment.seq() == id.seq && segment.state() != pb::Segment::ENDED;
            });
            if (listed) {
                unlisted_.erase(id);
                continue;
            }
            auto const [since, fresh] = unlisted_.try_emplace(id, world().now());
            if (world().now() - since->second > k_known_within)
                fail("segment " + to_string(id) + " is a standby for its owner, and not listed any more");
        }
    }

    // A segment that is listed was prepared on all its replicas, and is there until it is delisted or has ended.
    void check_replicas(const pb::Stream& record) const {
        for (const pb::Segment& segment : record.segments()) {
            if (segment.state() == pb::Segment::ENDED) continue;
            SegmentId const id{SpaceId(record.space()), segment.seq()};
            for (u64 replica : segment.replicas()) {
                auto const i = mesh().index_of(CoreletId(replica));
                const Store* const store = i && !trial().atlas.is_spoiled(*i) ? sound_store(*i) : nullptr;
                if (!store || store->segment_info(id)) continue;
                fail("segment " + to_string(id) + " is listed, and " + corelet_name(*i) + " does not have it");
            }
        }
    }

    void look_at(const Catalog& catalog) {
        for (const KeyValue& item : catalog.local_range("streams/").items) {
            pb::Stream record;
            if (!record.ParseFromString(item.value)) return fail("the record " + item.key + " does not parse");
            auto const [it, fresh] = seen_.try_emplace(record.space());
            if (it->second.value == item.value) continue;
            judged();
            if (!fresh) check_growth(it->second.record, record);
            check_segments(it->second, record);
            note_recovery(it->second, record);
            note_volumes(catalog);
            it->second.value = item.value;
            it->second.record = std::move(record);
        }
        for (const std::string& volume : trial().volumes) check_alone(volume);
    }

    void check_growth(const pb::Stream& before, const pb::Stream& after) const {
        auto const grows = [&](const char* what, u64 from, u64 to) {
            if (to < from)
                fail("stream " + std::to_string(after.space()) + ": its " + what + " went back from " +
                     std::to_string(from) + " to " + std::to_string(to));
        };
        grows("epoch", before.epoch(), after.epoch());
        grows("checkpoint", before.root_position(), after.root_position());
        grows("horizon", before.horizon(), after.horizon());
        grows("roll", before.roll(), after.roll());
        grows("last kept record", before.kept_record(), after.kept_record());
    }

    void check_segments(Seen& seen, const pb::Stream& record) {
        std::set<u64> here;
        for (const pb::Segment& segment : record.segments()) {
            SegmentId const id{SpaceId(record.space()), segment.seq()};
            std::string const what = "segment " + to_string(id);
            here.insert(segment.seq());
            // Else what a guest or another segment has left in its place may pass for its records.
            if (auto const [it, fresh] = salts_.try_emplace(segment.salt(), id); !fresh && it->second != id)
                fail(what + " has the salt of " + to_string(it->second));
            if (seen.gone.contains(segment.seq())) fail(what + " is listed again");
            if (auto const end = seen.ends.find(segment.seq()); end != seen.ends.end()) {
                if (segment.state() != pb::Segment::ENDED || segment.end_bytes() != end->second)
                    fail(what + ": a committed end was changed");
            } else if (segment.state() == pb::Segment::ENDED) {
                seen.ends.emplace(segment.seq(), segment.end_bytes());
            }
        }
        for (u64 seq : seen.here)
            if (!here.contains(seq)) seen.gone.insert(seq);
        seen.here = std::move(here);
    }

    // Its owner has listed a segment of its own, or has ended all as a caretaker.
    void note_recovery(Seen& seen, const pb::Stream& record) const {
        Epoch const epoch(record.epoch());
        bool const recovered =
            record.ended_by_caretaker() || std::ranges::any_of(record.segments(), [&](const pb::Segment& segment) {
                return segment.state() == pb::Segment::LISTED && seq_epoch(segment.seq()) == epoch;
            });
        if (!recovered || seen.recoveries.contains(epoch)) return;
        RecordNumber const kept(record.kept_record());
        seen.recoveries.emplace(epoch, Recovery{kept, world().now()});
        for (auto const& [by, last] : seen.acknowledged)
            if (by < epoch) check_kept(by, last, epoch, kept);
    }

    void note_volumes(const Catalog& catalog) {
        if (spaces_.size() == trial().volumes.size()) return;
        for (const KeyValue& item : catalog.local_range("volumes/").items) {
            pb::Volume volume;
            if (volume.ParseFromString(item.value)) spaces_.insert_or_assign(volume.name(), volume.space());
        }
    }

    std::vector<raft::Index> applied_;
    Revision revision_;
    std::map<u64, Seen> seen_;
    std::map<std::string, u64> spaces_;  // of the volumes
    std::map<u64, SegmentId> salts_;
    std::map<SegmentId, sim::VirtualTime> unlisted_;  // standbys, since when
};

}  // namespace

std::unique_ptr<Judge> make_stream_judge(Trial& trial) {
    return std::make_unique<StreamJudge>(trial);
}

}  // namespace corelet
