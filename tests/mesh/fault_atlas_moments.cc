// Strikes at the instants at which requests are carried out: something is durable and not told yet, was asked and
// is not done, was told to the first of several. Where rules for such instants are broken, crashes at drawn times
// seldom show it.
#include "tests/mesh/fault_atlas.h"

namespace corelet {

// Of all methods seen so far one, rare or frequent, whoever serves it next.
void FaultAtlas::strike_at_moment() {
    if (methods_.empty() || (strike_ && world_.now() <= strike_->until && random_.chance(1, 2))) return;
    Strike strike;
    strike.method = methods_[random_.below(methods_.size())];
    strike.is_done = random_.chance(2, 3);
    strike.at_caller = random_.chance(1, 3);
    static constexpr std::array k_hows{Strike::How::kCrash, Strike::How::kCrash, Strike::How::kCrash,
                                       Strike::How::kPause, Strike::How::kCut};
    strike.how = k_hows[random_.below(k_hows.size())];
    strike.skip = random_.below(u64{1} << random_.below(4));
    strike.hits = random_.chance(1, 2) ? 1 : options_.promise + crowd_;
    strike.until = world_.now() + 10_s;
    strike_ = strike;
}

void FaultAtlas::at_moment(const FaultPoints::Moment& moment) {
    if (on_moment) on_moment(moment);
    if (!is_method_seen_[moment.method]) {
        is_method_seen_[moment.method] = true;
        methods_.push_back(moment.method);
    }
    if (outcast_ && !moment.is_done && moment.method == stream_method::k_fence.v) at_fence();
    if (garbling_) garble(moment);
    if (asked_until_ && !moment.is_done && moment.method == heal_method::k_confirm.v)
        if (auto const holder = mesh_.index_of(CoreletId(moment.caller))) at_confirm(*holder);
    if (mover_until_ && moment.is_done && moment.method == stream_method::k_release.v)
        if (auto const owner = mesh_.index_of(CoreletId(moment.caller))) at_release(*owner);
    if (!strike_ || strike_->method != moment.method || strike_->is_done != moment.is_done) return;
    // Somebody's device is about to go bad, or everybody to crash: that waits for calm.
    if (over_ || world_.now() > strike_->until || quiet_until_ || wish_ || drill_) {
        strike_.reset();
        return;
    }
    if (strike_->skip > 0) {
        --strike_->skip;
        return;
    }
    auto const victim = strike_->at_caller ? mesh_.index_of(CoreletId(moment.caller)) : mesh_.running();
    if (!victim || troubles_[*victim] != Trouble::kNone || !mesh_.machine(*victim).is_up() || !may_trouble(1))
        return;
    world_.stats().count("struck");
    calm_since_ = world_.now();
    strike(*victim);
    if (--strike_->hits == 0) strike_.reset();
}

// Now, between two awaits, or a little later: as the answer is on its way.
void FaultAtlas::strike(usize index) {
    bool const now = random_.chance(1, 2);
    Duration const delay{static_cast<i64>(random_.below(now ? 1 : u64{3'000'000}))};
    switch (strike_->how) {
        case Strike::How::kCrash:
            troubles_[index] = Trouble::kDown;
            if (now && mesh_.machine(index).is_running()) return crash_struck(index);
            return after(delay, &FaultAtlas::crash_struck, index);
        case Strike::How::kPause:
            troubles_[index] = Trouble::kPaused;
            return after(delay, &FaultAtlas::pause_struck, index);
        case Strike::How::kCut:
            troubles_[index] = Trouble::kCut;
            return after(delay, &FaultAtlas::cut_struck, index);
    }
}

void FaultAtlas::crash_struck(usize index) {
    if (troubles_[index] == Trouble::kDown) crash(index, draw(50, random_.chance(1, 2) ? 500 : 6'000));
}

void FaultAtlas::pause_struck(usize index) {
    if (troubles_[index] == Trouble::kPaused) pause(index, draw_outage());
}

void FaultAtlas::cut_struck(usize index) {
    if (troubles_[index] == Trouble::kCut && !cut_from_others(index, true, draw_outage()))
        troubles_[index] = Trouble::kNone;
}

}  // namespace corelet
