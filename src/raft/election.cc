// Pre-vote, vote, leadership won and lost (Raft 5.2, 5.4.1; dissertation 4.2.3, 9.6).
#include <algorithm>

#include "base/assert.h"
#include "raft/core.h"
#include "raft/generation.h"

namespace corelet::raft {

void Core::arm_election() {
    u64 const spread = static_cast<u64>((options_.election_timeout_max - options_.election_timeout_min).ns);
    Duration const jitter{static_cast<i64>(random_.between(0, spread))};
    election_deadline_ = now_ + options_.election_timeout_min + jitter;
}

bool Core::may_lead() const {
    return bars_ == 0 && configuration().is_voter(self_) && !is_outdated();
}

// Its log is of a group that has been given up: what it knows of voters and of entries counts for nothing.
bool Core::is_outdated() const {
    return generation_of(log_.last().term) < generation_of(hard_.term);
}

bool Core::hears_leader() const {
    if (role_ == Role::kLeader) return true;
    return !leader_.is_zero() && now_ - leader_heard_ < options_.election_timeout_min;
}

void Core::become_follower(Term term, CoreletId leader) {
    CORELET_ASSERT(term >= hard_.term);
    if (term > hard_.term) {
        hard_.term = term;
        hard_.vote = CoreletId();
    }
    bool const changes = leader_ != leader || role_ == Role::kLeader;
    role_ = Role::kFollower;
    leader_ = leader;
    leader_heard_ = now_;
    votes_.clear();
    peers_.clear();
    handover_.reset();
    uncommitted_bytes_ = 0;
    if (changes) fail_reads(Code::kUnavailable);
    arm_election();
}

// A message that only the leader of this term sends.
void Core::hear_leader(CoreletId leader) {
    CORELET_ASSERT(role_ != Role::kLeader, "two leaders in one term");
    if (role_ != Role::kFollower || leader_ != leader) become_follower(hard_.term, leader);
    leader_heard_ = now_;
    lacking_.clear();
    arm_election();
}

void Core::election_due() {
    become_follower(hard_.term, CoreletId());
    if (rotten()) ask_for_repair();
    if (may_lead()) pre_campaign();
}

void Core::pre_campaign() {
    CORELET_ASSERT(may_lead() && role_ == Role::kFollower && leader_.is_zero());
    role_ = Role::kPreCandidate;
    for (CoreletId voter : configuration().voters) {
        if (voter != self_) post(voter, PreVote{hard_.term.next(), log_.last()}, When::kNow);
    }
    count_vote(self_, true);
}

void Core::campaign(bool transfer) {
    CORELET_ASSERT(may_lead() && role_ != Role::kLeader);
    become_follower(hard_.term.next(), CoreletId());
    role_ = Role::kCandidate;
    hard_.vote = self_;
    for (CoreletId voter : configuration().voters) {
        if (voter != self_) post(voter, Vote{log_.last(), transfer}, When::kDurable);
    }
}

// Our own vote counts like any other: once it cannot be forgotten.
void Core::own_vote_durable() {
    if (role_ != Role::kCandidate || durable_.term != hard_.term || durable_.vote != self_) return;
    if (!votes_.contains(self_)) count_vote(self_, true);
}

void Core::count_vote(CoreletId voter, bool granted) {
    CORELET_ASSERT(role_ == Role::kPreCandidate || role_ == Role::kCandidate);
    if (!configuration().is_voter(voter)) return;
    votes_[voter] = granted;
    auto const all = static_cast<usize>(votes_.size());
    auto const yes =
        static_cast<usize>(std::count_if(votes_.begin(), votes_.end(), [](auto& v) { return v.second; }));
    if (yes >= configuration().majority()) {
        if (role_ == Role::kPreCandidate) {
            campaign(false);
        } else if (votes_.contains(self_)) {
            become_leader();
        }
    } else if (all - yes > configuration().voters.size() - configuration().majority()) {
        become_follower(hard_.term, CoreletId());
    }
}

void Core::become_leader() {
    CORELET_ASSERT(role_ == Role::kCandidate && may_lead());
    CORELET_ASSERT(durable_.term == hard_.term && durable_.vote == self_,
                   "a leader by a vote that can be forgotten");
    role_ = Role::kLeader;
    leader_ = self_;
    votes_.clear();
    lacking_.clear();
    round_ = 0;
    for (Index index = hard_.commit + 1; index <= log_.last().index; ++index) {
        uncommitted_bytes_ += log_.entry_at(index).bytes();
    }
    reconcile_peers();
    term_start_ = log_.last().index + 1;
    leader_append(EntryKind::kBarrier, Payload());
    broadcast_heartbeat();
    check();
}

void Core::on(const Message& message, const PreVote& request) {
    // Silence, not refusal: with a leader about, nobody is helped to depose it.
    if (!promises() || is_outdated() || hears_leader()) return;
    bool const granted = request.campaign_term > hard_.term && request.last >= log_.last();
    post(message.from, PreVoteResponse{request.campaign_term, granted}, When::kNow);
}

void Core::on(const Message& message, const PreVoteResponse& response) {
    if (role_ != Role::kPreCandidate || response.campaign_term != hard_.term.next()) return;
    count_vote(message.from, response.granted);
}

void Core::on(const Message& message, const Vote& request) {
    if (!promises() || is_outdated()) return;
    bool const current = message.term == hard_.term;
    bool const free = hard_.vote == message.from || (hard_.vote.is_zero() && leader_.is_zero());
    if (!current || !free || request.last < log_.last()) {
        post(message.from, VoteResponse{false}, When::kNow);
        return;
    }
    CORELET_ASSERT(role_ == Role::kFollower || role_ == Role::kPreCandidate);
    hard_.vote = message.from;
    arm_election();
    post(message.from, VoteResponse{true}, When::kDurable);
}

void Core::on(const Message& message, const VoteResponse& response) {
    if (role_ != Role::kCandidate) return;
    count_vote(message.from, response.granted);
}

}  // namespace corelet::raft
