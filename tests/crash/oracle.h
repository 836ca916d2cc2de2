// What was done to a device and acknowledged, with the moments, and whether what is found after a power cut at some
// moment agrees with it: what was acknowledged before is there, what was under way is there whole or not at all.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "device/store.h"
#include "tests/crash/write_log.h"

namespace corelet::testing {

// The states of one key, one change at a time.
template <class State>
class KeyHistory {
  public:
    void begin(State to, Moment moment) { changes_.push_back({std::move(to), moment, k_never, k_never}); }
    [[nodiscard]] bool is_busy() const {
        return !changes_.empty() && changes_.back().ended == k_never && changes_.back().voided == k_never;
    }
    // The change under way came to be, or did not.
    void end(bool done, Moment moment) { (done ? changes_.back().ended : changes_.back().voided) = moment; }
    // What the change under way would make of it.
    [[nodiscard]] const State& coming() const { return changes_.back().to; }
    [[nodiscard]] State acknowledged(Moment moment) const {
        for (usize i = changes_.size(); i > 0; --i)
            if (changes_[i - 1].ended < moment) return changes_[i - 1].to;
        return State{};
    }
    // What it is or may be at that moment.
    [[nodiscard]] std::vector<State> possible(Moment moment) const {
        std::vector<State> out{acknowledged(moment)};
        for (const Change& change : changes_)
            if (change.begun < moment && moment <= std::min(change.ended, change.voided)) out.push_back(change.to);
        return out;
    }
    [[nodiscard]] bool may_be(const State& state, Moment moment) const {
        std::vector<State> const states = possible(moment);
        return std::ranges::find(states, state) != states.end();
    }

  private:
    struct Change {
        State to;
        Moment begun, ended, voided;
    };
    std::vector<Change> changes_;
};

struct FragmentState {
    u64 seed = 0;  // of an adopted one: the segment's number
    u64 blocks = 0;
    bool quarantined = false;
    bool adopted = false;
    friend bool operator==(const FragmentState&, const FragmentState&) = default;
};
struct SegmentState {
    Epoch epoch;
    CoreletId owner;
    std::optional<u64> end;
    u64 capacity = 0;
    friend bool operator==(const SegmentState&, const SegmentState&) = default;
};
using MaybeFragment = std::optional<FragmentState>;
using MaybeSegment = std::optional<SegmentState>;

class Oracle {
  public:
    // Numbers that only grow, each known from a moment on.
    using Marks = std::vector<std::pair<Moment, u64>>;
    [[nodiscard]] static u64 highest(const Marks& marks, Moment moment);

    std::map<FragmentId, KeyHistory<MaybeFragment>> fragments;
    std::map<SegmentId, KeyHistory<MaybeSegment>> segments;
    std::map<std::string, KeyHistory<std::vector<u8>>> notes;
    std::map<SegmentId, Marks> written;  // blocks of a segment from its start
    Marks appended, appending;           // records of the consensus journal
    Marks snapshotted;
    Marks incarnations, sequence_numbers;
    Moment formatted = k_never;
    // At each moment until its end one of the two is there: the segment, or the fragment that it becomes.
    struct Adoption {
        SegmentId id;
        Moment begun = 0, ended = k_never;
    };
    std::vector<Adoption> adoptions;

    // What a survivor does after the crash goes to names in this space, of which nothing is known here.
    static constexpr SpaceId k_afterwards{9};
    // What is wrong with the store; empty if nothing is. `more`: so many records of the consensus journal may have
    // been added since.
    [[nodiscard]] Task<std::string> check(Store* store, Moment moment, u64 more) const;

    // The same after something in a journal has rotted: that may cost promises, and must then be said.
    [[nodiscard]] Task<std::string> check_after_rot(Store* store, Moment moment) const;

    // What places hold, the same whenever it is written.
    [[nodiscard]] static Buffer segment_block(SegmentId id, u64 block);
    [[nodiscard]] static std::vector<u8> consensus_record(u64 number);

  private:
    struct Findings;
    void check_identity(Store* store, Moment moment, Findings* out) const;
    [[nodiscard]] Task<void> check_fragments(Store* store, Moment moment, Findings* out) const;
    [[nodiscard]] Task<void> check_segments(Store* store, Moment moment, Findings* out) const;
    void check_adoptions(Store* store, Moment moment, Findings* out) const;
    void check_notes(Store* store, Moment moment, Findings* out) const;
    void check_consensus(Store* store, Moment moment, u64 more, Findings* out) const;
    // Returns what the snapshot that it begins with covers.
    u64 check_records(Store* store, Moment moment, u64 more, Findings* out) const;
    [[nodiscard]] const Buffer& content(const FragmentId& id, const FragmentState& state) const;
    mutable std::map<std::tuple<u64, u64, bool>, Buffer> contents_;
};

}  // namespace corelet::testing
