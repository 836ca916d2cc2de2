// A model of what a store must hold, and a driver that does random operations on both. One operation at a time on a
// key, any number beside each other; after a crash each key is as it was acknowledged, or as the operation under
// way would have left it.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

#include "device/device_testing.h"

namespace corelet::testing {

class StoreModel {
  public:
    StoreModel(Rig& rig, FakeMedia& media, u64 seed) : rig_(rig), media_(media), random_(seed) {}

    // Mounts and compares; what is found becomes the model. False with complaint() when it must not be so.
    [[nodiscard]] bool mount_and_check();
    // Begins `count` random operations; they end (or not, if the media stops) when the executor runs.
    void begin(u32 count);
    // Drops everything, as a crash does.
    void drop();
    [[nodiscard]] Store& store() { return *store_; }
    [[nodiscard]] const std::string& complaint() const { return complaint_; }
    [[nodiscard]] u64 operations() const { return operations_; }
    [[nodiscard]] u64 acknowledged() const { return acknowledged_; }

  private:
    struct Fragment {
        u64 seed = 0;
        u64 blocks = 0;
        bool quarantined = false;
        bool adopted = false;
        friend bool operator==(const Fragment&, const Fragment&) = default;
    };
    using MaybeFragment = std::optional<Fragment>;
    struct Segment {
        Epoch opened, epoch;
        CoreletId owner;
        std::optional<u64> end;
        u64 capacity = 0;
        friend bool operator==(const Segment&, const Segment&) = default;
    };
    using MaybeSegment = std::optional<Segment>;
    template <class State>
    struct Slot {
        State now;
        std::optional<State> next;  // while an operation is under way
    };
    struct SegmentSlot : Slot<MaybeSegment> {
        bool was_prepared = false;
        std::map<u64, u64> blocks;  // block -> seed, acknowledged
        std::map<u64, u64> unsure;  // under way
        u64 next_block = 0;
    };

    [[nodiscard]] Task<void> put(FragmentId id);
    [[nodiscard]] Task<void> remove(FragmentId id);
    [[nodiscard]] Task<void> quarantine(FragmentId id);
    [[nodiscard]] Task<void> prepare(SegmentId id);
    [[nodiscard]] Task<void> write(SegmentId id);
    [[nodiscard]] Task<void> grow(SegmentId id);
    [[nodiscard]] Task<void> fence(SegmentId id);
    [[nodiscard]] Task<void> seal(SegmentId id);
    [[nodiscard]] Task<void> drop_segment(SegmentId id);
    [[nodiscard]] Task<void> adopt(SegmentId id);
    [[nodiscard]] Task<void> note(std::string key);
    [[nodiscard]] Task<void> consensus_append();
    [[nodiscard]] Task<void> consensus_snapshot();
    [[nodiscard]] Task<void> read(FragmentId id);
    void begin_one();
    void begin_on_fragment(FragmentId id, u64 dice);
    void begin_on_segment(SegmentId id);

    [[nodiscard]] MaybeFragment look_at_fragment(FragmentId id);
    void check_fragments();
    void check_segment(SegmentId id, SegmentSlot& slot);
    void check_notes();
    void check_consensus();
    void complain(const std::string& what) { complaint_ += what + "\n"; }
    void expect(const Result<void>& result, std::initializer_list<Code> allowed, const char* what);
    [[nodiscard]] bool is_dead() const { return media_.has_stopped(); }

    Rig& rig_;
    FakeMedia& media_;
    Prng random_;
    std::unique_ptr<Store> store_;
    std::map<FragmentId, Slot<MaybeFragment>> fragments_;
    std::map<SegmentId, SegmentSlot> segments_;
    std::map<std::string, Slot<std::vector<u8>>> notes_;
    u64 appended_ = 0;   // consensus records acknowledged
    u64 appending_ = 0;  // begun
    u64 snapshotted_ = 0;
    u64 next_seed_ = 1;
    Incarnation incarnation_;
    u64 durable_seq_ = 0;
    u64 operations_ = 0;
    u64 acknowledged_ = 0;
    std::string complaint_;
};

}  // namespace corelet::testing
