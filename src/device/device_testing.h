// A device in memory that tests can crash at any write, and whose bytes they can damage; and what is needed to run
// a store over it.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "base/prng.h"
#include "device/store.h"
#include "rt/combine.h"

namespace corelet::testing {

// The contract of rt/disk.h, at its worst: what is not durable survives a crash as any subset of its 512-byte
// sectors.
class FakeMedia {
  public:
    explicit FakeMedia(u64 size_bytes) : size_bytes_(size_bytes) {}
    [[nodiscard]] std::unique_ptr<File> open();
    [[nodiscard]] u64 size_bytes() const { return size_bytes_; }
    void resize(u64 size_bytes) { size_bytes_ = size_bytes; }

    // The write after the next `count` ones never comes back, nor does anything begun after it: then crash().
    void stop_after_writes(u64 count) { stop_at_ = writes_ + count; }
    void never_stop() { stop_at_ = UINT64_MAX; }
    [[nodiscard]] bool has_stopped() const { return stopped_; }
    [[nodiscard]] u64 writes() const { return writes_; }
    // Power is lost; afterwards the media can be opened again.
    void crash(Prng& random);
    // The process is killed, the machine stays: what reached the kernel is there, and durable.
    void kill();
    // The same, and what had not been made durable reads back all the same until power is lost.
    void kill_unflushed();

    // Faults. Bytes at rest are changed for good.
    void flip_bit(u64 offset, u32 bit);
    void fill(u64 offset, u64 size, u8 value);
    void copy_block(u64 from, u64 to);  // a misdirected write
    void make_unreadable(u64 offset) { unreadable_.insert(offset / k_block_bytes); }
    void fail_next_write() { fail_writes_ = 1; }
    // The one after the next `count` ones.
    void fail_write_after(u32 count) {
        fail_writes_ = 1;
        spare_writes_ = count;
    }
    void fail_next_flush() { fail_flushes_ = 1; }
    void fail_all_writes() { fail_writes_ = UINT32_MAX; }
    // Writes, or reads, that begin in this range do not come back until release().
    void hold_writes(u64 from, u64 to) { held_writes_ = {from, to}; }
    void hold_reads(u64 from, u64 to) { held_reads_ = {from, to}; }
    void release() {
        held_writes_ = held_reads_ = {};
        released_->notify_all();
    }
    // Answers writes and does not write.
    void lose_writes(bool lose) { lose_writes_ = lose; }
    [[nodiscard]] std::vector<u8> bytes(u64 offset, u64 size) const;
    // A copy of what is on the media now, and going back to it.
    using Image = std::map<u64, std::array<u8, k_block_bytes>>;
    [[nodiscard]] Image image() const { return durable_; }
    void restore(Image image);
    [[nodiscard]] std::vector<u64> used_blocks() const;
    // Writes begun after a failure was answered.
    [[nodiscard]] u64 writes_after_failure() const { return writes_after_failure_; }
    // How many rounds of the executor an operation takes, drawn up to this.
    void set_latency(Prng random, u32 rounds_max) {
        latency_ = random;
        rounds_max_ = rounds_max;
    }

  private:
    friend class FakeFile;
    using Page = std::array<u8, k_block_bytes>;
    struct Version {
        u64 write = 0;
        bool completed = false;
        Page bytes{};
    };
    [[nodiscard]] u32 draw_rounds() {
        return rounds_max_ == 0 ? 1 : static_cast<u32>(latency_.between(1, rounds_max_));
    }
    void settle(u64 page, u64 upto);
    [[nodiscard]] Page view(u64 page) const;

    u64 size_bytes_;
    Image durable_;
    std::map<u64, std::vector<Version>> pending_;
    std::set<u64> unreadable_;
    u64 writes_ = 0;
    u64 stop_at_ = UINT64_MAX;
    bool stopped_ = false;
    u32 fail_writes_ = 0;
    u32 spare_writes_ = 0;
    u32 fail_flushes_ = 0;
    bool failed_ = false;
    bool lose_writes_ = false;
    std::pair<u64, u64> held_writes_, held_reads_;
    std::shared_ptr<Notify> released_ = std::make_shared<Notify>();
    u64 writes_after_failure_ = 0;
    Prng latency_{1};
    u32 rounds_max_ = 0;
    u64 generation_ = 0;  // files opened before a crash touch nothing any more
};

class FakeClock final : public Clock {
  public:
    [[nodiscard]] Instant now() const override { return {ns_ += 1000}; }
    [[nodiscard]] WallTime wall_now() const override { return {}; }

  private:
    void insert_timer(Timer& timer) override { heap_.insert(timer); }
    void remove_timer(Timer& timer) override { heap_.remove(timer); }
    mutable i64 ns_ = 0;
    TimerHeap heap_;
};

class QuietLog final : public Log {
  public:
    [[nodiscard]] bool enabled(LogLevel) const override { return true; }
    void write(LogLevel level, std::string_view event, std::string_view text) override {
        if (level == LogLevel::kError) errors += std::string(event) + " " + std::string(text) + "\n";
    }
    std::string errors;
};

// An executor and what a store needs beside a File.
struct Rig {
    explicit Rig(u64 seed = 1) : random{seed} {}
    ~Rig() { scope.cancel(); }
    // Ready tasks run in an order drawn from the seed.
    void shuffle() {
        executor.set_picker(
            [picks = random.fork("picker")](usize n) mutable { return static_cast<usize>(picks.below(n)); });
    }
    [[nodiscard]] StoreEnv env() { return {executor, clock, random, log}; }

    // The task's result; nothing if it does not end (the media has stopped).
    template <class T>
    [[nodiscard]] std::optional<T> try_run(Task<T> task) {
        std::optional<T> out;
        Scope own(executor);
        own.spawn(detail::store_result<T>(std::move(task), &out));
        executor.run_ready();
        return out;
    }
    template <class T>
    [[nodiscard]] T run(Task<T> task) {
        std::optional<T> out = try_run(std::move(task));
        CORELET_ASSERT(out.has_value(), "the task waits for ever");
        return *std::move(out);
    }
    void run(Task<void> task) {
        Scope own(executor);
        own.spawn(std::move(task));
        executor.run_ready();
        CORELET_ASSERT(own.empty(), "the task waits for ever");
    }
    void settle() { executor.run_ready(); }

    Executor executor;
    FakeClock clock;
    Prng random;
    QuietLog log;
    Scope scope{executor};
};

[[nodiscard]] inline FormatOptions small_format(u64 identity = 7) {
    FormatOptions options;
    options.mesh = MeshId(42);
    options.identity = CoreletId(identity);
    options.location = "z1/r1/c1";
    options.metadata_half_bytes = 256 * k_kib;
    options.consensus_half_bytes = 256 * k_kib;
    return options;
}
[[nodiscard]] inline StoreOptions small_store() {
    StoreOptions options;
    options.log_ahead_bytes = 256 * k_kib;
    return options;
}

// Formats (unless told not to) and mounts.
[[nodiscard]] inline Result<void> format(Rig& rig, FakeMedia& media, FormatOptions options) {
    auto const file = media.open();
    return rig.run(format_device(file.get(), rig.env(), std::move(options)));
}
[[nodiscard]] inline Result<std::unique_ptr<Store>> mount(Rig& rig, FakeMedia& media) {
    return rig.run(Store::mount(media.open(), rig.env(), small_store()));
}

// Pseudo-random blocks, the same for the same seed.
[[nodiscard]] Buffer pattern(u64 seed, u64 blocks);
[[nodiscard]] std::vector<u32> crcs_of(const BufferChain& data);

}  // namespace corelet::testing
