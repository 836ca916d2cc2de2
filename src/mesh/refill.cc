#include "mesh/refill.h"

#include <algorithm>
#include <limits>

#include "base/hash.h"

namespace corelet::mesh {
namespace {

// Receivers looked at for one place. Enough to find one that suits the row; bounded so that a thousand corelets and
// sixty-five thousand slots take seconds.
constexpr usize k_receivers_tried = 64;
constexpr u64 k_search_tables = 32;
constexpr i64 k_any_cost = std::numeric_limits<i64>::max();
constexpr usize k_absent = ~usize{0};

}  // namespace

Board::Cells Refill::inherited_cells() const {
    const SlotTable& previous = *request_.previous;
    std::vector<u16> numbers;
    for (CoreletId id : previous.members()) {
        auto const found = std::lower_bound(request_.candidates.begin(), request_.candidates.end(), id,
                                            [](const Candidate& c, CoreletId wanted) { return c.id < wanted; });
        bool const known = found != request_.candidates.end() && found->id == id;
        numbers.push_back(known ? static_cast<u16>(found - request_.candidates.begin()) : Board::k_nobody);
    }
    Board::Cells cells;
    cells.reserve(static_cast<usize>(request_.slots) * request_.width);
    for (u32 slot = 0; slot < request_.slots; ++slot) {
        usize const row = static_cast<usize>(slot % previous.slots()) * request_.width;
        for (usize i = row; i < row + request_.width; ++i) {
            u16 const index = previous.indexes()[i];
            cells.push_back(index == 0 ? Board::k_nobody : numbers[index - 1U]);
        }
    }
    return cells;
}

void Refill::vacate(Board& board) {
    for (u32 slot = 0; slot < board.slots(); ++slot) {
        for (unsigned position = 0; position < board.width(); ++position) {
            u16 const who = board.at(slot, position);
            if (who == Board::k_nobody) {
                vacancies_.push_back({slot, position, Board::k_nobody});
            } else if (request_.candidates[who].standing == Standing::kLeave && !request_.fill_only) {
                board.set(slot, position, Board::k_nobody);
                vacancies_.push_back({slot, position, who});
            }
        }
        if (!request_.fill_only) vacate_over_cap(board, slot);
    }
}

// Too many of a row in one domain (it was made when fewer domains were alive): by hash, so that each gives up its
// part.
void Refill::vacate_over_cap(Board& board, u32 slot) {
    for (bool over = true; over;) {
        over = false;
        unsigned chosen = 0;
        u64 lowest = ~u64{0};
        for (unsigned position = 0; position < board.width(); ++position) {
            u16 const who = board.at(slot, position);
            if (who == Board::k_nobody || !board.is_open(who) || !board.is_over_cap(slot, who)) continue;
            u64 const draw = hash64(request_.seed, slot, request_.candidates[who].id.v);
            if (draw > lowest) continue;
            lowest = draw;
            chosen = position;
            over = true;
        }
        if (!over) return;
        vacancies_.push_back({slot, chosen, board.at(slot, chosen)});
        board.set(slot, chosen, Board::k_nobody);
    }
}

void Refill::list_receivers(const Board& board) {
    receivers_.clear();
    receiver_at_.assign(board.candidates(), k_absent);
    wanted_.assign(board.candidates(), 0);
    for (u16 who = 0; who < board.candidates(); ++who) {
        if (!board.is_open(who) || board.count(who) >= board.quota(who)) continue;
        wanted_[who] = board.quota(who) - board.count(who);
        receiver_at_[who] = receivers_.size();
        receivers_.push_back(who);
    }
}

void Refill::received(const Board& board, u16 who) {
    if (receiver_at_[who] == k_absent || board.count(who) < board.quota(who)) return;
    usize const at = receiver_at_[who];
    receivers_[at] = receivers_.back();
    receiver_at_[receivers_[at]] = at;
    receivers_.pop_back();
    receiver_at_[who] = k_absent;
}

// The one that suits the row's spread best; among equals the one with the largest part of its want still open.
u16 Refill::best_receiver(const Board& board, u32 slot, unsigned position, i64 cost_max) const {
    u16 best = Board::k_nobody;
    i64 best_cost = 0;
    usize tried = 0;
    usize const start = receivers_.empty() ? 0 : hash64(request_.seed, slot, position) % receivers_.size();
    for (usize i = 0; i < receivers_.size() && (tried < k_receivers_tried || best == Board::k_nobody);
         ++i, ++tried) {
        u16 const who = receivers_[(start + i) % receivers_.size()];
        if (!board.may_enter(slot, position, who)) continue;
        i64 const cost = board.spread_cost(slot, position, who);
        if (cost > cost_max) continue;
        bool better = best == Board::k_nobody || cost < best_cost;
        if (!better && cost == best_cost) {
            u64 const open = board.quota(who) - board.count(who), best_open = board.quota(best) - board.count(best);
            better = open * wanted_[best] > best_open * wanted_[who];
        }
        if (!better) continue;
        best = who;
        best_cost = cost;
    }
    return best;
}

void Refill::fill_vacancies(Board& board) {
    std::vector<Cell> left;
    for (const Cell& cell : vacancies_) {
        u16 const who = best_receiver(board, cell.slot, cell.position, k_any_cost);
        if (who == Board::k_nobody) {
            left.push_back(cell);
            continue;
        }
        board.set(cell.slot, cell.position, who);
        received(board, who);
    }
    vacancies_ = std::move(left);
}

// Of the row's members above their quota, the one furthest above gives way.
bool Refill::shed_one(Board& board, u32 slot, i64 cost_max) {
    u32 tried = 0;  // bits of positions
    for (unsigned round = 0; round < board.width(); ++round) {
        unsigned chosen = board.width();
        std::pair<u32, u64> most{0, 0};
        for (unsigned position = 0; position < board.width(); ++position) {
            u16 const who = board.at(slot, position);
            if (tried >> position & 1U || who == Board::k_nobody || !board.is_open(who)) continue;
            if (board.count(who) <= board.quota(who)) continue;
            std::pair const key{board.count(who) - board.quota(who),
                                hash64(request_.seed, slot, request_.candidates[who].id.v)};
            if (chosen != board.width() && key <= most) continue;
            most = key;
            chosen = position;
        }
        if (chosen == board.width()) return false;
        tried |= 1U << chosen;
        u16 const who = best_receiver(board, slot, chosen, cost_max);
        if (who == Board::k_nobody) continue;
        board.set(slot, chosen, who);
        received(board, who);
        return true;
    }
    return false;
}

// All slots once, in an order that scatters: slots are a power of two, so an odd step visits each.
u32 Refill::nth_slot(u32 n) const {
    u64 const draw = hash64(request_.seed, request_.slots);
    return static_cast<u32>((draw + n * (draw >> 32 | 1U)) & (request_.slots - 1));
}

// First where a row's spread gains, then where it loses nothing, then anywhere.
void Refill::shed(Board& board) {
    for (i64 cost_max : {i64{-1}, i64{0}, k_any_cost, k_any_cost}) {
        for (u32 n = 0; n < board.slots() && !receivers_.empty(); ++n) (void)shed_one(board, nth_slot(n), cost_max);
    }
}

// (slot, position) goes to some x of another slot, and x's place there to a receiver.
bool Refill::fill_through_third(Board& board, u32 slot, unsigned position) {
    u32 const start = static_cast<u32>(hash64(request_.seed, slot, position, board.width()));
    for (u32 n = 0; n < board.slots(); ++n) {
        u32 const other = (start + n) & (board.slots() - 1);
        if (other == slot || search_budget_ < board.width()) continue;
        search_budget_ -= board.width();
        for (unsigned p = 0; p < board.width(); ++p) {
            u16 const x = board.at(other, p);
            if (x == Board::k_nobody || !board.is_open(x) || !board.may_enter(slot, position, x)) continue;
            u16 const receiver = best_receiver(board, other, p, k_any_cost);
            if (receiver == Board::k_nobody) continue;
            board.set(slot, position, x);
            board.set(other, p, receiver);
            received(board, receiver);
            return true;
        }
    }
    return false;
}

void Refill::mend(Board& board) {
    search_budget_ = k_search_tables * board.cells().size();
    std::vector<Cell> left;
    for (const Cell& cell : vacancies_) {
        if (receivers_.empty() || !fill_through_third(board, cell.slot, cell.position)) left.push_back(cell);
    }
    vacancies_ = std::move(left);
    // One place beyond the quota is within what is promised, and not worth two moves.
    for (u32 n = 0; n < board.slots() && !receivers_.empty(); ++n) {
        u32 const slot = nth_slot(n);
        for (unsigned position = 0; position < board.width() && !receivers_.empty(); ++position) {
            u16 const who = board.at(slot, position);
            if (who == Board::k_nobody || !board.is_open(who) || board.count(who) <= board.quota(who) + 1) continue;
            if (!fill_through_third(board, slot, position)) break;
        }
    }
}

void Refill::fill_by_need(Board& board, const Cell& cell) {
    u16 best = Board::k_nobody, beyond_cap = Board::k_nobody;
    auto const fuller = [&](u16 a, u16 b) {  // by count over weight
        return static_cast<u64>(board.count(a)) * request_.candidates[b].weight >
               static_cast<u64>(board.count(b)) * request_.candidates[a].weight;
    };
    for (u16 who = 0; who < board.candidates(); ++who) {
        if (!board.is_open(who) || request_.candidates[who].weight == 0 || board.in_row(cell.slot, who)) continue;
        u16& choice = board.may_enter(cell.slot, cell.position, who) ? best : beyond_cap;
        if (choice == Board::k_nobody || fuller(choice, who)) choice = who;
    }
    if (best == Board::k_nobody && cell.before != Board::k_nobody && !board.in_row(cell.slot, cell.before)) {
        best = cell.before;
    }
    if (best == Board::k_nobody) best = beyond_cap;
    board.set(cell.slot, cell.position, best);
}

void Refill::keep_leavers(Board& board) const {
    for (const Cell& cell : vacancies_) {
        bool const empty = board.at(cell.slot, cell.position) == Board::k_nobody;
        if (empty && cell.before != Board::k_nobody && !board.in_row(cell.slot, cell.before))
            board.set(cell.slot, cell.position, cell.before);
    }
}

void Refill::run(Board& board) {
    list_receivers(board);
    fill_vacancies(board);
    if (!request_.fill_only) {
        shed(board);
        mend(board);
    }
    for (const Cell& cell : vacancies_) fill_by_need(board, cell);
    vacancies_.clear();
}

}  // namespace corelet::mesh
