#include "mesh/quota.h"

#include <algorithm>

#include "base/assert.h"
#include "base/hash.h"

namespace corelet::mesh {
namespace {

// Exact shares are counted in 2^-40 places, and so are levels (places per unit of weight).
constexpr unsigned k_level_bits = 40;
// A level is rounded down by less than one unit, so a share by less than the largest weight. Adding that back keeps
// whole shares whole; it is 2^-16 places, so all corelets together gain less than one.
constexpr u64 k_rounding = u64{1} << 24;

class Basin {
  public:
    explicit Basin(const QuotaRequest& request) : request_(request) {
        for (usize i = 0; i < request.entries.size(); ++i) {
            const QuotaEntry& entry = request.entries[i];
            if (entry.domain >= domains_.size()) domains_.resize(entry.domain + 1);
            Domain& domain = domains_[entry.domain];
            if (entry.fixed) {
                domain.fixed += entry.count;
                fixed_total_ += entry.count;
            } else {
                CORELET_ASSERT(entry.weight <= k_rounding);
                domain.open.push_back(i);
            }
        }
        u64 const cap = static_cast<u64>(request.domain_cap) * request.slots;
        for (Domain& domain : domains_) domain.capacity = cap - std::min(cap, domain.fixed);
    }

    std::vector<u32> shares() {
        out_.assign(request_.entries.size(), 0);
        fraction_.assign(request_.entries.size(), 0);
        u64 const wanted = request_.total - std::min(request_.total, fixed_total_);
        u64 const level = highest(wanted, [&](u64 l) { return total_at(l); });
        u64 given = 0;
        for (Domain& domain : domains_) {
            u64 own = level;
            if (sum_at(domain, level) > exactly(domain.capacity)) {
                own = highest(domain.capacity, [&](u64 l) { return sum_at(domain, l); });
            }
            for (usize i : domain.open) {
                u128 const exact = std::min(share_at(i, own) + k_rounding, exactly(request_.slots));
                out_[i] = static_cast<u32>(exact >> k_level_bits);
                fraction_[i] = static_cast<u64>(exact & ((u128{1} << k_level_bits) - 1));
                given += out_[i];
                domain.given += out_[i];
            }
        }
        for (usize i = 0; i < out_.size(); ++i) {
            if (request_.entries[i].fixed) out_[i] = request_.entries[i].count;
        }
        CORELET_ASSERT(given <= wanted);
        hand_out_rest(wanted - given);
        return std::move(out_);
    }

  private:
    struct Domain {
        std::vector<usize> open;
        u64 fixed = 0;
        u64 capacity = 0;  // for the open ones
        u64 given = 0;
    };

    [[nodiscard]] static u128 exactly(u64 places) { return static_cast<u128>(places) << k_level_bits; }
    [[nodiscard]] u128 share_at(usize entry, u64 level) const {
        return std::min(static_cast<u128>(level) * request_.entries[entry].weight, exactly(request_.slots));
    }
    [[nodiscard]] u128 sum_at(const Domain& domain, u64 level) const {
        u128 sum = 0;
        for (usize i : domain.open) sum += share_at(i, level);
        return sum;
    }
    [[nodiscard]] u128 total_at(u64 level) const {
        u128 sum = 0;
        for (const Domain& domain : domains_) sum += std::min(exactly(domain.capacity), sum_at(domain, level));
        return sum;
    }
    // The highest level whose sum does not exceed `bound` places; beyond slots << bits even weight 1 is full.
    template <class Sum>
    [[nodiscard]] u64 highest(u64 bound, Sum sum) const {
        u64 low = 0, high = (static_cast<u64>(request_.slots) + 1) << k_level_bits;
        while (low < high) {
            u64 const middle = low + (high - low + 1) / 2;
            if (sum(middle) <= exactly(bound)) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        return low;
    }
    // One more each: first those that have it already, then by the largest fraction, then by hash.
    void hand_out_rest(u64 rest) {
        std::vector<usize> order;
        for (usize i = 0; i < out_.size(); ++i) {
            if (!request_.entries[i].fixed && request_.entries[i].weight > 0) order.push_back(i);
        }
        auto const key = [&](usize i) {
            return std::tuple(request_.entries[i].count <= out_[i], ~fraction_[i], hash64(request_.seed, i), i);
        };
        std::sort(order.begin(), order.end(), [&](usize a, usize b) { return key(a) < key(b); });
        for (bool progress = true; rest > 0 && progress;) {
            progress = false;
            for (usize i : order) {
                Domain& domain = domains_[request_.entries[i].domain];
                if (rest == 0 || out_[i] >= request_.slots || domain.given >= domain.capacity) continue;
                ++out_[i];
                ++domain.given;
                --rest;
                progress = true;
            }
        }
    }

    const QuotaRequest& request_;
    std::vector<Domain> domains_;
    u64 fixed_total_ = 0;
    std::vector<u32> out_;
    std::vector<u64> fraction_;
};

}  // namespace

std::vector<u32> share_out(const QuotaRequest& request) {
    return Basin(request).shares();
}

}  // namespace corelet::mesh
