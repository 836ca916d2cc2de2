#include "mesh/quota.h"

#include <algorithm>
#include <tuple>

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
    explicit Basin(const QuotaRequest& request) : request_(request), domains_(request.domains.size() + 1) {
        for (usize i = 0; i < request.domains.size(); ++i) {
            u32 const around = request.domains[i].around;
            CORELET_ASSERT(around == QuotaDomain::k_none || around < i);
            domains_[i + 1].around = outer(around);
            domains_[outer(around)].within.push_back(i + 1);
        }
        for (usize i = 0; i < request.entries.size(); ++i) {
            const QuotaEntry& entry = request.entries[i];
            CORELET_ASSERT(entry.weight <= k_rounding);
            if (!entry.fixed) domains_[outer(entry.domain)].open.push_back(i);
            if (entry.fixed) each_around(entry.domain, [&](Domain& domain) { domain.fixed += entry.count; });
        }
        for (usize i = 0; i < request.domains.size(); ++i) {
            u64 const cap = static_cast<u64>(request.domains[i].cap) * request.slots;
            domains_[i + 1].capacity = cap - std::min(cap, domains_[i + 1].fixed);
        }
        Domain& everything = domains_.front();
        everything.capacity = request.total - std::min(request.total, everything.fixed);
    }

    std::vector<u32> shares() {
        out_.assign(request_.entries.size(), 0);
        fraction_.assign(request_.entries.size(), 0);
        Domain& everything = domains_.front();
        fill(everything, highest(everything.capacity, [&](u64 l) { return within(everything, l); }));
        for (usize i = 0; i < out_.size(); ++i) {
            if (request_.entries[i].fixed) out_[i] = request_.entries[i].count;
        }
        CORELET_ASSERT(everything.given <= everything.capacity);
        hand_out_rest(everything.capacity - everything.given);
        return std::move(out_);
    }

  private:
    struct Domain {
        usize around = 0;
        std::vector<usize> within;  // domains
        std::vector<usize> open;    // entries, in no domain further in
        u64 fixed = 0;
        u64 capacity = 0;  // for the open ones
        u64 given = 0;
    };

    // Number 0 is what is around all.
    [[nodiscard]] static usize outer(u32 domain) { return domain == QuotaDomain::k_none ? 0 : domain + usize{1}; }
    template <class Each>
    void each_around(u32 innermost, Each each) {
        for (usize at = outer(innermost);; at = domains_[at].around) {
            each(domains_[at]);
            if (at == 0) return;
        }
    }
    [[nodiscard]] static u128 exactly(u64 places) { return static_cast<u128>(places) << k_level_bits; }
    [[nodiscard]] u128 share_at(usize entry, u64 level) const {
        return std::min(static_cast<u128>(level) * request_.entries[entry].weight, exactly(request_.slots));
    }
    // What its members take at a level, were there no cap of its own.
    [[nodiscard]] u128 within(const Domain& domain, u64 level) const {
        u128 sum = 0;
        for (usize i : domain.open) sum += share_at(i, level);
        for (usize i : domain.within) sum += std::min(exactly(domains_[i].capacity), within(domains_[i], level));
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
    // To the level, or as far below it as its own cap says.
    void fill(Domain& domain, u64 level) {
        if (within(domain, level) > exactly(domain.capacity))
            level = highest(domain.capacity, [&](u64 l) { return within(domain, l); });
        for (usize i : domain.open) {
            u128 const exact = std::min(share_at(i, level) + k_rounding, exactly(request_.slots));
            out_[i] = static_cast<u32>(exact >> k_level_bits);
            fraction_[i] = static_cast<u64>(exact & ((u128{1} << k_level_bits) - 1));
            domain.given += out_[i];
        }
        for (usize i : domain.within) {
            fill(domains_[i], level);
            domain.given += domains_[i].given;
        }
    }
    [[nodiscard]] bool takes_one_more(usize entry) {
        bool takes = out_[entry] < request_.slots;
        each_around(request_.entries[entry].domain,
                    [&](const Domain& domain) { takes = takes && domain.given < domain.capacity; });
        return takes;
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
                if (rest == 0 || !takes_one_more(i)) continue;
                ++out_[i];
                each_around(request_.entries[i].domain, [](Domain& domain) { ++domain.given; });
                --rest;
                progress = true;
            }
        }
    }

    const QuotaRequest& request_;
    std::vector<Domain> domains_;  // as in the request, after the one around all
    std::vector<u32> out_;
    std::vector<u64> fraction_;
};

}  // namespace

std::vector<u32> share_out(const QuotaRequest& request) {
    return Basin(request).shares();
}

}  // namespace corelet::mesh
