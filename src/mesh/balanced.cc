// Strategy `balanced`.
//
// From scratch, a table is dealt: lay the corelets out in the order of the location tree, each for as many points
// as its quota, and give slot s the points s, s + S, s + 2 S, ... (systematic sampling). As no corelet has more
// than S points, none comes twice; as each domain of each level is one stretch, it gets its share of every row
// rounded down or up, at all levels at once. Dealing alone would let the same few corelets always meet, so pairs of
// cells are then exchanged at random wherever that keeps the spread: any loss is rebuilt from everybody.
//
// From a previous table, only what must move moves: see refill.h.
#include <algorithm>
#include <map>
#include <numeric>

#include "base/hash.h"
#include "mesh/board.h"
#include "mesh/quota.h"
#include "mesh/refill.h"

namespace corelet::mesh {
namespace {

constexpr u32 k_mixing_rounds = 4;

// Adds the domains of each level that has a cap, the outer ones first, and says of each candidate which is
// innermost.
std::vector<u32> add_domains(const Board& board, std::span<const usize> levels, std::vector<QuotaDomain>& domains) {
    std::vector<u32> innermost(board.candidates(), QuotaDomain::k_none);
    for (usize const level : levels) {
        std::map<u32, u32> numbers;
        for (u16 who = 0; who < board.candidates(); ++who) {
            auto const [at, fresh] =
                numbers.try_emplace(board.domain(who, level), static_cast<u32>(domains.size()));
            if (fresh) domains.push_back({board.cap(level), innermost[who]});
            innermost[who] = at->second;
        }
    }
    return innermost;
}

std::vector<u32> quotas_within(const PlacementRequest& request, const Board& board, std::span<const u32> weights,
                               std::span<const usize> levels) {
    QuotaRequest quota;
    quota.slots = request.slots;
    quota.seed = request.seed;
    auto const innermost = add_domains(board, levels, quota.domains);
    u64 usable = 0;
    for (u16 who = 0; who < board.candidates(); ++who) {
        const Candidate& candidate = request.candidates[who];
        bool const leaves = candidate.standing == Standing::kLeave;
        usable += !leaves && weights[who] > 0;
        quota.entries.push_back(
            {leaves ? 0 : weights[who], innermost[who], board.count(who), candidate.standing == Standing::kHold});
    }
    quota.total = request.slots * std::min<u64>(request.width, usable);
    return share_out(quota);
}

// By the caps of all levels. Each of them can be kept, but perhaps not all at once: then that of the request's
// level is kept, for copies come before spread.
std::vector<u32> make_quotas(const PlacementRequest& request, const Board& board, std::span<const u32> weights) {
    std::vector<usize> levels;
    for (usize level = k_level_count - 1; level > 0; --level)
        if (board.cap(level) != 0) levels.push_back(level);
    auto const strict = quotas_within(request, board, weights, levels);
    usize const own = static_cast<usize>(request.level);
    if (levels.size() == (own != 0 ? 1U : 0U)) return strict;
    auto const sum = [](const std::vector<u32>& quotas) {
        return std::accumulate(quotas.begin(), quotas.end(), u64{0});
    };
    std::erase_if(levels, [own](usize level) { return level != own; });
    auto const loose = quotas_within(request, board, weights, levels);
    return sum(strict) >= sum(loose) ? strict : loose;
}

void deal(Board& board) {
    std::vector<u16> points;
    for (u16 who : board.tree_order()) points.insert(points.end(), board.quota(who), who);
    CORELET_ASSERT(points.size() <= board.cells().size());
    for (usize i = 0; i < points.size(); ++i) {
        board.set(static_cast<u32>(i % board.slots()), static_cast<unsigned>(i / board.slots()), points[i]);
    }
}

void try_exchange(Board& board, u32 slot_a, unsigned position_a, u32 slot_b, unsigned position_b) {
    u16 const a = board.at(slot_a, position_a), b = board.at(slot_b, position_b);
    if (slot_a == slot_b || a == b || a == Board::k_nobody || b == Board::k_nobody) return;
    if (!board.may_enter(slot_a, position_a, b) || !board.may_enter(slot_b, position_b, a)) return;
    if (board.spread_cost(slot_a, position_a, b) + board.spread_cost(slot_b, position_b, a) > 0) return;
    board.set(slot_a, position_a, b);
    board.set(slot_b, position_b, a);
}

void mix(Board& board, u64 seed) {
    for (u32 round = 0; round < k_mixing_rounds; ++round) {
        for (u32 slot = 0; slot < board.slots(); ++slot) {
            for (unsigned position = 0; position < board.width(); ++position) {
                u64 const draw = hash64(seed, round, slot, position);
                try_exchange(board, slot, position, static_cast<u32>(draw % board.slots()),
                             static_cast<unsigned>((draw >> 32) % board.width()));
            }
        }
    }
}

// Dealing puts each corelet at one position of all its slots; reads want data and parity mixed. Holes stay last:
// they should be parity.
void shuffle_positions(Board& board, u64 seed) {
    for (u32 slot = 0; slot < board.slots(); ++slot) {
        unsigned filled = 0;
        while (filled < board.width() && board.at(slot, filled) != Board::k_nobody) ++filled;
        for (unsigned i = filled; i > 1; --i) {
            unsigned const j = static_cast<unsigned>(hash64(seed, ~u64{0}, slot, i) % i);
            u16 const a = board.at(slot, i - 1), b = board.at(slot, j);
            board.set(slot, i - 1, b);
            board.set(slot, j, a);
        }
    }
}

}  // namespace

Placement place_balanced(const PlacementRequest& request) {
    std::vector<u32> weights;
    for (const Candidate& candidate : request.candidates) weights.push_back(candidate.weight);
    return place_by_weights(request, weights);
}

Placement place_by_weights(const PlacementRequest& request, std::span<const u32> weights) {
    CORELET_ASSERT(weights.size() == request.candidates.size());
    CORELET_ASSERT(request.width >= 1 && request.width <= k_width_max && request.slots >= k_slots_min);
    bool const from_scratch = request.previous == nullptr || request.previous->width() != request.width;
    if (!from_scratch) CORELET_ASSERT(request.previous->slots() <= request.slots, "tables never lose slots");
    Refill refill(request);
    Board board(request, from_scratch
                             ? Board::Cells(static_cast<usize>(request.slots) * request.width, Board::k_nobody)
                             : refill.inherited_cells());
    if (!from_scratch) refill.vacate(board);
    board.set_quotas(make_quotas(request, board, weights));
    if (from_scratch) {
        deal(board);
        mix(board, request.seed);
        shuffle_positions(board, request.seed);
    } else {
        refill.run(board);
    }
    return board.placement();
}

}  // namespace corelet::mesh
