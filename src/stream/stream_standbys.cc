// Keeping standbys listed: which are wanted, preparing them, delisting those that lost a replica
// (protocols 5.1, 5.2, 5.6).

#include "rt/combine.h"
#include "stream/stream_owner.h"

namespace corelet {

namespace {

bool contains(const std::vector<CoreletId>& list, CoreletId id) {
    return std::find(list.begin(), list.end(), id) != list.end();
}

bool avoids(const std::vector<CoreletId>& replicas, const std::vector<CoreletId>& avoid) {
    return std::none_of(replicas.begin(), replicas.end(), [&](CoreletId id) { return contains(avoid, id); });
}

}  // namespace

Task<void> StreamOwner::standby_loop() {
    Duration pause = 1_s;
    while (!stopped_.is_set()) {
        bool made_progress = true;
        if (auto const withdrawn = co_await withdraw_bad_standbys(); !withdrawn) made_progress = false;
        if (made_progress && core_.is_stuck()) (void)co_await activate_dormant();
        while (made_progress && !stopped_.is_set()) {
            auto wish = next_wish();
            if (!wish) break;
            auto const listed = co_await list_standby(*std::move(wish));
            if (!listed) {
                made_progress = false;
                waiting_for_ = listed.error().to_string();
                if (listed.error().code == Code::kFenced) stop(listed.error());
            }
        }
        if (stopped_.is_set()) co_return;
        if (no_space_) co_await look_for_space();
        bool const stuck = core_.is_stuck() || !core_.open_segment();
        pause = stuck ? 100_ms : 1_s;
        if (stuck_since_ && now() - *stuck_since_ >= options_.give_up_after && deps_.catalog.is_available() &&
            waiting_for_.empty()) {
            // It can neither append nor roll though enough copies could be had: perhaps another corelet can.
            auto const given_up = [](pb::Stream& stream) {
                stream.set_owner(0);
                stream.set_owner_lease(0);
                return true;
            };
            if (co_await record_->update(given_up, catalog_deadline())) {
                stop(Error{Code::kShutdown, false, 0,
                           "the stream was given up: this corelet can neither append nor roll"});
                co_return;
            }
        }
        if (made_progress && !stuck) {
            co_await standby_wanted_.wait_until(deps_.env.clock, now() + pause);
        } else {
            co_await deps_.env.clock.sleep(pause);
        }
    }
}

// A standby with a lost replica is never used again, from before its delisting is proposed.
Task<Result<void>> StreamOwner::withdraw_bad_standbys() {
    std::vector<LogSegment> bad;
    for (const pb::Segment& segment : record_->value().segments()) {
        if (segment.state() == pb::Segment::ENDED) continue;
        LogSegment spec = to_spec(record_->space(), segment);
        if (core_.open_segment() && core_.open_segment()->id == spec.id) continue;
        bool const lost = std::any_of(spec.replicas.begin(), spec.replicas.end(),
                                      [&](CoreletId id) { return !deps_.placement.is_up(id); });
        bool const ending =
            std::any_of(ends_.begin(), ends_.end(), [&](const StatedEnd& end) { return end.seq == spec.id.seq; });
        // Listed, though the answer never came, or withdrawn before: it is never used.
        bool const unusable = segment.state() == pb::Segment::LISTED &&
                              std::none_of(core_.standbys().begin(), core_.standbys().end(),
                                           [&](const LogSegment& usable) { return usable.id == spec.id; });
        if ((lost || unusable) && !ending && core_.withdraw_standby(spec.id)) bad.push_back(std::move(spec));
    }
    for (const LogSegment& standby : bad) {
        u64 const seq = standby.id.seq;
        auto const change = [seq](pb::Stream& stream) {
            for (int i = 0; i < stream.segments_size(); ++i)
                if (stream.segments(i).seq() == seq && stream.segments(i).state() != pb::Segment::ENDED)
                    stream.mutable_segments()->DeleteSubrange(i--, 1);
            return true;
        };
        CO_TRY_VOID(co_await record_->update(change, catalog_deadline()));
        for (CoreletId replica : standby.replicas) scope_.spawn(drop_replica(replica, standby.id));
    }
    co_return {};
}

// A narrow standby is used only after its activation is committed, and only while all its replicas are up.
Task<Result<void>> StreamOwner::activate_dormant() {
    for (const pb::Segment& segment : record_->value().segments()) {
        if (segment.state() != pb::Segment::DORMANT) continue;
        LogSegment const spec = to_spec(record_->space(), segment);
        bool const up = std::all_of(spec.replicas.begin(), spec.replicas.end(),
                                    [&](CoreletId id) { return deps_.placement.is_up(id); });
        if (!up || !avoids(spec.replicas, avoid_)) continue;
        u64 const seq = spec.id.seq;
        auto const change = [seq](pb::Stream& stream) {
            pb::Segment* const found = find_segment(stream, seq);
            if (!found || found->state() != pb::Segment::DORMANT) return false;
            found->set_state(pb::Segment::LISTED);
            return true;
        };
        CO_TRY_VOID(co_await record_->update(change, catalog_deadline()));
        OwnerEffects effects;
        core_.standby_listed(spec, now(), effects);
        execute(std::move(effects));
        co_return {};
    }
    co_return fail(Code::kUnavailable, "no dormant standby fits");
}

std::optional<StreamOwner::StandbyWish> StreamOwner::next_wish() {
    LogPolicy const policy = deps_.placement.policy(pool());
    u64 const salt = next_counter_;
    auto const choose = [&](const std::vector<CoreletId>& avoid) {
        return deps_.placement.choose(pool(), policy.width, avoid, salt);
    };
    if (core_.is_stuck() || !core_.open_segment()) {
        auto replicas = choose(avoid_);
        if (replicas.size() < policy.min_copies) replicas = choose({});
        if (replicas.size() < policy.min_copies) {
            waiting_for_ = "the log needs " + std::to_string(policy.min_copies) + " corelets that are up and has " +
                           std::to_string(replicas.size());
            return std::nullopt;
        }
        waiting_for_.clear();
        bool const narrow = replicas.size() < policy.width;
        return StandbyWish{{}, std::move(replicas), narrow, true};
    }
    waiting_for_.clear();

    const LogSegment& open = *core_.open_segment();
    std::vector<CoreletId> others;
    for (CoreletId id : open.replicas)
        if (id != deps_.self) others.push_back(id);
    std::vector<std::vector<CoreletId>> listed;
    bool any_wide = false;
    for (const pb::Segment& segment : record_->value().segments()) {
        if (segment.state() == pb::Segment::ENDED || segment.seq() == open.id.seq) continue;
        bool const ending =
            std::any_of(ends_.begin(), ends_.end(), [&](const StatedEnd& end) { return end.seq == segment.seq(); });
        if (ending) continue;
        listed.push_back(to_spec(record_->space(), segment).replicas);
        any_wide = any_wide || (segment.state() == pb::Segment::LISTED && listed.back().size() >= policy.width);
    }
    auto const covered = [&](const std::vector<CoreletId>& avoid) {
        return std::any_of(listed.begin(), listed.end(),
                           [&](const auto& replicas) { return avoids(replicas, avoid); });
    };
    // One that does without all other replicas of the open segment serves for every loss.
    bool const all_covered = std::all_of(others.begin(), others.end(), [&](CoreletId id) { return covered({id}); });
    if (!all_covered) {
        auto replicas = choose(others);
        if (replicas.size() >= policy.width) return StandbyWish{{}, std::move(replicas), false, false, true};
        for (CoreletId id : others) {
            if (covered({id})) continue;
            replicas = choose({id});
            if (replicas.size() < policy.min_copies) continue;
            bool const narrow = replicas.size() < policy.width;
            return StandbyWish{{}, std::move(replicas), narrow, false, true};
        }
    }
    // For size it may roll onto the same corelets.
    if (!any_wide) {
        auto replicas = choose({});
        if (replicas.size() >= policy.width) return StandbyWish{{}, std::move(replicas), false, false};
    }
    return std::nullopt;
}

// In a replicated pool a name is looked for whose homes are as good as the corelets wished for: then the segment
// can stay where it is.
StreamOwner::StandbyWish StreamOwner::at_home(StandbyWish wish) {
    static constexpr int k_names_tried = 64;
    wish.id = new_chunk_id();
    if (wish.narrow) return wish;
    bool const own = contains(wish.replicas, deps_.self);
    for (int i = 0; i < k_names_tried; ++i) {
        SegmentId const id = i == 0 ? wish.id : new_chunk_id();
        auto homes = deps_.placement.homes(pool(), id);
        if (homes.empty()) return wish;
        bool const fits = homes.size() == wish.replicas.size() && contains(homes, deps_.self) == own &&
                          avoids(homes, avoid_) && std::all_of(homes.begin(), homes.end(), [&](CoreletId home) {
                              return deps_.placement.is_up(home) && (!wish.strict || contains(wish.replicas, home));
                          });
        if (!fits) continue;
        wish.id = id;
        wish.replicas = std::move(homes);
        return wish;
    }
    return wish;
}

// On all replicas or, as far as possible, on none.
Task<Result<void>> StreamOwner::prepare_everywhere(ReplicaPort::PrepareRequest request) {
    std::vector<CoreletId> const replicas = request.segment.replicas;
    std::vector<Task<Result<void>>> prepares;
    for (CoreletId replica : replicas) prepares.push_back(deps_.replicas.prepare(replica, request));
    auto const prepared = co_await join_all<Result<void>>(std::move(prepares));
    for (usize i = 0; i < prepared.size(); ++i) {
        if (prepared[i]) continue;
        for (CoreletId replica : replicas) scope_.spawn(drop_replica(replica, request.segment.id));
        if (prepared[i].error().code != Code::kNoSpace && !contains(avoid_, replicas[i]))
            avoid_.push_back(replicas[i]);
        co_return std::unexpected(with_context(prepared[i].error(), "standby on " + to_string(replicas[i])));
    }
    co_return {};
}

// Full is not for ever: as soon as a segment with its packed form fits again, clients may write.
Task<void> StreamOwner::look_for_space() {
    LogPolicy const policy = deps_.placement.policy(pool());
    ReplicaPort::PrepareRequest request;
    request.segment = LogSegment{new_chunk_id(), deps_.env.random.next(),
                                 deps_.placement.choose(pool(), policy.width, {}, next_counter_)};
    if (request.segment.replicas.size() < policy.min_copies) co_return;
    request.epoch = epoch();
    request.reserve_bytes = deps_.placement.packed_reservation(pool(), options_.owner.segment_target_bytes);
    if (!co_await prepare_everywhere(request)) co_return;
    no_space_ = false;
    for (CoreletId replica : request.segment.replicas) scope_.spawn(drop_replica(replica, request.segment.id));
}

Task<Result<void>> StreamOwner::list_standby(StandbyWish wish) {
    ReplicaPort::PrepareRequest request;
    wish = at_home(std::move(wish));
    request.segment = LogSegment{wish.id, deps_.env.random.next(), wish.replicas};
    request.epoch = epoch();
    request.reserve_bytes = deps_.placement.packed_reservation(pool(), options_.owner.segment_target_bytes);
    // Client data may not take the reserve; the log itself, for trims, packing and checkpoints, may.
    auto prepared = co_await prepare_everywhere(request);
    if (!prepared && prepared.error().code == Code::kNoSpace) {
        if (!no_space_) log_warning(deps_.env.log, "stream.full", prepared.error().to_string());
        no_space_ = true;
        request.segment.id = new_chunk_id();
        request.reserve_bytes = 0;
        request.system = true;
        prepared = co_await prepare_everywhere(request);
    }
    if (!prepared) co_return prepared;
    bool const dormant = wish.narrow && !wish.activate;
    pb::Segment const segment = to_proto(request.segment, dormant ? pb::Segment::DORMANT : pb::Segment::LISTED);
    auto const change = [segment](pb::Stream& stream) {
        *stream.add_segments() = segment;
        return true;
    };
    CO_TRY_VOID(co_await record_->update(change, catalog_deadline()));
    if (stopped_.is_set() || dormant) co_return {};
    OwnerEffects effects;
    core_.standby_listed(request.segment, now(), effects);
    execute(std::move(effects));
    tick_wanted_.notify_one();
    // Wider again: what the narrow segment holds is made safe by ending it.
    if (const auto& open = core_.open_segment();
        open && !wish.narrow && open->replicas.size() < deps_.placement.policy(pool()).width)
        request_roll();
    co_return {};
}

}  // namespace corelet
