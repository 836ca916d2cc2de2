// Acknowledged is durable, at the moment of each answer: every record of the owner's open segment, up to the last
// one acknowledged, is on the media of all its replicas, flushed, verifies, follows the one before, and is the same
// everywhere. So is every record up to a committed end, as it is committed: nobody ends a segment beyond what all
// have (protocols 7.5). What has been looked at once is not looked at again.
#include "base/checksum.h"
#include "stream/owner_core.h"
#include "stream/record.h"
#include "stream/stream_record.h"
#include "tests/mesh/judges/judges.h"

namespace corelet {

namespace {

class LogJudge final : public Judge {
  public:
    explicit LogJudge(Trial& trial) : Judge(trial, "log") {}

    void stream_changed(const pb::Stream& before, const pb::Stream& after,
                        const CatalogChanges::Sessions& /*sessions*/) override {
        for (const pb::Segment& segment : after.segments()) {
            const pb::Segment* const known = find_segment(before, segment.seq());
            bool const was_ended = known && known->state() == pb::Segment::ENDED;
            if (was_ended || segment.state() != pb::Segment::ENDED) continue;
            for (u64 replica : segment.replicas())
                if (auto const info = info_of(CoreletId(replica), {SpaceId(after.space()), segment.seq()}))
                    check(*info, CoreletId(replica), segment.end_bytes());
        }
    }

    void answered(const Answer& answer) override {
        const StreamStatus& stream = answer.stream;
        if (stream.open_seq == 0 || stream.acknowledged_bytes == 0) return;
        SegmentId const segment{space_of(answer.volume), stream.open_seq};
        // Once it is fenced, what counts is what the recovery keeps; the next owner may move it.
        for (CoreletId replica : stream.open_segment)
            if (auto const info = info_of(replica, segment); info && info->epoch == info->opened_epoch)
                check(*info, replica, stream.acknowledged_bytes);
    }

  private:
    struct Chain {
        u64 end = 0;  // of what was looked at
        RecordNumber last;
        u32 crc = 0;
    };
    struct Place {
        SegmentId segment;
        u64 offset = 0;
        friend auto operator<=>(const Place&, const Place&) = default;
    };

    [[nodiscard]] SpaceId space_of(const std::string& volume) {
        SpaceId& space = spaces_[volume];
        if (space.v == 0) space = SpaceId(mesh().stream_record(volume).space());
        return space;
    }

    // As this replica has it, if it is up, sound, and the segment is still open there.
    [[nodiscard]] std::optional<SegmentInfo> info_of(CoreletId replica, SegmentId segment) const {
        auto const i = mesh().index_of(replica);
        const Store* const store = i && !trial().atlas.is_spoiled(*i) ? sound_store(*i) : nullptr;
        if (!store) return std::nullopt;
        auto const info = store->segment_info(segment);
        return info && !info->sealed ? std::optional(*info) : std::nullopt;
    }

    void check(const SegmentInfo& segment, CoreletId replica, u64 end) {
        usize const index = *mesh().index_of(replica);
        Chain& chain = chains_[{segment.id, replica}];
        if (chain.end >= end) return;
        std::string const where = "segment " + to_string(segment.id) + " at " + corelet_name(index);
        auto const bytes = durable(segment.id, index, chain.end, end - chain.end);
        if (!bytes) return fail(where + " has no room for what was acknowledged, up to " + std::to_string(end));
        for (u64 const begin = chain.end; chain.end < end;) {
            judged();
            auto const record = decode_record(bytes->slice(chain.end - begin), segment.id, segment.salt, chain.end);
            std::string const at =
                where + ", byte " + std::to_string(chain.end) + " of " + std::to_string(end) + " that count: ";
            if (!record) return fail(at + "no record is durable there (" + record.error().to_string() + ")");
            const RecordHeader& header = record->header;
            bool const follows =
                chain.end == 0 || (header.number == chain.last.next() && header.previous_crc == chain.crc);
            if (!follows) return fail(at + "the record does not follow the one before");
            // By its mark a recovery tells a loss from an end: it may lag by what is in flight.
            if (header.number.v > header.acknowledged.v + OwnerOptions{}.pipeline_records)
                return fail(at + "the record is number " + std::to_string(header.number.v) +
                            " and says that what is up to " + std::to_string(header.acknowledged.v) +
                            " is acknowledged");
            u64 const size = header.size_bytes();
            u32 const crc = crc32c(bytes->slice(chain.end - begin, size).bytes());
            auto const [known, fresh] = contents_.try_emplace(Place{segment.id, chain.end}, crc);
            if (!fresh && known->second != crc) return fail(at + "another replica has another record there");
            chain = Chain{chain.end + size, header.number, header.crc};
        }
    }

    // What would be there if power were lost now.
    [[nodiscard]] std::optional<Buffer> durable(SegmentId segment, usize index, u64 offset, u64 bytes) const {
        const sim::MediaFile* const device = mesh().machine(index).media().find(mesh().device_path(index));
        auto const places = mesh().node(index)->services().store->segment_places(segment, offset, bytes);
        if (!device || places.empty()) return std::nullopt;
        BufferChain out;
        for (auto const& [at, length] : places) out.append(device->read_durable(at, length));
        return out.flatten();
    }

    std::map<std::string, SpaceId> spaces_;
    std::map<std::pair<SegmentId, CoreletId>, Chain> chains_;
    std::map<Place, u32> contents_;
};

}  // namespace

std::unique_ptr<Judge> make_log_judge(Trial& trial) {
    return std::make_unique<LogJudge>(trial);
}

}  // namespace corelet
