// Whether some order of the operations on an object explains all that they were answered (linearizability, Herlihy
// and Wing 1990). The search is Lowe's just-in-time linearization (2017): it goes through beginnings and ends as
// they came and keeps every way in which what is open may have taken effect so far. An operation without an end may
// take effect at any time after its beginning, or never.
//
// The object is a Model, made for one history:
//
//     State       default: as the object begins; ordered
//     Operation   with `begun` and `ended`, places in the order of all beginnings and ends; ended 0: unknown
//     operations()              all of them
//     step(State&, op)          may it take effect in this state? Then the state becomes what it leaves
//     is_read(op)               leaves each state as it is: it takes effect as soon as it may, which hinders
//     nothing may_be_left_out(op)       it has no end, and if some order explains the history, so does one without
//     it alike(op, op)             of two without an end: nothing tells one's effect from the other's, in any
//     state; so
//                               the one begun first goes first
//     predecessor(op)           the operation, by its place in operations(), that takes effect before it; or
//     nothing show(State), show(op)     for a report
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/assert.h"
#include "base/types.h"

namespace corelet {

struct LinearizeBounds {
    usize open = 64;  // at most 64
    usize configurations = 200'000;
};

// Why no order was found.
struct NoOrder {
    bool gave_up = false;  // beyond a bound: there may be one
    std::string text;
};

// One way in which what is open may have happened so far.
template <class State>
struct Configuration {
    State state{};
    u64 done = 0;  // open operations that took effect, by place
    friend auto operator<=>(const Configuration&, const Configuration&) = default;
};

// Configurations of which none makes another one needless. What has no end need not happen: of two that differ only
// in such operations, the one in which fewer of them have happened can go on in every way that the other one can.
template <class State>
class ConfigurationSet {
  public:
    // `binding`: places of operations that end.
    bool insert(const Configuration<State>& configuration, u64 binding) {
        u64 const free = configuration.done & ~binding;
        std::vector<u64>& present = sets_[{configuration.state, configuration.done & binding}];
        if (std::any_of(present.begin(), present.end(), [&](u64 other) { return (other & ~free) == 0; }))
            return false;
        size_ -= std::erase_if(present, [&](u64 other) { return (free & ~other) == 0; });
        present.push_back(free);
        ++size_;
        return true;
    }
    [[nodiscard]] usize size() const { return size_; }
    [[nodiscard]] std::vector<Configuration<State>> all() const {
        std::vector<Configuration<State>> out;
        for (auto const& [common, sets] : sets_)
            for (u64 free : sets) out.push_back({common.first, common.second | free});
        return out;
    }

  private:
    std::map<std::pair<State, u64>, std::vector<u64>> sets_;
    usize size_ = 0;
};

template <class Model>
class Linearizer {
  public:
    explicit Linearizer(const Model& model, LinearizeBounds bounds = {})
        : model_(model), operations_(model.operations()), bounds_(bounds), places_(operations_.size(), k_none) {
        CORELET_ASSERT(bounds_.open <= 64);
        configurations_.push_back({});
    }

    // Nothing, if there is an order; else the operations around the first end that no order explains.
    [[nodiscard]] std::optional<NoOrder> judge() {
        list_moments();
        for (usize m = 0; m < moments_.size(); ++m) {
            usize const operation = moments_[m].operation;
            bool const fine = moments_[m].is_end ? end(operation) : begin(operation);
            if (exhausted_) return NoOrder{true, "the search for an order gave up: too much is open at once"};
            if (!fine) return NoOrder{false, report(m)};
        }
        return std::nullopt;
    }
    // The most configurations that were kept after any end.
    [[nodiscard]] usize widest() const { return widest_; }

  private:
    using State = typename Model::State;
    using Operation = typename Model::Operation;
    struct Moment {
        u64 at = 0;
        usize operation = 0;
        bool is_end = false;
    };
    static constexpr u8 k_none = 255;

    void list_moments() {
        for (usize i = 0; i < operations_.size(); ++i) {
            const Operation& operation = operations_[i];
            if (operation.ended == 0 && (model_.is_read(operation) || model_.may_be_left_out(operation))) continue;
            moments_.push_back({operation.begun, i, false});
            if (operation.ended != 0) moments_.push_back({operation.ended, i, true});
        }
        std::stable_sort(moments_.begin(), moments_.end(),
                         [](const Moment& left, const Moment& right) { return left.at < right.at; });
    }

    bool begin(usize operation) {
        auto const place = static_cast<usize>(std::countr_one(used_));
        if (place >= bounds_.open) {
            exhausted_ = true;
            return false;
        }
        u64 const bit = u64{1} << place;
        used_ |= bit;
        if (operations_[operation].ended != 0) binding_ |= bit;
        if (model_.is_read(operations_[operation])) reads_ |= bit;
        open_[place] = operation;
        places_[operation] = static_cast<u8>(place);
        return true;
    }

    // False: no order explains the history up to this end.
    bool end(usize operation) {
        u64 const target = u64{1} << places_[operation];
        ConfigurationSet<State> visited;
        std::deque<Configuration<State>> queue;
        ConfigurationSet<State> next;
        auto const offer = [&](Configuration<State> configuration) {
            take_reads(configuration);
            if (visited.insert(configuration, binding_)) queue.push_back(std::move(configuration));
        };
        for (const Configuration<State>& configuration : configurations_) offer(configuration);
        for (; !queue.empty(); queue.pop_front()) {
            if (visited.size() > bounds_.configurations) {
                exhausted_ = true;
                return false;
            }
            Configuration<State> configuration = queue.front();
            if (configuration.done & target) {
                configuration.done &= ~target;
                (void)next.insert(configuration, binding_ & ~target);
                continue;
            }
            for (u64 left = used_ & ~reads_ & ~configuration.done; left != 0; left &= left - 1) {
                auto const place = static_cast<usize>(std::countr_zero(left));
                if (has_to_wait(configuration, place)) continue;
                Configuration<State> after = configuration;
                after.done |= u64{1} << place;
                if (model_.step(after.state, operations_[open_[place]])) offer(std::move(after));
            }
        }
        if (next.size() == 0) return false;
        configurations_ = next.all();
        widest_ = std::max(widest_, configurations_.size());
        release(target);
        release_decided();
        return true;
    }

    void take_reads(Configuration<State>& configuration) const {
        for (u64 left = used_ & reads_ & ~configuration.done; left != 0; left &= left - 1) {
            auto const place = static_cast<usize>(std::countr_zero(left));
            if (has_to_wait(configuration, place)) continue;
            if (model_.step(configuration.state, operations_[open_[place]])) configuration.done |= u64{1} << place;
        }
    }

    // For its predecessor, or for one like it that was begun before.
    [[nodiscard]] bool has_to_wait(const Configuration<State>& configuration, usize place) const {
        const Operation& operation = operations_[open_[place]];
        if (std::optional<usize> const before = model_.predecessor(operation)) {
            u8 const at = places_[*before];
            if (at != k_none && !(configuration.done >> at & 1)) return true;
        }
        if (operation.ended != 0) return false;
        for (u64 left = used_ & ~binding_ & ~configuration.done & ~(u64{1} << place); left != 0; left &= left - 1) {
            const Operation& other = operations_[open_[static_cast<usize>(std::countr_zero(left))]];
            if (other.begun < operation.begun && model_.alike(other, operation)) return true;
        }
        return false;
    }

    // What has no end and has happened in every case is over.
    void release_decided() {
        u64 decided = used_ & ~binding_;
        for (const Configuration<State>& configuration : configurations_) decided &= configuration.done;
        if (decided == 0) return;
        for (Configuration<State>& configuration : configurations_) configuration.done &= ~decided;
        release(decided);
    }
    void release(u64 places) {
        for (u64 left = places; left != 0; left &= left - 1)
            places_[open_[static_cast<usize>(std::countr_zero(left))]] = k_none;
        used_ &= ~places;
        binding_ &= ~places;
        reads_ &= ~places;
    }

    [[nodiscard]] std::string report(usize moment) const {
        std::string out = "no order explains " + model_.show(operations_[moments_[moment].operation]) +
                          "; before it the object may hold";
        for (usize i = 0; i < std::min<usize>(4, configurations_.size()); ++i)
            out += " [" + model_.show(configurations_[i].state) + "]";
        for (usize i = moment > 24 ? moment - 24 : 0; i <= moment; ++i)
            out += std::string("\n  ") + (moments_[i].is_end ? "end   " : "begin ") +
                   model_.show(operations_[moments_[i].operation]);
        return out;
    }

    const Model& model_;
    const std::vector<Operation>& operations_;
    LinearizeBounds bounds_;
    std::vector<Moment> moments_;
    // Places of what is open: taken at all, by operations that end, by reads.
    u64 used_ = 0;
    u64 binding_ = 0;
    u64 reads_ = 0;
    std::array<usize, 64> open_{};
    std::vector<u8> places_;
    std::vector<Configuration<State>> configurations_;
    bool exhausted_ = false;
    usize widest_ = 0;
};

}  // namespace corelet
