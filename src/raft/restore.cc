// The start: what lies on media is checked, then believed.
#include "base/assert.h"
#include "raft/codec.h"
#include "raft/core.h"

namespace corelet::raft {
namespace {

Result<> check_entries(const Restored& restored) {
    Index const floor = restored.snapshot ? restored.snapshot->last.index : 0;
    Position prev;
    for (const Entry& entry : restored.entries) {
        if (!entry.verifies()) return fail(Code::kCorrupt, "log entry does not verify", entry.at.index);
        if (prev.index > 0 && (entry.at.index != prev.index + 1 || entry.at.term < prev.term)) {
            return fail(Code::kCorrupt, "log entries do not follow each other", entry.at.index);
        }
        if (prev.index == 0 && entry.at.index > floor + 1) {
            return fail(Code::kCorrupt, "a gap between snapshot and log", entry.at.index);
        }
        if (entry.at.index == floor && entry.at.term != restored.snapshot->last.term) {
            return fail(Code::kCorrupt, "snapshot and log disagree", entry.at.index);
        }
        if (entry.at.index == floor + 1 && floor > 0 && entry.at.term < restored.snapshot->last.term) {
            return fail(Code::kCorrupt, "snapshot and log disagree", entry.at.index);
        }
        if (entry.kind == EntryKind::kConfiguration) TRY_VOID(decode_configuration(entry.data));
        prev = entry.at;
    }
    return {};
}

Result<> check_restored(const Restored& restored) {
    if (restored.snapshot && !restored.snapshot->verifies())
        return fail(Code::kCorrupt, "snapshot does not verify");
    TRY_VOID(check_entries(restored));
    Term const newest = restored.entries.empty() ? Term() : restored.entries.back().at.term;
    Term const hard = restored.hard_state.term;
    if (newest > hard || (restored.snapshot && restored.snapshot->last.term > hard) ||
        restored.rotten.term > hard) {
        return fail(Code::kCorrupt, "the log is newer than the stored term", newest.v);
    }
    Index const floor = restored.snapshot ? restored.snapshot->last.index : 0;
    Index const last = restored.entries.empty() ? floor : std::max(floor, restored.entries.back().at.index);
    bool const rotten = restored.rotten.index > 0 || restored.hard_state.repairing.index > 0;
    if (restored.hard_state.commit > last && !rotten)
        return fail(Code::kCorrupt, "the committed log is incomplete");
    if (restored.applied > last) return fail(Code::kInvalid, "the state machine is ahead of the log");
    return {};
}

}  // namespace

Result<Core> Core::restore(CoreletId self, const Options& options, Restored restored, Prng random, Instant now) {
    CORELET_ASSERT(!self.is_zero() && options.election_timeout_min <= options.election_timeout_max);
    CORELET_ASSERT(options.heartbeat < options.election_timeout_min && options.appends_in_flight_max > 0);
    TRY_VOID(check_restored(restored));
    return Core(self, options, std::move(restored), random, now);
}

Core::Core(CoreletId self, const Options& options, Restored restored, Prng random, Instant now)
    : self_(self),
      options_(options),
      random_(random),
      now_(now),
      hard_(restored.hard_state),
      issued_(restored.hard_state),
      durable_(restored.hard_state),
      log_(restored.snapshot, std::move(restored.entries)) {
    nonce_ = random_.next();
    Index const floor = log_.snapshot() ? log_.snapshot()->last.index : 0;
    if (log_.snapshot()) configurations_.reset(floor, log_.snapshot()->configuration);
    for (Index index = std::max(floor, log_.base().index) + 1; index <= log_.last().index; ++index) {
        const Entry& entry = log_.entry_at(index);
        if (entry.kind == EntryKind::kConfiguration) {
            configurations_.append(index, *decode_configuration(entry.data));
        }
    }
    Index const known = std::max(hard_.commit, restored.applied);
    hard_.commit = std::max(std::min(known, log_.last().index), floor);
    // Of two promises that rotted the later one is the one to make good.
    if (restored.rotten.index > hard_.repairing.index) hard_.repairing = restored.rotten;
    if (hard_.repairing.index > log_.last().index) bars_ |= static_cast<u8>(Bar::kRotten);
    if (!barred()) hard_.repairing = {};
    applied_ = handed_ = restored.applied;
    if (log_.snapshot() && applied_ < floor) {
        applied_ = handed_ = 0;
        installable_ = log_.snapshot();
    }
    arm_election();
    // Nobody else could be leading a group of one.
    if (configuration().voters == std::vector{self_}) election_deadline_ = now_;
    check();
}

}  // namespace corelet::raft
