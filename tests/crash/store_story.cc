#include "tests/crash/store_story.h"

#include "device/device_testing.h"

namespace corelet::testing {

namespace {
constexpr u64 k_fragments = 10;
constexpr u64 k_segments = 5;  // alive at once
constexpr Epoch k_epoch(10);
constexpr CoreletId k_owner(1);
}  // namespace

StoreStory::StoreStory(Env& env, StoryOptions options)
    : env_(env),
      options_(std::move(options)),
      random_(options_.seed),
      disk_(env.disk, log_),
      scope_(env.executor) {}

Task<bool> StoreStory::run() {
    if (!co_await open_and_format()) co_return false;
    for (u32 round = 0; round < options_.rounds && complaint_.empty(); ++round) {
        for (u64 n = random_.between(2, 8); n > 0; --n) begin_one();
        co_await wait_for(random_.below(5));
        if (round % 12 == 11 && !co_await remount()) co_return false;
    }
    co_await wait_for(0);
    co_await store_->close();
    store_.reset();
    co_return complaint_.empty();
}

Task<bool> StoreStory::open_and_format() {
    OpenOptions create;
    create.create = true;
    create.size_bytes = options_.device_bytes();
    auto file = co_await disk_.open(options_.path, create);
    if (!file) {
        complain("open: " + file.error().to_string());
        co_return false;
    }
    FormatOptions format = small_format();
    format.witness = options_.witness;
    Result<void> const done = co_await format_device(file->get(), StoreEnv::of(env_), format);
    if (!done) {
        complain("format: " + done.error().to_string());
        co_return false;
    }
    oracle_.formatted = log_.tick();
    file->reset();
    co_return co_await mount();
}

Task<bool> StoreStory::mount() {
    auto file = co_await disk_.open(options_.path, {});
    if (!file) {
        complain("open: " + file.error().to_string());
        co_return false;
    }
    auto mounted = co_await Store::mount(*std::move(file), StoreEnv::of(env_), small_store());
    if (!mounted) {
        complain("mount: " + mounted.error().to_string());
        co_return false;
    }
    store_ = *std::move(mounted);
    resolve();
    std::string const wrong = co_await oracle_.check(store_.get(), log_.tick(), 0);
    if (!wrong.empty()) complain("after a mount without a power cut: " + wrong);
    oracle_.incarnations.emplace_back(log_.tick(), store_->incarnation().v);
    oracle_.appended.emplace_back(log_.tick(), store_->consensus_journal().durable_number());
    co_return wrong.empty();
}

Task<bool> StoreStory::remount() {
    if (random_.chance(1, 2)) {
        co_await wait_for(0);
        co_await store_->close();
    } else {
        ++kills_;
    }
    scope_.cancel();
    in_flight_ = 0;
    snapshotting_ = false;
    writing_.clear();
    store_.reset();
    co_return co_await mount();
}

// --- what is under way

void StoreStory::spawn(Task<void> operation) {
    ++operations_;
    ++in_flight_;
    scope_.spawn(std::move(operation));
}

void StoreStory::over() {
    if (!store_->is_failing()) oracle_.sequence_numbers.emplace_back(log_.tick(), store_->durable_seq());
    --in_flight_;
    one_is_over_.notify_all();
}

Task<void> StoreStory::wait_for(usize in_flight) {
    while (in_flight_ > in_flight) co_await one_is_over_.wait();
}

template <class State>
void StoreStory::end(KeyHistory<State>& history, const Result<void>& done, const char* what) {
    history.end(done.has_value(), log_.tick());
    if (!done && done.error().code != Code::kNoSpace) complain(std::string(what) + ": " + done.error().to_string());
    over();
}

void StoreStory::resolve() {
    for (auto& [id, history] : oracle_.fragments) {
        if (!history.is_busy()) continue;
        auto const info = store_->fragment_info(id);
        const MaybeFragment& coming = history.coming();
        history.end(info.has_value() == coming.has_value() && (!info || info->quarantined == coming->quarantined),
                    log_.tick());
    }
    for (auto& [id, history] : oracle_.segments) {
        if (!history.is_busy()) continue;
        MaybeSegment seen;
        if (auto const info = store_->segment_info(id)) {
            seen = SegmentState{info->epoch, info->owner, std::nullopt, info->capacity_bytes};
            if (info->sealed) seen->end = info->end;
        }
        history.end(seen == history.coming(), log_.tick());
    }
    for (auto& [key, history] : oracle_.notes)
        if (history.is_busy())
            history.end(store_->note(key).value_or(std::vector<u8>{}) == history.coming(), log_.tick());
    for (auto& adoption : oracle_.adoptions)
        if (adoption.ended == k_never) adoption.ended = log_.tick();
}

// --- the draw

void StoreStory::begin_one() {
    u64 const dice = random_.below(100);
    if (dice < 1) return spawn(raise_incarnation());
    if (dice < 20 || options_.witness) {
        std::string key = "note" + std::to_string(random_.below(3));
        if (dice % 2 == 0 && !oracle_.notes[key].is_busy()) {
            std::vector<u8> value(random_.between(1, 300), static_cast<u8>(random_.below(256)));
            oracle_.notes[key].begin(std::move(value), log_.tick());
            return spawn(note(std::move(key)));
        }
        return begin_on_consensus();
    }
    if (dice < 55) return begin_on_fragment();
    begin_on_segment();
}

void StoreStory::begin_on_consensus() {
    if (!snapshotting_ && random_.chance(1, 6)) {
        snapshotting_ = true;
        return spawn(snapshot());
    }
    spawn(append(random_.between(1, 3)));
}

// A key is taken when its operation is spawned, not when that first runs.
void StoreStory::begin_on_fragment() {
    FragmentId id{{SpaceId(1), random_.below(k_fragments)}, 0};
    bool const adopted = !oracle_.adoptions.empty() && random_.chance(1, 5);
    if (adopted) id.chunk = oracle_.adoptions[random_.below(oracle_.adoptions.size())].id;
    auto& history = oracle_.fragments[id];
    if (history.is_busy()) return;
    MaybeFragment to = history.acknowledged(log_.tick());
    if (!to && adopted) return;
    if (!to) {
        history.begin(FragmentState{next_seed_++, random_.between(1, 30), false, false}, log_.tick());
        return spawn(put(id));
    }
    if (random_.chance(1, 3)) {
        to->quarantined = !to->quarantined;
        history.begin(to, log_.tick());
        return spawn(quarantine(id));
    }
    history.begin(std::nullopt, log_.tick());
    spawn(remove(id));
}

void StoreStory::begin_on_segment() {
    u64 const oldest = next_segment_ - std::min(next_segment_, k_segments);
    bool const fresh = next_segment_ < k_segments || random_.chance(1, 12);
    SegmentId const id{SpaceId(2), fresh ? next_segment_++ : random_.between(oldest, next_segment_ - 1)};
    auto& history = oracle_.segments[id];
    if (history.is_busy() || writing_.contains(id)) return;
    MaybeSegment to = history.acknowledged(log_.tick());
    if (fresh) {
        history.begin(SegmentState{k_epoch, k_owner, std::nullopt, random_.between(1, 3) * k_unit_bytes},
                      log_.tick());
        return spawn(prepare(id));
    }
    if (!to) return;
    u64 const dice = random_.below(100);
    bool const open = to->epoch == k_epoch && !to->end;
    if (open && dice < 70 && blocks_of(id) < to->capacity / k_block_bytes) {
        writing_.insert(id);
        return spawn(write(id));
    }
    if (open && dice < 80) {
        to->capacity += random_.between(1, 2) * k_unit_bytes;
        history.begin(to, log_.tick());
        return spawn(grow(id));
    }
    if (dice < 88) {
        to->epoch = Epoch(to->epoch.v + 1);
        to->owner = CoreletId(2);
        history.begin(to, log_.tick());
        return spawn(fence(id));
    }
    if (!to->end && blocks_of(id) > 0) {
        to->end = to->capacity = blocks_of(id) * k_block_bytes;
        history.begin(to, log_.tick());
        return spawn(seal(id));
    }
    if (to->end && dice < 96) {
        history.begin(std::nullopt, log_.tick());
        oracle_.fragments[{id, 0}].begin(FragmentState{id.seq, *to->end / k_block_bytes, false, true}, log_.tick());
        oracle_.adoptions.push_back({id, log_.tick(), k_never});
        return spawn(adopt(id, oracle_.adoptions.size() - 1));
    }
    history.begin(std::nullopt, log_.tick());
    spawn(drop(id));
}

u64 StoreStory::blocks_of(SegmentId id) const {
    auto const at = oracle_.written.find(id);
    return at == oracle_.written.end() ? 0 : Oracle::highest(at->second, k_never);
}

// --- operations

Task<void> StoreStory::put(FragmentId id) {
    auto& history = oracle_.fragments[id];
    Buffer const data = pattern(history.coming()->seed, history.coming()->blocks);
    FragmentHeader header;
    header.k = 2;
    header.m = 1;
    Result<void> const done = co_await store_->put_fragment(id, header, data, crcs_of(data), {});
    end(history, done, "put");
}
Task<void> StoreStory::remove(FragmentId id) {
    Result<void> const done = co_await store_->remove_fragment(id);
    end(oracle_.fragments[id], done, "remove");
}
Task<void> StoreStory::quarantine(FragmentId id) {
    auto& history = oracle_.fragments[id];
    Result<void> const done = co_await store_->set_quarantine(id, history.coming()->quarantined);
    end(history, done, "quarantine");
}

Task<void> StoreStory::prepare(SegmentId id) {
    auto& history = oracle_.segments[id];
    SegmentSpec spec;
    spec.salt = id.seq;
    spec.epoch = k_epoch;
    spec.owner = k_owner;
    spec.initial_bytes = history.coming()->capacity;
    spec.packed_reservation_bytes = k_unit_bytes;
    Result<void> const done = co_await store_->prepare_segment(id, spec);
    end(history, done, "prepare");
}

Task<void> StoreStory::write(SegmentId id) {
    u64 const first = blocks_of(id);
    u64 const capacity = oracle_.segments[id].acknowledged(log_.tick())->capacity / k_block_bytes;
    u64 const count = std::min(random_.between(1, 12), capacity - first);
    BufferChain data;
    for (u64 b = 0; b < count; ++b) data.append(Oracle::segment_block(id, first + b));
    Result<void> const done =
        co_await store_->write_segment(id, k_epoch, k_owner, first * k_block_bytes, std::move(data));
    if (done)
        oracle_.written[id].emplace_back(log_.tick(), first + count);
    else
        complain("write: " + done.error().to_string());
    writing_.erase(id);
    over();
}

Task<void> StoreStory::grow(SegmentId id) {
    auto& history = oracle_.segments[id];
    u64 const more = history.coming()->capacity - history.acknowledged(log_.tick())->capacity;
    auto const done = co_await store_->grow_segment(id, k_epoch, k_owner, more, SpaceClass::kClient);
    end(history, done ? Result<void>{} : std::unexpected(done.error()), "grow");
}
Task<void> StoreStory::fence(SegmentId id) {
    auto& history = oracle_.segments[id];
    SegmentState const to = *history.coming();
    auto const done = co_await store_->fence_segment(id, to.epoch, to.owner);
    end(history, done ? Result<void>{} : std::unexpected(done.error()), "fence");
}
Task<void> StoreStory::seal(SegmentId id) {
    auto& history = oracle_.segments[id];
    auto const done = co_await store_->seal_segment(id, *history.coming()->end);
    end(history, done ? Result<void>{} : std::unexpected(done.error()), "seal");
}
Task<void> StoreStory::drop(SegmentId id) {
    Result<void> const done = co_await store_->drop_segment(id);
    end(oracle_.segments[id], done, "drop");
}

Task<void> StoreStory::adopt(SegmentId id, usize adoption) {
    FragmentId const as{id, 0};
    Result<void> const done = co_await store_->adopt_segment(id, as, {}, {});
    oracle_.adoptions[adoption].ended = log_.tick();
    oracle_.fragments[as].end(done.has_value(), log_.tick());
    end(oracle_.segments[id], done, "adopt");
}

Task<void> StoreStory::note(std::string key) {
    auto& history = oracle_.notes[key];
    Result<void> const done = co_await store_->put_note(key, history.coming());
    end(history, done, "note");
}

Task<void> StoreStory::append(u64 records) {
    Journal& journal = store_->consensus_journal();
    std::vector<Journal::Record> all;
    u64 const first = journal.submitted_number() + 1;
    for (u64 n = 0; n < records; ++n) all.push_back(Oracle::consensus_record(first + n));
    oracle_.appending.emplace_back(log_.tick(), first + records - 1);
    Result<u64> const done = co_await journal.append(std::move(all));
    if (done)
        oracle_.appended.emplace_back(log_.tick(), *done);
    else if (done.error().code != Code::kNoSpace)
        complain("append: " + done.error().to_string());
    over();
}

Task<void> StoreStory::snapshot() {
    Journal& journal = store_->consensus_journal();
    u64 const through = journal.durable_number();
    Result<void> done;
    if (through > 0) done = co_await journal.snapshot(through, Oracle::consensus_record(through));
    if (done)
        oracle_.snapshotted.emplace_back(log_.tick(), through);
    else
        complain("snapshot: " + done.error().to_string());
    snapshotting_ = false;
    over();
}

Task<void> StoreStory::raise_incarnation() {
    Result<void> const done = co_await store_->raise_incarnation();
    if (done)
        oracle_.incarnations.emplace_back(log_.tick(), store_->incarnation().v);
    else
        complain("raise: " + done.error().to_string());
    over();
}

}  // namespace corelet::testing
