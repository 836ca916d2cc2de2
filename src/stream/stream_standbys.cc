// Keeping standbys listed: which are wanted, preparing them, delisting those that lost a replica
// (protocols 5.1, 5.2, 5.6).

#include "rt/combine.h"
#include "stream/stream_owner.h"

namespace corelet {

namespace {

constexpr Duration k_map_knows_after = 6_s;  // who is down

bool contains(const std::vector<CoreletId>& list, CoreletId id) {
    return std::find(list.begin(), list.end(), id) != list.end();
}

bool avoids(const std::vector<CoreletId>& replicas, const std::vector<CoreletId>& avoid) {
    return std::none_of(replicas.begin(), replicas.end(), [&](CoreletId id) { return contains(avoid, id); });
}

}  // namespace

Task<void> StreamOwner::standby_loop() {
    while (!stopped_.is_set()) {
        bool const at_rest = co_await tend_standbys();
        if (stopped_.is_set()) co_return;
        if (no_space_) co_await look_for_space();
        if (no_space_ || below_min_copies_) able_since_ = now();
        if (co_await give_up_if_helpless()) co_return;
        Duration const pause = is_stuck() ? 100_ms : at_rest ? 1_s : 500_ms;
        co_await standby_wanted_.wait_until(deps_.env.clock, now() + pause);
    }
}

// One thing after the other, what writes wait for first. True: nothing more is wanted.
Task<bool> StreamOwner::tend_standbys() {
    static constexpr int k_failures_max = 3;  // then a pause
    // Without the catalog nothing can be listed: what were prepared now would only be left behind.
    for (int failures = 0; !stopped_.is_set() && deps_.catalog.is_available();) {
        if (core_.is_stuck() && co_await activate_dormant()) continue;
        if (stopped_.is_set()) break;
        auto step = co_await withdraw_bad_standbys();
        if (step && !stopped_.is_set()) {
            OwnerEffects effects;
            core_.widen(now(), effects);
            execute(std::move(effects));
            roll_away_from_the_leaving();
            auto wish = next_wish();
            if (!wish) co_return true;
            step = co_await list_standby(*std::move(wish));
        }
        if (step) continue;
        if (step.error().code == Code::kFenced) stop(step.error());
        waiting_for_ = step.error().to_string();
        if (++failures == k_failures_max || is_helpless()) break;
    }
    co_return false;
}

// It can neither append nor roll, though enough copies could be had and the catalog is there.
bool StreamOwner::is_helpless() const {
    if (below_min_copies_ || no_space_ || !deps_.catalog.is_available()) return false;
    auto since = stuck_since_;
    if (auto const blocked = core_.blocked_since(); blocked && (!since || *blocked < *since)) since = blocked;
    return since && now() - std::max(*since, able_since_) >= options_.give_up_after;
}

// Perhaps another corelet can (protocols 3.4).
Task<bool> StreamOwner::give_up_if_helpless() {
    if (!is_helpless()) co_return false;
    auto const given_up = [](pb::Stream& stream) {
        stream.set_owner(0);
        stream.set_owner_lease(0);
        return true;
    };
    if (!co_await record_->update(given_up, catalog_deadline())) co_return false;
    stop(Error{Code::kShutdown, false, 0,
               "the stream was given up: this corelet can neither append nor roll (" + waiting_for_ + ")"});
    co_return true;
}

bool StreamOwner::is_ending(u64 seq) const {
    return std::any_of(ends_.begin(), ends_.end(), [&](const StatedEnd& end) { return end.seq == seq; });
}

void StreamOwner::replace_standbys(const std::vector<u64>& seqs) {
    std::erase_if(unwanted_, [&](u64 seq) { return !lists(seq); });
    for (u64 seq : seqs)
        if (lists(seq)) unwanted_.insert(seq);
    standby_wanted_.notify_one();
}

bool StreamOwner::must_withdraw(const pb::Segment& segment) const {
    if (segment.state() == pb::Segment::ENDED || is_ending(segment.seq())) return false;
    if (core_.open_segment() && core_.open_segment()->id.seq == segment.seq()) return false;
    if (withdrawn_.contains(segment.seq()) || unwanted_.contains(segment.seq())) return true;
    if (unreserved_.contains(segment.seq()) && !no_space_) return true;
    // Activated for nothing: a narrow one that waits, listed, is one that the mesh may not lose.
    bool const narrow = static_cast<u32>(segment.replicas_size()) < deps_.placement.policy(pool()).width;
    if (narrow && segment.state() == pb::Segment::LISTED && !is_stuck()) return true;
    // Listed, though the answer never came: it is not known to be usable.
    bool const usable = segment.state() == pb::Segment::DORMANT ||
                        std::any_of(core_.standbys().begin(), core_.standbys().end(),
                                    [&](const LogSegment& standby) { return standby.id.seq == segment.seq(); });
    return !usable || std::any_of(segment.replicas().begin(), segment.replicas().end(), [&](u64 id) {
        return !deps_.placement.is_up(CoreletId(id)) || must_leave(CoreletId(id));
    });
}

// It is to leave the mesh, and without it there are corelets enough.
bool StreamOwner::must_leave(CoreletId corelet) const {
    return deps_.placement.is_leaving(corelet) && choose({corelet}).size() >= deps_.placement.policy(pool()).width;
}

// The open segment goes on in a standby that does without: as if that replica had failed, but only where a standby
// of full width is there for it.
void StreamOwner::roll_away_from_the_leaving() {
    if (is_stuck()) return;
    usize const width = deps_.placement.policy(pool()).width;
    for (CoreletId replica : core_.open_segment()->replicas) {
        if (!must_leave(replica)) continue;
        bool const covered = std::ranges::any_of(core_.standbys(), [&](const LogSegment& standby) {
            return standby.replicas.size() >= width && avoids(standby.replicas, {replica});
        });
        if (!covered) continue;
        OwnerEffects effects;
        core_.failed(core_.open_segment()->id, replica, Error{Code::kReset, false, 0, "it leaves the mesh"}, now(),
                     effects);
        execute(std::move(effects));
        return;
    }
}

// A standby with a lost replica is never used again, from before its delisting is proposed.
Task<Result<void>> StreamOwner::withdraw_bad_standbys() {
    std::vector<LogSegment> bad;
    for (const pb::Segment& segment : record_->value().segments()) {
        LogSegment spec = to_spec(record_->space(), segment);
        if (must_withdraw(segment) && core_.withdraw_standby(spec.id)) bad.push_back(std::move(spec));
    }
    for (const LogSegment& standby : bad) withdrawn_.insert(standby.id.seq);
    for (const LogSegment& standby : bad) {
        u64 const seq = standby.id.seq;
        auto const change = [seq](pb::Stream& stream) {
            for (int i = 0; i < stream.segments_size(); ++i)
                if (stream.segments(i).seq() == seq && stream.segments(i).state() != pb::Segment::ENDED)
                    stream.mutable_segments()->DeleteSubrange(i--, 1);
            return true;
        };
        CO_TRY_VOID(co_await record_->update(change, catalog_deadline()));
        withdrawn_.erase(seq);
        unwanted_.erase(seq);
        unreserved_.erase(seq);
        for (CoreletId replica : standby.replicas) scope_.spawn(drop_replica(replica, standby.id));
    }
    co_return {};
}

// A narrow standby is used only after its activation is committed, and only while the catalog holds all its
// replicas to be up.
Task<Result<void>> StreamOwner::activate_dormant() {
    std::vector<LogSegment> fitting;
    for (const pb::Segment& segment : record_->value().segments()) {
        if (segment.state() != pb::Segment::DORMANT || must_withdraw(segment)) continue;
        LogSegment spec = to_spec(record_->space(), segment);
        if (avoids(spec.replicas, avoid_)) fitting.push_back(std::move(spec));
    }
    for (const LogSegment& spec : fitting) {
        u64 const seq = spec.id.seq;
        auto const change = [seq](pb::Stream& stream) {
            pb::Segment* const found = find_segment(stream, seq);
            if (!found || found->state() != pb::Segment::DORMANT) return false;
            found->set_state(pb::Segment::LISTED);
            return true;
        };
        auto const activated = co_await record_->update(change, catalog_deadline(), spec.replicas);
        if (!activated) {
            log_info(deps_.env.log, "stream.not_activated",
                     [&] { return to_string(spec.id) + ": " + activated.error().to_string(); });
            if (activated.error().code == Code::kFenced) stop(activated.error());
            if (stopped_.is_set()) co_return activated;
            continue;
        }
        if (stopped_.is_set()) co_return {};
        OwnerEffects effects;
        core_.standby_listed(spec, now(), effects);
        execute(std::move(effects));
        co_return {};
    }
    co_return fail(Code::kUnavailable, "no dormant standby fits");
}

// Who refused lately is taken last.
StreamOwner::Corelets StreamOwner::choose(const Corelets& avoid) const {
    usize const width = deps_.placement.policy(pool()).width;
    Corelets all = avoid;
    for (const auto& [corelet, refusal] : unfit_)
        if (refusal.until > now()) all.push_back(corelet);
    auto fit = deps_.placement.choose(pool(), width, all, next_counter_);
    if (fit.size() >= width || all.size() == avoid.size()) return fit;
    auto any = deps_.placement.choose(pool(), width, avoid, next_counter_);
    return any.size() > fit.size() ? any : fit;
}

bool StreamOwner::is_fit(const Corelets& replicas) const {
    return std::none_of(replicas.begin(), replicas.end(), [&](CoreletId id) {
        auto const found = unfit_.find(id);
        return found != unfit_.end() && found->second.until > now();
    });
}

std::optional<StreamOwner::StandbyWish> StreamOwner::wish_when_stuck() {
    LogPolicy const policy = deps_.placement.policy(pool());
    // One that failed the open segment may have refused to grow it, and have room for another one of the log
    // itself: better than who has none at all.
    Corelets full;
    for (const auto& [corelet, refusal] : unfit_)
        if (refusal.full && refusal.until > now()) full.push_back(corelet);
    Corelets avoid = avoid_;
    avoid.insert(avoid.end(), full.begin(), full.end());
    auto replicas = choose(avoid);
    if (replicas.size() < policy.min_copies) replicas = choose(full);
    if (replicas.size() < policy.min_copies) replicas = choose({});
    bool const too_few = replicas.size() < policy.min_copies;
    if (!too_few) {
        too_few_since_.reset();
    } else if (!too_few_since_) {
        too_few_since_ = now();
    }
    // Those that are not heard of here are down, and soon the map says so; else it is this corelet that is cut off.
    below_min_copies_ =
        too_few && (deps_.placement.count_up() < policy.min_copies || now() - *too_few_since_ < k_map_knows_after);
    if (too_few) {
        waiting_for_ = "the log needs " + std::to_string(policy.min_copies) + " corelets that are up and has " +
                       std::to_string(replicas.size());
        return std::nullopt;
    }
    bool const narrow = replicas.size() < policy.width;
    return StandbyWish{{}, std::move(replicas), narrow, true};
}

// What may fail at once and shall find a standby that does without: each replica of the open segment but the
// owner's own, with its whole failure domain where that is not the owner's (protocols 5.1).
std::vector<StreamOwner::Corelets> StreamOwner::losses_to_cover() const {
    std::vector<Corelets> losses;
    for (CoreletId id : core_.open_segment()->replicas) {
        if (id == deps_.self) continue;
        Corelets domain = deps_.placement.domain_of(pool(), id);
        losses.push_back(domain.empty() || contains(domain, deps_.self) ? Corelets{id} : std::move(domain));
    }
    return losses;
}

// Of the pool's failure domain. A single copy always is, and so is all there is in a mesh of one domain.
bool StreamOwner::is_all_in_one_domain(const Corelets& replicas) const {
    Corelets const domain = deps_.placement.domain_of(pool(), replicas.front());
    bool const all = std::ranges::all_of(replicas, [&](CoreletId id) { return contains(domain, id); });
    return all && domain.size() > 1 && !choose(domain).empty();
}

// What cannot be had now is not asked for again and again, as long as there is any standby.
std::optional<StreamOwner::StandbyWish> StreamOwner::next_wish() {
    if (is_stuck()) return wish_when_stuck();
    waiting_for_.clear();
    below_min_copies_ = false;
    too_few_since_.reset();
    auto wish = missing_standby(true);
    return wish || !core_.standbys().empty() ? std::move(wish) : missing_standby(false);
}

// `fit`: on corelets alone of which none has refused lately.
std::optional<StreamOwner::StandbyWish> StreamOwner::missing_standby(bool fit) const {
    LogPolicy const policy = deps_.placement.policy(pool());
    std::vector<Corelets> listed;
    bool any_wide = false;
    for (const pb::Segment& segment : record_->value().segments()) {
        if (segment.state() == pb::Segment::ENDED || segment.seq() == core_.open_segment()->id.seq ||
            is_ending(segment.seq()))
            continue;
        listed.push_back(to_spec(record_->space(), segment).replicas);
        any_wide = any_wide || (segment.state() == pb::Segment::LISTED && listed.back().size() >= policy.width);
    }
    auto const covered = [&](const Corelets& avoid, usize width) {
        return std::any_of(listed.begin(), listed.end(), [&](const Corelets& replicas) {
            return replicas.size() >= width && avoids(replicas, avoid);
        });
    };
    auto const can_be_had = [&](const Corelets& replicas, usize width) {
        return replicas.size() >= width && (!fit || is_fit(replicas));
    };
    // Listed, it would have to be fenced by the next owner: nobody could, were that domain lost.
    auto const fits = [&](const Corelets& replicas, usize width) {
        return can_be_had(replicas, width) && !is_all_in_one_domain(replicas);
    };
    auto const losses = losses_to_cover();
    // One that does without all of them serves for every loss.
    Corelets everybody;
    for (const Corelets& loss : losses) everybody.insert(everybody.end(), loss.begin(), loss.end());
    bool const all_covered = std::all_of(losses.begin(), losses.end(),
                                         [&](const Corelets& loss) { return covered(loss, policy.width); });
    if (!all_covered) {
        auto replicas = choose(everybody);
        if (fits(replicas, policy.width)) return StandbyWish{{}, std::move(replicas), false, false, true};
    }
    for (const Corelets& loss : losses) {
        auto replicas = choose(loss);
        if (fits(replicas, policy.min_copies) && !covered(loss, std::min<usize>(replicas.size(), policy.width))) {
            bool const narrow = replicas.size() < policy.width;
            return StandbyWish{{}, std::move(replicas), narrow, false, true};
        }
    }
    // For size it may roll onto the same corelets; also after the loss of one where only its domain cannot be done
    // without.
    for (CoreletId id : core_.open_segment()->replicas) {
        if (id == deps_.self || covered({id}, policy.width)) continue;
        auto replicas = choose({id});
        if (can_be_had(replicas, policy.width)) return StandbyWish{{}, std::move(replicas), false, false, true};
    }
    if (!any_wide) {
        auto replicas = choose({});
        if (can_be_had(replicas, policy.width)) return StandbyWish{{}, std::move(replicas), false, false};
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
                          avoids(homes, avoid_) && (is_fit(homes) || !is_fit(wish.replicas)) &&
                          std::all_of(homes.begin(), homes.end(), [&](CoreletId home) {
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
    static constexpr Duration k_unfit = 4_s;  // a standby is replaced within 10 s (protocols 5.6)
    Corelets const replicas = request.segment.replicas;
    std::vector<Task<Result<void>>> prepares;
    for (CoreletId replica : replicas) prepares.push_back(deps_.replicas.prepare(replica, request));
    auto const prepared = co_await join_all<Result<void>>(std::move(prepares));
    Result<void> done;
    for (usize i = 0; i < prepared.size(); ++i) {
        if (prepared[i]) continue;
        bool const full = request.system && prepared[i].error().code == Code::kNoSpace;
        unfit_[replicas[i]] = Refusal{now() + k_unfit, full};
        done = std::unexpected(with_context(prepared[i].error(), "standby on " + to_string(replicas[i])));
    }
    if (!done)
        for (CoreletId replica : replicas) scope_.spawn(drop_replica(replica, request.segment.id));
    co_return done;
}

// Full is not for ever: as soon as a segment with its packed form fits again, clients may write.
Task<void> StreamOwner::look_for_space() {
    LogPolicy const policy = deps_.placement.policy(pool());
    ReplicaPort::PrepareRequest request;
    request.segment = LogSegment{new_chunk_id(), deps_.env.random.next(), choose({})};
    if (request.segment.replicas.size() < policy.min_copies) co_return;
    request.epoch = epoch();
    request.reserve_bytes = deps_.placement.packed_reservation(pool(), options_.owner.segment_target_bytes);
    Preparing const held(*this, request.segment.id);
    if (!co_await prepare_everywhere(request)) co_return;
    no_space_ = false;
    for (CoreletId replica : request.segment.replicas) scope_.spawn(drop_replica(replica, request.segment.id));
    // What was opened from the reserve keeps no room for the packed form of what clients write.
    if (core_.open_segment() && unreserved_.contains(core_.open_segment()->id.seq)) request_roll();
}

Task<Result<void>> StreamOwner::list_standby(StandbyWish wish) {
    if (record_->value().ByteSizeLong() > k_stream_record_listing_bytes)
        co_return fail(Code::kOverloaded, std::to_string(record_->value().segments_size()) +
                                              " segments are listed: packing must catch up first");
    ReplicaPort::PrepareRequest request;
    wish = at_home(std::move(wish));
    request.segment = LogSegment{wish.id, deps_.env.random.next(), wish.replicas};
    request.epoch = epoch();
    request.reserve_bytes = deps_.placement.packed_reservation(pool(), options_.owner.segment_target_bytes);
    std::optional<Preparing> held(std::in_place, *this, request.segment.id);
    auto prepared = co_await prepare_everywhere(request);
    // Full only if no other corelets have room. Client data may not take the reserve; the log itself, for trims,
    // packing and checkpoints, may.
    if (!prepared && prepared.error().code == Code::kNoSpace && !is_fit(choose({}))) {
        if (!no_space_) log_warning(deps_.env.log, "stream.full", prepared.error().to_string());
        no_space_ = true;
        submit_waiting();  // refuses what waits in the row
        request.segment.id = new_chunk_id();
        held.emplace(*this, request.segment.id);
        request.reserve_bytes = 0;
        request.system = true;
        prepared = co_await prepare_everywhere(request);
    } else if (prepared && !wish.narrow) {
        no_space_ = false;
    }
    if (!prepared) co_return prepared;
    bool const dormant = wish.narrow && !wish.activate;
    pb::Segment const segment = to_proto(request.segment, dormant ? pb::Segment::DORMANT : pb::Segment::LISTED);
    auto const change = [segment](pb::Stream& stream) {
        *stream.add_segments() = segment;
        return true;
    };
    // A narrow one that is used at once is activated by the commit that lists it.
    Corelets const alive = wish.narrow && wish.activate ? request.segment.replicas : Corelets{};
    auto const committed = co_await record_->update(change, catalog_deadline(), alive);
    if (!committed) {
        // Refused for certain, or perhaps listed: then it is withdrawn when it shows.
        if (committed.error().code == Code::kConflict)
            for (CoreletId replica : request.segment.replicas)
                scope_.spawn(drop_replica(replica, request.segment.id));
        co_return committed;
    }
    if (request.system) unreserved_.insert(request.segment.id.seq);
    if (stopped_.is_set() || dormant) co_return {};
    OwnerEffects effects;
    core_.standby_listed(request.segment, now(), effects);
    execute(std::move(effects));
    tick_wanted_.notify_one();
    co_return {};
}

// Names that would lie badly are left out, as long as there are better ones near.
ChunkId StreamOwner::new_chunk_id() {
    constexpr int k_tries = 64;
    for (int i = 0;; ++i) {
        ChunkId const id{record_->space(), make_seq(epoch(), next_counter_++)};
        if (i == k_tries || deps_.placement.suits(pool(), id)) return id;
    }
}

}  // namespace corelet
