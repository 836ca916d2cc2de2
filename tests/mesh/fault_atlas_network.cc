// Faults of the network.
#include "tests/mesh/fault_atlas.h"

namespace corelet {

void FaultAtlas::cut_one() {
    cut_from_others(true);
}

void FaultAtlas::cut_one_way() {
    cut_from_others(false);
}

void FaultAtlas::cut_from_others(bool both_ways) {
    if (auto const victim = draw_victim_or_owner()) (void)cut_from_others(*victim, both_ways, draw_outage());
}

// From most of them. False: from nobody.
bool FaultAtlas::cut_from_others(usize victim, bool both_ways, Duration time) {
    std::vector<u32> from{static_cast<u32>(victim)}, to;
    for (u32 other = 0; other < mesh_.size(); ++other)
        if (other != victim && random_.chance(4, 5)) to.push_back(other);
    if (to.empty()) return false;
    if (!both_ways && random_.chance(1, 2)) std::swap(from, to);
    troubles_[victim] = Trouble::kCut;
    cut(std::move(from), std::move(to), time, both_ways);
    return true;
}

// These two do not reach each other, and all others reach both: nobody is dead, and what one has to say to the
// other goes through a third.
void FaultAtlas::cut_pair() {
    auto const victim = draw_victim_or_owner();
    if (!victim || mesh_.size() < 3) return;
    u32 const one = static_cast<u32>(*victim);
    u32 const other = static_cast<u32>((one + 1 + random_.below(mesh_.size() - 1)) % mesh_.size());
    bool const both_ways = random_.chance(2, 3), towards = random_.chance(1, 2);
    troubles_[one] = Trouble::kCut;
    cut({towards ? one : other}, {towards ? other : one}, draw_outage(), both_ways);
}

std::vector<u32> FaultAtlas::all_but(std::initializer_list<usize> these) const {
    std::vector<u32> out;
    for (u32 i = 0; i < mesh_.size(); ++i)
        if (std::ranges::find(these, i) == these.end()) out.push_back(i);
    return out;
}

// Nobody is lost by it: whoever cannot go on waits.
void FaultAtlas::cut_many() {
    std::vector<u32> some, others;
    for (u32 i = 0; i < mesh_.size(); ++i)
        if (!mesh_.is_absent(i)) (random_.chance(1, 2) ? some : others).push_back(i);
    if (some.empty() || others.empty()) return;
    for (u32 i : some) troubles_[i] = Trouble::kCut;
    // Who is away for long is put out: no more than may be lost.
    bool const bearable = std::min(some.size(), others.size()) <= options_.promise;
    i64 const longest = bearable ? std::max<i64>(6'000, options_.longest.ms()) : 6'000;
    cut(std::move(some), std::move(others), draw(100, longest));
}

void FaultAtlas::cut(std::vector<u32> from, std::vector<u32> to, Duration time, bool both_ways) {
    if (both_ways) {
        world_.partition(from, to);
    } else {
        world_.partition_one_way(from, to);
        world_.stats().count_fault(sim::FaultKind::kPartitionOneWay);
    }
    cuts_.push_back(Cut{std::move(from), std::move(to), both_ways});
    after(time, &FaultAtlas::mend, cuts_.size() - 1);
}

void FaultAtlas::mend(usize index) {
    Cut const cut = std::exchange(cuts_[index], Cut{});
    for (u32 a : cut.from)
        for (u32 b : cut.to) {
            world_.fabric().mend(a, b);
            if (cut.both_ways) world_.fabric().mend(b, a);
        }
    // Of two cuts that overlap the last one to be mended ends the trouble.
    auto const is_in = [](const std::vector<u32>& side, u32 i) { return std::ranges::find(side, i) != side.end(); };
    auto const is_cut = [&](u32 i) {
        return std::ranges::any_of(cuts_,
                                   [&](const Cut& other) { return is_in(other.from, i) || is_in(other.to, i); });
    };
    for (auto const* side : {&cut.from, &cut.to})
        for (u32 i : *side) {
            note_what_it_missed(i);  // also of those on the other side of the cut
            if (troubles_[i] == Trouble::kCut && !is_cut(i)) is_back(i);
        }
}

// While a device is bad and nobody has its copies beside those who should. An owner that does not reach one of them
// goes on with fewer at once (protocols 5.4), perhaps with that device alone: even a lost connection is more than
// the promise then.
bool FaultAtlas::must_reach_all() const {
    return !options_.beyond && !spoiled().empty() && mesh_.options().corelets <= options_.copies;
}

void FaultAtlas::delay_links() {
    if (must_reach_all()) return;
    u32 const victim = static_cast<u32>(random_.below(mesh_.size()));
    for (u32 other = 0; other < mesh_.size(); ++other) {
        if (other == victim || !random_.chance(1, 2)) continue;
        world_.fabric().set_delay(victim, other, draw(1, 300));
        world_.fabric().set_delay(other, victim, draw(1, 300));
    }
    world_.stats().count_fault(sim::FaultKind::kDelay);
    after(draw(100, 4'000), &FaultAtlas::heal_delays, victim);
}

void FaultAtlas::heal_delays(usize victim) {
    for (u32 other = 0; other < mesh_.size(); ++other) {
        if (other == victim) continue;
        world_.fabric().set_delay(static_cast<u32>(victim), other, Duration{});
        world_.fabric().set_delay(other, static_cast<u32>(victim), Duration{});
    }
}

// A link delivers nothing for a moment; what was sent gets there later.
void FaultAtlas::clog_links() {
    if (must_reach_all()) return;
    for (u64 i = random_.between(1, 4); i != 0; --i) {
        u32 const from = static_cast<u32>(random_.below(mesh_.size()));
        u32 const to = static_cast<u32>((from + 1 + random_.below(mesh_.size() - 1)) % mesh_.size());
        world_.fabric().clog(from, to, draw(1, 400));
        world_.stats().count_fault(sim::FaultKind::kClog);
    }
}

void FaultAtlas::reset_streams() {
    if (must_reach_all()) return;
    for (u64 i = random_.between(1, 6); i != 0; --i) (void)world_.fabric().reset_random_stream(random_, false);
}

void FaultAtlas::half_open_streams() {
    if (must_reach_all()) return;
    for (u64 i = random_.between(1, 3); i != 0; --i) (void)world_.fabric().reset_random_stream(random_, true);
}

}  // namespace corelet
