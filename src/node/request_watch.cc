#include "node/request_watch.h"

#include <fmt/format.h>

#include <algorithm>

namespace corelet {

u64 RequestWatch::request_began(CoreletId peer, RequestNeed need, Instant now) {
    if (peers_.size() >= options_.peers_max && !peers_.contains(peer)) return 0;
    Side& side = peers_[peer].side(need);
    if (side.owed.size() >= options_.owed_max) return 0;
    u64 const number = next_++;
    side.owed.emplace(number, now);
    requests_.emplace(number, std::pair(peer, need));
    return number;
}

void RequestWatch::request_ended(u64 request, RequestEnd end, Instant now) {
    auto const found = requests_.find(request);
    if (found == requests_.end()) return;
    auto const [id, need] = found->second;
    requests_.erase(found);
    auto const peer = peers_.find(id);
    if (peer == peers_.end()) return;  // forgotten meanwhile
    Side& side = peer->second.side(need);
    auto const owed = side.owed.find(request);
    if (owed == side.owed.end()) return;
    Instant const sent = owed->second;
    side.owed.erase(owed);
    bool const late = end != RequestEnd::kDropped && now - sent >= options_.deadline && !was_blind(now);
    if (late || end == RequestEnd::kUnanswered) passed(side, request, sent);
    if (end != RequestEnd::kAnswered) return;
    side.answered = std::max(side.answered, request);
    side.silent_since.reset();
}

void RequestWatch::passed(Side& side, u64 number, Instant sent) const {
    if (!side.silent_since) side.silent_since = sent;
    if (number <= side.counted) return;
    side.counted = number;
    side.passed.push_back(sent);
    if (side.passed.size() > options_.owed_max) side.passed.pop_front();
}

// Those that are still owed, in the order of their sending.
void RequestWatch::count_passed(Side& side, Instant now) const {
    for (auto const& [number, sent] : side.owed) {
        if (now - sent < options_.deadline) break;
        passed(side, number, sent);
    }
    while (!side.passed.empty() && now - side.passed.front() > options_.memory) side.passed.pop_front();
}

Finding RequestWatch::judge_side(const Side& side, std::string_view what, Instant now) const {
    if (side.silent_since && !side.passed.empty()) {
        Duration const silent = now - *side.silent_since;
        std::string reason = fmt::format("{} for {}", what, short_duration(silent.ns));
        return silent >= options_.failed_after ? Finding::failed(std::move(reason))
                                               : Finding::degraded(std::move(reason));
    }
    if (side.passed.size() >= options_.passed_often)
        return Finding::degraded(fmt::format("{} requests passed their deadline of {} within {}",
                                             side.passed.size(), short_duration(options_.deadline.ns),
                                             short_duration(options_.memory.ns)));
    return Finding::healthy();
}

bool RequestWatch::loop_answers(CoreletId id, const Peer& peer) const {
    const Side& device = peer.side(RequestNeed::kDevice);
    return id == self_ || device.owed.empty() ||
           peer.side(RequestNeed::kLoop).answered > device.owed.begin()->first;
}

// As if they were sent now.
void RequestWatch::excuse_all(Instant now) {
    for (auto& [id, peer] : peers_)
        for (Side& side : peer.sides) {
            for (auto& [number, sent] : side.owed) sent = now;
            if (side.silent_since) side.silent_since = now;
        }
}

std::vector<RequestWatch::Judgement> RequestWatch::judge(Instant now) {
    if (was_blind(now)) excuse_all(now);
    judged_ = now;
    std::vector<Judgement> out;
    for (auto each = peers_.begin(); each != peers_.end();) {
        auto& [id, peer] = *each;
        Side& loop = peer.side(RequestNeed::kLoop);
        Side& device = peer.side(RequestNeed::kDevice);
        count_passed(loop, now);
        count_passed(device, now);
        Judgement judgement{id, judge_side(loop, "no request was answered", now), {}};
        bool const stuck = is_late(device, now);
        if (judgement.serving.state == HealthState::kHealthy && (!stuck || loop_answers(id, peer)))
            judgement.storing = judge_side(device, "the corelet answers, but nothing that needs its device,", now);
        out.push_back(std::move(judgement));
        bool const quiet = loop.owed.empty() && device.owed.empty() && loop.passed.empty() && device.passed.empty();
        each = quiet ? peers_.erase(each) : std::next(each);
    }
    return out;
}

std::vector<CoreletId> RequestWatch::doubtful(Instant now) const {
    std::vector<CoreletId> out;
    for (auto const& [id, peer] : peers_)
        if (is_late(peer.side(RequestNeed::kDevice), now) && !loop_answers(id, peer) &&
            peer.side(RequestNeed::kLoop).owed.empty())
            out.push_back(id);
    return out;
}

void RequestWatch::forget(CoreletId peer) {
    peers_.erase(peer);
}

}  // namespace corelet
