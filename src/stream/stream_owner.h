// The owner of a stream: the shell around OwnerCore that carries its effects out, keeps standbys listed, commits
// ends, and answers the user (LogStream). Made by take_stream() (stream_recovery.h). One executor; destroying it is
// a crash and safe: nothing is written, the next owner recovers.
#pragma once

#include <map>
#include <set>

#include "rt/env.h"
#include "stream/owner_core.h"
#include "stream/ports.h"
#include "stream/stream_record.h"

namespace corelet {

struct StreamDeps {
    Env& env;
    Catalog& catalog;
    ReplicaPort& replicas;
    const LogPlacement& placement;
    CoreletId self;
    LeaseId session;
};

struct StreamOptions {
    OwnerOptions owner;
    u64 bytes_in_flight_max = 64 * k_mib;  // of entries submitted and not yet acknowledged
    Duration catalog_timeout = 5_s;
    Duration give_up_after = 5_s;  // unable to append or roll for so long: the stream is given up (protocols 3.4)
};

// Shown by status and `volume info`.
struct StreamStatus {
    Epoch epoch;
    std::vector<CoreletId> open_segment;
    u64 open_seq = 0;            // that segment; 0: there is none
    u64 acknowledged_bytes = 0;  // of it
    RecordNumber acknowledged;   // the last record
    std::vector<LogSegment> standbys;
    u32 width_wanted = 0;
    bool stuck = false;       // writes wait for copies
    bool may_serve = false;   // reads are answered without asking anybody
    std::string waiting_for;  // what is missing, for people
    u64 rolls = 0;
    u64 unreleased_bytes = 0;
    u64 held_bytes = 0;  // taken in from writers and not acknowledged yet
};

class StreamOwner final : public LogStream {
  public:
    // After recovery: `start` is where the stream stands, `record` the committed one.
    StreamOwner(StreamDeps deps, StreamOptions options, std::unique_ptr<StreamRecord> record, OwnerStart start,
                LogSink& sink);
    ~StreamOwner() override;

    [[nodiscard]] Task<Result<RecordNumber>> append(LogEntry entry, bool system) override;
    [[nodiscard]] Task<Result<BufferChain>> read(SegmentId segment, u32 first_block, u32 blocks,
                                                 std::vector<u32> expected_crcs) override;
    [[nodiscard]] bool may_serve() const override;
    [[nodiscard]] Task<Result<void>> wait_readable() override;
    [[nodiscard]] ChunkId new_chunk_id() override;
    [[nodiscard]] Task<Result<void>> commit_checkpoint(Checkpoint checkpoint) override;
    void request_roll() override;
    [[nodiscard]] Epoch epoch() const override { return record_->epoch(); }
    [[nodiscard]] PoolId pool() const override { return PoolId(record_->value().pool()); }
    [[nodiscard]] RecordNumber last_acknowledged() const override { return core_.last_acknowledged(); }
    [[nodiscard]] u64 unreleased_bytes() const override;

    // Hands the stream over: answers nothing any more, ends its promises, and gives up the ownership in the
    // catalog. With `end_segments` (detach) every segment is ended and none stays listed (protocols 7.7).
    [[nodiscard]] Task<Result<void>> hand_over(bool end_segments);
    // Replicas of segments that recovery found unused: nothing lists them any more.
    void drop_segments(const std::vector<LogSegment>& segments);
    // Makes an ended segment a chunk where it lies, if its replicas are the homes of its slot (protocols 8.8).
    // False: it has to be packed.
    [[nodiscard]] Task<Result<bool>> adopt(SegmentId segment, u64 end_bytes);
    // Set when this owner has stopped for good (fenced, given up, handed over); why, in stop_reason().
    [[nodiscard]] Event& stopped() { return stopped_; }
    [[nodiscard]] const Error& stop_reason() const { return stop_reason_; }
    [[nodiscard]] StreamStatus status() const;
    // Below it, what no checkpoint and no record refers to is dead (protocols 8.2).
    [[nodiscard]] u64 committed_horizon() const { return record_->value().horizon(); }
    // A segment of this number is in the stream's committed record.
    [[nodiscard]] bool lists(u64 seq) const;
    // Standbys of these numbers are withdrawn and others listed: not all of their replicas have them. What is open
    // or ended by now stays.
    void replace_standbys(const std::vector<u64>& seqs);
    // Membership's verdicts: a standby with such a replica is replaced, an open one rolls.
    void corelet_lost(CoreletId corelet);

  private:
    struct Waiting {
        LogEntry entry;  // until it is submitted
        u64 bytes = 0;
        bool system = false;
        bool submitted = false;
        std::optional<Result<RecordNumber>> result;
        Event done;
    };
    // One that is dropped before it was submitted leaves its place in the row.
    struct Place {
        StreamOwner& owner;
        u64 request;
        ~Place() { owner.leave(request); }
    };
    void leave(u64 request);
    void submit_waiting();
    void finish(u64 request, Result<RecordNumber> result);
    void execute(OwnerEffects effects);
    void carry_out(owner_effect::SendRecord& effect);
    void carry_out(owner_effect::SendHeartbeat& effect);
    void carry_out(owner_effect::Acknowledge& effect);
    void carry_out(owner_effect::Ended& effect);
    void carry_out(owner_effect::Refused& effect);
    void carry_out(owner_effect::NeedStandby& effect);
    void carry_out(owner_effect::Measure& effect);
    void carry_out(owner_effect::Stopped& effect);
    void stop(Error reason);
    [[nodiscard]] Instant now() const { return deps_.env.clock.now(); }
    [[nodiscard]] Instant catalog_deadline() const { return now() + options_.catalog_timeout; }

    // Loops, in scope_.
    [[nodiscard]] Task<void> flush_loop();
    [[nodiscard]] Task<void> tick_loop();
    void look_at_catalog();
    [[nodiscard]] Task<void> ends_loop();
    [[nodiscard]] Task<void> standby_loop();  // stream_standbys.cc
    [[nodiscard]] Task<void> await_record(SegmentId segment, CoreletId replica, RecordNumber number,
                                          Task<Result<void>> append);
    [[nodiscard]] Task<void> send_heartbeat(owner_effect::SendHeartbeat effect);
    [[nodiscard]] Task<void> measure(CoreletId replica, SegmentId standby);
    [[nodiscard]] Task<void> release_replica(CoreletId replica, SegmentId segment);
    [[nodiscard]] Task<void> seal_replica(CoreletId replica, SegmentId segment, u64 end);
    [[nodiscard]] Task<void> drop_replica(CoreletId replica, SegmentId segment);
    [[nodiscard]] Task<Result<void>> commit_end(StatedEnd end);

    // stream_standbys.cc
    struct StandbyWish {
        SegmentId id;
        std::vector<CoreletId> replicas;
        bool narrow = false;
        bool activate = false;  // used at once: writes wait for it
        bool strict = false;    // none but these corelets: it is there to do without others
    };
    using Corelets = std::vector<CoreletId>;
    [[nodiscard]] Task<bool> tend_standbys();
    [[nodiscard]] bool is_helpless() const;
    [[nodiscard]] Task<bool> give_up_if_helpless();
    [[nodiscard]] Corelets choose(const Corelets& avoid) const;
    [[nodiscard]] bool is_all_in_one_domain(const Corelets& replicas) const;
    [[nodiscard]] bool is_ending(u64 seq) const;
    [[nodiscard]] std::vector<Corelets> losses_to_cover() const;
    [[nodiscard]] bool is_fit(const Corelets& replicas) const;
    [[nodiscard]] std::optional<StandbyWish> next_wish();
    [[nodiscard]] std::optional<StandbyWish> missing_standby(bool fit) const;
    [[nodiscard]] std::optional<StandbyWish> wish_when_stuck();
    [[nodiscard]] StandbyWish at_home(StandbyWish wish);
    [[nodiscard]] Task<Result<void>> withdraw_bad_standbys();
    [[nodiscard]] bool must_withdraw(const pb::Segment& segment) const;
    [[nodiscard]] bool must_leave(CoreletId corelet) const;
    void roll_away_from_the_leaving();
    [[nodiscard]] Task<Result<void>> activate_dormant();
    [[nodiscard]] Task<Result<void>> list_standby(StandbyWish wish);
    [[nodiscard]] Task<Result<void>> prepare_everywhere(ReplicaPort::PrepareRequest request);
    [[nodiscard]] Task<void> look_for_space();
    [[nodiscard]] bool is_stuck() const { return core_.is_stuck() || !core_.open_segment(); }
    // A name of a segment while it is prepared: it holds the horizon down (protocols 8.2).
    struct Preparing {
        StreamOwner& owner;
        u64 seq;
        Preparing(StreamOwner& o, SegmentId id) : owner(o), seq(id.seq) { owner.preparing_.insert(seq); }
        ~Preparing() { owner.preparing_.erase(seq); }
    };

    StreamDeps deps_;
    StreamOptions options_;
    std::unique_ptr<StreamRecord> record_;
    LogSink& sink_;
    OwnerCore core_;
    u64 bytes_in_flight_ = 0;
    std::map<u64, std::shared_ptr<Waiting>> waiting_;  // in the order of the calls
    std::deque<u64> row_;  // of those, the ones not submitted yet: each is held by its caller
    u64 next_request_ = 1;
    u64 next_counter_ = 1;  // of names made by this epoch
    std::deque<StatedEnd> ends_;
    Notify flush_wanted_, ends_wanted_, tick_wanted_, standby_wanted_, readable_;
    bool flush_scheduled_ = false;
    bool no_space_ = false;          // the pool is full: client appends are refused, system ones use the reserve
    bool below_min_copies_ = false;  // too few corelets are up for a segment: nobody else could append either
    std::optional<Instant> too_few_since_;  // as far as this corelet hears of them
    Corelets avoid_;                        // failed the open segment; a standby that is wanted now does without
    struct Refusal {
        Instant until;
        bool full = false;  // without room for the log itself
    };
    std::map<CoreletId, Refusal> unfit_;  // refused to prepare lately: others first, until then
    std::set<u64> preparing_;
    std::set<u64> unwanted_;    // standbys to be withdrawn
    std::set<u64> withdrawn_;   // their delisting was proposed: never used, whatever becomes of it (protocols 5.6)
    std::set<u64> unreserved_;  // prepared from the reserve of a full pool, no room kept for their packed form
    std::optional<Instant> stuck_since_;
    Instant able_since_;  // the catalog, enough corelets and room have been there since then
    std::string waiting_for_;
    std::map<CoreletId, Duration> latencies_;
    Event stopped_;
    Error stop_reason_{Code::kShutdown, false, 0, {}};
    bool handing_over_ = false;
    Scope scope_;
};

}  // namespace corelet
