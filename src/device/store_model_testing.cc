#include "device/store_model_testing.h"

#include "base/checksum.h"

namespace corelet::testing {

namespace {
constexpr u64 k_ids = 12;
constexpr u64 k_segment_ids = 6;

std::vector<u8> consensus_record(u64 number) {
    return std::vector<u8>(8 + number % 600, static_cast<u8>(number));
}
std::string name(const FragmentId& id) {
    return "fragment " + to_string(id.chunk);
}
}  // namespace

void StoreModel::expect(const Result<void>& result, std::initializer_list<Code> allowed, const char* what) {
    ++acknowledged_;
    if (result) return;
    for (Code const code : allowed)
        if (result.error().code == code) return;
    complain(std::string(what) + ": " + result.error().to_string());
}

// --- operations: each notes what it will change, does it, and notes what came of it

Task<void> StoreModel::put(FragmentId id) {
    auto& slot = fragments_[id];
    Fragment wanted{next_seed_++, random_.between(1, 40), false, false};
    if (slot.now && random_.chance(1, 2)) wanted = *slot.now;
    bool const was_here = slot.now.has_value();
    bool const same = slot.now && slot.now->seed == wanted.seed;
    // An adopted one has another k and m: the same bytes under other fields are another fragment.
    bool const may = !was_here || (same && !slot.now->adopted);
    slot.next = may && !was_here ? MaybeFragment(wanted) : slot.now;
    Buffer const data = pattern(wanted.seed, wanted.blocks);
    FragmentHeader header;
    header.k = 2;
    header.m = 1;
    PutOptions options;
    options.repair = same && !slot.now->adopted && random_.chance(1, 3);
    Result<void> const done = co_await store_->put_fragment(id, header, data, crcs_of(data), options);
    if (may) {
        expect(done, {Code::kNoSpace}, "put");
        if (done && !was_here) slot.now = wanted;
    } else if (done) {
        complain("put: " + name(id) + " took other bytes");
    } else {
        expect(done, {Code::kExists}, "put over another");
    }
    slot.next.reset();
}

Task<void> StoreModel::remove(FragmentId id) {
    auto& slot = fragments_[id];
    slot.next = MaybeFragment();
    Result<void> const done = co_await store_->remove_fragment(id);
    expect(done, slot.now ? std::initializer_list<Code>{} : std::initializer_list<Code>{Code::kUnknown}, "remove");
    slot.now.reset();
    slot.next.reset();
}

Task<void> StoreModel::quarantine(FragmentId id) {
    auto& slot = fragments_[id];
    bool const on = random_.chance(1, 2);
    slot.next = slot.now;
    if (slot.now) slot.next->value().quarantined = on;
    Result<void> const done = co_await store_->set_quarantine(id, on);
    expect(done, slot.now ? std::initializer_list<Code>{} : std::initializer_list<Code>{Code::kUnknown},
           "quarantine");
    slot.now = *slot.next;
    slot.next.reset();
}

Task<void> StoreModel::read(FragmentId id) {
    auto& slot = fragments_[id];
    slot.next = slot.now;
    if (slot.now) {
        u64 const first = random_.below(slot.now->blocks);
        u64 const count = random_.between(1, slot.now->blocks - first);
        auto const data = co_await store_->read_fragment(id, first * k_block_bytes, count * k_block_bytes, {});
        Buffer const all = pattern(slot.now->seed, slot.now->blocks);
        Bytes const wanted = all.bytes().subspan(first * k_block_bytes, count * k_block_bytes);
        if (!data)
            complain("read: " + data.error().to_string());
        else if (!std::ranges::equal(data->data.flatten().bytes(), wanted))
            complain("read: " + name(id) + " has other bytes");
    }
    slot.next.reset();
}

Task<void> StoreModel::prepare(SegmentId id) {
    auto& slot = segments_[id];
    SegmentSpec spec;
    spec.salt = id.seq;
    spec.epoch = Epoch(10);
    spec.owner = CoreletId(1);
    spec.initial_bytes = random_.between(1, 4) * k_unit_bytes;
    spec.packed_reservation_bytes = random_.below(3) * k_unit_bytes;
    Segment const wanted{spec.epoch, spec.epoch, spec.owner, std::nullopt, spec.initial_bytes};
    bool const may = !slot.was_prepared;
    slot.next = may ? MaybeSegment(wanted) : slot.now;
    Result<void> const done = co_await store_->prepare_segment(id, spec);
    if (may) {
        expect(done, {Code::kNoSpace}, "prepare");
        if (done) slot.now = wanted;
        slot.was_prepared = done.has_value();
    } else if (done) {
        complain("prepare: twice");
    } else {
        expect(done, {Code::kExists}, "prepare again");
    }
    slot.next.reset();
}

Task<void> StoreModel::write(SegmentId id) {
    auto& slot = segments_[id];
    slot.next = slot.now;
    u64 const capacity = slot.now->capacity / k_block_bytes;
    u64 const first = slot.next_block;
    u64 const count = std::min(random_.between(1, 20), capacity - std::min(capacity, first));
    bool const may = slot.now->epoch == slot.now->opened && !slot.now->end;
    if (count > 0) {
        u64 const seed = next_seed_++;
        for (u64 b = 0; b < count && may; ++b) slot.unsure[first + b] = seed + (b << 32);
        BufferChain data;
        for (u64 b = 0; b < count; ++b) data.append(pattern(seed + (b << 32), 1));
        Result<void> const done =
            co_await store_->write_segment(id, Epoch(10), CoreletId(1), first * k_block_bytes, std::move(data));
        if (may) {
            expect(done, {}, "write");
            slot.blocks.merge(slot.unsure);
            slot.next_block = first + count;
        } else if (done) {
            complain("write: took one of a fenced or sealed segment");
        } else {
            expect(done, {Code::kFenced, Code::kClosed}, "write when it must not");
        }
        slot.unsure.clear();
    }
    slot.next.reset();
}

Task<void> StoreModel::grow(SegmentId id) {
    auto& slot = segments_[id];
    u64 const more = random_.between(1, 3) * k_unit_bytes;
    bool const may = slot.now->epoch == slot.now->opened && !slot.now->end;
    slot.next = slot.now;
    if (may) slot.next->value().capacity += more;
    auto const done = co_await store_->grow_segment(id, Epoch(10), CoreletId(1), more, SpaceClass::kClient);
    if (done && may)
        slot.now = *slot.next;
    else if (done)
        complain("grow: a fenced or sealed segment grew");
    else if (may && done.error().code != Code::kNoSpace)
        complain("grow: " + done.error().to_string());
    slot.next.reset();
}

Task<void> StoreModel::fence(SegmentId id) {
    auto& slot = segments_[id];
    Epoch const epoch(random_.between(9, 14));
    CoreletId const owner(random_.between(1, 2));
    bool const may = epoch > slot.now->epoch || (epoch == slot.now->epoch && owner == slot.now->owner);
    slot.next = slot.now;
    if (may) {
        slot.next->value().epoch = epoch;
        slot.next->value().owner = owner;
    }
    auto const done = co_await store_->fence_segment(id, epoch, owner);
    if (done.has_value() != may) complain("fence: " + (done ? "went back" : done.error().to_string()));
    slot.now = *slot.next;
    slot.next.reset();
}

Task<void> StoreModel::seal(SegmentId id) {
    auto& slot = segments_[id];
    u64 const end = random_.below(slot.now->capacity / k_block_bytes + 3) * k_block_bytes;
    slot.next = slot.now;
    if (!slot.now->end) {
        slot.next->value().end = std::min(end, slot.now->capacity);
        slot.next->value().capacity = std::min(end, slot.now->capacity);
    }
    bool const may = !slot.now->end || end >= *slot.now->end;
    auto const done = co_await store_->seal_segment(id, end);
    if (done.has_value() != may) complain("seal: " + (done ? "end moved" : done.error().to_string()));
    slot.now = *slot.next;
    slot.next.reset();
}

Task<void> StoreModel::drop_segment(SegmentId id) {
    auto& slot = segments_[id];
    slot.next = MaybeSegment();
    expect(co_await store_->drop_segment(id), {}, "drop");
    slot.now.reset();
    slot.next.reset();
}

Task<void> StoreModel::adopt(SegmentId id) {
    auto& slot = segments_[id];
    FragmentId const as{id, 0};
    auto& fragment = fragments_[as];
    u64 const blocks = *slot.now->end / k_block_bytes;
    slot.next = MaybeSegment();
    // Its bytes are what was written; the model keeps the first block's seed and compares by adoption's own
    // checksums.
    fragment.next = Fragment{0, blocks, false, true};
    auto const done = co_await store_->adopt_segment(id, as, {}, {});
    if (done) {
        slot.now.reset();
        fragment.now = *fragment.next;
    } else if (done.error().code != Code::kNoSpace) {
        complain("adopt: " + done.error().to_string());
    }
    slot.next.reset();
    fragment.next.reset();
}

Task<void> StoreModel::note(std::string key) {
    auto& slot = notes_[key];
    std::vector<u8> value(random_.below(300), static_cast<u8>(next_seed_++));
    slot.next = value;
    expect(co_await store_->put_note(key, value), {Code::kNoSpace}, "note");
    slot.now = value;
    slot.next.reset();
}

Task<void> StoreModel::consensus_append() {
    std::vector<Journal::Record> records;
    u64 const first = appending_ + 1;
    for (u64 n = random_.between(1, 3); n > 0; --n) records.push_back(consensus_record(++appending_));
    u64 const last = appending_;
    Journal& journal = store_->consensus_journal();
    Result<u64> const done = journal.submit(std::move(records));
    if (!done) {
        appending_ = first - 1;
        if (done.error().code != Code::kNoSpace) complain("consensus: " + done.error().to_string());
        co_return;
    }
    if (*done != last) complain("consensus: another number");
    expect(co_await journal.wait_durable(last), {}, "consensus");
    appended_ = std::max(appended_, last);
}

Task<void> StoreModel::consensus_snapshot() {
    Journal& journal = store_->consensus_journal();
    u64 const through = journal.durable_number() - std::min<u64>(journal.durable_number(), random_.below(4));
    if (through < snapshotted_) co_return;
    Result<void> const done = co_await journal.snapshot(through, consensus_record(through));
    expect(done, {Code::kConflict, Code::kInvalid}, "snapshot");
    if (done) snapshotted_ = std::max(snapshotted_, through);
}

void StoreModel::begin(u32 count) {
    for (u32 i = 0; i < count; ++i) begin_one();
}

void StoreModel::begin_one() {
    ++operations_;
    FragmentId const id{{SpaceId(1), random_.below(k_ids)}, 0};
    SegmentId const segment{SpaceId(2), random_.below(k_segment_ids) + operations_ / 200 * k_segment_ids};
    u64 const dice = random_.below(100);
    if (dice < 45) return begin_on_fragment(id, dice);
    if (dice < 85) return begin_on_segment(segment);
    if (dice < 90) {
        std::string const key = "note" + std::to_string(random_.below(3));
        auto& slot = notes_[key];
        if (slot.next) return;
        slot.next = slot.now;
        return rig_.scope.spawn(note(key));
    }
    if (dice < 98) return rig_.scope.spawn(consensus_append());
    rig_.scope.spawn(consensus_snapshot());
}

// A key is taken when its operation is spawned, not when that first runs.
void StoreModel::begin_on_fragment(FragmentId id, u64 dice) {
    auto& slot = fragments_[id];
    if (slot.next) return;
    slot.next = slot.now;
    if (dice < 25) return rig_.scope.spawn(put(id));
    if (dice < 33) return rig_.scope.spawn(remove(id));
    if (dice < 36) return rig_.scope.spawn(quarantine(id));
    rig_.scope.spawn(read(id));
}

void StoreModel::begin_on_segment(SegmentId id) {
    SegmentSlot& slot = segments_[id];
    if (slot.next) return;
    slot.next = slot.now;
    u64 const dice = random_.below(100);
    if (!slot.now || dice < 3) return rig_.scope.spawn(prepare(id));
    if (dice < 60) return rig_.scope.spawn(write(id));
    if (dice < 70) return rig_.scope.spawn(grow(id));
    if (dice < 78) return rig_.scope.spawn(fence(id));
    if (dice < 85) return rig_.scope.spawn(seal(id));
    auto& fragment = fragments_[{id, 0}];
    if (slot.now->end && *slot.now->end > 0 && !fragment.next && !fragment.now) {
        fragment.next = fragment.now;
        return rig_.scope.spawn(adopt(id));
    }
    if (dice < 92) return rig_.scope.spawn(drop_segment(id));
    slot.next.reset();
}

void StoreModel::drop() {
    if (store_) durable_seq_ = store_->durable_seq();
    rig_.scope.cancel();
    store_.reset();
}

// --- after a mount

StoreModel::MaybeFragment StoreModel::look_at_fragment(FragmentId id) {
    auto const info = store_->fragment_info(id);
    if (!info) return std::nullopt;
    Fragment seen{0, info->bytes / k_block_bytes, info->quarantined, info->adopted};
    auto const data = rig_.run(store_->read_fragment(id, 0, info->bytes, {}));
    if (!data) {
        complain(name(id) + " is listed and does not read: " + data.error().to_string());
        return seen;
    }
    const auto& slot = fragments_[id];
    for (const MaybeFragment* wanted : {&slot.now, slot.next ? &*slot.next : &slot.now})
        if (*wanted && data->block_crcs == crcs_of(pattern((*wanted)->seed, seen.blocks)))
            seen.seed = (*wanted)->seed;
    return seen;
}

void StoreModel::check_fragments() {
    for (const FragmentInfo& info : store_->list_fragments(std::nullopt, 1000)) fragments_.try_emplace(info.id);
    for (auto& [id, slot] : fragments_) {
        MaybeFragment const seen = look_at_fragment(id);
        if (seen != slot.now && !(slot.next && seen == *slot.next))
            complain(name(id) + (seen ? " is not what was acknowledged" : " is lost"));
        slot.now = seen;
        slot.next.reset();
    }
}

void StoreModel::check_segment(SegmentId id, SegmentSlot& slot) {
    MaybeSegment seen;
    if (auto const info = store_->segment_info(id)) {
        seen = Segment{info->opened_epoch, info->epoch, info->owner, std::nullopt, info->capacity_bytes};
        if (info->sealed) seen->end = info->end;
    }
    std::string const who = "segment " + to_string(id);
    if (seen != slot.now && !(slot.next && seen == *slot.next)) complain(who + " is not what was acknowledged");
    if (slot.next && seen == *slot.next && seen) slot.was_prepared = true;
    if (slot.now) slot.was_prepared = true;
    slot.now = seen;
    slot.next.reset();
    slot.unsure.clear();
    for (const auto& [block, seed] : slot.blocks) {
        if (!seen || (block + 1) * k_block_bytes > seen->capacity) break;
        auto const data =
            rig_.run(store_->read_segment(id, block * k_block_bytes, k_block_bytes, IoClass::kClient));
        if (!data || !std::ranges::equal(data->flatten().bytes(), pattern(seed, 1).bytes()))
            complain(who + " lost an acknowledged write at block " + std::to_string(block));
    }
}

void StoreModel::check_notes() {
    for (auto& [key, slot] : notes_) {
        std::vector<u8> const seen = store_->note(key).value_or(std::vector<u8>{});
        if (seen != slot.now && !(slot.next && seen == *slot.next)) complain("note " + key + " is lost");
        slot.now = seen;
        slot.next.reset();
    }
}

void StoreModel::check_consensus() {
    u64 next = 1;
    store_->consensus_journal().replay(
        [&](u64 through, Bytes state) {
            if (!std::ranges::equal(state, consensus_record(through))) complain("consensus: another snapshot");
            if (through < snapshotted_) complain("consensus: an older snapshot");
            snapshotted_ = through;
            next = through + 1;
        },
        [&](u64 number, Bytes record) {
            if (number != next++) complain("consensus: a gap");
            if (!std::ranges::equal(record, consensus_record(number))) complain("consensus: another record");
        });
    if (next - 1 < appended_) complain("consensus: lost an acknowledged record");
    if (next - 1 > appending_) complain("consensus: records that nobody wrote");
    appended_ = appending_ = next - 1;
}

bool StoreModel::mount_and_check() {
    auto mounted = mount(rig_, media_);
    if (!mounted) {
        complain("mount: " + mounted.error().to_string());
        return false;
    }
    store_ = *std::move(mounted);
    if (store_->has_forgotten()) complain("forgotten: " + store_->forgotten_reason());
    if (store_->is_failing()) complain("failing: " + store_->failure());
    if (store_->metadata_report().condition == JournalCondition::kRotten) complain("rotten without rot");
    if (store_->incarnation() <= incarnation_) complain("the incarnation did not rise");
    if (store_->durable_seq() < durable_seq_) complain("the durable number went back");
    incarnation_ = store_->incarnation();
    if (complaint_.empty()) {
        check_fragments();
        for (auto& [id, slot] : segments_) check_segment(id, slot);
        check_notes();
        check_consensus();
    }
    complaint_ += rig_.log.errors;
    return complaint_.empty();
}

}  // namespace corelet::testing
