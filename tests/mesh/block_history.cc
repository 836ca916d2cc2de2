#include "tests/mesh/block_history.h"

#include <algorithm>
#include <set>

#include "tests/mesh/linearize.h"

namespace corelet {

namespace {

std::string show(const BlockState& state) {
    std::string out;
    bool const one = std::all_of(state.begin(), state.end(), [&](u64 value) { return value == state[0]; });
    if (one) return std::to_string(state[0]);
    for (u64 value : state) out += (out.empty() ? "" : ",") + std::to_string(value);
    return out;
}

std::string show(const BlockOperation& operation) {
    std::string out =
        operation.is_read ? "read " + show(operation.seen) : "write " + std::to_string(operation.value);
    if (!operation.is_read && operation.sectors != k_history_sectors)
        out += " to sectors " + std::to_string(operation.first_sector) + "+" + std::to_string(operation.sectors);
    return out + " (" + std::to_string(operation.begun) + " to " +
           (operation.ended == 0 ? "?" : std::to_string(operation.ended)) + ") " + operation.note;
}

// Of the values those count that a read was answered.
class BlockModel {
  public:
    using State = BlockState;
    using Operation = BlockOperation;
    explicit BlockModel(const std::vector<BlockOperation>& operations) : operations_(operations) {
        for (const BlockOperation& operation : operations_)
            if (operation.is_read && operation.ended != 0)
                seen_.insert(operation.seen.begin(), operation.seen.end());
    }
    [[nodiscard]] const std::vector<BlockOperation>& operations() const { return operations_; }
    [[nodiscard]] static bool step(State& state, const Operation& operation) {
        if (operation.is_read) return operation.seen == state;
        for (usize i = 0; i < operation.sectors; ++i) state[operation.first_sector + i] = operation.value;
        return true;
    }
    [[nodiscard]] static bool is_read(const Operation& operation) { return operation.is_read; }
    // What has no end and was never seen explains nothing and is explained by not having happened.
    [[nodiscard]] bool may_be_left_out(const Operation& operation) const {
        return !seen_.contains(operation.value);
    }
    // Trims.
    [[nodiscard]] static bool alike(const Operation& a, const Operation& b) {
        return !a.is_read && !b.is_read && a.value == 0 && b.value == 0 && a.first_sector == b.first_sector &&
               a.sectors == b.sectors;
    }
    [[nodiscard]] static std::optional<usize> predecessor(const Operation&) { return std::nullopt; }
    [[nodiscard]] static std::string show(const State& state) { return corelet::show(state); }
    [[nodiscard]] static std::string show(const Operation& operation) { return corelet::show(operation); }

  private:
    const std::vector<BlockOperation>& operations_;
    std::set<u64> seen_;
};

}  // namespace

usize BlockHistory::begin_write(usize first_sector, usize sectors, u64 value, u64 at, std::string note) {
    CORELET_ASSERT(sectors > 0 && first_sector + sectors <= k_history_sectors && at != 0);
    BlockOperation operation;
    operation.first_sector = first_sector;
    operation.sectors = sectors;
    operation.value = value;
    operation.begun = at;
    operation.note = std::move(note);
    operations_.push_back(std::move(operation));
    ++open_writes_;
    return operations_.size() - 1;
}

usize BlockHistory::begin_read(u64 at, std::string note) {
    BlockOperation operation;
    operation.is_read = true;
    operation.begun = at;
    operation.note = std::move(note);
    operations_.push_back(std::move(operation));
    return operations_.size() - 1;
}

void BlockHistory::end_write(usize operation, u64 at) {
    CORELET_ASSERT(!operations_[operation].is_read && operations_[operation].ended == 0);
    operations_[operation].ended = at;
    --open_writes_;
}

void BlockHistory::end_read(usize operation, const BlockState& seen, u64 at) {
    CORELET_ASSERT(operations_[operation].is_read && operations_[operation].ended == 0);
    operations_[operation].seen = seen;
    operations_[operation].ended = at;
}

std::optional<std::string> BlockHistory::judge() const {
    BlockModel const model(operations_);
    auto const wrong = Linearizer(model).judge();
    return wrong ? std::optional(wrong->text) : std::nullopt;
}

}  // namespace corelet
