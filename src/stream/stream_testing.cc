#include "stream/stream_testing.h"
#include "base/checksum.h"

#include "base/hash.h"

namespace corelet {

namespace {
bool contains(const std::vector<CoreletId>& list, CoreletId id) {
    return std::find(list.begin(), list.end(), id) != list.end();
}
}  // namespace

void MemoryReplicas::isolate(CoreletId id, const std::vector<CoreletId>& others, bool is_cut) {
    for (CoreletId other : others) {
        if (other == id) continue;
        cut(id, other, is_cut);
        cut(other, id, is_cut);
    }
}

void MemoryReplicas::restart(CoreletId id) {
    hosts_[id].down = hosts_[id].silent = false;
    hosts_[id].mounted = env_.clock.now();
    for (auto& [key, copy] : copies_) {
        if (key.first != id) continue;
        // The fence is on the device, promises are not; of what was under way, what landed is found by scanning.
        auto fresh = std::make_shared<Copy>(copy->spec, ReplicaCore(copy->spec.id, seq_epoch(copy->spec.id.seq),
                                                                    copy->core.owner(), times_, env_.clock.now()));
        if (copy->core.is_fenced())
            CORELET_ASSERT(fresh->core.fence(copy->core.epoch(), copy->core.owner()).has_value());
        fresh->bytes = copy->bytes;
        fresh->sealed = copy->sealed;
        Buffer const all = Buffer::copy_of(fresh->bytes);
        for (u64 at = 0; at < all.size();) {
            auto const record = decode_record(all.slice(at), copy->spec.id, copy->spec.salt, at);
            if (!record || !fresh->core.restore(record->header)) break;
            at += record->header.size_bytes();
        }
        fresh->durable = fresh->core.end_bytes();
        copy = std::move(fresh);
    }
}

void MemoryReplicas::rot(CoreletId id, SegmentId segment, u64 offset) {
    auto& bytes = copies_.at({id, segment})->bytes;
    CORELET_ASSERT(offset < bytes.size());
    bytes[offset] ^= 0x40;
}

Result<MemoryReplicas::CopyPtr> MemoryReplicas::find(CoreletId id, SegmentId segment) const {
    auto const found = copies_.find({id, segment});
    if (found == copies_.end()) return fail(Code::kUnknown, "no such segment here");
    return found->second;
}

Instant MemoryReplicas::arrival(CoreletId from, CoreletId to) {
    Instant& last = last_arrival_[{from, to}];
    Duration const delay{50'000 + static_cast<i64>(env_.random.below(static_cast<u64>(delay_max.ns)))};
    last = std::max(env_.clock.now() + delay, last + 1_us);
    return last;
}

Task<void> MemoryReplicas::deliver(CoreletId from, CoreletId to, Instant at, Handler handler,
                                   Answer<Buffer> answer) {
    co_await env_.clock.sleep_until(at);
    if (cuts_.contains({from, to}) || hosts_[to].silent) co_return;
    if (hosts_[to].down) {
        answer->complete(fail(Code::kReset, "connection refused"));
        co_return;
    }
    Instant const mounted = hosts_[to].mounted;
    auto result = co_await handler();
    co_await env_.clock.sleep_until(arrival(to, from));
    if (cuts_.contains({to, from}) || hosts_[to].silent) co_return;
    if (hosts_[to].down || hosts_[to].mounted != mounted) result = fail(Code::kReset, "connection reset");
    answer->complete(std::move(result));
}

Task<Result<Buffer>> MemoryReplicas::write(CopyPtr copy, CoreletId owner, u64 offset, BufferChain record,
                                           CoreletId id) {
    if (hosts_[id].failing) co_return fail(Code::kIo, "the device has failed");
    CO_TRY(VerifiedRecord const verified, verify_record(record, copy->spec.id, copy->spec.salt, offset));
    const RecordHeader& header = verified.header;
    CO_TRY_VOID(copy->core.check_writer(header.epoch, owner));
    CO_TRY_VOID(copy->core.admit(header));
    copy->core.promise(env_.clock.now());
    Epoch const epoch = copy->core.epoch();
    ++copy->writes;
    co_await env_.clock.sleep(Duration{hosts_[id].write_delay.ns + static_cast<i64>(env_.random.below(100'000))});
    while (copy->durable < offset) co_await copy->changed.wait();
    Buffer const flat = record.flatten();
    if (copy->bytes.size() < offset + flat.size()) copy->bytes.resize(offset + flat.size());
    std::memcpy(copy->bytes.data() + offset, flat.data(), flat.size());
    copy->durable = offset + flat.size();
    --copy->writes;
    copy->changed.notify_all();
    if (copy->core.epoch() != epoch) co_return fail(Code::kFenced, "fenced while it was being written");
    if (lose_answer_.erase(id) != 0) co_await env_.clock.sleep(60_s);
    co_return Buffer{};
}

Task<Result<Buffer>> MemoryReplicas::do_fence(CopyPtr copy, CoreletId id, CoreletId owner, Epoch epoch) {
    if (hosts_[id].forgotten) co_return fail(Code::kForgotten, "promises are forgotten");
    if (hosts_[id].failing) co_return fail(Code::kIo, "the device has failed");
    CO_TRY_VOID(copy->core.fence(epoch, owner));
    while (copy->writes > 0) co_await copy->changed.wait();
    co_await env_.clock.sleep_until(std::max(copy->core.fence_answer_at(), env_.clock.now() + 100_us));
    co_return Buffer::copy_of(as_bytes(std::to_string(copy->core.end_bytes())));
}

Task<Result<Buffer>> MemoryReplicaPort::call(CoreletId to, Instant deadline, MemoryReplicas::Handler handler) {
    auto const answer = std::make_shared<Completion<Result<Buffer>>>();
    Instant const at = world_.arrival(self_, to);
    world_.scope_.spawn(world_.deliver(self_, to, at, std::move(handler), answer));
    auto const wait = [](std::shared_ptr<Completion<Result<Buffer>>> done, Clock* clock,
                         Instant until) -> Task<Result<Buffer>> {
        auto result = co_await done->wait_until(*clock, until);
        if (!result) co_return fail(Code::kTimeout, "no answer");
        co_return *std::move(result);
    };
    return wait(answer, &world_.env_.clock, deadline);
}

namespace {
Task<Result<void>> without_value(Task<Result<Buffer>> call) {
    CO_TRY_VOID(co_await std::move(call));
    co_return {};
}
Task<Result<FenceAnswer>> as_fence(Task<Result<Buffer>> call) {
    CO_TRY(Buffer const end, co_await std::move(call));
    co_return FenceAnswer{std::stoull(std::string(as_text(end.bytes()))), Incarnation(1), 1};
}
Task<Result<Buffer>> ready(Result<Buffer> result) {
    co_return result;
}
Task<Result<Buffer>> ready(Result<void> result) {
    if (!result) co_return std::unexpected(result.error());
    co_return Buffer{};
}
}  // namespace

Task<Result<void>> MemoryReplicaPort::call_void(CoreletId to, Duration patience, MemoryReplicas::Handler handler) {
    return without_value(call(to, world_.env_.clock.now() + patience, std::move(handler)));
}

Task<Result<void>> MemoryReplicaPort::prepare(CoreletId replica, PrepareRequest request) {
    return call_void(replica, 5_s, [&world = world_, replica, request, self = self_] {
        auto const key = std::pair(replica, request.segment.id);
        MemoryReplicas::Host& host = world.hosts_[replica];
        ++world.prepares;
        if (host.failing) return ready(Result<Buffer>(fail(Code::kIo, "the device has failed")));
        if (host.full && !request.system) return ready(Result<Buffer>(fail(Code::kNoSpace, "full")));
        if (!world.prepared_.insert(key).second)
            return ready(Result<Buffer>(fail(Code::kExists, "prepared here before")));
        world.copies_[key] = std::make_shared<MemoryReplicas::Copy>(
            request.segment, ReplicaCore(request.segment.id, request.epoch, self, world.times_, host.mounted));
        return ready(Result<Buffer>(Buffer{}));
    });
}

Task<Result<void>> MemoryReplicaPort::append(CoreletId replica, SegmentId segment, u64 offset, BufferChain record,
                                             u32 record_crc) {
    CORELET_ASSERT(crc32c(record.flatten()) == record_crc, "the checksum that travels is not the record's");
    return call_void(replica, 10_s,
                     [&world = world_, replica, segment, offset, record, self = self_]() -> Task<Result<Buffer>> {
                         auto copy = world.find(replica, segment);
                         if (!copy) return ready(Result<Buffer>(std::unexpected(copy.error())));
                         return world.write(*copy, self, offset, record, replica);
                     });
}

Task<Result<void>> MemoryReplicaPort::heartbeat(CoreletId replica, SegmentId segment, Epoch epoch) {
    return call_void(replica, 2_s, [&world = world_, replica, segment, epoch, self = self_] {
        auto copy = world.find(replica, segment);
        if (!copy) return ready(Result<Buffer>(std::unexpected(copy.error())));
        if (world.hosts_[replica].failing) return ready(Result<Buffer>(fail(Code::kIo, "the device has failed")));
        auto const may = (*copy)->core.check_writer(epoch, self);
        if (may) (*copy)->core.promise(world.env_.clock.now());
        return ready(may);
    });
}

Task<Result<void>> MemoryReplicaPort::release(CoreletId replica, SegmentId segment, Epoch epoch) {
    return call_void(replica, 1_s, [&world = world_, replica, segment, epoch, self = self_] {
        auto copy = world.find(replica, segment);
        if (!copy) return ready(Result<Buffer>(std::unexpected(copy.error())));
        return ready((*copy)->core.release(epoch, self));
    });
}

Task<Result<FenceAnswer>> MemoryReplicaPort::fence(CoreletId replica, SegmentId segment, Epoch epoch,
                                                   Instant deadline) {
    return as_fence(
        call(replica, deadline, [&world = world_, replica, segment, epoch, self = self_]() -> Task<Result<Buffer>> {
            auto copy = world.find(replica, segment);
            if (!copy) return ready(Result<Buffer>(std::unexpected(copy.error())));
            return world.do_fence(*copy, replica, self, epoch);
        }));
}

Task<Result<Buffer>> MemoryReplicaPort::read(CoreletId replica, SegmentId segment, u64 offset, u64 length) {
    ++reads;
    return call(replica, world_.env_.clock.now() + 2_s, [&world = world_, replica, segment, offset, length] {
        auto copy = world.find(replica, segment);
        if (!copy) return ready(Result<Buffer>(std::unexpected(copy.error())));
        const auto& bytes = (*copy)->bytes;
        u64 const end = std::min<u64>(bytes.size(), offset + length);
        if (offset >= end) return ready(Result<Buffer>(Buffer{}));
        return ready(Result<Buffer>(Buffer::copy_of(Bytes(bytes).subspan(offset, end - offset))));
    });
}

Task<Result<void>> MemoryReplicaPort::seal(CoreletId replica, SegmentId segment, u64 end_bytes) {
    return call_void(replica, 5_s, [&world = world_, replica, segment, end_bytes] {
        auto copy = world.find(replica, segment);
        if (!copy) return ready(Result<Buffer>(std::unexpected(copy.error())));
        (*copy)->sealed = true;
        if ((*copy)->bytes.size() > end_bytes) (*copy)->bytes.resize(end_bytes);
        return ready(Result<Buffer>(Buffer{}));
    });
}

Task<Result<void>> MemoryReplicaPort::adopt(CoreletId, SegmentId, u64, u8, u8) {
    return without_value(ready(Result<Buffer>(fail(Code::kUnsupported))));
}

Task<Result<void>> MemoryReplicaPort::drop(CoreletId replica, SegmentId segment, Epoch epoch) {
    return call_void(replica, 5_s, [&world = world_, replica, segment, epoch] {
        auto copy = world.find(replica, segment);
        if (!copy) return ready(Result<Buffer>(std::unexpected(copy.error())));
        if (epoch < (*copy)->core.epoch()) return ready(Result<Buffer>(fail(Code::kFenced)));
        world.copies_.erase({replica, segment});
        return ready(Result<Buffer>(Buffer{}));
    });
}

Task<Result<TransactionResult>> FlakyCatalog::commit(Transaction transaction, Instant deadline) {
    while (away) {
        if (env_.clock.now() >= deadline) co_return fail(Code::kUnavailable, "the catalog is away");
        co_await env_.clock.sleep(10_ms);
    }
    if (delay.ns != 0) co_await env_.clock.sleep(delay);
    bool const lost = env_.random.chance(lost_answers_permille, 1000);
    if (lost && env_.random.chance(1, 2)) co_return fail(Code::kTimeout, "the catalog did not answer");
    auto result = co_await inner_.commit(std::move(transaction), deadline);
    bool const kept_back = lose_answers > 0 && result && result->succeeded;
    if (kept_back) --lose_answers;
    if (lost || kept_back) co_return fail(Code::kTimeout, "the catalog did not answer");
    co_return result;
}

Task<Result<RangeResult>> FlakyCatalog::range(std::string prefix, Instant deadline) {
    while (away) {
        if (env_.clock.now() >= deadline) co_return fail(Code::kUnavailable, "the catalog is away");
        co_await env_.clock.sleep(10_ms);
    }
    co_return co_await inner_.range(std::move(prefix), deadline);
}

std::vector<CoreletId> MemoryPlacement::choose(PoolId, usize width, const std::vector<CoreletId>& avoid,
                                               u64 salt) const {
    std::vector<CoreletId> out;
    for (CoreletId id : up)
        if (!contains(avoid, id)) out.push_back(id);
    std::sort(out.begin(), out.end(), [&](CoreletId a, CoreletId b) {
        return std::tuple(a != self_, hash64(salt, a.v)) < std::tuple(b != self_, hash64(salt, b.v));
    });
    if (out.size() > width) out.resize(width);
    return out;
}

std::vector<CoreletId> MemoryPlacement::domain_of(PoolId, CoreletId corelet) const {
    std::vector<CoreletId> out{corelet};
    if (auto const mine = zones.find(corelet); mine != zones.end())
        for (const auto& [id, zone] : zones)
            if (zone == mine->second && id != corelet) out.push_back(id);
    return out;
}

}  // namespace corelet
