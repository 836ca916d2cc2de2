// What every round does a little of: letting go of the dead, and re-reading what is held.
#include "heal/healer.h"

namespace corelet {

namespace {
constexpr usize k_sweep_batch = 1024;
constexpr Duration k_save_least = 30_s;  // between two savings of how far scrubbing has got
}  // namespace

// Nobody counts on it from here on, whatever comes of it.
Task<void> Healer::remove(FragmentId id) {
    struct Mark {
        std::set<FragmentId>& marks;
        FragmentId id;
        ~Mark() { marks.erase(id); }
    };
    if (!removing_.insert(id).second) co_return;
    Mark const mark{removing_, id};
    (void)co_await store_.remove_fragment(id);
}

// What belongs to a space that is proven deleted is dropped; the catalog's record is the mark (protocols 8.3, 8.4).
Task<void> Healer::drop_deleted_spaces() {
    std::set<SpaceId> doomed;
    for (SpaceId space : inventory_.spaces())
        if (spaces_.seems_deleted(space)) doomed.insert(space);
    for (const SegmentInfo& segment : store_.list_segments())
        if (spaces_.seems_deleted(segment.id.space)) doomed.insert(segment.id.space);
    for (SpaceId space : doomed) {
        auto const proof = co_await port_.is_space_deleted(space);
        if (proof && *proof) co_await drop_space(space);
    }
}

Task<void> Healer::drop_space(SpaceId space) {
    for (const SegmentInfo& segment : store_.list_segments())
        if (segment.id.space == space) (void)co_await store_.drop_segment(segment.id);
    std::optional<FragmentId> after;
    if (space.v != 0) after = FragmentId{ChunkId{SpaceId(space.v - 1), ~u64{0}}, 255};
    for (bool more = true; more;) {
        auto const batch = store_.list_fragments(after, k_sweep_batch);
        more = batch.size() == k_sweep_batch;
        for (const FragmentInfo& info : batch) {
            after = info.id;
            more = more && info.id.chunk.space == space;
            if (info.id.chunk.space != space) break;
            co_await remove(info.id);
            ++status_.dead_dropped;
        }
    }
}

// Some of what is held, each round: a chunk that its owner has forgotten of (a put that was given up, a delete that
// did not come through while this corelet was away) is let go of by its word.
Task<void> Healer::drop_dead() {
    auto const batch = store_.list_fragments(swept_, options_.garbage_batch);
    swept_ = batch.size() < options_.garbage_batch ? std::nullopt : std::optional(batch.back().id);
    std::map<SpaceId, std::vector<u64>> seqs;
    for (const FragmentInfo& info : batch) {
        std::vector<u64>& of_space = seqs[info.id.chunk.space];
        if (of_space.empty() || of_space.back() != info.id.chunk.seq) of_space.push_back(info.id.chunk.seq);
    }
    std::set<ChunkId> dead;
    for (auto& [space, of_space] : seqs) {
        if (!spaces_.pool_of(space)) continue;
        auto const fates = co_await port_.fates(space, std::move(of_space));
        if (!fates) continue;
        for (u64 seq : fates->dead) dead.insert(ChunkId{space, seq});
    }
    for (const FragmentInfo& info : batch) {
        if (!dead.contains(info.id.chunk)) continue;
        co_await remove(info.id);
        ++status_.dead_dropped;
    }
}

// Re-reads everything in time, beside whatever else healing does.
Task<void> Healer::scrub_on() {
    Instant last = env_.clock.now(), saved = last;
    for (;;) {
        Duration const every = options_.round_every;
        Duration const jitter{static_cast<i64>(env_.random.below(static_cast<u64>(every.ns / 4)))};
        co_await env_.clock.sleep(every + jitter);
        Instant const now = env_.clock.now();
        Duration const since = now - std::exchange(last, now);
        if (!status_.paused) co_await scrub(since);
        if (!scrub_.is_worth_saving() || env_.clock.now() - saved < k_save_least) continue;
        saved = env_.clock.now();
        (void)co_await store_.put_note(ScrubSchedule::k_note, scrub_.save());
    }
}

// What is due for that time. What was read beyond it is saved up for the next.
Task<void> Healer::scrub(Duration since) {
    u64 const rate = scrub_.bytes_per_second(store_.space().used_bytes, env_.clock.wall_now());
    u64 const earned = static_cast<u64>(static_cast<u128>(std::max<i64>(since.ms(), 0)) * rate / 1000);
    scrub_credit_ = std::min(scrub_credit_ + earned, std::max(earned, k_fragment_bytes_max) * 2);
    while (!status_.paused) {
        auto const next = store_.list_fragments(scrub_.position(), 1);
        if (next.empty()) {
            if (scrub_.position()) scrub_.pass_ended(env_.clock.wall_now());
            break;
        }
        if (next.front().bytes > scrub_credit_) break;  // saved up until there is enough for all of it
        scrub_credit_ -= next.front().bytes;
        FragmentId const id = next.front().id;
        (void)co_await verify(id, IoClass::kScrub, FoundBy::kScrub);
        scrub_.done(id, next.front().bytes);
        status_.scrubbed_bytes += next.front().bytes;
    }
}

}  // namespace corelet
