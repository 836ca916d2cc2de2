// Linearizable reads without a log entry (dissertation 6.4): after an entry of the own term is committed, with a
// round of heartbeats begun after the request, and when everything up to the commit index of then is applied.
#include "base/assert.h"
#include "raft/core.h"

namespace corelet::raft {

Result<> Core::read_index(u64 context) {
    if (failed_) return fail(Code::kIo, "the device has failed");
    if (reads_.size() >= options_.reads_max) return fail(Code::kOverloaded, "too many reads are undecided");
    Instant const deadline = now_ + options_.read_timeout;
    if (role_ == Role::kLeader) {
        reads_.add({CoreletId(), 0, context, deadline});
        return {};
    }
    if (leader_.is_zero()) return fail(Code::kUnavailable, "no leader is known");
    u64 const number = reads_.forward(context, deadline);
    post(leader_, ReadRequest{nonce_, number}, When::kNow);
    return {};
}

// All reads of a turn share one round; so do those that arrive while the rounds that may be out are.
void Core::begin_read_round() {
    CORELET_ASSERT(role_ == Role::kLeader);
    if (!reads_.any_waiting() || !own_term_committed() || reads_.rounds_out() >= options_.read_rounds_max) return;
    ++round_;
    reads_.begin_round(round_, hard_.commit);
    broadcast_heartbeat();
    confirm_reads();
}

void Core::confirm_reads() {
    CORELET_ASSERT(role_ == Role::kLeader);
    u64 const confirmed = quorum_value(round_, [](const Progress& peer) { return peer.acked_round(); });
    for (const Reads::Round& round : reads_.confirm(confirmed)) {
        CORELET_ASSERT(round.index <= hard_.commit && round.index >= term_start_);
        for (const Reads::Request& request : round.requests) decide(request, round.index);
    }
}

void Core::decide(const Reads::Request& request, Index index) {
    if (!request.origin.is_zero()) {
        post(request.origin, ReadResponse{request.nonce, request.context, true, index}, When::kNow);
        return;
    }
    reads_.await_apply(index, request.context, request.deadline);
    for (ReadState& read : reads_.take_applied(applied_)) out_reads_.push_back(std::move(read));
}

void Core::refuse(const Reads::Request& request, Code code) {
    if (!request.origin.is_zero()) {
        post(request.origin, ReadResponse{request.nonce, request.context, false, 0}, When::kNow);
    } else {
        out_reads_.push_back({request.context, fail(code, "the read was not decided; ask again", leader_.v)});
    }
}

// Who leads has changed: what this leader, or the one asked, had not decided stays undecided.
void Core::fail_reads(Code code) {
    for (const Reads::Request& request : reads_.take_undecided()) refuse(request, code);
    for (const Reads::Request& request : reads_.take_forwarded()) refuse(request, code);
}

void Core::expire_reads() {
    for (u64 context : reads_.expire(now_)) {
        out_reads_.push_back({context, fail(Code::kTimeout, "the read was not decided in time")});
    }
}

void Core::on(const Message& message, const ReadRequest& request) {
    Reads::Request const read{message.from, request.nonce, request.number, now_ + options_.read_timeout};
    if (role_ != Role::kLeader || reads_.size() >= options_.reads_max) {
        refuse(read, Code::kUnavailable);
    } else {
        reads_.add(read);
    }
}

void Core::on(const Message&, const ReadResponse& response) {
    if (response.nonce != nonce_) return;
    std::optional<Reads::Request> const read = reads_.answered(response.number);
    if (!read) return;
    if (response.granted) {
        decide(*read, response.index);
    } else {
        refuse(*read, Code::kUnavailable);
    }
}

}  // namespace corelet::raft
