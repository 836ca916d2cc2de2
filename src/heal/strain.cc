#include "heal/strain.h"

#include <algorithm>

namespace corelet {

void StrainMeter::learn(Duration took, bool healing) {
    if (healing) {
        if (usual_.ns != 0 && !is_guess_) return;
        usual_ = is_guess_ ? std::min(usual_, took) : took;
        is_guess_ = true;
        return;
    }
    if (usual_.ns == 0 || is_guess_) {
        usual_ = took;
        is_guess_ = false;
        return;
    }
    usual_ = Duration{std::max<i64>(1, usual_.ns + (took.ns - usual_.ns) / k_learn_share)};
}

void StrainMeter::add(u64 requests, Duration took, bool healing, Instant now) {
    if (requests != 0) asked_at_ = now;
    if (!asked_at_ || now - *asked_at_ >= k_gone_after) {
        permille_ = 0;
        return;
    }
    if (requests < k_requests_least) {
        // Somebody is there, and it cannot be told how they fare.
        if (permille_ == 0) permille_ = k_as_usual;
        return;
    }
    learn(took, healing);
    bool const felt = usual_.ns != 0 && took - usual_ > slack_;
    permille_ = felt ? static_cast<u32>(std::min<i64>(took.ns * k_as_usual / usual_.ns, 1'000'000)) : k_as_usual;
}

HealWords::Said& HealWords::said(CoreletId from, Instant now) {
    if (said_.size() >= k_peers_max && !said_.contains(from)) {
        std::erase_if(said_, [&](const auto& item) {
            return now - item.second.strained_at >= k_strain_holds && now >= item.second.holds_until;
        });
        if (said_.size() >= k_peers_max)
            said_.erase(std::min_element(said_.begin(), said_.end(), [](const auto& a, const auto& b) {
                return std::max(a.second.strained_at, a.second.holds_until) <
                       std::max(b.second.strained_at, b.second.holds_until);
            }));
    }
    auto const [item, fresh] = said_.try_emplace(from);
    if (fresh) item->second = Said{0, now - k_strain_holds, 0, now};
    return item->second;
}

void HealWords::strained(CoreletId from, u32 permille, Instant now) {
    Said& word = said(from, now);
    word.permille = permille;
    word.strained_at = now;
}

void HealWords::rebuilding(CoreletId from, u64 bytes_left, Duration holds, Instant now) {
    Said& word = said(from, now);
    word.bytes_left = bytes_left;
    word.holds_until = bytes_left == 0 ? now : now + holds;
}

HealWords::Strain HealWords::strain(Instant now) const {
    Strain worst;
    for (auto const& [id, word] : said_)
        if (now - word.strained_at < k_strain_holds && word.permille > worst.permille)
            worst = Strain{word.permille, id};
    return worst;
}

usize HealWords::rebuilders(Instant now) const {
    return static_cast<usize>(std::count_if(said_.begin(), said_.end(), [&](const auto& item) {
        return item.second.bytes_left != 0 && now < item.second.holds_until;
    }));
}

}  // namespace corelet
