// What `balanced` promises, over meshes drawn at random: trees of zones, racks and chassis, weights, widths, caps.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/prng.h"
#include "mesh/placement_testing.h"

namespace corelet::mesh {
namespace {

using namespace testing;

using Shares = std::map<CoreletId, double>;

TablePtr balanced_table(const PlacementRequest& request) {
    return table_of(request, place_balanced(request));
}

u32 cap_of(const PlacementRequest& request) {
    if (request.level == Level::kCorelet) return 1;
    std::map<std::string, u32> sizes;
    for (const Candidate& c : request.candidates) ++sizes[c.location.domain(request.level)];
    std::vector<u32> list;
    for (auto const& [name, size] : sizes) list.push_back(size);
    return domain_cap(list, request.width, request.promise);
}

// Shares by weight, in places: nobody more than once a slot, no domain beyond the cap, what the full cannot take
// with the others. Written apart from quota.cc, and with real numbers.
struct Ideal {
    Shares shares;
    bool capped = false;  // some cap is at work, so shares are not by weight alone
    // Some corelet is in most rows, or some domain near its cap in them: where another one is missing, it can often
    // not stand in, and two have to move for one.
    bool tight = false;
};
class IdealShares {
  public:
    explicit IdealShares(const PlacementRequest& request)
        : request_(request), slots_(request.slots), domain_max_(slots_ * cap_of(request)) {
        std::map<std::string, usize> numbers;
        for (const Candidate& c : request.candidates) {
            bool const alone = request.level == Level::kCorelet;
            std::string const name = alone ? to_string(c.id) : c.location.domain(request.level);
            usize const number = numbers.try_emplace(name, numbers.size()).first->second;
            domains_.resize(numbers.size());
            domains_[number].push_back(c.weight);
            domain_of_.push_back(number);
        }
    }
    [[nodiscard]] Ideal find() const {
        auto const corelets = static_cast<double>(request_.candidates.size());
        double const total = slots_ * std::min<double>(request_.width, corelets);
        double const level = highest(slots_, [&](double l) { return total_at(l) <= total; });
        Ideal out;
        for (usize i = 0; i < request_.candidates.size(); ++i) {
            auto const& members = domains_[domain_of_[i]];
            double const own = level_of(members, level);
            double const share = std::min(slots_, own * request_.candidates[i].weight);
            out.shares[request_.candidates[i].id] = share;
            out.capped = out.capped || own < level || share >= slots_;
            bool const alone = request_.level == Level::kCorelet;
            out.tight = out.tight || out.capped || share >= k_roomy * slots_ ||
                        (!alone && sum_at(members, own) >= k_roomy * domain_max_);
        }
        return out;
    }

  private:
    static constexpr double k_roomy = 0.7;
    template <class Fits>
    [[nodiscard]] static double highest(double most, Fits fits) {
        double low = 0;
        for (int i = 0; i < 60; ++i) (fits((low + most) / 2) ? low : most) = (low + most) / 2;
        return low;
    }
    [[nodiscard]] double sum_at(const std::vector<u32>& members, double level) const {
        double sum = 0;
        for (u32 weight : members) sum += std::min(slots_, level * weight);
        return sum;
    }
    [[nodiscard]] double level_of(const std::vector<u32>& members, double level) const {
        if (sum_at(members, level) <= domain_max_) return level;
        return highest(level, [&](double l) { return sum_at(members, l) <= domain_max_; });
    }
    [[nodiscard]] double total_at(double level) const {
        double sum = 0;
        for (auto const& members : domains_) sum += std::min(domain_max_, sum_at(members, level));
        return sum;
    }
    const PlacementRequest& request_;
    double slots_, domain_max_;
    std::vector<std::vector<u32>> domains_;
    std::vector<usize> domain_of_;
};
Ideal ideal_of(const PlacementRequest& request) {
    return IdealShares(request).find();
}

u32 held_by(const SlotTable& table, CoreletId id) {
    return static_cast<u32>(table.places_of(id).size());
}

// Within 2 % of the ideal, or one slot.
void expect_balanced(const PlacementRequest& request, const SlotTable& table, const std::string& what) {
    for (auto const& [id, share] : ideal_of(request).shares)
        EXPECT_LE(std::abs(held_by(table, id) - share), std::max(1.0, 0.02 * share) + 0.01)
            << what << ", corelet " << id.v;
}

// No holes, nobody twice in a row, no domain beyond the cap.
void expect_sound(const PlacementRequest& request, const SlotTable& table, const std::string& what) {
    ASSERT_EQ(holes(table), 0U) << what;
    for (u32 slot = 0; slot < table.slots(); ++slot) {
        auto row = table.row(slot);
        std::sort(row.begin(), row.end());
        ASSERT_EQ(std::adjacent_find(row.begin(), row.end()), row.end()) << what;
    }
    if (request.level != Level::kCorelet)
        ASSERT_LE(most_in_a_domain(request, table, request.level), cap_of(request)) << what;
}

u32 draw_weight(Prng& rng, u32 kind) {
    if (kind == 0) return 100;
    if (kind == 1) return static_cast<u32>(rng.between(50, 150));
    return rng.chance(1, 4) ? 400 : 100;  // two sizes of disk
}

Location draw_location(Prng& rng, const Shape& shape) {
    return {"z" + std::to_string(rng.below(shape.zones)), "r" + std::to_string(rng.below(shape.racks)),
            "c" + std::to_string(rng.below(shape.chassis))};
}

struct DrawnMesh {
    PlacementRequest request;
    Shape shape;
    u32 weights = 0;  // kind of
    std::string text;
};
DrawnMesh draw_mesh(u64 seed) {
    Prng rng(seed);
    DrawnMesh out;
    out.shape = {static_cast<unsigned>(rng.between(1, 5)), static_cast<unsigned>(rng.between(1, 3)),
                 static_cast<unsigned>(rng.between(1, 3)), static_cast<unsigned>(rng.between(1, 4))};
    auto candidates = make_candidates(out.shape);
    while (candidates.size() < 4)
        candidates.push_back({CoreletId(candidates.size() + 1), 100, Standing::kOpen, {"z0", "r0", "c0"}});
    out.weights = static_cast<u32>(rng.below(3));
    for (Candidate& c : candidates) c.weight = draw_weight(rng, out.weights);
    std::vector<unsigned> widths{1, 2, 3, 6, 9, 14};
    std::erase_if(widths, [&](unsigned width) { return width >= candidates.size(); });
    unsigned const width = widths[rng.below(widths.size())];
    unsigned const promise = static_cast<unsigned>(rng.between(width > 1 ? 1 : 0, std::max(1U, width / 2)));
    out.request = make_request(std::move(candidates), width, promise, static_cast<Level>(rng.below(4)));
    out.request.seed = seed;
    out.text = "seed " + std::to_string(seed) + ": " + std::to_string(out.request.candidates.size()) +
               " corelets, width " + std::to_string(width) + ", promise " + std::to_string(promise) + ", level " +
               std::string(level_name(out.request.level)) + ", weights " + std::to_string(out.weights);
    return out;
}

TEST(SlowBalancedBounds, SharesAreByWeightWhereCapsAllow) {
    int plain = 0, capped = 0;
    for (u64 seed = 1; seed <= 60; ++seed) {
        DrawnMesh const mesh = draw_mesh(seed);
        TablePtr const table = balanced_table(mesh.request);
        expect_sound(mesh.request, *table, mesh.text);
        expect_balanced(mesh.request, *table, mesh.text);
        ++(ideal_of(mesh.request).capped ? capped : plain);
    }
    EXPECT_GT(plain, 15);
    EXPECT_GT(capped, 8);
}

// `--max-per rack=1` and the like, beside the cap of the failure domain.
TEST(SlowBalancedBounds, CapsOfOtherLevelsAreKeptWhateverTheWeights) {
    int at_work = 0;
    for (u64 seed = 1; seed <= 100; ++seed) {
        DrawnMesh mesh = draw_mesh(seed);
        Prng rng(seed + 2000);
        Level const level = static_cast<Level>(rng.between(1, 3));
        if (level == mesh.request.level) continue;
        u8 const cap = static_cast<u8>(rng.between(1, 3));
        mesh.request.caps[static_cast<usize>(level)] = cap;
        u32 const domains = static_cast<u32>(mesh.shape.zones) * (level <= Level::kRack ? mesh.shape.racks : 1) *
                            (level == Level::kChassis ? mesh.shape.chassis : 1);
        if (std::min<u32>(cap, mesh.shape.corelets) * domains < mesh.request.width)
            continue;  // it could not be kept
        if (mesh.request.level != Level::kCorelet && cap_of(mesh.request) > mesh.request.promise) continue;
        std::string const what = mesh.text + ", at most " + std::to_string(cap) + " a " + level_name(level);
        TablePtr const table = balanced_table(mesh.request);
        expect_sound(mesh.request, *table, what);
        ASSERT_LE(most_in_a_domain(mesh.request, *table, level), cap) << what;
        at_work += mesh.request.width > cap;
        // And over a loss.
        mesh.request.candidates.erase(mesh.request.candidates.begin());
        mesh.request.previous = table.get();
        TablePtr const after = balanced_table(mesh.request);
        if (mesh.shape.corelets > 1)
            ASSERT_LE(most_in_a_domain(mesh.request, *after, level), cap) << what << ", one less";
    }
    EXPECT_GT(at_work, 10);
}

// What must move, whoever places it: what each should have beyond what it has.
double needed(const PlacementRequest& request, const SlotTable& before) {
    double out = 0;
    u32 const doubled = request.slots / before.slots();
    for (auto const& [id, share] : ideal_of(request).shares)
        out += std::max(0.0, share - static_cast<double>(held_by(before, id)) * doubled);
    return out;
}

struct Step {
    double moved = 0, bound = 0;
    bool tight = false;  // before or after
};

// One more comes. Where there is room, all that moves is its share.
Step add_one(DrawnMesh& mesh, TablePtr& table, Prng& rng, u64 id) {
    Step step;
    step.tight = ideal_of(mesh.request).tight;
    mesh.request.candidates.push_back(
        {CoreletId(id), draw_weight(rng, mesh.weights), Standing::kOpen, draw_location(rng, mesh.shape)});
    mesh.request.slots = std::max(mesh.request.slots, slots_for(mesh.request.candidates.size()));
    TablePtr const before = table;
    mesh.request.previous = before.get();
    table = balanced_table(mesh.request);
    mesh.request.previous = nullptr;
    Ideal const ideal = ideal_of(mesh.request);
    step.tight = step.tight || ideal.tight;
    step.moved = moved(*before, *table);
    step.bound = step.tight ? needed(mesh.request, *before) : ideal.shares.at(CoreletId(id));
    return step;
}

Step remove_one(DrawnMesh& mesh, TablePtr& table, Prng& rng) {
    Step step;
    step.tight = ideal_of(mesh.request).tight;
    auto const victim =
        mesh.request.candidates.begin() + static_cast<i64>(rng.below(mesh.request.candidates.size()));
    step.bound = held_by(*table, victim->id);
    mesh.request.candidates.erase(victim);
    TablePtr const before = table;
    mesh.request.previous = before.get();
    table = balanced_table(mesh.request);
    mesh.request.previous = nullptr;
    step.tight = step.tight || ideal_of(mesh.request).tight;
    step.moved = moved(*before, *table);
    if (step.tight) step.bound = std::max(step.bound, needed(mesh.request, *before));
    return step;
}

TEST(SlowBalancedBounds, ComingAndGoingMovesATenthMoreThanItMustAtMost) {
    int roomy = 0, tight = 0;
    for (u64 seed = 1; seed <= 25; ++seed) {
        DrawnMesh mesh = draw_mesh(seed);
        Prng rng(seed + 1000);
        TablePtr table = balanced_table(mesh.request);
        for (u64 round = 0; round < 6; ++round) {
            bool const adds = mesh.request.candidates.size() <= mesh.request.width + 1 || rng.chance(1, 2);
            std::string const what =
                mesh.text + ", round " + std::to_string(round) + (adds ? ", one more" : ", one less");
            Step const step = adds ? add_one(mesh, table, rng, 1000 + round) : remove_one(mesh, table, rng);
            expect_sound(mesh.request, *table, what);
            expect_balanced(mesh.request, *table, what);
            double const factor = step.tight ? 1.5 : 1.1;
            EXPECT_LE(step.moved, factor * step.bound + 1) << what << (step.tight ? ", tight" : "");
            ++(step.tight ? tight : roomy);
        }
    }
    EXPECT_GT(roomy, 30);
    EXPECT_GT(tight, 30);
}

}  // namespace
}  // namespace corelet::mesh
