// Whether `status` tells the truth about what may be lost (invariant 11): now and then a corelet is asked, as any
// user may, and what it claims is held against what lies on the devices: every subset of the size it names is taken
// away in thought.
#include <numeric>

#include "base/json.h"
#include "stream/stream_record.h"
#include "tests/mesh/judges/holdings.h"
#include "tests/mesh/judges/judges.h"

namespace corelet {

namespace {
constexpr Duration k_detected_after = 6_s;
constexpr Duration k_votes_after = 3_s;  // whoever has just started, and counts already
constexpr Duration k_ask_every = 1500_ms;
constexpr u8 k_positions_max = 24;

class CanLoseJudge final : public Judge {
  public:
    explicit CanLoseJudge(Trial& trial)
        : Judge(trial, "can-lose"), random_(world().fork("loss judge")), seen_(trial.mesh.size()) {}
    // Judges the answer to the last question, if nothing happened since, and asks anew.
    void look() override;

  private:
    struct Question {
        std::shared_ptr<std::optional<Result<std::string>>> answer;
        sim::VirtualTime until;
        std::set<std::string> known;  // what there was when it was asked
        bool disturbed = false;
    };
    // A chunk, a segment, the votes: so much has to be left of it, and it lies there.
    struct Item {
        std::string what;
        usize needed = 1;
        std::vector<std::pair<usize, u64>> holders;  // corelet, and what it has of it, as bits
    };
    struct Seen {
        CoreletId id;
        bool up = false;
        bool votes = false;
    };
    [[nodiscard]] bool is_settled();
    void judge(const std::string& answer, const std::set<std::string>& known);
    [[nodiscard]] std::vector<Item> everything(usize leader) const;
    [[nodiscard]] Item votes(usize leader) const;
    [[nodiscard]] Item chunk(ChunkId id, usize needed) const;
    void add_chunks(usize leader, std::vector<Item>& out) const;
    void add_segments(usize leader, std::vector<Item>& out) const;
    [[nodiscard]] static std::optional<std::string> lost_without(const std::vector<Item>& items,
                                                                 const std::set<usize>& gone);
    // Some `count` of the groups whose going loses something, and what.
    [[nodiscard]] std::optional<std::string> any_loss(const std::vector<Item>& items,
                                                      const std::vector<std::set<usize>>& groups, usize count);

    Prng random_;
    std::vector<Seen> seen_;
    std::vector<CoreletId> voters_;  // as the leader has them; somebody may answer yet by those before
    sim::VirtualTime settled_from_{};
    sim::VirtualTime next_{};
    std::optional<Question> question_;
};

// Whoever died, was replaced, or does not vote has been so for long enough to be detected; and all know who the
// voters are.
bool CanLoseJudge::is_settled() {
    for (usize i = 0; i < mesh().size(); ++i) {
        bool const up = mesh().node(i) != nullptr;
        bool const votes = up && !mesh().node(i)->services().raft->core().barred();
        bool const died = (seen_[i].up && !up) || (seen_[i].votes && !votes);
        bool const other = !seen_[i].id.is_zero() && seen_[i].id != mesh().id(i);
        if (died || other) settled_from_ = world().now() + k_detected_after;
        if (!seen_[i].up && up) settled_from_ = std::max(settled_from_, world().now() + k_votes_after);
        seen_[i] = {mesh().id(i), up, votes};
    }
    auto const leads = mesh().catalog_leader();
    bool const other_voters = leads && voters_ != mesh().node(*leads)->services().raft->configuration().voters;
    if (other_voters) voters_ = mesh().node(*leads)->services().raft->configuration().voters;
    if (other_voters || !trial().atlas.is_open()) settled_from_ = std::max(settled_from_, world().now() + 1_s);
    return world().now() >= settled_from_;
}

void CanLoseJudge::look() {
    bool const settled = is_settled() && !is_slowed();
    if (question_) {
        question_->disturbed = question_->disturbed || !settled;
        if (question_->answer->has_value()) {
            if (!question_->disturbed && **question_->answer) judge(***question_->answer, question_->known);
            question_.reset();
        } else if (world().now() >= question_->until) {
            question_.reset();  // whom it was asked died
        }
        return;
    }
    if (!settled || world().now() < next_) return;
    next_ = world().now() + k_ask_every;
    std::vector<usize> up;
    for (usize i = 0; i < mesh().size(); ++i)
        if (mesh().node(i)) up.push_back(i);
    if (up.empty()) return;
    auto const leads = mesh().catalog_leader();
    if (!leads) return;
    question_ =
        Question{mesh().request(up[random_.below(up.size())], "status", "{}"), world().now() + 3_s, {}, false};
    for (Item& item : everything(*leads)) question_->known.insert(std::move(item.what));
}

CanLoseJudge::Item CanLoseJudge::votes(usize leader) const {
    auto const& voters = mesh().node(leader)->services().raft->configuration().voters;
    Item out{"the catalog's quorum", voters.size() / 2 + 1, {}};
    for (CoreletId id : voters)
        if (auto const i = mesh().index_of(id);
            i && mesh().node(*i) && !mesh().node(*i)->services().raft->core().barred())
            out.holders.emplace_back(*i, u64{1} << *i);
    return out;
}

CanLoseJudge::Item CanLoseJudge::chunk(ChunkId id, usize needed) const {
    Item out{"chunk " + to_string(id), needed, {}};
    for (usize i = 0; i < mesh().size(); ++i) {
        if (!mesh().node(i)) continue;
        u64 positions = 0;
        for (u8 p = 0; p < k_positions_max; ++p)
            if (mesh().node(i)->services().store->fragment_info(FragmentId{id, p})) positions |= u64{1} << p;
        if (positions != 0) out.holders.emplace_back(i, positions);
    }
    return out;
}

void CanLoseJudge::add_chunks(usize leader, std::vector<Item>& out) const {
    auto const map = mesh().node(leader)->services().maps->current();
    for (ChunkId id : live_chunks_of(mesh(), trial().volumes))
        out.push_back(chunk(id, map->pools.front().spec.redundancy.k));
}

void CanLoseJudge::add_segments(usize leader, std::vector<Item>& out) const {
    for (const KeyValue& item : mesh().node(leader)->services().catalog->local_range("streams/").items) {
        pb::Stream stream;
        if (!stream.ParseFromString(item.value)) continue;
        for (const pb::Segment& segment : stream.segments()) {
            if (segment.state() == pb::Segment::DORMANT) continue;
            SegmentId const id{SpaceId(stream.space()), segment.seq()};
            std::string where;
            for (u64 replica : segment.replicas()) {
                auto const i = mesh().index_of(CoreletId(replica));
                where +=
                    (where.empty() ? " of " : " and ") + (i ? corelet_name(*i) : to_string(CoreletId(replica)));
            }
            bool const ended = segment.state() == pb::Segment::ENDED;
            Item kept{(ended ? "ended segment " : "listed segment ") + to_string(id) + where, 1, {}};
            for (u64 replica : segment.replicas()) {
                auto const i = mesh().index_of(CoreletId(replica));
                if (!i || !mesh().node(*i)) continue;
                const Store& store = *mesh().node(*i)->services().store;
                if (store.has_forgotten() || store.is_failing()) continue;
                bool here = store.segment_info(id).has_value();
                for (u8 p = 0; p < k_positions_max && !here; ++p)
                    here = store.fragment_info(FragmentId{id, p}).has_value();
                if (here) kept.holders.emplace_back(*i, u64{1} << *i);
            }
            out.push_back(std::move(kept));
        }
    }
}

std::vector<CanLoseJudge::Item> CanLoseJudge::everything(usize leader) const {
    std::vector<Item> out{votes(leader)};
    add_segments(leader, out);
    add_chunks(leader, out);
    return out;
}

std::optional<std::string> CanLoseJudge::lost_without(const std::vector<Item>& items, const std::set<usize>& gone) {
    for (const Item& item : items) {
        u64 left = 0;
        for (auto const& [holder, parts] : item.holders)
            if (!gone.contains(holder)) left |= parts;
        if (static_cast<usize>(std::popcount(left)) < item.needed)
            return item.what + " has " + std::to_string(std::popcount(left)) + " of the " +
                   std::to_string(item.needed) + " it needs";
    }
    return std::nullopt;
}

std::optional<std::string> CanLoseJudge::any_loss(const std::vector<Item>& items,
                                                  const std::vector<std::set<usize>>& groups, usize count) {
    // All subsets of that size; of a large mesh, drawn ones.
    constexpr usize k_all_of = 10, k_drawn = 200;
    std::vector<usize> order(groups.size());
    std::iota(order.begin(), order.end(), 0U);
    std::vector<bool> taken(groups.size());
    std::fill_n(taken.begin(), std::min(count, groups.size()), true);
    for (usize round = 0; groups.size() <= k_all_of || round < k_drawn; ++round) {
        std::set<usize> gone;
        for (usize i = 0; i < groups.size(); ++i)
            if (taken[i]) gone.insert(groups[order[i]].begin(), groups[order[i]].end());
        if (auto const lost = lost_without(items, gone)) {
            std::string names;
            for (usize i : gone) names += (names.empty() ? "c" : ", c") + std::to_string(i + 1);
            return (names.empty() ? std::string("now") : "without " + names) + " " + *lost;
        }
        if (groups.size() > k_all_of)
            random_.shuffle(order);
        else if (!std::prev_permutation(taken.begin(), taken.end()))
            break;
    }
    return std::nullopt;
}

void CanLoseJudge::judge(const std::string& answer, const std::set<std::string>& known) {
    auto const status = Json::parse(answer, nullptr, false);
    if (status.is_discarded()) return fail("status is no JSON");
    auto const leads = mesh().catalog_leader();
    if (!leads) return;
    std::vector<std::set<usize>> corelets;
    std::map<usize, std::set<usize>> zones;
    for (usize i = 0; i < mesh().size(); ++i)
        if (mesh().node(i)) {
            corelets.push_back({i});
            zones[i % mesh().options().zones].insert(i);
        }
    std::vector<std::set<usize>> whole_zones;
    for (auto const& [zone, members] : zones) whole_zones.push_back(members);
    // What has come up since it was asked, as a segment with one copy that is used for a moment, is no part of the
    // answer.
    auto items = everything(*leads);
    std::erase_if(items, [&](const Item& item) { return !known.contains(item.what); });
    auto const claimed = static_cast<usize>(status.value("can_lose", 0)),
               claimed_zones = static_cast<usize>(status.value("can_lose_zones", 0));
    auto& stats = world().stats();
    judged();
    stats.count("can-lose." + std::to_string(claimed));
    if (claimed == 0 && claimed_zones == 0) return;
    std::string const claim = "status says that " + std::to_string(claimed) + " corelets or " +
                              std::to_string(claimed_zones) + " zones may be lost, but ";
    if (auto const lost = any_loss(items, corelets, claimed); lost && claimed != 0) return fail(claim + *lost);
    if (auto const lost = any_loss(items, whole_zones, claimed_zones); lost && claimed_zones != 0)
        return fail(claim + *lost);
    if (any_loss(items, corelets, claimed + 1)) stats.count("can-lose.exact");
}

}  // namespace

std::unique_ptr<Judge> make_can_lose_judge(Trial& trial) {
    return std::make_unique<CanLoseJudge>(trial);
}

}  // namespace corelet
