#include "stream/owner_core.h"

namespace corelet {

void OwnerCore::open(LogSegment segment, Instant now) {
    CORELET_ASSERT(!segment.replicas.empty());
    CORELET_ASSERT(segment.id.space == space_);
    open_ = std::move(segment);
    open_used_ = false;
    end_bytes_ = acknowledged_bytes_ = 0;
    previous_crc_ = 0;
    sent_ = acknowledged_;
    replicas_.clear();
    // The lease is that of the new segment only: no promise carries over (protocols 6.2).
    for (CoreletId id : open_->replicas) replicas_.push_back(Replica{id, acknowledged_, {}, {}, {}, false});
    last_activity_ = now;
}

void OwnerCore::standby_listed(LogSegment standby, Instant now, OwnerEffects& out) {
    CORELET_ASSERT(standby.id.space == space_);
    standbys_.push_back(std::move(standby));
    if (!open_) {
        open(std::move(standbys_.back()), now);
        standbys_.pop_back();
        ++roll_;
        send_heartbeats(now, out);
    } else if (stuck_) {
        // Prepared after the failure, so its replicas answer now, the one that failed perhaps among them.
        roll_to(standbys_.size() - 1, now, out);
    }
    flush(now, out);
}

bool OwnerCore::withdraw_standby(SegmentId segment) {
    if (open_ && open_->id == segment) return false;
    std::erase_if(standbys_, [&](const LogSegment& standby) { return standby.id == segment; });
    return true;
}

void OwnerCore::end_committed(SegmentId segment) {
    std::erase_if(uncommitted_ends_, [&](const StatedEnd& end) { return end.seq == segment.seq; });
}

void OwnerCore::failed(SegmentId segment, CoreletId id, const Error& error, Instant now, OwnerEffects& out) {
    Replica* const replica = find(segment, id);
    if (!replica || stopped_) return;
    if (error.code == Code::kFenced) {
        stopped_ = true;
        out.push_back(owner_effect::Stopped{error});
        return;
    }
    if (error.code == Code::kNoSpace) {
        full_ = true;  // it lives, and takes what is small elsewhere
    } else {
        replica->failed = true;
        replica->heartbeat_out.reset();
        replica->heartbeat_after = now + options_.times.heartbeat;
    }
    roll_for_failure(now, out);
}

// A replica that was given up, and that no standby could do without, has all that was sent after all: nothing was
// rolled, so its segment goes on.
void OwnerCore::resume_if_answered(Replica& replica, Instant now, OwnerEffects& out) {
    if (!stuck_ || replica.durable != sent_) return;
    replica.failed = false;
    if (std::any_of(replicas_.begin(), replicas_.end(), [](const Replica& other) { return other.failed; })) return;
    stuck_ = false;
    flush(now, out);
}

// A standby is of use only if none of its replicas is one that has just failed us. Wide ones come first; fewer
// copies than there are now only a failure is worth.
std::optional<usize> OwnerCore::choose_standby(usize copies_least, std::optional<Instant> lagging) const {
    static constexpr Duration k_hint_good = 1_s;
    auto const usable = [&](const LogSegment& standby) {
        if (standby.replicas.size() < copies_least) return false;
        for (CoreletId id : standby.replicas)
            for (const Replica& replica : replicas_)
                if (replica.id == id && replica.failed) return false;
        if (!lagging) return true;
        Duration const limit = lag_limit();
        for (CoreletId id : standby.replicas) {
            auto const hint = latency_hints_.find(id);
            if (hint == latency_hints_.end() || hint->second.latency >= limit ||
                *lagging - hint->second.measured > k_hint_good)
                return false;
        }
        return true;
    };
    std::optional<usize> best;
    for (usize i = 0; i < standbys_.size(); ++i)
        if (usable(standbys_[i]) && (!best || standbys_[i].replicas.size() > standbys_[*best].replicas.size()))
            best = i;
    return best;
}

void OwnerCore::roll_for_failure(Instant now, OwnerEffects& out) {
    if (auto const standby = choose_standby(1)) return roll_to(*standby, now, out);
    std::vector<CoreletId> avoid;
    for (const Replica& replica : replicas_)
        if (replica.failed) avoid.push_back(replica.id);
    stuck_ = true;
    out.push_back(owner_effect::NeedStandby{std::move(avoid), true});
}

void OwnerCore::request_roll(Instant now, OwnerEffects& out) {
    if (!open_ || !open_used_ || stopped_) return;
    want_roll_ = true;
    flush(now, out);
}

// Everything sent is acknowledged here. Without a standby, or without the catalog to list the next, the open one
// grows.
void OwnerCore::maybe_roll_for_size(Instant now, OwnerEffects& out) {
    CORELET_ASSERT(in_flight_.empty());
    want_roll_ = false;
    if (!open_used_ || stuck_) return;
    if (auto const standby = catalog_available_ ? choose_standby(replicas_.size()) : std::nullopt) {
        roll_to(*standby, now, out);
    } else {
        last_activity_ = now;  // not again at once
        out.push_back(owner_effect::NeedStandby{{}, false});
    }
}

void OwnerCore::widen(Instant now, OwnerEffects& out) {
    if (!open_ || stopped_ || stuck_ || !catalog_available_) return;
    auto const standby = choose_standby(replicas_.size() + 1);
    if (!standby) return;
    if (open_used_) return request_roll(now, out);
    roll_to(*standby, now, out);
}

// Final: what the old segment's replicas still answer counts for nothing any more (protocols 5.3).
void OwnerCore::roll_to(usize index, Instant now, OwnerEffects& out) {
    CORELET_ASSERT(open_ && index < standbys_.size());
    StatedEnd const end{open_->id.seq, acknowledged_bytes_, acknowledged_};
    uncommitted_ends_.push_back(end);
    out.push_back(owner_effect::Ended{end});

    // What was not acknowledged is sent again, in the same order, batched anew.
    for (auto record = in_flight_.rbegin(); record != in_flight_.rend(); ++record)
        for (auto request = record->requests.rbegin(); request != record->requests.rend(); ++request) {
            pending_bytes_ += request->entry.blocks.size() + request->entry.meta.size();
            pending_.push_front(std::move(*request));
        }
    in_flight_.clear();
    if (std::exchange(full_, false)) refuse_waiting(out);

    LogSegment next = std::move(standbys_[index]);
    standbys_.erase(standbys_.begin() + static_cast<std::ptrdiff_t>(index));
    ++roll_;
    want_roll_ = stuck_ = false;
    open(std::move(next), now);
    out.push_back(owner_effect::NeedStandby{{}, false});
    send_heartbeats(now, out);
    flush(now, out);
}

// What clients write finds no room. Trims, packing and checkpoints, which make it, go on.
void OwnerCore::refuse_waiting(OwnerEffects& out) {
    std::deque<Request> kept;
    for (Request& request : pending_) {
        if (!request.may_be_refused) {
            kept.push_back(std::move(request));
            continue;
        }
        pending_bytes_ -= request.entry.blocks.size() + request.entry.meta.size();
        out.push_back(owner_effect::Refused{request.id});
    }
    pending_ = std::move(kept);
}

std::optional<Instant> OwnerCore::oldest_unanswered(const Replica& replica) const {
    std::optional<Instant> oldest = replica.heartbeat_out;
    for (const InFlight& record : in_flight_)
        if (record.number > replica.durable) {
            if (!oldest || record.sent < *oldest) oldest = record.sent;
            break;
        }
    return oldest;
}

Duration OwnerCore::lag_limit() const {
    if (recent_latencies_.empty()) return options_.times.lag_least;
    std::vector<Duration> sorted = recent_latencies_;
    auto const middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
    std::nth_element(sorted.begin(), middle, sorted.end());
    return std::max(options_.times.lag_least, *middle * 4);
}

void OwnerCore::check_answers(Instant now, OwnerEffects& out) {
    bool failure = false, lag = false;
    for (Replica& replica : replicas_) {
        auto const oldest = oldest_unanswered(replica);
        if (!oldest) continue;
        if (now - *oldest >= options_.times.no_answer && !replica.failed) {
            replica.failed = true;
            failure = true;
        } else if (now - *oldest >= lag_limit()) {
            lag = true;
        }
    }
    if (failure) return roll_for_failure(now, out);
    if (lag && !stuck_ && now >= next_lag_check_) roll_for_lag(now, out);
}

// Only onto corelets that are known to answer faster; they are asked when it comes to it.
void OwnerCore::roll_for_lag(Instant now, OwnerEffects& out) {
    static constexpr Duration k_measured_within = 30_ms;
    if (auto const standby = choose_standby(replicas_.size(), now)) {
        next_lag_check_ = now + options_.times.lag_roll_interval;
        roll_to(*standby, now, out);
        return;
    }
    next_lag_check_ = now + k_measured_within;
    if (!standbys_.empty()) out.push_back(owner_effect::Measure{standbys_});
}

}  // namespace corelet
