#include "raft/reads.h"

#include "base/assert.h"

namespace corelet::raft {

usize Reads::size() const {
    usize total = waiting_.size() + forwarded_.size() + applying_.size();
    for (const Round& round : rounds_) total += round.requests.size();
    return total;
}

void Reads::begin_round(u64 number, Index index) {
    CORELET_ASSERT(rounds_.empty() || (rounds_.back().number < number && rounds_.back().index <= index));
    if (waiting_.empty()) return;
    rounds_.push_back({number, index, std::exchange(waiting_, {})});
}

std::vector<Reads::Round> Reads::confirm(u64 number) {
    std::vector<Round> out;
    while (!rounds_.empty() && rounds_.front().number <= number) {
        out.push_back(std::move(rounds_.front()));
        rounds_.pop_front();
    }
    return out;
}

std::vector<Reads::Request> Reads::take_undecided() {
    std::vector<Request> out = std::exchange(waiting_, {});
    for (Round& round : std::exchange(rounds_, {})) {
        out.insert(out.end(), round.requests.begin(), round.requests.end());
    }
    return out;
}

u64 Reads::forward(u64 context, Instant deadline) {
    u64 const number = ++last_number_;
    forwarded_.emplace(number, Request{CoreletId(), 0, context, deadline});
    return number;
}

std::optional<Reads::Request> Reads::answered(u64 number) {
    auto const found = forwarded_.find(number);
    if (found == forwarded_.end()) return std::nullopt;
    Request const request = found->second;
    forwarded_.erase(found);
    return request;
}

std::vector<Reads::Request> Reads::take_forwarded() {
    std::vector<Request> out;
    for (const auto& [number, request] : std::exchange(forwarded_, {})) out.push_back(request);
    return out;
}

std::vector<ReadState> Reads::take_applied(Index applied) {
    std::vector<ReadState> out;
    while (!applying_.empty() && applying_.begin()->first <= applied) {
        out.push_back({applying_.begin()->second.context, applied});
        applying_.erase(applying_.begin());
    }
    return out;
}

std::vector<u64> Reads::expire(Instant now) {
    std::vector<u64> contexts;
    auto const expired = [&contexts, now](const Request& request) {
        if (request.deadline > now) return false;
        if (request.origin.is_zero()) contexts.push_back(request.context);
        return true;
    };
    std::erase_if(waiting_, expired);
    for (Round& round : rounds_) std::erase_if(round.requests, expired);
    std::erase_if(rounds_, [](const Round& round) { return round.requests.empty(); });
    std::erase_if(forwarded_, [&expired](const auto& item) { return expired(item.second); });
    std::erase_if(applying_, [&contexts, now](const auto& item) {
        if (item.second.deadline > now) return false;
        contexts.push_back(item.second.context);
        return true;
    });
    return contexts;
}

}  // namespace corelet::raft
