// A stream's owners, one after the other or two at once, over replicas in memory in a simulated world; and the
// judge of what they acknowledged: nothing served is ever lost, reordered or repeated.
#pragma once

#include <gtest/gtest.h>
#include <cstring>

#include "base/checksum.h"
#include "sim/world.h"
#include "stream/stream_recovery.h"
#include "stream/stream_testing.h"

namespace corelet {

inline LogEntry tagged_entry(u64 tag, usize blocks = 1) {
    LogEntry entry;
    entry.meta.assign(8, 0);
    std::memcpy(entry.meta.data(), &tag, 8);
    entry.blocks = BufferChain(Buffer::zeroed(blocks * k_block_bytes));
    entry.crcs = block_crcs(entry.blocks);
    return entry;
}

class StreamRig {
  public:
    static constexpr SpaceId k_space{7};
    explicit StreamRig(u64 seed, u64 corelets = 5, LogPolicy policy = {3, 2});

    // What one owner was told.
    struct Sink final : LogSink {
        void apply(RecordNumber record, const LogEntry& entry, LogPlace place) override;
        void segment_ended(SegmentId segment, u64) override { ended.push_back(segment.seq); }
        StreamRig* rig = nullptr;
        u64 incarnation = 0;  // of the owner; only the newest that was taken adds to what is served
        std::vector<u64> tags;
        RecordNumber last;
        std::vector<u64> ended;
    };
    struct Candidate {
        Candidate(StreamRig& rig, CoreletId the_id)
            : id(the_id), port(rig.replicas, the_id), catalog(rig.catalog, rig.env), placement(the_id) {}
        CoreletId id;
        MemoryReplicaPort port;
        FlakyCatalog catalog;
        MemoryPlacement placement;
        LeaseId session;
        std::vector<std::unique_ptr<Sink>> sinks;
        std::unique_ptr<StreamOwner> owner;
        [[nodiscard]] Sink& sink() { return *sinks.back(); }
    };
    Candidate& at(u64 id) { return *candidates.at(id - 1); }
    StreamOwner& owner(u64 id) { return *at(id).owner; }

    // Takes the stream; judged. The former owner object of this corelet is dropped.
    [[nodiscard]] Task<Result<void>> take(u64 id, bool force = true, bool caretaker = false);
    [[nodiscard]] Result<void> take_now(u64 id, bool force = true, bool caretaker = false) {
        return await(take(id, force, caretaker));
    }
    [[nodiscard]] Result<RecordNumber> append_now(u64 id, u64 tag, bool system = false) {
        return await(owner(id).append(tagged_entry(tag), system));
    }
    template <class T>
    T await(Task<T> task, Duration bound = 120_s) {
        auto out = world.run(*node, std::move(task), bound);
        EXPECT_TRUE(out.has_value()) << "did not end within " << bound.ms() << " ms\n" << world.failure();
        if (!out) std::abort();
        return *std::move(out);
    }
    void pass(Duration duration) { world.run_for(duration); }
    bool pass_until(std::function<bool()> done, Duration bound) { return world.run_until(done, bound); }

    // What everybody sees of a corelet.
    void set_up(u64 id, bool up);
    void set_session(u64 id, bool alive);
    void kill(u64 id);  // its replicas, its sign of life; seen at once
    void revive(u64 id);
    [[nodiscard]] pb::Stream record() const;
    [[nodiscard]] static usize count(const pb::Stream& stream, pb::Segment::State state);

    sim::World world;
    sim::Node* node;
    Env& env;
    StreamTimes times;
    StreamOptions options;
    Duration take_timeout = 10_s;
    MemoryCatalog catalog;
    MemoryReplicas replicas;
    std::vector<std::unique_ptr<Candidate>> candidates;
    std::vector<u64> served;  // tags, in order: acknowledged or replayed
    u64 newest = 0;           // incarnation of the newest owner
    Error restore_error{Code::kIo, false, 0, {}};
    bool fail_restore = false;
};

}  // namespace corelet
