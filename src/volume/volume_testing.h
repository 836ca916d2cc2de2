// A log, a pool and a clock in memory, for tests of volumes: what survives a crash lies in FakeWorld, what does not
// in FakeLogStream. Delays, failures and what a crash keeps are drawn from a seed.
#pragma once

#include <deque>
#include <map>
#include <set>

#include "base/prng.h"
#include "rt/combine.h"
#include "volume/volume.h"

namespace corelet {

// Time that only moves when told to.
class ManualClock final : public Clock {
  public:
    [[nodiscard]] Instant now() const override { return now_; }
    [[nodiscard]] WallTime wall_now() const override { return {}; }
    // To the next timer; false if there is none.
    bool advance_to_next();

  private:
    void insert_timer(Timer& timer) override { heap_.insert(timer); }
    void remove_timer(Timer& timer) override { heap_.remove(timer); }
    Instant now_{1'000'000'000};
    TimerHeap heap_;
};

class CollectingLog final : public Log {
  public:
    [[nodiscard]] bool enabled(LogLevel) const override { return true; }
    void write(LogLevel level, std::string_view event, std::string_view text) override;
    [[nodiscard]] usize count(std::string_view event) const;
    std::vector<std::string> errors;

  private:
    std::map<std::string, usize, std::less<>> counts_;
};

struct FakeFaults {
    u32 delay_us_max = 2000;
    u32 retryable_permille = 0;  // of reads, puts and commits; half of those that fail took effect
    u32 slow_permille = 0;       // of operations: up to 400 times the delay
    u32 unknown_permille = 0;    // of chunk reads: a fragment is on its way
    u32 lease_permille = 0;      // of looks at the lease: it has lapsed, for a while
};

// What is durable: log records, segments, chunks, the catalog's record of the stream.
class FakeWorld final : public Chunks {
  public:
    FakeWorld(Executor& world_executor, Clock& world_clock, u64 seed)
        : executor(world_executor), clock(world_clock), prng(seed) {}

    struct Entry {
        RecordNumber record;
        LogPlace place;
        LogEntry entry;
    };
    struct Segment {
        u32 blocks = 0;  // sent
        u32 acknowledged_blocks = 0;
        bool ended = false;
        bool adopted = false;
        std::map<u32, Buffer> data;  // by block
        [[nodiscard]] Buffer whole() const;
    };

    [[nodiscard]] Task<Result<ChunkPutResult>> put(PoolId pool, ChunkId chunk, BufferChain data,
                                                   std::vector<u32> crcs, ChunkPutOptions options) override;
    [[nodiscard]] Task<Result<BufferChain>> get(PoolId pool, ChunkId chunk, u64 chunk_bytes, u64 offset, u64 length,
                                                std::vector<u32> expected_crcs, TrafficClass traffic) override;
    [[nodiscard]] Task<Result<void>> remove(PoolId pool, std::vector<ChunkId> ids, Epoch epoch) override;
    [[nodiscard]] bool can_put(PoolId) const override { return pool_up; }
    [[nodiscard]] Task<void> settle(SpaceId space) override;
    void watch(PoolId, ChunkId chunk) override { watched.insert(chunk.seq); }

    [[nodiscard]] u64 bytes_used() const;
    // Room for client data, what is reserved for the packed form of the log and a tenth for the system aside.
    [[nodiscard]] bool admits(u64 bytes) const;
    [[nodiscard]] Task<void> delay();
    [[nodiscard]] bool fails() { return prng.chance(faults.retryable_permille, 1000); }

    Executor& executor;
    Clock& clock;
    Prng prng;
    FakeFaults faults;
    bool pool_up = true;
    bool puts_incomplete = false;       // a member of every slot is away
    bool puts_behind = false;           // and the pool names a write quorum, which has it
    std::optional<Instant> settled_at;  // what is put behind
    std::set<u64> watched;
    u64 capacity_bytes = UINT64_MAX;

    std::deque<Entry> log;            // acknowledged, after the checkpoint
    std::map<u64, Segment> segments;  // not released
    std::map<u64, Buffer> chunks;
    std::map<u64, RecordNumber> condemned;  // by the marks in the log
    Epoch epoch;
    std::string root;
    RecordNumber position;
    u64 horizon = 0;
    RecordNumber last_record;
    u64 chunks_lost = 0;  // taken away by a test
    u64 puts = 0, gets = 0;
};

class FakeLogStream final : public LogStream {
  public:
    struct Options {
        SpaceId space{7};
        u32 segment_blocks = 512;
        u32 batch_entries_max = 8;
    };
    FakeLogStream(FakeWorld& world, Options options, LogSink& sink);

    // Takes the stream at the next epoch: a random prefix of what was sent and not acknowledged stays, in a segment
    // of one's own, the rest never was. Then restores and replays into the volume.
    [[nodiscard]] Task<Result<void>> take(Volume& volume);
    // A crash of the owner: what it had sent stays with the world until the next take().
    void crash();

    [[nodiscard]] Task<Result<RecordNumber>> append(LogEntry entry, bool system) override;
    [[nodiscard]] Task<Result<BufferChain>> read(SegmentId segment, u32 first_block, u32 blocks,
                                                 std::vector<u32> expected_crcs) override;
    [[nodiscard]] bool may_serve() const override;
    [[nodiscard]] Task<Result<void>> wait_readable() override;
    [[nodiscard]] ChunkId new_chunk_id() override {
        return {options_.space, make_seq(world_.epoch, next_counter_++)};
    }
    [[nodiscard]] Task<Result<void>> commit_checkpoint(Checkpoint checkpoint) override;
    void request_roll() override { roll_wanted_ = true; }
    [[nodiscard]] Epoch epoch() const override { return epoch_; }
    [[nodiscard]] PoolId pool() const override { return PoolId(1); }
    [[nodiscard]] RecordNumber last_acknowledged() const override { return world_.last_record; }
    [[nodiscard]] u64 unreleased_bytes() const override;
    void fence() { fenced_ = true; }
    // Ends the open segment if it holds anything.
    void roll();

  private:
    struct Waiting {
        LogEntry entry;
        std::shared_ptr<Completion<Result<RecordNumber>>> done;
    };
    struct Sent {
        RecordNumber number;
        u64 segment = 0;
        u32 blocks = 0;
        std::vector<Waiting> entries;
        std::vector<u32> first_block;
        Instant due;
    };
    [[nodiscard]] Task<void> flush();
    [[nodiscard]] Task<void> acknowledge_loop();
    void open_segment();
    void end_segments();
    void send(std::vector<Waiting> entries);
    void acknowledge(Sent sent);
    void store(const Sent& sent);

    FakeWorld& world_;
    Options options_;
    LogSink& sink_;
    Epoch epoch_;
    u64 next_counter_ = 1;
    RecordNumber next_record_;
    u64 open_ = 0;
    bool roll_wanted_ = false;
    bool fenced_ = false;
    mutable bool lapsed_ = false;
    std::vector<Waiting> pending_;
    std::deque<Sent> in_flight_;
    std::vector<u64> to_end_;
    Notify sent_;
    Scope tasks_;
};

// A volume over such a world, driven step by step.
class VolumeRig {
  public:
    explicit VolumeRig(u64 seed, VolumeOptions options);
    ~VolumeRig();
    void attach();
    void crash();
    // Runs until nothing is ready and no timer is left, or `steps` resumptions.
    void run(usize steps = SIZE_MAX);
    // Runs until the task is done; its result.
    template <class T>
    T await(Task<T> task) {
        std::optional<T> out;
        Scope scope(executor);
        scope.spawn(detail::store_result<T>(std::move(task), &out));
        while (!out) step();
        return *std::move(out);
    }
    // Runs one ready task, or moves the clock.
    void step();
    void run_for(Duration duration);

    // A few bytes for everything: contents of `length` bytes made from a stamp.
    [[nodiscard]] static Buffer pattern(u64 stamp, u64 length);
    void write(u64 offset, u64 length, u64 stamp);
    void expect(u64 offset, u64 length, u64 stamp);
    void expect_zeros(u64 offset, u64 length);
    // Every chunk in the world is one that the volume knows, or dead by the horizon after a crash. Returns how many
    // of the latter.
    usize check_no_leak();

    Executor executor;
    ManualClock clock;
    CollectingLog log;
    Prng prng;
    FakeWorld world;
    VolumeOptions options;
    FakeLogStream::Options stream_options;
    Chunks* chunks = nullptr;  // instead of the world's
    SegmentAdoption* adoption = nullptr;
    PoolSpace* space = nullptr;
    std::unique_ptr<Volume> volume;
    std::unique_ptr<FakeLogStream> stream;
};

}  // namespace corelet
