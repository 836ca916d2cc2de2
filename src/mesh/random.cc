// Strategy `random`: weighted rendezvous hashing.
//
// Each corelet draws a lot for each slot: an exponential variate over its weight, made from a hash. The smallest
// lots win the row. Whoever comes, goes or changes its weight changes no other lot, so rows change only by those
// who win or lose a place (Thaler, Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", 1998).
#include <algorithm>
#include <bit>

#include "base/hash.h"
#include "mesh/board.h"
#include "mesh/refill.h"

namespace corelet::mesh {
namespace {

constexpr unsigned k_fraction_bits = 16;
constexpr unsigned k_lot_bits = 24;

// -log2 of (hash + 1) / 2^64, in 2^-16; pinned, without floating point: one bit of the logarithm for each squaring.
u64 exponential(u64 hash) {
    u64 const value = hash == ~u64{0} ? hash : hash + 1;
    unsigned const shift = static_cast<unsigned>(std::countl_zero(value));
    u64 mantissa = value << shift >> 32;  // in [2^31, 2^32)
    u64 log = 0;
    for (unsigned i = 0; i < k_fraction_bits; ++i) {
        u64 const square = mantissa * mantissa >> 31;  // in [2^31, 2^33)
        bool const above = square >> 32 != 0;
        log = log << 1 | static_cast<u64>(above);
        mantissa = above ? square >> 1 : square;
    }
    return ((u64{shift} + 1) << k_fraction_bits) - log;
}

class Lottery {
  public:
    explicit Lottery(const PlacementRequest& request) : request_(request) {}

    [[nodiscard]] u64 lot(u32 slot, u16 who) const {
        const Candidate& candidate = request_.candidates[who];
        CORELET_ASSERT(candidate.weight > 0);
        return (exponential(hash64(request_.seed, slot, candidate.id.v)) << k_lot_bits) / candidate.weight;
    }
    // Those that may take places, best lot first; at most `count`.
    [[nodiscard]] std::vector<u16> ranking(const Board& board, u32 slot, usize count) const {
        std::vector<std::pair<u64, u16>> lots;
        for (u16 who = 0; who < board.candidates(); ++who) {
            if (board.is_open(who) && request_.candidates[who].weight > 0) lots.emplace_back(lot(slot, who), who);
        }
        lots.resize(best_first(lots, count));
        std::vector<u16> out;
        for (auto const& [value, who] : lots) out.push_back(who);
        return out;
    }

  private:
    static usize best_first(std::vector<std::pair<u64, u16>>& lots, usize count) {
        usize const kept = std::min(count, lots.size());
        std::partial_sort(lots.begin(), lots.begin() + static_cast<i64>(kept), lots.end());
        return kept;
    }
    const PlacementRequest& request_;
};

bool is_full(const Board& board, u32 slot) {
    for (unsigned position = 0; position < board.width(); ++position) {
        if (board.at(slot, position) == Board::k_nobody) return false;
    }
    return true;
}

void fill(Board& board, u32 slot, const std::vector<u16>& ranking, bool within_caps) {
    for (unsigned position = 0; position < board.width(); ++position) {
        if (board.at(slot, position) != Board::k_nobody) continue;
        auto const fits = [&](u16 who) {
            return within_caps ? board.may_enter(slot, position, who) : !board.in_row(slot, who);
        };
        auto const found = std::find_if(ranking.begin(), ranking.end(), fits);
        if (found != ranking.end()) board.set(slot, position, *found);
    }
}

// Mostly the first few lots decide.
void fill_by_lot(Board& board, u32 slot, const Lottery& lottery) {
    for (usize count : {usize{4} * board.width(), board.candidates()}) {
        if (!is_full(board, slot)) fill(board, slot, lottery.ranking(board, slot, count), true);
    }
}

// Each newcomer takes the place of the row's worst lot if its own is better.
void admit(Board& board, u32 slot, const Lottery& lottery, const std::vector<u16>& newcomers) {
    for (u16 who : newcomers) {
        if (board.in_row(slot, who)) continue;
        u64 worst = lottery.lot(slot, who);
        unsigned place = board.width();
        for (unsigned position = 0; position < board.width(); ++position) {
            u16 const other = board.at(slot, position);
            if (other == Board::k_nobody || !board.is_open(other) || !board.may_enter(slot, position, who))
                continue;
            u64 const lot = lottery.lot(slot, other);
            if (lot <= worst) continue;
            worst = lot;
            place = position;
        }
        if (place != board.width()) board.set(slot, place, who);
    }
}

std::vector<u16> newcomers_of(const PlacementRequest& request) {
    std::vector<u16> out;
    for (u16 who = 0; who < request.candidates.size(); ++who) {
        const Candidate& candidate = request.candidates[who];
        bool const usable = candidate.standing == Standing::kOpen && candidate.weight > 0;
        if (usable && !request.previous->has(candidate.id)) out.push_back(who);
    }
    return out;
}

}  // namespace

Placement place_random(const PlacementRequest& request) {
    CORELET_ASSERT(request.width >= 1 && request.width <= k_width_max && request.slots >= k_slots_min);
    bool const from_scratch = request.previous == nullptr || request.previous->width() != request.width;
    Refill refill(request);
    Board board(request, from_scratch
                             ? Board::Cells(static_cast<usize>(request.slots) * request.width, Board::k_nobody)
                             : refill.inherited_cells());
    if (!from_scratch) refill.vacate(board);
    Lottery const lottery(request);
    auto const newcomers = from_scratch || request.fill_only ? std::vector<u16>{} : newcomers_of(request);
    for (u32 slot = 0; slot < request.slots; ++slot) {
        fill_by_lot(board, slot, lottery);
        admit(board, slot, lottery, newcomers);
    }
    refill.keep_leavers(board);
    // The caps leave nobody else: a copy comes before spread.
    for (u32 slot = 0; slot < request.slots; ++slot) {
        if (!is_full(board, slot)) fill(board, slot, lottery.ranking(board, slot, board.candidates()), false);
    }
    return board.placement();
}

}  // namespace corelet::mesh
