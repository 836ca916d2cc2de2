#include "stream/stream_owner.h"

#include "base/checksum.h"

namespace corelet {

static constexpr u64 k_adopted_bytes_max = 64 * k_mib;  // a chunk's bound

StreamOwner::StreamOwner(StreamDeps deps, StreamOptions options, std::unique_ptr<StreamRecord> record,
                         OwnerStart start, LogSink& sink)
    : deps_(deps),
      options_(options),
      record_(std::move(record)),
      sink_(sink),
      core_(std::move(start), options.owner, deps.env.clock.now()),
      scope_(deps.env.executor) {
    // Names made before this owner by the same epoch: those of its recovery.
    for (const pb::Segment& segment : record_->value().segments())
        if (seq_epoch(segment.seq()) == epoch())
            next_counter_ = std::max(next_counter_, (segment.seq() & ((u64{1} << k_seq_counter_bits) - 1)) + 1);
    scope_.spawn(flush_loop());
    scope_.spawn(tick_loop());
    scope_.spawn(ends_loop());
    scope_.spawn(standby_loop());
    // Ends are committed: whoever was not told of his yet is told now.
    for (const pb::Segment& segment : record_->value().segments()) {
        if (segment.state() != pb::Segment::ENDED) continue;
        LogSegment const ended = to_spec(record_->space(), segment);
        for (CoreletId replica : ended.replicas) scope_.spawn(seal_replica(replica, ended.id, segment.end_bytes()));
    }
}

StreamOwner::~StreamOwner() = default;

void StreamOwner::drop_segments(const std::vector<LogSegment>& segments) {
    for (const LogSegment& segment : segments)
        for (CoreletId replica : segment.replicas) scope_.spawn(drop_replica(replica, segment.id));
}

// --- appending
// ------------------------------------------------------------------------------------------------------

namespace {
Error no_space() {
    return Error{Code::kNoSpace, false, 0, "the pool is full: no corelet has room for the log and its packed form"};
}
}  // namespace

// Numbered in the order of the calls: who finds no room stands in a row, and none that comes later overtakes it.
Task<Result<RecordNumber>> StreamOwner::append(LogEntry entry, bool system) {
    if (stopped_.is_set() || handing_over_) co_return std::unexpected(stop_reason_);
    auto const waiting = std::make_shared<Waiting>();
    waiting->bytes = std::max<u64>(k_block_bytes, entry.blocks.size() + entry.meta.size());
    CORELET_ASSERT(waiting->bytes <= options_.bytes_in_flight_max);
    waiting->entry = std::move(entry);
    waiting->system = system;
    u64 const request = next_request_++;
    waiting_.emplace(request, waiting);
    row_.push_back(request);
    Place const place{*this, request};
    submit_waiting();
    co_await waiting->done.wait();
    co_return *waiting->result;
}

void StreamOwner::leave(u64 request) {
    auto const found = waiting_.find(request);
    if (found == waiting_.end() || found->second->submitted) return;
    std::erase(row_, request);
    waiting_.erase(found);
    submit_waiting();
}

void StreamOwner::finish(u64 request, Result<RecordNumber> result) {
    auto const found = waiting_.find(request);
    CORELET_ASSERT(found != waiting_.end(), "answered twice");
    if (found->second->submitted) bytes_in_flight_ -= found->second->bytes;
    found->second->result.emplace(std::move(result));
    found->second->done.set();
    waiting_.erase(found);
}

void StreamOwner::submit_waiting() {
    while (!row_.empty() && !stopped_.is_set()) {
        u64 const request = row_.front();
        Waiting& waiting = *waiting_.at(request);
        if (no_space_ && !waiting.system && !waiting.entry.blocks.empty()) {
            row_.pop_front();
            finish(request, std::unexpected(no_space()));
            continue;
        }
        if (bytes_in_flight_ + waiting.bytes > options_.bytes_in_flight_max) return;
        row_.pop_front();
        waiting.submitted = true;
        bytes_in_flight_ += waiting.bytes;
        bool const may_be_refused = !waiting.system && !waiting.entry.blocks.empty();
        core_.submit(request, std::move(waiting.entry), now(), may_be_refused);
        if (!flush_scheduled_) {
            flush_scheduled_ = true;
            flush_wanted_.notify_one();
        }
    }
}

// Runs after everything that is ready now, so that requests that arrived together travel together.
Task<void> StreamOwner::flush_loop() {
    for (;;) {
        while (!flush_scheduled_) co_await flush_wanted_.wait();
        flush_scheduled_ = false;
        OwnerEffects effects;
        core_.flush(now(), effects);
        execute(std::move(effects));
        tick_wanted_.notify_one();
    }
}

// Before each decision that depends on it: a busy stream needs no tick for long.
void StreamOwner::look_at_catalog() {
    bool const available = deps_.catalog.is_available();
    core_.set_catalog_available(available);
    if (!available) able_since_ = now();
}

Task<void> StreamOwner::tick_loop() {
    for (;;) {
        Instant const next = core_.next_tick();
        if (next > now()) co_await tick_wanted_.wait_until(deps_.env.clock, next);
        if (core_.next_tick() > now()) {
            // Woken because the next instant changed, not because it came; do not spin on a busy stream.
            co_await yield();
            continue;
        }
        look_at_catalog();
        OwnerEffects effects;
        core_.tick(now(), effects);
        execute(std::move(effects));
        if (core_.next_tick() <= now()) co_await deps_.env.clock.sleep(10_ms);
    }
}

void StreamOwner::execute(OwnerEffects effects) {
    for (OwnerEffect& effect : effects) std::visit([&](auto& e) { carry_out(e); }, effect);
    submit_waiting();
    if (!is_stuck()) {
        stuck_since_.reset();
    } else if (!stuck_since_) {
        stuck_since_ = now();
    }
}

void StreamOwner::carry_out(owner_effect::SendRecord& effect) {
    auto append = deps_.replicas.append(effect.replica, effect.segment, effect.offset, std::move(effect.bytes),
                                        effect.bytes_crc);
    scope_.spawn(await_record(effect.segment, effect.replica, effect.number, std::move(append)));
}
void StreamOwner::carry_out(owner_effect::SendHeartbeat& effect) {
    scope_.spawn(send_heartbeat(effect));
}

void StreamOwner::carry_out(owner_effect::Acknowledge& effect) {
    sink_.apply(effect.record, effect.entry, effect.place);
    finish(effect.request, effect.record);
}

void StreamOwner::carry_out(owner_effect::Ended& effect) {
    log_info(deps_.env.log, "stream.rolled", [&] {
        return "segment " + to_string(SegmentId{record_->space(), effect.end.seq}) + " ends at " +
               std::to_string(effect.end.end_bytes);
    });
    ends_.push_back(effect.end);
    ends_wanted_.notify_one();
}

void StreamOwner::carry_out(owner_effect::Refused& effect) {
    no_space_ = true;
    finish(effect.request, std::unexpected(no_space()));
}

void StreamOwner::carry_out(owner_effect::NeedStandby& effect) {
    avoid_ = std::move(effect.avoid);
    standby_wanted_.notify_one();
}

void StreamOwner::carry_out(owner_effect::Measure& effect) {
    std::set<CoreletId> asked;
    for (const LogSegment& standby : effect.standbys)
        for (CoreletId replica : standby.replicas)
            if (asked.insert(replica).second) scope_.spawn(measure(replica, standby.id));
}

// A small read goes the same way as an append, and promises nothing.
Task<void> StreamOwner::measure(CoreletId replica, SegmentId standby) {
    Instant const sent = now();
    auto const answer = co_await deps_.replicas.read(replica, standby, 0, k_block_bytes);
    if (answer) core_.set_latency_hint(replica, now() - sent, now());
}

void StreamOwner::carry_out(owner_effect::Stopped& effect) {
    stop(effect.error);
}

void StreamOwner::stop(Error reason) {
    if (stopped_.is_set()) return;
    core_.stop();
    stop_reason_ = std::move(reason);
    log_info(deps_.env.log, "stream.stopped",
             [&] { return "space " + std::to_string(record_->space().v) + ": " + stop_reason_.to_string(); });
    row_.clear();
    while (!waiting_.empty()) finish(waiting_.begin()->first, std::unexpected(stop_reason_));
    readable_.notify_all();
    stopped_.set();
}

Task<void> StreamOwner::await_record(SegmentId segment, CoreletId replica, RecordNumber number,
                                     Task<Result<void>> append) {
    Instant const sent = now();
    auto const answer = co_await std::move(append);
    if (stopped_.is_set()) co_return;
    OwnerEffects effects;
    if (answer) {
        Duration& latency = latencies_[replica];
        latency = latency.ns == 0 ? now() - sent : (latency * 7 + (now() - sent)) / 8;
        core_.set_latency_hint(replica, latency, now());
        look_at_catalog();
        core_.appended(segment, replica, number, now(), effects);
    } else {
        core_.failed(segment, replica, answer.error(), now(), effects);
    }
    execute(std::move(effects));
    if (core_.is_gathering()) tick_wanted_.notify_one();
    if (readable_.has_waiters() && may_serve()) readable_.notify_all();
}

Task<void> StreamOwner::send_heartbeat(owner_effect::SendHeartbeat effect) {
    auto const answer = co_await deps_.replicas.heartbeat(effect.replica, effect.segment, epoch());
    if (stopped_.is_set()) co_return;
    OwnerEffects effects;
    if (answer) {
        core_.heartbeat_answered(effect.segment, effect.replica, effect.sent, now(), effects);
    } else {
        core_.failed(effect.segment, effect.replica, answer.error(), now(), effects);
    }
    execute(std::move(effects));
    tick_wanted_.notify_one();
    if (readable_.has_waiters() && may_serve()) readable_.notify_all();
}

// --- ends
// -----------------------------------------------------------------------------------------------------------

// In the order of use, one after the other; until the catalog is there the ends travel in first records.
Task<void> StreamOwner::ends_loop() {
    for (;;) {
        while (ends_.empty()) co_await ends_wanted_.wait();
        StatedEnd const end = ends_.front();
        auto const committed = co_await commit_end(end);
        if (!committed) {
            if (committed.error().code == Code::kFenced) {
                stop(committed.error());
                co_return;
            }
            co_await deps_.env.clock.sleep(500_ms);
            continue;
        }
        ends_.pop_front();
    }
}

Task<Result<void>> StreamOwner::commit_end(StatedEnd end) {
    auto const change = [end](pb::Stream& stream) {
        pb::Segment* const segment = find_segment(stream, end.seq);
        // Committed before, by an attempt whose answer was lost; one without records is off the list then.
        if (!segment || segment->state() == pb::Segment::ENDED) return true;
        segment->set_state(pb::Segment::ENDED);
        segment->set_end_bytes(end.end_bytes);
        segment->set_last_record(end.last_record.v);
        // Ended ones stand before listed ones, in the order of use.
        int at = 0;
        while (stream.segments(at).seq() != end.seq) ++at;
        int to = 0;
        while (to < at && stream.segments(to).state() == pb::Segment::ENDED) ++to;
        for (; at > to; --at) stream.mutable_segments()->SwapElements(at, at - 1);
        if (end.end_bytes == 0) stream.mutable_segments()->DeleteSubrange(to, 1);
        stream.set_kept_record(std::max(stream.kept_record(), end.last_record.v));
        stream.set_ended_record(std::max(stream.ended_record(), end.last_record.v));
        return true;
    };
    LogSegment ended;
    for (const pb::Segment& segment : record_->value().segments())
        if (segment.seq() == end.seq) ended = to_spec(record_->space(), segment);
    CO_TRY_VOID(co_await record_->update(change, catalog_deadline()));
    SegmentId const id{record_->space(), end.seq};
    core_.end_committed(id);
    for (CoreletId replica : ended.replicas)
        scope_.spawn(end.end_bytes == 0 ? drop_replica(replica, id) : seal_replica(replica, id, end.end_bytes));
    if (end.end_bytes != 0) sink_.segment_ended(id, end.end_bytes);
    co_return {};
}

Task<void> StreamOwner::seal_replica(CoreletId replica, SegmentId segment, u64 end) {
    auto const sealed = co_await deps_.replicas.seal(replica, segment, end);
    if (!sealed)
        log_info(deps_.env.log, "stream.seal_failed",
                 [&] { return to_string(replica) + ": " + sealed.error().to_string(); });
}

Task<void> StreamOwner::drop_replica(CoreletId replica, SegmentId segment) {
    // What is not reached is garbage below the horizon and found by inventories.
    (void)co_await deps_.replicas.drop(replica, segment, epoch());
}

// --- reading
// --------------------------------------------------------------------------------------------------------

bool StreamOwner::may_serve() const {
    return !handing_over_ && !stopped_.is_set() && core_.holds_lease(now());
}

Task<Result<void>> StreamOwner::wait_readable() {
    while (!may_serve()) {
        if (stopped_.is_set() || handing_over_) co_return std::unexpected(stop_reason_);
        co_await readable_.wait_until(deps_.env.clock, now() + 100_ms);
    }
    co_return {};
}

Task<Result<BufferChain>> StreamOwner::read(SegmentId segment, u32 first_block, u32 blocks,
                                            std::vector<u32> expected_crcs) {
    CORELET_ASSERT(expected_crcs.size() == blocks);
    const pb::Segment* found = nullptr;
    for (const pb::Segment& candidate : record_->value().segments())
        if (candidate.seq() == segment.seq) found = &candidate;
    if (!found) co_return fail(Code::kUnknown, "segment " + to_string(segment) + " is not in the stream's record");
    std::vector<CoreletId> order = to_spec(record_->space(), *found).replicas;
    // The own device first, then those that are up.
    std::stable_sort(order.begin(), order.end(), [&](CoreletId a, CoreletId b) {
        auto const rank = [&](CoreletId id) { return id == deps_.self ? 0 : deps_.placement.is_up(id) ? 1 : 2; };
        return rank(a) < rank(b);
    });
    Error last{Code::kUnknown, false, 0, "segment " + to_string(segment) + " has no replicas"};
    std::optional<Error> no_answer;  // who gave none may have it
    for (CoreletId replica : order) {
        auto const bytes = co_await deps_.replicas.read(replica, segment, u64{first_block} * k_block_bytes,
                                                        u64{blocks} * k_block_bytes);
        if (!bytes) {
            last = bytes.error();
            if (last.is_retryable() && last.code != Code::kUnknown) no_answer = last;
            continue;
        }
        BufferChain chain(*bytes);
        if (bytes->size() == u64{blocks} * k_block_bytes && block_crcs(chain) == expected_crcs) co_return chain;
        log_warning(deps_.env.log, "stream.bad_replica",
                    [&] { return to_string(segment) + " on " + to_string(replica); });
        last = Error{Code::kCorrupt, false, 0, "segment " + to_string(segment) + ": no copy verifies"};
    }
    co_return std::unexpected(no_answer.value_or(last));
}

bool StreamOwner::lists(u64 seq) const {
    auto const& segments = record_->value().segments();
    return std::any_of(segments.begin(), segments.end(),
                       [&](const pb::Segment& segment) { return segment.seq() == seq; });
}

// --- the rest
// -------------------------------------------------------------------------------------------------------

void StreamOwner::request_roll() {
    if (stopped_.is_set()) return;
    OwnerEffects effects;
    core_.request_roll(now(), effects);
    execute(std::move(effects));
}

Task<Result<void>> StreamOwner::commit_checkpoint(Checkpoint checkpoint) {
    // What is being prepared is listed nowhere yet and is not dead.
    if (!preparing_.empty()) checkpoint.horizon = std::min(checkpoint.horizon, *preparing_.begin());
    auto const shared = std::make_shared<Checkpoint>(std::move(checkpoint));
    auto const change = [shared](pb::Stream& stream) {
        CORELET_ASSERT(shared->position.v >= stream.root_position() && shared->horizon >= stream.horizon(),
                       "a checkpoint goes back");
        stream.set_root(shared->root);
        stream.set_root_position(shared->position.v);
        stream.set_horizon(shared->horizon);
        for (SegmentId released : shared->released)
            for (int i = 0; i < stream.segments_size(); ++i)
                if (stream.segments(i).seq() == released.seq && stream.segments(i).state() == pb::Segment::ENDED)
                    stream.mutable_segments()->DeleteSubrange(i--, 1);
        return true;
    };
    std::vector<LogSegment> dropped;
    for (SegmentId released : shared->released)
        for (const pb::Segment& segment : record_->value().segments())
            if (segment.seq() == released.seq) dropped.push_back(to_spec(record_->space(), segment));
    auto const committed = co_await record_->update(change, catalog_deadline());
    if (!committed) {
        if (committed.error().code == Code::kFenced) stop(committed.error());
        co_return committed;
    }
    for (const LogSegment& segment : dropped)
        for (CoreletId replica : segment.replicas) scope_.spawn(drop_replica(replica, segment.id));
    co_return {};
}

Task<Result<bool>> StreamOwner::adopt(SegmentId segment, u64 end_bytes) {
    auto const homes = deps_.placement.homes(pool(), segment);
    const pb::Segment* found = nullptr;
    for (const pb::Segment& candidate : record_->value().segments())
        if (candidate.seq() == segment.seq && candidate.state() == pb::Segment::ENDED) found = &candidate;
    if (!found || homes.empty() || end_bytes > k_adopted_bytes_max) co_return false;
    std::vector<CoreletId> replicas = to_spec(record_->space(), *found).replicas;
    std::vector<CoreletId> sorted_homes = homes;
    std::sort(replicas.begin(), replicas.end());
    std::sort(sorted_homes.begin(), sorted_homes.end());
    if (replicas != sorted_homes) co_return false;
    // All of them are verified to the end, or none of this counts and it is packed later.
    for (usize position = 0; position < homes.size(); ++position) {
        auto const adopted = co_await deps_.replicas.adopt(
            homes[position], segment, end_bytes, static_cast<u8>(position), static_cast<u8>(homes.size()));
        if (!adopted) co_return std::unexpected(adopted.error());
    }
    co_return true;
}

u64 StreamOwner::unreleased_bytes() const {
    u64 bytes = core_.open_bytes();
    for (const pb::Segment& segment : record_->value().segments())
        if (segment.state() == pb::Segment::ENDED) bytes += segment.end_bytes();
    return bytes;
}

Task<void> StreamOwner::release_replica(CoreletId replica, SegmentId segment) {
    (void)co_await deps_.replicas.release(replica, segment, epoch());
}

Task<Result<void>> StreamOwner::hand_over(bool end_segments) {
    if (stopped_.is_set()) co_return {};
    handing_over_ = true;
    auto const open = core_.open_segment();
    StatedEnd const end{open ? open->id.seq : 0, core_.open_bytes(), core_.last_acknowledged()};
    bool const clean = core_.waiting_requests() == 0 && waiting_.empty() && ends_.empty();
    stop(Error{Code::kShutdown, false, 0, "the stream was handed over"});
    if (open)
        for (CoreletId replica : open->replicas) scope_.spawn(release_replica(replica, open->id));
    // With requests in flight, or ends on their way to the catalog, the end is not known here: the next owner finds
    // it.
    bool const end_here = end_segments && clean;
    auto const change = [end, end_here](pb::Stream& stream) {
        stream.set_owner(0);
        stream.set_owner_lease(0);
        if (!end_here) return true;
        for (int i = 0; i < stream.segments_size(); ++i) {
            pb::Segment& segment = *stream.mutable_segments(i);
            if (segment.state() == pb::Segment::ENDED) continue;
            if (segment.seq() == end.seq && end.end_bytes != 0) {
                segment.set_state(pb::Segment::ENDED);
                segment.set_end_bytes(end.end_bytes);
                segment.set_last_record(end.last_record.v);
                stream.set_kept_record(std::max(stream.kept_record(), end.last_record.v));
                stream.set_ended_record(std::max(stream.ended_record(), end.last_record.v));
            } else {
                stream.mutable_segments()->DeleteSubrange(i--, 1);
            }
        }
        stream.set_ended_by_caretaker(true);
        return true;
    };
    co_return co_await record_->update(change, catalog_deadline());
}

void StreamOwner::corelet_lost(CoreletId corelet) {
    if (stopped_.is_set() || !core_.open_segment()) return;
    OwnerEffects effects;
    core_.failed(core_.open_segment()->id, corelet, Error{Code::kReset, false, 0, "confirmed dead"}, now(),
                 effects);
    execute(std::move(effects));
    standby_wanted_.notify_one();
}

StreamStatus StreamOwner::status() const {
    StreamStatus status;
    status.epoch = epoch();
    if (core_.open_segment()) status.open_segment = core_.open_segment()->replicas;
    if (core_.open_segment()) status.open_seq = core_.open_segment()->id.seq;
    status.acknowledged_bytes = core_.acknowledged_bytes();
    status.acknowledged = core_.last_acknowledged();
    status.standbys = core_.standbys();
    status.width_wanted = deps_.placement.policy(pool()).width;
    status.stuck = core_.is_stuck() || !core_.open_segment();
    if (status.stuck) status.waiting_for = waiting_for_;
    status.may_serve = may_serve();
    status.rolls = core_.rolls();
    status.unreleased_bytes = unreleased_bytes();
    status.held_bytes = core_.bytes_held();
    return status;
}

}  // namespace corelet
