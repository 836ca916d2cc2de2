// A drawn workload on a real store over a recorded file: the writes it makes, and what it was told. Operations run
// beside each other; now and then the store is closed and mounted again, or dropped as a killed process drops it.
#pragma once

#include <memory>
#include <string>

#include "rt/sync.h"
#include "tests/crash/oracle.h"

namespace corelet::testing {

struct StoryOptions {
    u64 seed = 1;
    std::string path;  // of a file that does not exist
    bool witness = false;
    u32 rounds = 60;
    [[nodiscard]] u64 device_bytes() const { return (witness ? 2 : 8) * k_mib; }
};

class StoreStory {
  public:
    StoreStory(Env& env, StoryOptions options);
    ~StoreStory() { scope_.cancel(); }
    // False, with complaint(), if the store did something wrong without any power cut.
    [[nodiscard]] Task<bool> run();
    [[nodiscard]] WriteLog& log() { return log_; }
    [[nodiscard]] const Oracle& oracle() const { return oracle_; }
    [[nodiscard]] const std::string& complaint() const { return complaint_; }
    [[nodiscard]] u64 operations() const { return operations_; }
    [[nodiscard]] u64 kills() const { return kills_; }

  private:
    [[nodiscard]] Task<bool> open_and_format();
    [[nodiscard]] Task<bool> mount();
    [[nodiscard]] Task<bool> remount();
    void begin_one();
    void begin_on_fragment();
    void begin_on_segment();
    void begin_on_consensus();
    void spawn(Task<void> operation);
    [[nodiscard]] Task<void> wait_for(usize in_flight);

    [[nodiscard]] Task<void> put(FragmentId id);
    [[nodiscard]] Task<void> remove(FragmentId id);
    [[nodiscard]] Task<void> quarantine(FragmentId id);
    [[nodiscard]] Task<void> prepare(SegmentId id);
    [[nodiscard]] Task<void> write(SegmentId id);
    [[nodiscard]] Task<void> grow(SegmentId id);
    [[nodiscard]] Task<void> fence(SegmentId id);
    [[nodiscard]] Task<void> seal(SegmentId id);
    [[nodiscard]] Task<void> drop(SegmentId id);
    [[nodiscard]] Task<void> adopt(SegmentId id, usize adoption);
    [[nodiscard]] Task<void> note(std::string key);
    [[nodiscard]] Task<void> append(u64 records);
    [[nodiscard]] Task<void> snapshot();
    [[nodiscard]] Task<void> raise_incarnation();

    // The operation is over; what it says of itself is noted.
    template <class State>
    void end(KeyHistory<State>& history, const Result<void>& done, const char* what);
    void over();
    void complain(const std::string& what) { complaint_ += what + "\n"; }
    // After a mount: what came of the operations that nobody heard the end of.
    void resolve();
    [[nodiscard]] u64 blocks_of(SegmentId id) const;

    Env& env_;
    StoryOptions options_;
    Prng random_;
    WriteLog log_;
    RecordingDisk disk_;
    Oracle oracle_;
    std::unique_ptr<Store> store_;
    std::set<SegmentId> writing_;
    u64 next_seed_ = 1'000'000;  // above the numbers of segments
    u64 next_segment_ = 0;
    bool snapshotting_ = false;
    u64 operations_ = 0;
    u64 kills_ = 0;
    usize in_flight_ = 0;
    Notify one_is_over_;
    std::string complaint_;
    Scope scope_;
};

}  // namespace corelet::testing
