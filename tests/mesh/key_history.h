// What clients asked of two keys of the catalog and what they were told, and whether some order of it explains
// everything (linearize.h): puts, deletes, reads and compare-and-set, of one of the keys or of both at once.
//
// Values are never used twice; zero is a missing key. So a condition on a revision is one on the value that was
// seen with it. Revisions are judged too: writes take effect in the order of theirs, and an answer that names the
// revision of the state it comes from has seen all writes up to it and none beyond.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/types.h"

namespace corelet {

inline constexpr usize k_history_keys = 2;

struct KeyCondition {
    enum class Kind : u8 { kNone, kIs, kExists };
    Kind kind = Kind::kNone;
    u64 value = 0;  // kIs; zero: it is missing
    friend bool operator==(const KeyCondition&, const KeyCondition&) = default;
};

// All conditions must hold, else nothing is written.
struct KeyRequest {
    std::array<KeyCondition, k_history_keys> conditions{};
    std::array<std::optional<u64>, k_history_keys> writes{};  // zero: deleted
    std::array<bool, k_history_keys> reads{};
    [[nodiscard]] bool is_write() const { return writes[0] || writes[1]; }
    [[nodiscard]] bool has_reads() const { return reads[0] || reads[1]; }
};

struct KeySeen {
    u64 value = 0;
    u64 revision = 0;  // of its last change; a missing key has none
};

struct KeyAnswer {
    bool succeeded = true;
    u64 revision = 0;  // of the state after it; zero: not said
    std::array<KeySeen, k_history_keys> seen{};
};

struct KeyOperation {
    KeyRequest request;
    KeyAnswer answer;
    u64 begun = 0;
    u64 ended = 0;
    // What a write reads is as it was at some time after it had taken effect: the repeat of a request whose answer
    // was lost finds its own success, and the values of its own time. So that is an operation of its own.
    std::optional<usize> predecessor;
    std::string note;
};

class KeyHistory {
  public:
    // Returns the operation's handle.
    usize begin(KeyRequest request, u64 at, std::string note = {});
    void end(usize operation, const KeyAnswer& answer, u64 at);
    // What somebody saw who may lag behind: true at some time, but not now.
    void learn(usize key, const KeySeen& seen);
    // The same, of all that there was at a revision.
    void learn_view(u64 revision, const std::array<KeySeen, k_history_keys>& seen);
    [[nodiscard]] usize size() const { return operations_.size(); }
    // Nothing, if there is such an order; else what no order explains.
    [[nodiscard]] std::optional<std::string> judge() const;

  private:
    friend class KeyModel;
    void wrong(std::string what);
    void written_at(usize operation, u64 revision);
    [[nodiscard]] u64 revision_of(usize operation) const;

    std::vector<KeyOperation> operations_;
    std::map<u64, usize> writer_of_;      // of values
    std::map<u64, usize> written_at_;     // revisions and who wrote then
    std::map<usize, u64> revision_of_;    // the other way round
    std::optional<std::string> trouble_;  // that needs no search
};

// The model of a history as far as it goes, for the search.
class KeyModel {
  public:
    struct State {
        std::array<u64, k_history_keys> values{};
        u64 revision = 0;  // of the last write of which it is known
        friend auto operator<=>(const State&, const State&) = default;
    };
    struct Operation {
        const KeyOperation* recorded = nullptr;
        u64 begun = 0;
        u64 ended = 0;
        u64 revision = 0;                     // of a write, if it is known
        std::optional<u64> last_before = {};  // the last known write that it has to come after, if that is known
        std::array<bool, k_history_keys> tells{};  // writes a value that somebody saw or asked for, or none
    };
    explicit KeyModel(const KeyHistory& history);
    [[nodiscard]] const std::vector<Operation>& operations() const { return operations_; }
    [[nodiscard]] static bool step(State& state, const Operation& operation);
    [[nodiscard]] static bool is_read(const Operation& operation);
    [[nodiscard]] bool may_be_left_out(const Operation& operation) const;
    [[nodiscard]] static bool alike(const Operation& a, const Operation& b);
    [[nodiscard]] static std::optional<usize> predecessor(const Operation& operation) {
        return operation.recorded->predecessor;
    }
    [[nodiscard]] static std::string show(const State& state);
    [[nodiscard]] static std::string show(const Operation& operation);

  private:
    void gather(const KeyHistory& history);

    std::vector<Operation> operations_;
    std::set<u64> told_;  // values that were seen or asked for
    // Somebody's answer depends on whether the key is there or what it holds, and does not tell what that was.
    std::array<bool, k_history_keys> guessed_{};
};

// Revisions over all keys: an answer's is no lower than those that were known before it was asked for.
class RevisionOrder {
  public:
    // To be kept until the end of what begins now.
    [[nodiscard]] u64 begin() const { return highest_; }
    // What is wrong, if anything.
    [[nodiscard]] std::optional<std::string> end(u64 begun, u64 revision, bool wrote);

  private:
    u64 highest_ = 0;
};

}  // namespace corelet
