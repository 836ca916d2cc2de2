#include "tests/mesh/loss_judge.h"

#include <nlohmann/json.hpp>

#include "stream/stream_record.h"

namespace corelet {

namespace {
constexpr Duration k_detected_after = 6_s;
constexpr Duration k_ask_every = 700_ms;
constexpr u8 k_positions_max = 24;
}  // namespace

LossJudge::LossJudge(SimMesh& mesh, std::vector<std::string> volumes)
    : mesh_(mesh), volumes_(std::move(volumes)), random_(mesh.world().fork("loss judge")), seen_(mesh.size()) {}

// Whoever died, or was replaced, has been dead for long enough to be detected.
bool LossJudge::is_settled(bool open) {
    for (usize i = 0; i < mesh_.size(); ++i) {
        bool const up = mesh_.node(i) != nullptr;
        bool const died = seen_[i].up && !up;
        bool const other = !seen_[i].id.is_zero() && seen_[i].id != mesh_.id(i);
        if (died || other) settled_from_ = mesh_.world().now() + k_detected_after;
        seen_[i] = {mesh_.id(i), up};
    }
    if (!open) settled_from_ = std::max(settled_from_, mesh_.world().now() + 1_s);
    return mesh_.world().now() >= settled_from_;
}

void LossJudge::look(bool open) {
    bool const settled = is_settled(open);
    if (question_) {
        question_->disturbed = question_->disturbed || !settled;
        if (question_->answer->has_value()) {
            if (!question_->disturbed && **question_->answer) judge(***question_->answer);
            question_.reset();
        } else if (mesh_.world().now() >= question_->until) {
            question_.reset();  // whom it was asked died
        }
        return;
    }
    if (!settled || mesh_.world().now() < next_) return;
    next_ = mesh_.world().now() + k_ask_every;
    std::vector<usize> up;
    for (usize i = 0; i < mesh_.size(); ++i)
        if (mesh_.node(i)) up.push_back(i);
    if (up.empty()) return;
    question_ =
        Question{mesh_.request(up[random_.below(up.size())], "status", "{}"), mesh_.world().now() + 3_s, false};
}

std::optional<usize> LossJudge::leader() const {
    std::optional<usize> best;
    for (usize i = 0; i < mesh_.size(); ++i) {
        if (!mesh_.node(i) || !mesh_.node(i)->services().raft->is_leader()) continue;
        if (!best || mesh_.node(i)->services().raft->term() > mesh_.node(*best)->services().raft->term()) best = i;
    }
    return best;
}

LossJudge::Item LossJudge::votes(usize leader) const {
    auto const& voters = mesh_.node(leader)->services().raft->configuration().voters;
    Item out{"the catalog's quorum", voters.size() / 2 + 1, {}};
    for (CoreletId id : voters)
        if (auto const i = mesh_.index_of(id);
            i && mesh_.node(*i) && !mesh_.node(*i)->services().raft->core().barred())
            out.holders.emplace_back(*i, u64{1} << *i);
    return out;
}

LossJudge::Item LossJudge::chunk(ChunkId id, usize needed) const {
    Item out{"chunk " + to_string(id), needed, {}};
    for (usize i = 0; i < mesh_.size(); ++i) {
        if (!mesh_.node(i)) continue;
        u64 positions = 0;
        for (u8 p = 0; p < k_positions_max; ++p)
            if (mesh_.node(i)->services().store->fragment_info(FragmentId{id, p})) positions |= u64{1} << p;
        if (positions != 0) out.holders.emplace_back(i, positions);
    }
    return out;
}

void LossJudge::add_chunks(usize leader, std::vector<Item>& out) const {
    auto const map = mesh_.node(leader)->services().maps->current();
    for (const std::string& name : volumes_) {
        auto const servers = mesh_.servers_of(name);
        if (servers.size() != 1) continue;
        auto const& volumes = *mesh_.node(servers.front())->services().volumes;
        for (ChunkId id : volumes.live_chunks(name)) out.push_back(chunk(id, map->pools.front().spec.redundancy.k));
    }
}

void LossJudge::add_segments(usize leader, std::vector<Item>& out) const {
    for (const KeyValue& item : mesh_.node(leader)->services().catalog->local_range("streams/").items) {
        pb::Stream stream;
        if (!stream.ParseFromString(item.value)) continue;
        for (const pb::Segment& segment : stream.segments()) {
            if (segment.state() == pb::Segment::DORMANT) continue;
            SegmentId const id{SpaceId(stream.space()), segment.seq()};
            Item kept{
                (segment.state() == pb::Segment::ENDED ? "ended segment " : "listed segment ") + to_string(id),
                1,
                {}};
            for (u64 replica : segment.replicas()) {
                auto const i = mesh_.index_of(CoreletId(replica));
                if (!i || !mesh_.node(*i)) continue;
                const Store& store = *mesh_.node(*i)->services().store;
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

std::vector<LossJudge::Item> LossJudge::everything(usize leader) const {
    std::vector<Item> out{votes(leader)};
    add_segments(leader, out);
    add_chunks(leader, out);
    return out;
}

std::optional<std::string> LossJudge::lost_without(const std::vector<Item>& items, const std::set<usize>& gone) {
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

std::optional<std::string> LossJudge::any_loss(const std::vector<Item>& items,
                                               const std::vector<std::set<usize>>& groups, usize count) {
    for (u32 subset = 0; subset < 1U << groups.size(); ++subset) {
        if (static_cast<usize>(std::popcount(subset)) != std::min(count, groups.size())) continue;
        std::set<usize> gone;
        for (usize i = 0; i < groups.size(); ++i)
            if (subset >> i & 1U) gone.insert(groups[i].begin(), groups[i].end());
        auto const lost = lost_without(items, gone);
        if (!lost) continue;
        std::string names;
        for (usize i : gone) names += (names.empty() ? "c" : ", c") + std::to_string(i + 1);
        return (names.empty() ? std::string("now") : "without " + names) + " " + *lost;
    }
    return std::nullopt;
}

void LossJudge::judge(const std::string& answer) {
    auto const status = nlohmann::json::parse(answer, nullptr, false);
    if (status.is_discarded()) return mesh_.world().fail("status is no JSON");
    auto const leads = leader();
    if (!leads) return;
    std::vector<std::set<usize>> corelets;
    std::map<usize, std::set<usize>> zones;
    for (usize i = 0; i < mesh_.size(); ++i)
        if (mesh_.node(i)) {
            corelets.push_back({i});
            zones[i % mesh_.options().zones].insert(i);
        }
    std::vector<std::set<usize>> whole_zones;
    for (auto const& [zone, members] : zones) whole_zones.push_back(members);
    auto const items = everything(*leads);
    auto const claimed = static_cast<usize>(status.value("can_lose", 0)),
               claimed_zones = static_cast<usize>(status.value("can_lose_zones", 0));
    auto& stats = mesh_.world().stats();
    stats.count("can-lose.judged");
    stats.count("can-lose." + std::to_string(claimed));
    if (claimed == 0 && claimed_zones == 0) return;
    std::string const claim = "status says that " + std::to_string(claimed) + " corelets or " +
                              std::to_string(claimed_zones) + " zones may be lost, but ";
    if (auto const lost = any_loss(items, corelets, claimed); lost && claimed != 0)
        return mesh_.world().fail(claim + *lost);
    if (auto const lost = any_loss(items, whole_zones, claimed_zones); lost && claimed_zones != 0)
        return mesh_.world().fail(claim + *lost);
    if (any_loss(items, corelets, claimed + 1)) stats.count("can-lose.exact");
}

}  // namespace corelet
