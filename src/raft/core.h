// The consensus core of one group at one member: a pure machine. Events go in, Effects come out; it does no I/O,
// reads no clock and draws randomness only from the generator it is given. Not thread-safe.
//
// A turn of the shell: tick(now), then any number of events, then take() and carry the effects out in the order
// that README.md states. Nothing the core does has left it before take(), so events of one turn share one journal
// batch.
//
// The transitions lie in election.cc, replicate.cc (leader), append.cc (follower), commit.cc, membership.cc,
// transfer.cc, read_index.cc, snapshot.cc, repair.cc; core.cc has dispatch and effects, restore.cc the start.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "base/prng.h"
#include "base/result.h"
#include "base/time.h"
#include "raft/configuration.h"
#include "raft/effects.h"
#include "raft/log.h"
#include "raft/options.h"
#include "raft/progress.h"
#include "raft/reads.h"

namespace corelet::raft {

enum class Role : u8 { kFollower, kPreCandidate, kCandidate, kLeader };

// Why a member may not vote, acknowledge or lead for now. Each is lifted by itself.
enum class Bar : u8 {
    kMount = 1,      // the exchange before the first vote after a mount is not over (protocols 1.2)
    kTwoBodies = 2,  // another nonce of this identity shows itself
    kForgotten = 4,  // the device has forgotten promises (1.3)
    kRotten = 8,     // the core's own: the log rotted and is being supplied
    kStuck = 16,     // the media do not answer: who leads commits nothing, and keeps others from leading
};

enum class Journal : u8 { kReady, kBusy };

class Core {
  public:
    // `restored` is what lies on media; kCorrupt if it contradicts itself. The core starts as a follower.
    [[nodiscard]] static Result<Core> restore(CoreletId self, const Options& options, Restored restored,
                                              Prng random, Instant now);

    // Time passes; `now` never goes back (an earlier one counts as the last). To be called first in each turn.
    void tick(Instant now);
    // When tick() next has something to do, unless an event comes first.
    [[nodiscard]] Instant next_tick() const;
    // A message that came from outside. One that makes no sense, or is not for this member, is dropped and counted.
    void step(const Message& message);

    // Leader only (else kNotLeader with the leader's id if known): appends a command and says where it will be if
    // it survives: it did if the entry applied at that index has that term. kInvalid: too long. kOverloaded: a
    // bound is reached. kUnavailable: leadership is being handed over.
    [[nodiscard]] Result<Position> propose(Payload command);
    // Leader only. One at a time, and none before an entry of the own term is committed (kUnavailable). A learner
    // is promoted when it has caught up; no change leaves a majority that is not alive (kUnavailable).
    [[nodiscard]] Result<Position> propose_change(Change change);
    // A linearizable read: a ReadState with this context follows, in any case. `context` is unique among the reads
    // that are out. A follower forwards it.
    [[nodiscard]] Result<> read_index(u64 context);
    // Leader only: hands leadership to a voter, once that has everything. Given up after an election timeout.
    [[nodiscard]] Result<> transfer(CoreletId target);
    // The state machine, serialised as it stands at applied(), as a snapshot that the shell may make durable at its
    // leisure: nothing waits for it. kConflict: not newer than the one there is. kInvalid: too long.
    [[nodiscard]] Result<Snapshot> snapshot_of(Payload state) const;
    // A snapshot of one's own is durable: the log is compacted to it. An older one than there is changes nothing.
    void snapshot_saved(const Snapshot& snapshot);
    // Entries up to here need not be kept, neither here nor on media, behind a snapshot at `last`.
    [[nodiscard]] Index compact_floor(Index last) const;

    void bar(Bar reason);
    void lift(Bar reason);
    // A write or sync of the journal failed: final. The core falls silent for ever (design rule 2).
    void fail_device();

    // What is to be done. With the journal kBusy no batch is handed out: what needs one is kept for the next, so
    // that everything that comes while batches are out shares one (group commit), and heartbeats do not wait for
    // it.
    [[nodiscard]] Effects take(Journal journal = Journal::kReady);
    // Batch `ticket` and all before it are durable.
    void persisted(u64 ticket);
    // Everything handed out to be applied (or installed), up to `index`, is.
    void applied(Index index);

    [[nodiscard]] CoreletId self() const { return self_; }
    [[nodiscard]] Role role() const { return role_; }
    [[nodiscard]] Term term() const { return hard_.term; }
    // Who leads as far as known; zero: nobody.
    [[nodiscard]] CoreletId leader() const { return leader_; }
    [[nodiscard]] Index commit() const { return hard_.commit; }
    [[nodiscard]] Index applied() const { return applied_; }
    [[nodiscard]] const Log& log() const { return log_; }
    [[nodiscard]] const Configuration& configuration() const { return configurations_.current(); }
    [[nodiscard]] bool configuration_committed() const { return configurations_.current_index() <= hard_.commit; }
    [[nodiscard]] bool barred() const { return bars_ != 0; }
    [[nodiscard]] bool failed() const { return failed_; }
    // What is on the media: for judges.
    [[nodiscard]] const HardState& durable() const { return durable_; }
    // The log has grown enough since the last snapshot for the shell to make another.
    [[nodiscard]] bool snapshot_due() const;
    [[nodiscard]] u64 dropped_messages() const { return dropped_; }
    // A leader's view, for status: how far a member agrees, and when it last acknowledged anything.
    struct Peer {
        CoreletId id;
        Index match = 0;
        Duration silent;
    };
    [[nodiscard]] std::vector<Peer> peers() const;

  private:
    enum class When : u8 { kNow, kDurable };
    // What a batch that is out will have made durable.
    struct Batch {
        u64 ticket = 0;
        HardState hard;
        Index last = 0;
        std::optional<Position> install;  // a snapshot from a leader
    };
    struct Assembly {
        CoreletId from;
        SnapshotChunk head;  // its first chunk, without data
        std::string bytes;
        Instant progressed;
    };
    struct Handover {
        CoreletId target;
        Instant deadline;
        bool told = false;
    };

    Core(CoreletId self, const Options& options, Restored restored, Prng random, Instant now);

    // core.cc
    void post(CoreletId to, Body body, When when);
    [[nodiscard]] static bool covers_earlier(std::vector<Message>& out, const Message& message);
    [[nodiscard]] bool term_fits(const Message& message);
    [[nodiscard]] bool newer_term_fits(const Message& message);
    [[nodiscard]] bool older_term_fits(const Message& message);
    void answer_stale(const Message& message);
    void collect_persist(Effects& effects);
    void collect_sends(Effects& effects, Journal journal);
    void collect_apply(Effects& effects);
    void batch_durable(const Batch& batch);
    void check() const;

    // election.cc
    void become_follower(Term term, CoreletId leader);
    void hear_leader(CoreletId leader);
    void arm_election();
    void election_due();
    void pre_campaign();
    void campaign(bool transfer);
    void become_leader();
    void count_vote(CoreletId voter, bool granted);
    void own_vote_durable();
    [[nodiscard]] bool hears_leader() const;
    [[nodiscard]] bool may_lead() const;
    [[nodiscard]] bool is_outdated() const;
    void on(const Message& message, const PreVote& request);
    void on(const Message& message, const PreVoteResponse& response);
    void on(const Message& message, const Vote& request);
    void on(const Message& message, const VoteResponse& response);

    // replicate.cc
    void heartbeat_due();
    void broadcast_heartbeat();
    [[nodiscard]] bool quorum_is_alive() const;
    void flush_appends();
    void flush_appends_to(CoreletId to, Progress& peer);
    void send_append(CoreletId to, Progress& peer, bool with_entries);
    void leader_append(EntryKind kind, Payload data);
    void on(const Message& message, const AppendResponse& response);
    void on(const Message& message, const HeartbeatResponse& response);

    // append.cc
    void on(const Message& message, const Append& append);
    void on(const Message& message, const Heartbeat& heartbeat);
    void merge(const std::vector<Entry>& entries);
    void accept_entry(const Entry& entry);
    void truncate_log(Index from);
    void post_accepted(CoreletId to, Index match);
    [[nodiscard]] bool promises() const { return bars_ == 0; }

    // commit.cc
    void advance_commit();
    void commit_to(Index index);
    [[nodiscard]] bool own_term_committed() const;
    // The greatest value that a majority of the voters has reached.
    template <class Value, class Of>
    [[nodiscard]] Value quorum_value(Value own, Of of) const {
        std::vector<Value> values;
        for (CoreletId voter : configuration().voters) {
            auto const peer = peers_.find(voter);
            values.push_back(voter == self_ ? own : peer == peers_.end() ? Value{} : of(peer->second));
        }
        std::sort(values.begin(), values.end(), std::greater<>());
        return values.empty() ? Value{} : values[configuration().majority() - 1];
    }

    // membership.cc
    [[nodiscard]] Result<> may_change(Change change, const Configuration& next) const;
    void reconcile_peers();
    void configuration_now_committed();
    void leave_office();

    // transfer.cc
    void handover_step();
    void on(const Message& message, const TimeoutNow& now);

    // read_index.cc
    void begin_read_round();
    void confirm_reads();
    void decide(const Reads::Request& request, Index index);
    void fail_reads(Code code);
    void refuse(const Reads::Request& request, Code code);
    void expire_reads();
    void on(const Message& message, const ReadRequest& request);
    void on(const Message& message, const ReadResponse& response);

    // snapshot.cc
    void start_transfer(CoreletId to, Progress& peer);
    void send_chunk(CoreletId to, const Snapshot& snapshot, u64 offset, bool repair);
    void resend_chunk(CoreletId to, Progress& peer);
    void on(const Message& message, const SnapshotChunk& chunk);
    void on(const Message& message, const SnapshotResponse& response);
    [[nodiscard]] bool assemble(CoreletId from, const SnapshotChunk& chunk);
    void complete_assembly(const Message& message, const SnapshotChunk& chunk);
    void install(Snapshot snapshot);
    void install_durable(const Batch& batch);

    // repair.cc
    void ask_for_repair();
    void repaired();
    void repair_by_leader(Index matched, Index leader_last);
    void deny(const Message& message, const RepairRequest& request);
    [[nodiscard]] bool surely_lacks(Position promised) const;
    void count_lack(const Message& message, const RepairResponse& response);
    [[nodiscard]] bool rotten() const { return (bars_ & static_cast<u8>(Bar::kRotten)) != 0; }
    void on(const Message& message, const RepairRequest& request);
    void on(const Message& message, const RepairResponse& response);

    CoreletId self_;
    Options options_;
    Prng random_;
    Instant now_;
    u64 nonce_ = 0;  // of this life, for forwarded reads

    // What is promised, and how much of it is durable.
    HardState hard_;
    HardState issued_;  // in the newest batch handed out
    HardState durable_;
    Log log_;
    Configurations configurations_;
    std::deque<Batch> in_flight_;
    u64 ticket_ = 0;
    bool to_install_ = false;              // the log was reset to a snapshot that is not handed to the journal yet
    std::optional<Snapshot> installable_;  // durable, and not handed to the state machine yet

    Role role_ = Role::kFollower;
    CoreletId leader_;
    Instant leader_heard_;
    Instant election_deadline_;
    std::map<CoreletId, bool> votes_;
    u8 bars_ = 0;
    bool failed_ = false;

    // Leader only.
    std::map<CoreletId, Progress> peers_;
    Index term_start_ = 0;  // index of the own term's first entry
    Instant heartbeat_deadline_;
    u64 round_ = 0;
    usize uncommitted_bytes_ = 0;
    std::optional<Handover> handover_;

    Reads reads_;
    std::optional<Assembly> assembly_;
    std::set<CoreletId> lacking_;

    Index applied_ = 0;
    Index handed_ = 0;  // handed out to be applied up to here

    std::vector<Message> out_now_;
    std::vector<Message> out_durable_;
    std::vector<ReadState> out_reads_;
    u64 dropped_ = 0;
};

}  // namespace corelet::raft
