// What vanishes from a store while its corelet lives is dead, or its place's current member has it. A chunk that is
// dead is never referred to again, so what is referred to now was so when the fragment went. And the member has
// told so since the holder has had that map: a delete and the word that it rests on are of one epoch
// (protocols 8.5).
#include <algorithm>
#include <set>

#include "chunk/chunk.pb.h"
#include "chunk/fragment_server.h"
#include "tests/mesh/judges/holdings.h"
#include "tests/mesh/judges/judges.h"
#include "wire/message.h"

namespace corelet {

namespace {

// A fragment that goes now was on its way out for so long at most, by a map that may be another one by now; on a
// device that is not slow, of a corelet that has not stood still lately.
constexpr Duration k_removed_within = 1'500_ms;
constexpr Duration k_lately = 5_s;

class DeleteJudge final : public Judge {
  public:
    explicit DeleteJudge(Trial& trial) : Judge(trial, "deletes"), had_(trial.mesh.size()) {}

    void map_seen(usize index, const MapPtr& map) override {
        Had& had = had_[index];
        if (u64 const boot = mesh().machine(index).boots(); std::exchange(had.boot, boot) != boot) {
            had.booted = world().now();
            had.maps.clear();
        }
        had.maps.push_back({map, world().now()});
    }

    void at_moment(usize server, const FaultPoints::Moment& moment) override {
        if (moment.method == heal_method::k_confirm.v && moment.is_done)
            confirmed_[{mesh().id(server), CoreletId(moment.caller)}] = world().now();
        if (moment.method == chunk_method::k_remove.v && !moment.is_done) at_removal(moment);
    }

    void fragment_gone(usize index, const FragmentId& id) override {
        vanished_.push_back({index, id, had_[index].maps});
    }

    void holdings_seen() override {
        for (usize i = 0; i < mesh().size(); ++i) forget_past_maps(i);
        just_gone_ = std::exchange(vanished_, {});
        if (just_gone_.empty()) return;
        auto const live = live_chunks_of(mesh(), trial().volumes);
        for (const Vanished& gone : just_gone_) {
            judged();
            if (!live.contains(gone.id.chunk)) continue;
            if (auto const wrong = wrong_by_all(gone, {})) return fail(*wrong);
        }
    }

  private:
    struct Held {
        MapPtr map;
        sim::VirtualTime since;
    };
    struct Had {
        u64 boot = 0;
        sim::VirtualTime booted;
        std::optional<sim::VirtualTime> troubled;  // the last time it was
        std::vector<Held> maps;  // the one that counted when what goes now may have begun to go, and later
    };
    struct Vanished {
        usize index = 0;
        FragmentId id;
        std::vector<Held> maps;  // by one of which it went
    };

    // First comes the mark in the log (protocols 8.4).
    void at_removal(const FaultPoints::Moment& moment) const {
        auto const owner = mesh().index_of(CoreletId(moment.caller));
        auto const removed = decode_message<pb::RemoveChunks>(moment.request);
        if (!removed || !owner || !mesh().node(*owner) || !mesh().node(*owner)->services().volumes) return;
        for (u64 const seq : removed->seqs()) {
            ChunkId const chunk{SpaceId(removed->space()), seq};
            auto const condemned = mesh().node(*owner)->services().volumes->has_condemned(chunk);
            if (condemned && !*condemned)
                return fail(corelet_name(*owner) + " has " + to_string(chunk) + " removed, which no mark condemns");
            judged(condemned ? 1 : 0);
        }
    }

    void forget_past_maps(usize index) {
        Had& had = had_[index];
        if (trial().atlas.is_troubled(index) || trial().atlas.has_slow_disk(index)) had.troubled = world().now();
        auto const is_past = [&](const Held& next) { return world().now() - next.since >= k_removed_within; };
        while (had.maps.size() > 1 && is_past(had.maps[1])) had.maps.erase(had.maps.begin());
    }

    [[nodiscard]] bool is_slow(usize index) const {
        auto const& troubled = had_[index].troubled;
        return troubled && world().now() - *troubled < k_lately;
    }

    // By the last of its maps, if it is wrong by each. `asked`: who is being asked about the same fragment.
    [[nodiscard]] std::optional<std::string> wrong_by_all(const Vanished& gone, std::set<usize> asked) const {
        asked.insert(gone.index);
        std::optional<std::string> wrong;
        for (const Held& held : gone.maps)
            if (wrong = what_is_wrong(gone, held, asked); !wrong) break;
        return wrong;
    }

    // Since the last look the member may have let go of it too, because a later map has another one who has it. Who
    // leans on each other in a circle has no excuse.
    [[nodiscard]] bool has_passed_it_on(usize member, const FragmentId& id, const std::set<usize>& asked) const {
        if (asked.contains(member)) return false;
        return std::any_of(just_gone_.begin(), just_gone_.end(), [&](const Vanished& other) {
            return other.index == member && other.id == id && !wrong_by_all(other, asked);
        });
    }

    [[nodiscard]] std::optional<std::string> what_is_wrong(const Vanished& gone, const Held& held,
                                                           const std::set<usize>& asked) const {
        const FragmentId& id = gone.id;
        for (const mesh::Pool& pool : held.map->pools) {
            u32 const slot = pool.slot(id.chunk);
            if (id.position >= pool.current().width()) continue;
            CoreletId const member = pool.current().at(slot, id.position);
            std::string const what = name_of(id) + ", which is referred to, went from " + corelet_name(gone.index);
            if (member == mesh().id(gone.index)) return what + ", its own place";
            auto const word = confirmed_.find({member, mesh().id(gone.index)});
            if (!is_slow(gone.index) && (word == confirmed_.end() || word->second < held.since))
                return what + ", and its member " + to_string(member) +
                       " has said nothing of it since the map of epoch " + std::to_string(held.map->epoch.v) +
                       " has come";
            auto const holder = mesh().index_of(member);
            if (!holder || !mesh().node(*holder)) continue;
            if (!mesh().node(*holder)->services().store->fragment_info(id)) {
                if (has_passed_it_on(*holder, id, asked)) continue;
                return what + " and is not at its place, " + corelet_name(*holder);
            }
            if (trial().atlas.has_rotted(*holder, id, rotten_before(gone.index)))
                return what + ", and what is at its place, " + corelet_name(*holder) + ", has rotted";
        }
        return std::nullopt;
    }

    // No word that it still goes by is older.
    [[nodiscard]] sim::VirtualTime rotten_before(usize index) const {
        return std::max(had_[index].booted, sim::VirtualTime{world().now().ns - FaultAtlas::k_longest_answer.ns});
    }

    std::vector<Had> had_;
    std::vector<Vanished> vanished_;                                         // to be judged
    std::vector<Vanished> just_gone_;                                        // being judged
    std::map<std::pair<CoreletId, CoreletId>, sim::VirtualTime> confirmed_;  // the last time, by whom, to whom
};

}  // namespace

std::unique_ptr<Judge> make_delete_judge(Trial& trial) {
    return std::make_unique<DeleteJudge>(trial);
}

}  // namespace corelet
