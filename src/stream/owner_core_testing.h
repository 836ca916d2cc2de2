// An OwnerCore and what it asked for, for tests.
#pragma once

#include <cstring>
#include <tuple>

#include "base/checksum.h"
#include "stream/owner_core.h"

namespace corelet::owner_driver {

using namespace owner_effect;
inline constexpr SpaceId k_space{7};

inline LogEntry entry_of(u64 tag, usize blocks = 1) {
    LogEntry entry;
    entry.meta.assign(8, 0);
    std::memcpy(entry.meta.data(), &tag, 8);
    entry.blocks = BufferChain(Buffer::zeroed(blocks * k_block_bytes));
    entry.crcs = block_crcs(entry.blocks);
    return entry;
}
inline LogSegment segment_of(u64 seq, std::vector<u64> replicas) {
    LogSegment segment{SegmentId{k_space, seq}, seq * 31, {}};
    for (u64 id : replicas) segment.replicas.push_back(CoreletId(id));
    return segment;
}

// An owner with three replicas 1, 2, 3 in segment 10; effects are kept by kind.
struct Driver {
    explicit Driver(std::vector<LogSegment> standbys = {}, OwnerOptions options = {}, u64 last = 5) {
        OwnerStart start;
        start.space = k_space;
        start.epoch = Epoch(4);
        start.last_record = RecordNumber(last);
        start.roll = 1;
        start.open = segment_of(10, {1, 2, 3});
        start.standbys = std::move(standbys);
        options.gather_max = {};  // what may be sent is sent at once; gathering has tests of its own
        core.emplace(std::move(start), options, now);
    }
    void take(OwnerEffects effects) {
        for (auto& effect : effects) {
            if (auto* send = std::get_if<SendRecord>(&effect))
                sent.push_back(std::move(*send));
            else if (auto* beat = std::get_if<SendHeartbeat>(&effect))
                beats.push_back(*beat);
            else if (auto* ack = std::get_if<Acknowledge>(&effect))
                acks.emplace_back(ack->request, ack->record.v, ack->place);
            else if (auto* end = std::get_if<Ended>(&effect))
                ends.push_back(end->end);
            else if (auto* need = std::get_if<NeedStandby>(&effect))
                needs.push_back(*need);
            else if (auto* ask = std::get_if<Measure>(&effect))
                measures.push_back(*ask);
            else if (auto* stop = std::get_if<Stopped>(&effect))
                stops.push_back(*stop);
        }
    }
    void submit(u64 request, usize blocks = 1) { core->submit(request, entry_of(request, blocks), now); }
    void flush() {
        call([&](OwnerEffects& out) { core->flush(now, out); });
    }
    void write(u64 request) {
        submit(request);
        flush();
    }
    void appended(u64 replica, u64 number, u64 seq = 10) {
        call([&](OwnerEffects& out) {
            core->appended(SegmentId{k_space, seq}, CoreletId(replica), RecordNumber(number), now, out);
        });
    }
    void everywhere(u64 number, u64 seq = 10) {
        auto const replicas = core->open_segment()->replicas;
        for (CoreletId replica : replicas) appended(replica.v, number, seq);
    }
    void failed(u64 replica, Code code = Code::kReset, u64 seq = 10) {
        call([&](OwnerEffects& out) {
            core->failed(SegmentId{k_space, seq}, CoreletId(replica), Error{code, false, 0, {}}, now, out);
        });
    }
    void beat(u64 replica, Instant when, u64 seq = 10) {
        call([&](OwnerEffects& out) {
            core->heartbeat_answered(SegmentId{k_space, seq}, CoreletId(replica), when, now, out);
        });
    }
    void tick() {
        call([&](OwnerEffects& out) { core->tick(now, out); });
    }
    // All heartbeats that are out.
    void answer() {
        for (const SendHeartbeat& out : std::exchange(beats, {})) beat(out.replica.v, out.sent, out.segment.seq);
    }
    void listed(LogSegment segment) {
        call([&](OwnerEffects& out) { core->standby_listed(std::move(segment), now, out); });
    }
    void pass(Duration duration) { now = now + duration; }
    [[nodiscard]] u64 open() const { return core->open_segment()->id.seq; }
    // Headers of what was sent to one replica, in order.
    [[nodiscard]] std::vector<DecodedRecord> records(u64 seq, u64 salt, u64 replica) const {
        std::vector<DecodedRecord> out;
        for (const SendRecord& send : sent)
            if (send.segment.seq == seq && send.replica.v == replica)
                out.push_back(*decode_record(send.bytes.flatten(), send.segment, salt, send.offset));
        return out;
    }
    template <class F>
    void call(F f) {
        OwnerEffects out;
        f(out);
        take(std::move(out));
    }
    Instant now{1'000'000'000};
    std::optional<OwnerCore> core;
    std::vector<SendRecord> sent;
    std::vector<SendHeartbeat> beats;
    std::vector<std::tuple<u64, u64, LogPlace>> acks;
    std::vector<StatedEnd> ends;
    std::vector<NeedStandby> needs;
    std::vector<Measure> measures;
    std::vector<Stopped> stops;
};

}  // namespace corelet::owner_driver
