// What the log lets go of lies where it was said to. A put is taken where the map that its corelet has then gives
// the fragment its place, by the table that the writer placed it by (protocols 9.1); as a volume comes to refer to
// a chunk, so many of its fragments are durable as a put takes (9.5), and of a segment that was adopted where it
// lies each replica has said that it holds all (8.8).
#include "chunk/chunk.pb.h"
#include "chunk/fragment_server.h"
#include "stream/replica_server.h"
#include "stream/stream.pb.h"
#include "tests/mesh/judges/holdings.h"
#include "tests/mesh/judges/judges.h"
#include "wire/message.h"

namespace corelet {

namespace {

class PutJudge final : public Judge {
  public:
    explicit PutJudge(Trial& trial) : Judge(trial, "puts") {}

    void map_seen(usize /*index*/, const MapPtr& map) override {
        for (const mesh::Pool& pool : map->pools)
            for (const mesh::TablePtr& table : pool.tables)
                tables_.try_emplace({pool.id, table->epoch(), table->hash()}, table);
    }

    void at_moment(usize server, const FaultPoints::Moment& moment) override {
        if (moment.method == chunk_method::k_put.v) at_put(server, moment);
        if (moment.method == stream_method::k_adopt.v && moment.payload) at_adoption(moment);
    }

    void look() override {
        for (const std::string& volume : trial().volumes) look_at(volume);
    }

  private:
    // Of one owner, from one look to the next: what a recovery finds was put at some other time.
    struct Known {
        usize server = 0;
        Epoch epoch;
        std::vector<ChunkId> chunks;  // in order
    };

    void at_put(usize server, const FaultPoints::Moment& moment) {
        auto const put = decode_message<pb::PutFragment>(moment.request);
        if (!put || !mesh().node(server)) return;
        FragmentId const id{{SpaceId(put->space()), put->seq()}, static_cast<u8>(put->position())};
        std::tuple const name{server, moment.caller, id};
        if (!moment.is_done) {
            judged();
            refusals_.insert_or_assign(name, why_refused(server, id, *put));
            return;
        }
        auto const known = refusals_.extract(name);
        if (moment.payload && !known.empty() && known.mapped())
            fail(corelet_name(server) + " took " + name_of(id) + ", and " + *known.mapped());
    }

    // By the map that it has as it is asked.
    [[nodiscard]] std::optional<std::string> why_refused(usize server, const FragmentId& id,
                                                         const pb::PutFragment& put) const {
        auto const map = mesh().node(server)->services().maps->current();
        const mesh::Pool* const pool = map->find(PoolId(put.pool()));
        if (!pool) return "has no such pool in its map";
        auto const row = pool->current().row(pool->slot(id.chunk));
        if (put.position() >= row.size() || row[id.position] != mesh().id(server))
            return "by its map that is another one's place";
        auto const named = tables_.find({pool->id, MapEpoch(put.table_epoch()), put.table_hash()});
        if (named == tables_.end()) return "nobody has had the table that the writer names";
        if (named->second->row(mesh::slot_of(id.chunk, pool->spec.locality, named->second->slots())) != row)
            return "by the writer's table the slot has other members than by its own";
        return std::nullopt;
    }

    void at_adoption(const FaultPoints::Moment& moment) {
        auto const adopted = decode_message<pb::AdoptSegment>(moment.request);
        if (!adopted) return;
        world().stats().count("replica.adopted");
        adopted_[ChunkId{SpaceId(adopted->space()), adopted->seq()}].insert(adopted->position());
    }

    void look_at(const std::string& volume) {
        auto const sole = mesh().sole_server_of(volume);
        if (!sole) return void(known_.erase(volume));
        auto const& [server, stream] = *sole;
        auto now = mesh().node(server)->services().volumes->live_chunks(volume);
        std::ranges::sort(now);
        Known& known = known_[volume];
        std::vector<ChunkId> fresh;
        if (known.server == server && known.epoch == stream.epoch)
            std::ranges::set_difference(now, known.chunks, std::back_inserter(fresh));
        for (ChunkId chunk : fresh) check(server, chunk);
        known = Known{server, stream.epoch, std::move(now)};
    }

    void check(usize server, ChunkId chunk) const {
        auto const map = mesh().node(server)->services().maps->current();
        if (map->pools.size() != 1) return;  // else somebody has to say in which of them it lies
        const mesh::Pool& pool = map->pools.front();
        judged();
        usize most = 0;
        bool is_adopted = false;
        for (u8 position = 0; position < pool.current().width(); ++position) {
            auto const found = find_fragment(mesh(), {chunk, position});
            most += found || may_have(pool.current().at(pool.slot(chunk), position)) ? 1 : 0;
            is_adopted = is_adopted || (found && found->second.adopted);
        }
        auto const adopted = adopted_.find(chunk);
        if (is_adopted) most = adopted == adopted_.end() ? 0 : adopted->second.size();
        usize const least = is_adopted ? pool.current().width() : pool.spec.put_min();
        if (most < least)
            fail("chunk " + to_string(chunk) + " is referred to, and " + std::to_string(most) +
                 (is_adopted ? " of its replicas have said that they hold all of it, of "
                             : " of its fragments are durable at most; a put takes ") +
                 std::to_string(least));
    }

    // It is not up and sound, so that it cannot be looked at, or what it had when the put was taken is gone since.
    [[nodiscard]] bool may_have(CoreletId member) const {
        auto const i = mesh().index_of(member);
        return !member.is_zero() && (!i || trial().atlas.is_spoiled(*i) || !sound_store(*i));
    }

    std::map<std::tuple<PoolId, MapEpoch, u64>, mesh::TablePtr> tables_;  // all there ever were
    // Why what is being carried out is not to be, if it is not: who was asked, by whom, for which fragment.
    std::map<std::tuple<usize, u64, FragmentId>, std::optional<std::string>> refusals_;
    std::map<ChunkId, std::set<u32>> adopted_;  // positions of those who have said so
    std::map<std::string, Known> known_;
};

}  // namespace

std::unique_ptr<Judge> make_put_judge(Trial& trial) {
    return std::make_unique<PutJudge>(trial);
}

}  // namespace corelet
