#include "tests/mesh/block_history.h"

#include <algorithm>
#include <set>

#include "base/assert.h"

namespace corelet {

namespace {

constexpr usize k_open_max = 64;
constexpr usize k_configurations_max = 200'000;

// One way in which what is open may have happened so far.
struct Configuration {
    BlockState state{};
    u64 done = 0;  // open operations that took effect, by place
    friend auto operator<=>(const Configuration&, const Configuration&) = default;
};

class Search {
  public:
    explicit Search(const std::vector<BlockOperation>& operations) : operations_(operations) {
        configurations_.insert(Configuration{});
    }

    // False: no order explains the history up to this end. `trouble` is set if the search itself gave up.
    bool begin(usize operation) {
        auto const free = std::find(open_.begin(), open_.end(), k_nobody);
        usize const place = static_cast<usize>(free - open_.begin());
        if (place == k_open_max) return false;
        open_[place] = operation;
        return true;
    }
    bool end(usize operation) {
        usize const place = static_cast<usize>(std::find(open_.begin(), open_.end(), operation) - open_.begin());
        CORELET_ASSERT(place < k_open_max);
        std::set<Configuration> next;
        std::set<Configuration> visited;
        for (const Configuration& configuration : configurations_) reach(configuration, place, next, visited);
        configurations_.clear();
        for (Configuration configuration : next) {
            configuration.done &= ~(u64{1} << place);
            configurations_.insert(configuration);
        }
        open_[place] = k_nobody;
        return !configurations_.empty();
    }
    [[nodiscard]] bool exhausted() const { return configurations_.size() > k_configurations_max; }
    [[nodiscard]] const std::set<Configuration>& configurations() const { return configurations_; }

  private:
    static constexpr usize k_nobody = ~usize{0};
    static std::array<usize, k_open_max> nobody() {
        std::array<usize, k_open_max> out{};
        out.fill(k_nobody);
        return out;
    }

    // Reads that fit take effect at once: that hinders nothing.
    void take_reads(Configuration& configuration) const {
        for (usize place = 0; place < k_open_max; ++place) {
            if (open_[place] == k_nobody || (configuration.done >> place & 1)) continue;
            const BlockOperation& operation = operations_[open_[place]];
            if (operation.is_read && operation.seen == configuration.state) configuration.done |= u64{1} << place;
        }
    }
    // Of trims that never ended the earliest goes first: they are all alike.
    [[nodiscard]] bool waits_for_a_twin(const Configuration& configuration, usize place) const {
        const BlockOperation& operation = operations_[open_[place]];
        if (operation.ended != 0 || operation.value != 0) return false;
        for (usize other = 0; other < k_open_max; ++other) {
            if (open_[other] == k_nobody || other == place || (configuration.done >> other & 1)) continue;
            const BlockOperation& twin = operations_[open_[other]];
            if (!twin.is_read && twin.ended == 0 && twin.value == 0 && twin.begun < operation.begun) return true;
        }
        return false;
    }
    void reach(Configuration configuration, usize target, std::set<Configuration>& out,
               std::set<Configuration>& visited) {
        take_reads(configuration);
        if (!visited.insert(configuration).second) return;
        if (configuration.done >> target & 1) {
            out.insert(configuration);
            return;
        }
        for (usize place = 0; place < k_open_max; ++place) {
            if (open_[place] == k_nobody || (configuration.done >> place & 1)) continue;
            const BlockOperation& operation = operations_[open_[place]];
            if (operation.is_read || waits_for_a_twin(configuration, place)) continue;
            Configuration next = configuration;
            next.done |= u64{1} << place;
            for (usize i = 0; i < operation.sectors; ++i) next.state[operation.first_sector + i] = operation.value;
            reach(next, target, out, visited);
        }
    }

    const std::vector<BlockOperation>& operations_;
    std::array<usize, k_open_max> open_ = nobody();
    std::set<Configuration> configurations_;
};

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

struct Moment {
    u64 at = 0;
    usize operation = 0;
    bool is_end = false;
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
}

void BlockHistory::end_read(usize operation, const BlockState& seen, u64 at) {
    CORELET_ASSERT(operations_[operation].is_read && operations_[operation].ended == 0);
    operations_[operation].seen = seen;
    operations_[operation].ended = at;
}

std::optional<std::string> BlockHistory::judge() const {
    std::set<u64> seen;
    for (const BlockOperation& operation : operations_)
        if (operation.is_read && operation.ended != 0) seen.insert(operation.seen.begin(), operation.seen.end());
    std::vector<Moment> moments;
    for (usize i = 0; i < operations_.size(); ++i) {
        const BlockOperation& operation = operations_[i];
        // What has no end and was never seen explains nothing and is explained by not having happened.
        if (operation.ended == 0 && (operation.is_read || !seen.contains(operation.value))) continue;
        moments.push_back(Moment{operation.begun, i, false});
        if (operation.ended != 0) moments.push_back(Moment{operation.ended, i, true});
    }
    std::sort(moments.begin(), moments.end(), [](const Moment& a, const Moment& b) { return a.at < b.at; });
    Search search(operations_);
    for (usize m = 0; m < moments.size(); ++m) {
        auto const before = search.configurations();
        bool const fine = moments[m].is_end ? search.end(moments[m].operation) : search.begin(moments[m].operation);
        if (search.exhausted() || (!fine && !moments[m].is_end))
            return "the search for an order gave up: too much is open at once";
        if (fine) continue;
        std::string out =
            "no order explains " + show(operations_[moments[m].operation]) + "; before it the block may hold";
        usize shown = 0;
        for (const Configuration& configuration : before)
            if (++shown <= 4) out += " [" + show(configuration.state) + "]";
        for (usize i = m > 24 ? m - 24 : 0; i <= m; ++i)
            out += std::string("\n  ") + (moments[i].is_end ? "end   " : "begin ") +
                   show(operations_[moments[i].operation]);
        return out;
    }
    return std::nullopt;
}

}  // namespace corelet
