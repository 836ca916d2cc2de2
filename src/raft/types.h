// The words of the consensus core: terms, positions, entries and what a voter keeps on its media.
//
// Plain values, no I/O, no clock. Raft: Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm"
// (2014); Ongaro's dissertation (2014) for membership, ReadIndex and transfer.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/types.h"

namespace corelet::raft {

// Each term has at most one leader. Zero: before the first.
using Term = Strong<struct RaftTermTag>;
// Place in the log, from 1; zero is before the first. Terms are strong, so the two never mix.
using Index = u64;

// A place in the log and the term of what lies there: names one entry for ever. Ordered as elections compare logs:
// by term, then by index.
struct Position {
    Term term;
    Index index = 0;
    friend constexpr auto operator<=>(const Position&, const Position&) = default;
};

// Immutable bytes, shared by log, messages and effects; a copy is a reference.
class Payload {
  public:
    Payload() = default;
    explicit Payload(std::string bytes) : bytes_(std::make_shared<const std::string>(std::move(bytes))) {}
    [[nodiscard]] std::string_view text() const { return bytes_ ? std::string_view(*bytes_) : std::string_view(); }
    [[nodiscard]] Bytes bytes() const { return as_bytes(text()); }
    [[nodiscard]] usize size() const { return bytes_ ? bytes_->size() : 0; }

  private:
    std::shared_ptr<const std::string> bytes_;
};

enum class EntryKind : u8 {
    kCommand = 1,        // opaque bytes for the state machine
    kBarrier = 2,        // a leader's first entry of its term; empty
    kConfiguration = 3,  // an encoded Configuration
};

// `crc` covers place, kind and bytes; it is computed where the entry enters (the leader's log) and goes with it.
struct Entry {
    Position at;
    EntryKind kind = EntryKind::kCommand;
    Payload data;
    u32 crc = 0;
    [[nodiscard]] bool verifies() const;
    // What it counts against bounds: the bytes and a fixed share for the rest.
    [[nodiscard]] usize bytes() const { return data.size() + 48; }
};
[[nodiscard]] Entry make_entry(Position at, EntryKind kind, Payload data);

// What a voter must never forget. `commit` is a hint (it may lag); term, vote and `repairing` are promises.
struct HardState {
    Term term;
    CoreletId vote;  // zero: none in this term
    Index commit = 0;
    // Not zero: the log was promised up to here and has rotted; until it is supplied again this voter neither votes
    // nor acknowledges (protocols 11). A zero term with an index: the term of the last promised entry is not known.
    Position repairing;
    friend bool operator==(const HardState&, const HardState&) = default;
};

// Voters and learners, each sorted, without repetition, disjoint.
struct Configuration {
    std::vector<CoreletId> voters;
    std::vector<CoreletId> learners;
    [[nodiscard]] bool is_voter(CoreletId id) const;
    [[nodiscard]] bool is_learner(CoreletId id) const;
    [[nodiscard]] bool contains(CoreletId id) const { return is_voter(id) || is_learner(id); }
    [[nodiscard]] usize majority() const { return voters.size() / 2 + 1; }
    [[nodiscard]] bool well_formed() const;
    friend bool operator==(const Configuration&, const Configuration&) = default;
};

// The state machine at `last`, with the configuration in force there. `crc` is the maker's, over all of it.
struct Snapshot {
    Position last;
    Configuration configuration;
    Payload state;
    u32 crc = 0;
    [[nodiscard]] bool verifies() const;
};
[[nodiscard]] Snapshot make_snapshot(Position last, Configuration configuration, Payload state);

}  // namespace corelet::raft
