// The owner's side of a stream's log under the `sync` policy, as a pure state machine: batching, acknowledgement in
// order, rolling to a standby, the read lease (protocols 4 to 6). No I/O, no clock: the shell (stream_owner.h)
// feeds events and carries the effects out in order.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <variant>

#include "stream/record.h"
#include "stream/segment.h"

namespace corelet {

namespace owner_effect {
// Send this record to the replica; its bytes never change. Answer with appended() or append_failed().
struct SendRecord {
    SegmentId segment;
    CoreletId replica;
    RecordNumber number;
    u64 offset = 0;
    BufferChain bytes;
    u32 bytes_crc = 0;
};
// Ask the replica to renew its promise. `sent` names the message: the promise counts from it.
struct SendHeartbeat {
    SegmentId segment;
    CoreletId replica;
    Instant sent;
};
// The request is durable on all replicas: tell the sink, then the caller.
struct Acknowledge {
    u64 request = 0;
    RecordNumber record;
    LogPlace place;
    LogEntry entry;
};
// The segment takes no more records: commit its end, in the order given.
struct Ended {
    StatedEnd end;
};
// The pool is full, and nothing of this request counts: the caller is told kNoSpace.
struct Refused {
    u64 request = 0;
};
// No usable standby is left: get one listed (or activated) that avoids these corelets. Until then appends wait.
struct NeedStandby {
    std::vector<CoreletId> avoid;
    bool urgent = false;  // writes wait for it
};
// A replica lags, and whether another corelet is faster is not known: measure how fast these answer now,
// set_latency_hint().
struct Measure {
    std::vector<LogSegment> standbys;
};
// A newer epoch exists: this owner stops for good.
struct Stopped {
    Error error;
};
}  // namespace owner_effect
using OwnerEffect = std::variant<owner_effect::SendRecord, owner_effect::SendHeartbeat, owner_effect::Acknowledge,
                                 owner_effect::Ended, owner_effect::Refused, owner_effect::NeedStandby,
                                 owner_effect::Measure, owner_effect::Stopped>;
using OwnerEffects = std::vector<OwnerEffect>;

struct OwnerOptions {
    StreamTimes times;
    u64 segment_target_bytes = 64 * k_mib;
    Duration idle_roll = 2_s;    // an open segment with data and nothing new for so long is ended, to be packed
    usize pipeline_records = 4;  // records in flight
    usize pipeline_bytes = 128 * k_kib;  // beside records in flight another leaves only when so much waits
    // After an acknowledgement those who were answered are likely to come again: so long, and a fourth of what a
    // record takes, at most, is waited for as many as there were.
    Duration gather_max = 200_us;
};

// Where the stream stands when this owner begins.
struct OwnerStart {
    SpaceId space;
    Epoch epoch;
    RecordNumber last_record;        // all up to it are acknowledged or were kept by recovery
    u64 roll = 0;                    // highest roll number used so far
    std::optional<LogSegment> open;  // the own segment, listed; what recovery wrote into it:
    u64 open_end_bytes = 0;
    u32 open_previous_crc = 0;
    std::vector<LogSegment> standbys;  // listed and usable
};

class OwnerCore {
  public:
    OwnerCore(OwnerStart start, OwnerOptions options, Instant now);

    // --- events
    // -------------------------------------------------------------------------------------------------------
    // `request` comes back in Acknowledge; if it `may_be_refused`, instead in Refused when the pool is full.
    void submit(u64 request, LogEntry entry, Instant now, bool may_be_refused = false);
    // Sends what may be sent now. Call once after the submits of one turn, so that they travel together.
    void flush(Instant now, OwnerEffects& out);
    // The replica has record `number` of the segment, and all before it, on media.
    void appended(SegmentId segment, CoreletId replica, RecordNumber number, Instant now, OwnerEffects& out);
    void heartbeat_answered(SegmentId segment, CoreletId replica, Instant sent, Instant now, OwnerEffects& out);
    // Reset, refused, or the device failed: anything but an answer. kFenced stops the owner and is no reason to
    // roll. kNoSpace: what may be refused is, the rest goes on in the next segment.
    void failed(SegmentId segment, CoreletId replica, const Error& error, Instant now, OwnerEffects& out);
    // Time-outs, heartbeats, idle rolls; call at next_tick().
    void tick(Instant now, OwnerEffects& out);
    [[nodiscard]] Instant next_tick() const;
    // Listed in the catalog (committed), prepared on all its replicas.
    void standby_listed(LogSegment standby, Instant now, OwnerEffects& out);
    // Its delisting is about to be proposed: never used from here on, whatever becomes of the proposal
    // (protocols 5.6). False: it is the open segment by now; do not propose.
    [[nodiscard]] bool withdraw_standby(SegmentId segment);
    void end_committed(SegmentId segment);
    // For size an owner rolls only while the catalog is there to list the next (protocols 5.1).
    void set_catalog_available(bool available) { catalog_available_ = available; }
    // End the open segment when all that is in flight is acknowledged, if it holds anything.
    void request_roll(Instant now, OwnerEffects& out);
    // Goes on in a wider standby, if there is one: at once from a segment without records, else when what is in
    // flight is acknowledged (protocols 5.2).
    void widen(Instant now, OwnerEffects& out);
    // What the shell measured of a corelet's answers, for lag (protocols 5.4); good for a second.
    void set_latency_hint(CoreletId corelet, Duration latency, Instant now) {
        latency_hints_[corelet] = {latency, now};
    }
    // This owner gives no answer any more (hand-over, shutdown): its release is its last word at its epoch.
    void stop() { stopped_ = true; }

    // --- state
    // -------------------------------------------------------------------------------------------------------- All
    // replicas of the current segment promise, counted from the first sending of what they answered.
    [[nodiscard]] bool holds_lease(Instant now) const;
    [[nodiscard]] bool is_stopped() const { return stopped_; }
    [[nodiscard]] RecordNumber last_acknowledged() const { return acknowledged_; }
    [[nodiscard]] const std::optional<LogSegment>& open_segment() const { return open_; }
    [[nodiscard]] u64 open_bytes() const { return end_bytes_; }
    [[nodiscard]] u64 acknowledged_bytes() const { return acknowledged_bytes_; }  // of the open segment
    [[nodiscard]] const std::vector<LogSegment>& standbys() const { return standbys_; }
    [[nodiscard]] usize waiting_requests() const { return pending_.size(); }
    // Of requests that were submitted and are neither acknowledged nor refused.
    [[nodiscard]] u64 bytes_held() const;
    // What waits could leave, and waits for company until next_tick() at most.
    [[nodiscard]] bool is_gathering() const {
        return in_flight_.empty() && !pending_.empty() && pending_.size() < company_;
    }
    [[nodiscard]] bool is_stuck() const { return stuck_; }
    // Since when requests wait and none was acknowledged; empty while none waits.
    [[nodiscard]] std::optional<Instant> blocked_since() const { return blocked_since_; }
    [[nodiscard]] u64 rolls() const { return roll_; }

  private:
    struct Request {
        u64 id = 0;
        LogEntry entry;
        bool may_be_refused = false;
    };
    struct InFlight {
        RecordNumber number;
        u64 end_bytes = 0;  // of the segment, after this record
        u32 crc = 0;
        Instant sent;
        std::vector<Request> requests;
        std::vector<u32> first_block;  // per request
    };
    struct Replica {
        CoreletId id;
        RecordNumber durable;                 // highest record it has
        std::optional<Instant> promise_from;  // first sending of the latest message it answered
        std::optional<Instant> heartbeat_out;
        Instant heartbeat_after;  // a failed one is not asked again before
        bool failed = false;
    };
    struct LatencyHint {
        Duration latency;
        Instant measured;
    };

    // owner_append.cc
    void send_record(Instant now, OwnerEffects& out);
    void acknowledge_ready(Instant now, OwnerEffects& out);
    [[nodiscard]] bool should_send(Instant now) const;
    // owner_roll.cc
    void open(LogSegment segment, Instant now);
    void roll_for_failure(Instant now, OwnerEffects& out);
    void maybe_roll_for_size(Instant now, OwnerEffects& out);
    void roll_to(usize standby, Instant now, OwnerEffects& out);
    void refuse_waiting(OwnerEffects& out);
    // Of which none has failed us; for lag (at `lagging`) also known to be faster.
    [[nodiscard]] std::optional<usize> choose_standby(usize copies_least,
                                                      std::optional<Instant> lagging = {}) const;
    void roll_for_lag(Instant now, OwnerEffects& out);
    void resume_if_answered(Replica& replica, Instant now, OwnerEffects& out);
    void check_answers(Instant now, OwnerEffects& out);
    [[nodiscard]] std::optional<Instant> oldest_unanswered(const Replica& replica) const;
    [[nodiscard]] Duration lag_limit() const;
    // owner_lease.cc
    void send_heartbeats(Instant now, OwnerEffects& out);
    [[nodiscard]] Replica* find(SegmentId segment, CoreletId replica);

    SpaceId space_;
    Epoch epoch_;
    OwnerOptions options_;
    bool stopped_ = false;
    bool stuck_ = false;  // a replica failed and no standby is usable
    bool full_ = false;   // a replica has no room: the next roll refuses what may be
    bool want_roll_ = false;
    bool catalog_available_ = true;

    RecordNumber acknowledged_;  // in order, for ever
    RecordNumber sent_;          // last record sent in the open segment
    u64 roll_ = 0;
    std::optional<LogSegment> open_;
    bool open_used_ = false;  // a record was sent in it (or recovery wrote one)
    std::vector<Replica> replicas_;
    u64 end_bytes_ = 0;           // of what was sent
    u64 acknowledged_bytes_ = 0;  // of what was acknowledged
    u32 previous_crc_ = 0;
    Instant last_activity_;
    Instant next_lag_check_;
    std::deque<InFlight> in_flight_;
    std::deque<Request> pending_;
    usize pending_bytes_ = 0;
    usize company_ = 0;  // requests that were under way at the last acknowledgement
    Instant gather_until_;
    std::vector<StatedEnd> uncommitted_ends_;  // in the order of use
    std::vector<LogSegment> standbys_;
    std::map<CoreletId, LatencyHint> latency_hints_;
    std::optional<Instant> blocked_since_;
    std::vector<Duration> recent_latencies_;  // of whole records, newest last, bounded
};

}  // namespace corelet
