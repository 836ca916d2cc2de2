#include "mesh/board.h"

#include <algorithm>
#include <numeric>
#include <string>

namespace corelet::mesh {
namespace {

// What one fragment too many or too few in a domain of a level weighs: a zone more than any number of racks.
constexpr std::array<i64, k_level_count> k_spread_weights{0, 1, 1 << 8, 1 << 16};

i64 distance(u32 floor, u32 ceil, u32 fragments) {
    if (fragments > ceil) return fragments - ceil;
    if (fragments < floor) return floor - fragments;
    return 0;
}

}  // namespace

Board::Board(const PlacementRequest& request, Cells cells)
    : request_(request),
      cells_(std::move(cells)),
      counts_(request.candidates.size()),
      quotas_(request.candidates.size()) {
    CORELET_ASSERT(request.candidates.size() <= k_corelets_max);
    CORELET_ASSERT(cells_.size() == static_cast<usize>(request.slots) * request.width);
    for (u16 who : cells_) {
        if (who != k_nobody) ++counts_[who];
    }
    for (const Candidate& candidate : request.candidates) open_.push_back(candidate.standing == Standing::kOpen);
    number_domains();
    find_caps();
}

void Board::number_domains() {
    auto const& candidates = request_.candidates;
    domains_.resize(candidates.size());
    for (usize who = 0; who < candidates.size(); ++who) domains_[who][0] = static_cast<u32>(who);
    fair_[0].resize(candidates.size());
    for (usize level = 1; level < k_level_count; ++level) {
        std::vector<std::string> names;
        for (const Candidate& c : candidates) names.push_back(c.location.domain(static_cast<Level>(level)));
        std::vector<std::string> sorted = names;
        std::sort(sorted.begin(), sorted.end());
        sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
        for (usize who = 0; who < candidates.size(); ++who) {
            auto const found = std::lower_bound(sorted.begin(), sorted.end(), names[who]);
            domains_[who][level] = static_cast<u32>(found - sorted.begin());
        }
        fair_[level].resize(sorted.size());
    }
}

void Board::find_caps() {
    for (usize level = 0; level < k_level_count; ++level) {
        bool const is_own = level == static_cast<usize>(request_.level);
        if (!is_own && request_.caps[level] == 0) continue;
        std::vector<u32> sizes(fair_[level].size());
        for (u16 who = 0; who < candidates(); ++who) {
            const Candidate& candidate = request_.candidates[who];
            if (candidate.standing != Standing::kLeave && candidate.weight > 0) ++sizes[domains_[who][level]];
        }
        std::erase(sizes, 0U);
        unsigned const wanted = request_.caps[level] != 0 ? request_.caps[level] : request_.promise;
        caps_[level] = domain_cap(sizes, request_.width, wanted);
    }
}

void Board::set_quotas(std::vector<u32> quotas) {
    CORELET_ASSERT(quotas.size() == candidates());
    quotas_ = std::move(quotas);
    for (usize level = 1; level < k_level_count; ++level) {
        std::vector<u64> sums(fair_[level].size());
        for (usize who = 0; who < candidates(); ++who) sums[domains_[who][level]] += quotas_[who];
        for (usize d = 0; d < sums.size(); ++d) {
            fair_[level][d] = {static_cast<u32>(sums[d] / slots()), static_cast<u32>(div_ceil(sums[d], slots()))};
        }
    }
}

void Board::set(u32 slot, unsigned position, u16 who) {
    u16& cell = cells_[index(slot, position)];
    if (cell != k_nobody) --counts_[cell];
    if (who != k_nobody) ++counts_[who];
    cell = who;
}

bool Board::in_row(u32 slot, u16 who) const {
    auto const row = cells_.begin() + static_cast<i64>(index(slot, 0));
    return std::find(row, row + width(), who) != row + width();
}

u32 Board::in_domain(u32 slot, unsigned position, u16 who, usize level) const {
    u32 fragments = 0;
    for (unsigned i = 0; i < width(); ++i) {
        u16 const other = at(slot, i);
        fragments += i != position && other != k_nobody && domains_[other][level] == domains_[who][level];
    }
    return fragments;
}

bool Board::is_over_cap(u32 slot, u16 who) const {
    for (usize level = 0; level < k_level_count; ++level) {
        if (caps_[level] != 0 && in_domain(slot, width(), who, level) > caps_[level]) return true;
    }
    return false;
}

bool Board::may_enter(u32 slot, unsigned position, u16 who) const {
    if (in_row(slot, who)) return false;
    for (usize level = 0; level < k_level_count; ++level) {
        if (caps_[level] != 0 && in_domain(slot, position, who, level) >= caps_[level]) return false;
    }
    return true;
}

i64 Board::spread_cost(u32 slot, unsigned position, u16 who) const {
    u16 const leaving = at(slot, position);
    std::array<u32, k_level_count> with_leaving{}, with_entering{};
    for (unsigned i = 0; i < width(); ++i) {
        u16 const other = at(slot, i);
        if (other == k_nobody) continue;
        for (usize level = 1; level < k_level_count; ++level) {
            u32 const d = domains_[other][level];
            with_leaving[level] += leaving != k_nobody && d == domains_[leaving][level];
            with_entering[level] += d == domains_[who][level];
        }
    }
    i64 cost = 0;
    for (usize level = 1; level < k_level_count; ++level) {
        u32 const to = domains_[who][level];
        if (leaving != k_nobody) {
            u32 const from = domains_[leaving][level];
            if (from == to) continue;
            Fair const fair = fair_[level][from];
            cost += k_spread_weights[level] * (distance(fair.floor, fair.ceil, with_leaving[level] - 1) -
                                               distance(fair.floor, fair.ceil, with_leaving[level]));
        }
        Fair const fair = fair_[level][to];
        cost += k_spread_weights[level] * (distance(fair.floor, fair.ceil, with_entering[level] + 1) -
                                           distance(fair.floor, fair.ceil, with_entering[level]));
    }
    return cost;
}

Placement Board::placement() const {
    Placement out;
    out.domain_cap = cap();
    out.cells.reserve(cells_.size());
    for (u16 who : cells_) out.cells.push_back(who == k_nobody ? CoreletId{} : request_.candidates[who].id);
    return out;
}

std::vector<u16> Board::tree_order() const {
    std::vector<u16> order(candidates());
    std::iota(order.begin(), order.end(), u16{0});
    auto const key = [&](u16 who) {
        const auto& d = domains_[who];
        return std::tuple(d[3], d[2], d[1], who);
    };
    std::sort(order.begin(), order.end(), [&](u16 a, u16 b) { return key(a) < key(b); });
    return order;
}

}  // namespace corelet::mesh
