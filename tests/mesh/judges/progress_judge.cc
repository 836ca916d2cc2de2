// Writes go on: what the promise bears delays them for no longer than the protocol's times add up to, and standbys
// are there before they are needed.
#include "tests/mesh/judges/judges.h"

namespace corelet {

namespace {

// A standby that was used, or has lost a replica, is replaced within ten seconds (protocols 5.6).
constexpr Duration k_standby_bound = 10_s;
// One that has lost a replica is none any more at once, or when what its owner waits for has come or not.
constexpr Duration k_withdrawn_within = 5_s;
// One with fewer copies than wanted is left as soon as there are enough corelets again (protocols 5.2).
constexpr Duration k_widened_within = 4_s;
constexpr u64 k_pages_for_writes = 8 * k_mib;
constexpr Duration k_put_patience = 5_s;

class ProgressJudge final : public Judge {
  public:
    explicit ProgressJudge(Trial& trial) : Judge(trial, "progress") {}

    void look() override {
        if (!trial().workload.is_asking()) return;
        if (!began_ || is_slowed()) {
            began_ = world().now();
            covered_.clear();
        }
        if (is_slowed()) return;
        for (const std::string& volume : trial().volumes) {
            judged();
            look_at_waits(volume);
            if (auto const sole = mesh().sole_server_of(volume)) {
                auto const& [owner, stream] = *sole;
                look_at_width(volume, owner, stream);
                look_at_standbys(volume, owner, stream);
                look_at_the_lost(volume, owner, stream);
            } else {
                narrow_.erase(volume);
            }
        }
    }

    void at_end() override {
        world().stats().count("wait-ms", static_cast<u64>(longest_.ms()));
        world().stats().count("wait-in-drill-ms", static_cast<u64>(longest_at_.ms()));
    }

    void answered(const Answer& answer) override {
        // A full pool serves reads.
        if (!answer.is_read || trial().fills) last_write_[answer.volume] = world().now();
    }

  private:
    void look_at_waits(const std::string& volume) {
        auto const promise = trial().atlas.promise_of_writes(volume);
        if (!promise) return;
        sim::VirtualTime since = std::max(promise->since, *began_);
        if (promise->at) {
            auto const oldest = trial().workload.oldest_log_write(volume, *promise->at);
            if (!oldest || trial().atlas.is_troubled(*promise->at)) return;
            since = std::max(since, *oldest);
        } else if (auto const last = last_write_.find(volume); last != last_write_.end()) {
            since = std::max(since, last->second);
        }
        Duration const waited = world().now() - since;
        Duration& longest = promise->at ? longest_at_ : longest_;
        longest = std::max(longest, waited);
        // With few pages in memory a write may wait for a checkpoint, and that for a put that somebody silent does
        // not answer.
        bool const few_pages = mesh().options().page_cache_bytes < k_pages_for_writes;
        if (waited <= promise->wait_max + (few_pages ? k_put_patience : Duration{})) return;
        fail((promise->at ? "a write to " + volume + " at " + corelet_name(*promise->at) + " has waited for "
                          : "no write to " + volume + " was answered for ") +
             std::to_string(waited.ms()) + " ms, though what is broken is within the promise");
    }

    // While everybody is well, and its owner knows it.
    void look_at_width(const std::string& volume, usize owner, const StreamStatus& stream) {
        Narrow& narrow = narrow_.try_emplace(volume, Narrow{world().now(), stream.open_seq}).first->second;
        if (stream.open_segment.size() >= stream.width_wanted || narrow.seq != stream.open_seq ||
            !are_all_well(owner))
            narrow = Narrow{world().now(), stream.open_seq};
        if (world().now() - narrow.since <= k_widened_within) return;
        fail("the log of " + volume + " has " + std::to_string(stream.open_segment.size()) + " copies, not " +
             std::to_string(stream.width_wanted) + ", and for " +
             std::to_string((world().now() - narrow.since).ms()) + " ms all corelets have been up");
    }

    [[nodiscard]] bool are_all_well(usize owner) const {
        auto const map = mesh().node(owner)->services().maps->current();
        for (usize i = 0; i < mesh().size(); ++i)
            if (!mesh().node(i) || trial().atlas.is_troubled(i) || !map->is_up(mesh().id(i))) return false;
        return mesh().node(owner)->services().catalog->is_available();
    }

    // On a mesh that has been whole and left alone for long, for each replica of the open segment but the owner's
    // own there has lately been a listed standby that does without it, if the mesh allows.
    void look_at_standbys(const std::string& volume, usize owner, const StreamStatus& stream) {
        auto& covered = covered_[volume];
        for (CoreletId id : stream.open_segment) {
            bool const done_without = std::ranges::any_of(stream.standbys, [&](auto const& standby) {
                return standby.replicas.size() >= stream.width_wanted &&
                       std::ranges::find(standby.replicas, id) == standby.replicas.end();
            });
            auto const [last, fresh] = covered.try_emplace(id, world().now());
            if (done_without || id == mesh().id(owner)) last->second = world().now();
        }
        std::erase_if(covered, [&](auto const& item) {
            return std::ranges::find(stream.open_segment, item.first) == stream.open_segment.end();
        });
        // An owner that keeps its log on others alone (stream.owner_elsewhere) is none of those to choose from.
        bool const takes_part =
            std::ranges::find(stream.open_segment, mesh().id(owner)) != stream.open_segment.end();
        bool const allowed = mesh().options().corelets - (takes_part ? 0 : 1) > stream.width_wanted;
        if (!allowed || !trial().atlas.is_whole_for_long() ||
            world().now() - trial().atlas.calm_since() <= k_standby_bound)
            return;
        for (auto const& [id, last] : covered)
            if (world().now() - last > k_standby_bound)
                fail("no standby of " + volume + " that does without " + to_string(id) + " was listed for " +
                     std::to_string((world().now() - last).ms()) + " ms");
    }

    // A standby is worth what all its replicas are: one that its owner knows to be down is none (protocols 5.6).
    void look_at_the_lost(const std::string& volume, usize owner, const StreamStatus& stream) {
        auto const map = mesh().node(owner)->services().maps->current();
        auto const before = std::exchange(lost_[volume], {});
        if (trial().atlas.is_troubled(owner) || !mesh().node(owner)->services().catalog->is_available()) return;
        for (const LogSegment& standby : stream.standbys)
            for (CoreletId id : standby.replicas) {
                if (map->is_up(id)) continue;
                auto const known = before.find({standby.id, id});
                auto const since = known == before.end() ? world().now() : known->second;
                lost_[volume].insert_or_assign({standby.id, id}, since);
                if (world().now() - since > k_withdrawn_within)
                    fail("segment " + to_string(standby.id) + " is a standby of " + volume + ", and its owner, " +
                         corelet_name(owner) + ", has known for " + std::to_string((world().now() - since).ms()) +
                         " ms that its replica " + to_string(id) + " is down");
            }
    }

    std::optional<sim::VirtualTime> began_;  // to ask, at full speed
    std::map<std::string, sim::VirtualTime> last_write_;
    std::map<std::string, std::map<CoreletId, sim::VirtualTime>> covered_;
    std::map<std::string, std::map<std::pair<SegmentId, CoreletId>, sim::VirtualTime>> lost_;  // of standbys
    struct Narrow {
        sim::VirtualTime since;
        u64 seq = 0;
    };
    std::map<std::string, Narrow> narrow_;  // the open segments of volumes
    Duration longest_{};
    Duration longest_at_{};
};

}  // namespace

std::unique_ptr<Judge> make_progress_judge(Trial& trial) {
    return std::make_unique<ProgressJudge>(trial);
}

}  // namespace corelet
