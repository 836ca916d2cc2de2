#include "chunk/peer_book.h"

#include <algorithm>
#include <bit>
#include <vector>

namespace corelet {

// --- histogram
// -------------------------------------------------------------------------------------------------------

// Bucket 0 holds what took less than 64 us; then four to each doubling.
usize RecentLatency::bucket_of(Duration took) {
    u64 const us = took.ns <= 0 ? 0 : static_cast<u64>(took.ns) / 1000;
    if (us < 64) return 0;
    auto const octave = static_cast<usize>(std::bit_width(us)) - 7;
    u64 const quarter = (us >> (octave + 4)) & 3;
    return std::min<usize>(1 + octave * 4 + quarter, k_buckets - 1);
}

Duration RecentLatency::upper_edge(usize bucket) {
    if (bucket == 0) return 64_us;
    usize const octave = (bucket - 1) / 4, quarter = (bucket - 1) % 4;
    return Duration{static_cast<i64>(((4 + quarter + 1) << (octave + 4)) * 1000)};
}

void RecentLatency::add(Duration took) {
    ++counts_[bucket_of(took)];
    if (++total_ < k_halve_at) return;
    total_ = 0;
    for (u16& count : counts_) {
        count /= 2;
        total_ += count;
    }
}

Duration RecentLatency::p95() const {
    if (total_ == 0) return {};
    u32 const slower_at_most = total_ / 20;
    u32 slower = 0;
    for (usize bucket = k_buckets; bucket-- > 0;) {
        slower += counts_[bucket];
        if (slower > slower_at_most) return upper_edge(bucket);
    }
    return upper_edge(0);
}

// --- peers
// -----------------------------------------------------------------------------------------------------------

PeerBook::Peer& PeerBook::peer(CoreletId id) {
    // Corelets come and go; one that is asked nothing makes room.
    if (peers_.size() >= k_peers_max && !peers_.contains(id))
        for (auto each = peers_.begin(); each != peers_.end(); ++each)
            if (each->second.questions == 0) {
                peers_.erase(each);
                break;
            }
    return peers_[id];
}

Duration PeerBook::patience(CoreletId id, u64 bytes) const {
    auto const found = peers_.find(id);
    if (found == peers_.end()) return options_.unknown;
    const RecentLatency& took = found->second.took[size_class(bytes)];
    if (took.count() == 0) return options_.unknown;
    Duration const own = std::clamp(took.p95(), options_.least, options_.most);
    Duration const others = is_slow(id) ? usual(size_class(bytes)) : Duration{};
    return others.ns == 0 ? own : std::min(own, std::max(others, options_.least));
}

Duration PeerBook::usual(usize size) const {
    std::vector<Duration> took;
    for (auto const& [id, known] : peers_)
        if (!is_slow(id) && known.took[size].count() != 0) took.push_back(known.took[size].p95());
    if (took.empty()) return {};
    auto const middle = took.begin() + static_cast<std::ptrdiff_t>(took.size() / 2);
    std::nth_element(took.begin(), middle, took.end());
    return *middle;
}

bool PeerBook::is_silent(const Peer& known, Instant now) const {
    Duration usual{};
    for (const RecentLatency& took : known.took) usual = std::max(usual, took.p95());
    return known.questions != 0 &&
           now - known.silent_since >= std::clamp(usual * 4, options_.silence, options_.most);
}

bool PeerBook::is_suspect(CoreletId id, Instant now) const {
    auto const found = peers_.find(id);
    if (found == peers_.end()) return false;
    return is_silent(found->second, now) || (found->second.failures > 0 && now < found->second.suspect_until);
}

bool PeerBook::try_now(CoreletId id, Instant now) {
    auto const found = peers_.find(id);
    if (found == peers_.end()) return true;
    if (is_suspect(id, now)) return false;
    if (found->second.failures > 0) found->second.suspect_until = now + options_.probe;
    return true;
}

PeerBook::Question::Question(PeerBook& book, CoreletId peer, u64 bytes, Instant now)
    : book_(book), peer_(peer), bytes_(bytes), asked_(now) {
    Peer& known = book_.peer(peer_);
    if (known.questions++ == 0) known.silent_since = now;
}

PeerBook::Question::~Question() {
    --book_.peer(peer_).questions;
}

void PeerBook::Question::answered(Instant now) {
    Peer& known = book_.peer(peer_);
    known.failures = 0;
    known.silent_since = now;
    known.took[size_class(bytes_)].add(now - asked_);
}

// Reads that were under way together fail together: that is one failure.
void PeerBook::Question::failed(Instant now) {
    Peer& known = book_.peer(peer_);
    if (known.failures > 0 && now < known.suspect_until) return;
    Duration const wait = book_.options_.suspect_least * (i64{1} << std::min<u32>(known.failures, 10));
    known.suspect_until = now + std::min(wait, book_.options_.suspect_most);
    ++known.failures;
}

}  // namespace corelet
