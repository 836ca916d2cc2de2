#include "stream/stream_recovery.h"

#include "rt/combine.h"
#include "stream/chain_reader.h"
#include "stream/segment_reader.h"

namespace corelet {

namespace {

// One recovery from taking to serving. Lives in take_stream()'s frame.
class Recovery {
  public:
    Recovery(StreamDeps deps, SpaceId space, TakeOptions options, LogSink& sink)
        : deps_(deps),
          options_(options),
          sink_(sink),
          reader_(deps.replicas),
          record_(std::make_unique<StreamRecord>(deps.catalog, space)) {
        deadline_ = deps.env.clock.now() + options.timeout;
    }

    Task<Result<std::unique_ptr<StreamOwner>>> run(RestoreCheckpoint restore);

  private:
    struct Listed {
        explicit Listed(LogSegment segment) : chain(std::move(segment)) {}
        SegmentChain chain;
        std::vector<CoreletId> fenced;
        std::vector<CoreletId> unfenced;  // did not answer, do not know the segment, or have forgotten
        u64 written = 0;                  // as far as any of the fenced knows that it was written
    };

    Task<Result<void>> decide();
    Task<Result<void>> load(RestoreCheckpoint restore);
    Task<Result<void>> fence_all();
    Task<void> fence_one(Listed* listed, CoreletId replica, Instant until);
    Task<Result<void>> enough_fences(Listed* listed);
    Task<Result<void>> read_in_turn(Listed* listed);
    Task<Result<void>> write_own();
    Task<Result<void>> prepare_own();
    Task<Result<void>> commit();
    Task<Result<void>> replay();
    Task<void> seal_all();
    Task<Result<void>> replay_segment(LogSegment segment, std::vector<CoreletId> from, u64 end, RecordNumber after);
    Task<void> give_up();
    [[nodiscard]] SpaceId space() const { return record_->space(); }
    [[nodiscard]] u64 root_position() const { return record_->value().root_position(); }

    StreamDeps deps_;
    TakeOptions options_;
    LogSink& sink_;
    SegmentReader reader_;
    ChainReader chain_reader_{reader_};
    Semaphore readers_{8};
    std::unique_ptr<StreamRecord> record_;
    Instant deadline_;
    std::vector<std::unique_ptr<Listed>> listed_;
    std::map<CoreletId, FenceAnswer> answers_;
    std::optional<Error> fenced_;  // somebody took the stream meanwhile
    RecoveryPlan plan_;
    std::vector<LogSegment> unused_;    // listed before the commit and not after
    std::vector<LogSegment> prepared_;  // and given up
    u64 next_counter_ = 1;
    std::optional<LogSegment> own_;
    u64 own_end_ = 0;
    u32 own_crc_ = 0;
    RecordNumber own_last_;
    std::vector<DecodedRecord> tail_;  // as written into the own segment
    std::vector<EncodedRecord> tail_places_;
};

Task<void> Recovery::fence_one(Listed* listed, CoreletId replica, Instant until) {
    auto const answer = co_await deps_.replicas.fence(replica, listed->chain.spec().id, record_->epoch(), until);
    if (answer) {
        listed->fenced.push_back(replica);
        listed->written = std::max(listed->written, answer->end_bytes);
        listed->chain.note_written(answer->end_bytes);
        answers_[replica] = *answer;
    } else {
        listed->unfenced.push_back(replica);
        if (answer.error().code == Code::kFenced) fenced_ = answer.error();
        std::string const who = to_string(listed->chain.spec().id) + " on " + to_string(replica) + ": ";
        log_info(deps_.env.log, "recovery.not_fenced", who + answer.error().to_string());
    }
}

// All replicas of all listed segments at once; those confirmed dead are not waited for.
Task<Result<void>> Recovery::fence_all() {
    for (const pb::Segment& segment : record_->value().segments())
        if (segment.state() == pb::Segment::LISTED)
            listed_.push_back(std::make_unique<Listed>(to_spec(space(), segment)));
    Duration const patience = options_.stream.owner.times.lease + 1_s;
    Instant const last = deadline_ - 1_s;  // there shall be time to say why
    for (;;) {
        Instant const until = std::min(last, deps_.env.clock.now() + patience);
        Scope fences(deps_.env.executor);
        bool missing = false;
        for (auto& listed : listed_) {
            std::vector<CoreletId> const known = listed->fenced;
            listed->unfenced.clear();
            for (CoreletId replica : listed->chain.spec().replicas) {
                if (std::find(known.begin(), known.end(), replica) != known.end()) continue;
                if (deps_.placement.is_confirmed_dead(replica)) {
                    listed->unfenced.push_back(replica);
                } else {
                    fences.spawn(fence_one(listed.get(), replica, until));
                }
            }
        }
        co_await fences.join();
        if (fenced_) co_return std::unexpected(*fenced_);
        for (auto& listed : listed_)
            if (auto const enough = co_await enough_fences(listed.get()); !enough) {
                missing = true;
                if (deps_.env.clock.now() >= last) co_return enough;
            }
        if (!missing) co_return {};
        co_await deps_.env.clock.sleep(200_ms);
    }
}

Task<Result<void>> Recovery::enough_fences(Listed* listed) {
    // Liveness of sessions is the catalog's word, never gossip's (protocols 11).
    usize with_session = 0;
    for (CoreletId replica : listed->unfenced) {
        CO_TRY(auto session, co_await deps_.catalog.get(session_key(replica), deadline_));
        with_session += session ? 1 : 0;
    }
    usize const width = listed->chain.spec().replicas.size();
    usize const needed = fences_needed(width, width, listed->fenced.size(), with_session);
    if (listed->fenced.size() >= needed) co_return {};
    co_return fail(Code::kUnavailable, "segment " + to_string(listed->chain.spec().id) + " needs " +
                                           std::to_string(needed) + " of its replicas, " +
                                           std::to_string(listed->fenced.size()) + " answered");
}

// An owner that could list standbys and not hear that they were leaves many behind: one after the other they would
// take longer to read than a recovery may.
Task<Result<void>> Recovery::read_in_turn(Listed* listed) {
    Permit const permit = co_await acquire_permit(readers_, 1);
    co_return co_await chain_reader_.read(&listed->chain, &listed->fenced, listed->written);
}

Task<Result<void>> Recovery::prepare_own() {
    PoolId const pool(record_->value().pool());
    LogPolicy const policy = deps_.placement.policy(pool);
    std::vector<CoreletId> refused;
    Error last{Code::kUnavailable, false, 0, "too few corelets are up for the stream's log"};
    for (int attempt = 0; attempt < 4; ++attempt) {
        // Who has not answered, as the former owner may not, is asked only where there are too few others.
        std::vector<CoreletId> avoid = refused;
        if (!record_->former_owner().is_zero()) avoid.push_back(record_->former_owner());
        for (auto const& listed : listed_)
            avoid.insert(avoid.end(), listed->unfenced.begin(), listed->unfenced.end());
        auto replicas = deps_.placement.choose(pool, policy.width, avoid, next_counter_);
        if (replicas.size() < policy.width)
            replicas = deps_.placement.choose(pool, policy.width, refused, next_counter_);
        if (replicas.size() < policy.min_copies) {
            refused.clear();
            co_await deps_.env.clock.sleep(100_ms);
            continue;
        }
        ReplicaPort::PrepareRequest request;
        request.segment = LogSegment{SegmentId{space(), make_seq(record_->epoch(), next_counter_++)},
                                     deps_.env.random.next(), replicas};
        request.epoch = record_->epoch();
        request.reserve_bytes =
            deps_.placement.packed_reservation(pool, options_.stream.owner.segment_target_bytes);
        request.system = true;
        std::vector<Task<Result<void>>> prepares;
        for (CoreletId replica : replicas) prepares.push_back(deps_.replicas.prepare(replica, request));
        auto const prepared = co_await join_all<Result<void>>(std::move(prepares));
        bool all = true;
        for (usize i = 0; i < prepared.size(); ++i)
            if (!prepared[i]) {
                all = false;
                refused.push_back(replicas[i]);
                last = prepared[i].error();
            }
        if (!all) {
            prepared_.push_back(std::move(request.segment));
            continue;
        }
        own_ = std::move(request.segment);
        co_return {};
    }
    co_return std::unexpected(with_context(last, "the next owner's own segment"));
}

// What lies beyond the mark is written to a segment of one's own, as yet unlisted.
Task<Result<void>> Recovery::write_own() {
    CO_TRY_VOID(co_await prepare_own());
    own_last_ = plan_.mark;
    if (!plan_.tail_chain) co_return {};
    const Listed& source = *listed_[*plan_.tail_chain];
    RecordNumber acknowledged = plan_.mark;
    for (const RecordHeader& header : source.chain.records()) {
        if (header.number <= plan_.mark) continue;
        CO_TRY(auto decoded, co_await reader_.read_record(source.chain.spec(), source.fenced, header.offset));
        RecordHeader next;
        next.segment = own_->id;
        next.epoch = record_->epoch();
        next.number = header.number;
        next.acknowledged = acknowledged;
        next.offset = own_end_;
        next.roll = plan_.roll + 1;
        next.previous_crc = own_crc_;
        std::vector<const LogEntry*> entries;
        for (const LogEntry& entry : decoded.entries) entries.push_back(&entry);
        EncodedRecord encoded = encode_record(std::move(next), own_->salt, entries);
        std::vector<Task<Result<void>>> writes;
        for (CoreletId replica : own_->replicas)
            writes.push_back(deps_.replicas.append(replica, own_->id, own_end_, encoded.bytes, encoded.bytes_crc));
        auto const written = co_await join_all<Result<void>>(std::move(writes));
        for (const auto& result : written)
            if (!result) co_return result;
        own_end_ += encoded.header.size_bytes();
        own_crc_ = encoded.header.crc;
        own_last_ = encoded.header.number;
        tail_.push_back(std::move(decoded));
        tail_places_.push_back(std::move(encoded));
    }
    CORELET_ASSERT(own_last_ == plan_.last_record);
    co_return {};
}

// One transaction: the ends, no further than the mark; the last record kept; whose fences were counted; the own
// segment.
Task<Result<void>> Recovery::commit() {
    auto const change = [this](pb::Stream& stream) {
        std::vector<pb::Segment> kept;
        unused_.clear();
        for (const pb::Segment& segment : stream.segments())
            if (segment.state() == pb::Segment::ENDED) {
                kept.push_back(segment);
            } else if (std::none_of(plan_.ends.begin(), plan_.ends.end(), [&](const StatedEnd& end) {
                           return end.seq == segment.seq() && end.end_bytes != 0;
                       })) {
                unused_.push_back(to_spec(space(), segment));
            }
        for (const StatedEnd& end : plan_.ends) {
            pb::Segment* const segment = find_segment(stream, end.seq);
            if (!segment || end.end_bytes == 0) continue;
            segment->set_state(pb::Segment::ENDED);
            segment->set_end_bytes(end.end_bytes);
            segment->set_last_record(end.last_record.v);
            kept.push_back(*segment);
        }
        bool const keeps_own = own_ && (!options_.caretaker || own_end_ != 0);
        if (keeps_own) {
            pb::Segment segment = to_proto(*own_, options_.caretaker ? pb::Segment::ENDED : pb::Segment::LISTED);
            if (options_.caretaker) {
                segment.set_end_bytes(own_end_);
                segment.set_last_record(own_last_.v);
            }
            kept.push_back(std::move(segment));
        }
        stream.clear_segments();
        for (pb::Segment& segment : kept) *stream.add_segments() = std::move(segment);
        stream.set_kept_record(plan_.last_record.v);
        stream.set_ended_record(plan_.tail_chain && !options_.caretaker ? plan_.mark.v : plan_.last_record.v);
        stream.set_roll(plan_.roll + 1);
        stream.clear_fences();
        for (const auto& [corelet, answer] : answers_) {
            pb::CountedFence* const fence = stream.add_fences();
            fence->set_corelet(corelet.v);
            fence->set_incarnation(answer.incarnation.v);
            fence->set_durable_seq(answer.durable_seq);
        }
        if (options_.caretaker) {
            stream.set_owner(0);
            stream.set_owner_lease(0);
            stream.set_ended_by_caretaker(true);
        }
        return true;
    };
    // A narrow own segment is a narrow standby that is activated here (protocols 5.2).
    std::vector<CoreletId> alive;
    if (own_ && own_->replicas.size() < deps_.placement.policy(PoolId(record_->value().pool())).width)
        alive = own_->replicas;
    return record_->update(change, deadline_, std::move(alive));
}

Task<Result<void>> Recovery::replay_segment(LogSegment segment, std::vector<CoreletId> from, u64 end,
                                            RecordNumber after) {
    u64 offset = 0;
    while (offset < end) {
        CO_TRY(auto decoded, co_await reader_.read_record(segment, from, offset));
        for (usize i = 0; i < decoded.entries.size() && decoded.header.number > after; ++i)
            sink_.apply(decoded.header.number, decoded.entries[i],
                        LogPlace{segment.id, decoded.entry_first_block[i]});
        offset += decoded.header.size_bytes();
    }
    CORELET_ASSERT(offset == end, "a committed end falls between records");
    co_return {};
}

// Ended segments in the order of use as the committed record has them, then the own one.
Task<Result<void>> Recovery::replay() {
    RecordNumber const after(root_position());
    for (const pb::Segment& segment : record_->value().segments()) {
        if (segment.state() != pb::Segment::ENDED || (own_ && segment.seq() == own_->id.seq)) continue;
        LogSegment spec = to_spec(space(), segment);
        std::vector<CoreletId> from;
        for (CoreletId replica : spec.replicas)
            if (replica == deps_.self) from.push_back(replica);
        for (CoreletId replica : spec.replicas)
            if (replica != deps_.self && !deps_.placement.is_confirmed_dead(replica)) from.push_back(replica);
        // Who has just answered a fence answers a read.
        std::stable_partition(from.begin(), from.end(), [&](CoreletId replica) {
            return replica == deps_.self || answers_.contains(replica);
        });
        if (segment.last_record() > after.v)
            CO_TRY_VOID(co_await replay_segment(spec, from, segment.end_bytes(), after));
        sink_.segment_ended(spec.id, segment.end_bytes());
    }
    for (usize n = 0; n < tail_.size(); ++n)
        for (usize i = 0; i < tail_[n].entries.size(); ++i)
            sink_.apply(tail_[n].header.number, tail_[n].entries[i],
                        LogPlace{own_->id, tail_places_[n].entry_first_block[i]});
    co_return {};
}

Task<void> Recovery::give_up() {
    auto const change = [](pb::Stream& stream) {
        stream.set_owner(0);
        stream.set_owner_lease(0);
        return true;
    };
    if (!co_await record_->update(change, deps_.env.clock.now() + 2_s)) co_return;
    // What this attempt has made or taken off, and the record as it was just committed does not list. A stream that
    // nobody can recover would else fill every device, attempt by attempt.
    std::vector<LogSegment> leftovers = std::move(unused_);
    leftovers.insert(leftovers.end(), prepared_.begin(), prepared_.end());
    if (own_) leftovers.push_back(*own_);
    std::vector<Task<Result<void>>> drops;
    for (const LogSegment& segment : leftovers)
        for (CoreletId replica : segment.replicas)
            if (!find_segment(record_->value(), segment.id.seq) && !deps_.placement.is_confirmed_dead(replica))
                drops.push_back(deps_.replicas.drop(replica, segment.id, record_->epoch()));
    (void)co_await join_all<Result<void>>(std::move(drops));
}

// From the fences to the commit.
Task<Result<void>> Recovery::decide() {
    CO_TRY_VOID(co_await fence_all());
    std::vector<SegmentChain> chains;
    std::vector<Task<Result<void>>> reads;
    for (auto& listed : listed_) reads.push_back(read_in_turn(listed.get()));
    for (auto& read : co_await join_all<Result<void>>(std::move(reads))) CO_TRY_VOID(std::move(read));
    for (auto& listed : listed_) chains.push_back(listed->chain);
    // A checkpoint holds what was acknowledged, though no record may say so yet, and refers to it where it is.
    u64 const kept = std::max(record_->value().kept_record(), root_position());
    auto plan = plan_recovery(chains, RecordNumber(record_->value().ended_record()), RecordNumber(kept),
                              record_->value().roll());
    if (!plan) {
        // One that was replaced, while it was cut off say, misses what its successor has let go of.
        CO_TRY_VOID(co_await record_->confirm(deadline_));
        log_error(deps_.env.log, "recovery.lost", plan.error().to_string());
        co_return std::unexpected(plan.error());
    }
    plan_ = *std::move(plan);
    if (!options_.caretaker || plan_.tail_chain) CO_TRY_VOID(co_await write_own());
    co_return co_await commit();
}

Task<Result<void>> Recovery::load(RestoreCheckpoint restore) {
    CO_TRY_VOID(co_await restore(record_->value().root(), RecordNumber(root_position())));
    co_return co_await replay();
}

// Ends are committed: a caretaker tells the replicas, an owner does so itself.
Task<void> Recovery::seal_all() {
    std::vector<Task<Result<void>>> calls;
    for (const pb::Segment& segment : record_->value().segments()) {
        LogSegment const spec = to_spec(space(), segment);
        for (CoreletId replica : spec.replicas)
            calls.push_back(deps_.replicas.seal(replica, spec.id, segment.end_bytes()));
    }
    for (const LogSegment& segment : unused_)
        for (CoreletId replica : segment.replicas)
            calls.push_back(deps_.replicas.drop(replica, segment.id, record_->epoch()));
    (void)co_await join_all<Result<void>>(std::move(calls));
}

Task<Result<std::unique_ptr<StreamOwner>>> Recovery::run(RestoreCheckpoint restore) {
    CO_TRY_VOID(co_await record_->take(deps_.self, deps_.session, options_.force, deadline_));
    auto done = co_await with_deadline<void>(deps_.env.clock, deadline_, decide());
    if (done && options_.caretaker) {
        co_await seal_all();
        co_return std::unique_ptr<StreamOwner>();
    }
    if (done) done = co_await load(std::move(restore));
    if (!done) {
        // Whatever it is, it may be this corelet's own trouble: the next candidate tries (protocols 3.4).
        co_await give_up();
        co_return std::unexpected(done.error());
    }
    OwnerStart start;
    start.space = space();
    start.epoch = record_->epoch();
    start.last_record = plan_.last_record;
    start.roll = plan_.roll + 1;
    start.open = own_;
    start.open_end_bytes = own_end_;
    start.open_previous_crc = own_crc_;
    auto owner = std::make_unique<StreamOwner>(deps_, options_.stream, std::move(record_), std::move(start), sink_);
    owner->drop_segments(unused_);
    owner->drop_segments(prepared_);
    co_return std::move(owner);
}

}  // namespace

Task<Result<std::unique_ptr<StreamOwner>>> take_stream(StreamDeps deps, SpaceId space, TakeOptions options,
                                                       LogSink& sink, RestoreCheckpoint restore) {
    Recovery recovery(deps, space, options, sink);
    co_return co_await recovery.run(std::move(restore));
}

}  // namespace corelet
