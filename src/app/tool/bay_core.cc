#include "app/tool/bay_core.h"

#include <algorithm>

namespace corelet::app {

const char* bay_state_name(BayState state) {
    switch (state) {
        case BayState::kSettling:
            return "settling";
        case BayState::kLooking:
            return "looked at";
        case BayState::kMaking:
            return "being initialised";
        case BayState::kStarting:
            return "starting";
        case BayState::kServing:
            return "served";
        case BayState::kPausing:
            return "waiting";
        case BayState::kLeftAlone:
            return "left alone";
        case BayState::kEnding:
            return "ending";
    }
    return "?";
}

std::vector<BayEffect> BayCore::step(BayEvent event, Instant now) {
    now_ = now;
    std::visit([&](auto& each) { on(each); }, event);
    if (stopping_) end_next();
    return std::exchange(effects_, {});
}

bool BayCore::is_done() const {
    return stopping_ && std::ranges::none_of(bays_, [](const auto& item) {
               const Bay& bay = item.second;
               bool const under_way = bay.state == BayState::kLooking || bay.state == BayState::kMaking ||
                                      bay.state == BayState::kStarting;
               return bay.pid != 0 || under_way;
           });
}

void BayCore::tell(const std::string& name, std::string event, std::string words, bool is_trouble) {
    effects_.emplace_back(TellOfBay{name, std::move(event), std::move(words), is_trouble});
}

void BayCore::enter(Bay& bay, BayState state) {
    bay.state = state;
    bay.since = now_;
}

void BayCore::look(const std::string& name, Bay& bay) {
    if (stopping_) return;
    enter(bay, BayState::kLooking);
    effects_.emplace_back(LookAtBay{name});
}

void BayCore::pause(const std::string& name, Bay& bay, std::string words) {
    bay.pause = std::clamp(bay.pause * 2, times_.pause_least, times_.pause_most);
    if (words != bay.words) tell(name, "bay.waits", words, true);
    bay.words = std::move(words);
    enter(bay, BayState::kPausing);
}

void BayCore::leave_alone(const std::string& name, Bay& bay, std::string words) {
    if (words != bay.words) tell(name, "bay.left_alone", words, true);
    bay.words = std::move(words);
    enter(bay, BayState::kLeftAlone);
}

void BayCore::on(BaysSurveyed& event) {
    for (auto& [name, bay] : bays_) {
        auto const seen = event.bays.find(name);
        bool const same = seen != event.bays.end() && seen->second.mark.same_device(bay.subject);
        if (!same && bay.here) device_gone(name, bay);
        // Somebody still writes it.
        if (same && bay.state == BayState::kSettling && seen->second.mark != bay.subject) {
            bay.subject = seen->second.mark;
            bay.since = now_;
        }
    }
    std::erase_if(bays_, [](const auto& item) {
        return !item.second.here && item.second.pid == 0 && item.second.state == BayState::kSettling;
    });
    for (auto& [name, bay] : bays_) advance(name, bay);
    if (stopping_) return;
    for (auto const& [name, seen] : event.bays) {
        auto const [place, fresh] = bays_.try_emplace(name);
        if (!fresh) continue;
        place->second.subject = seen.mark;
        place->second.unfit = seen.unfit;
        enter(place->second, BayState::kSettling);
    }
}

// It said no goodbye, and its process cannot reach it any more.
void BayCore::device_gone(const std::string& name, Bay& bay) {
    bay.here = false;
    if (bay.state != BayState::kSettling) tell(name, "bay.device_gone", "its device is gone");
    if (bay.pid != 0) {
        effects_.emplace_back(EndBay{name, bay.pid, true});
        enter(bay, BayState::kEnding);
    } else if (bay.state == BayState::kPausing || bay.state == BayState::kLeftAlone) {
        enter(bay, BayState::kSettling);  // nothing is under way
    }
}

bool BayCore::forget_if_gone(const std::string& name, Bay& bay) {
    if (bay.here) return false;
    if (bay.pid == 0) {
        bays_.erase(name);
        return true;
    }
    effects_.emplace_back(EndBay{name, bay.pid, true});
    enter(bay, BayState::kEnding);
    return true;
}

// What time alone brings about.
void BayCore::advance(const std::string& name, Bay& bay) {
    Duration const waited = now_ - bay.since;
    if (!bay.here || stopping_) return;
    if (bay.state == BayState::kSettling) {
        if (waited.ns == 0) return;
        if (bay.unfit.empty())
            look(name, bay);
        else
            leave_alone(name, bay, bay.unfit);
    } else if (bay.state == BayState::kPausing && waited >= bay.pause) {
        look(name, bay);
    } else if (bay.state == BayState::kLeftAlone && bay.unfit.empty() && waited >= times_.look_again) {
        look(name, bay);
    }
}

void BayCore::on(BayLookedAt& event) {
    auto const found = bays_.find(event.bay);
    if (found == bays_.end() || found->second.state != BayState::kLooking) return;
    Bay& bay = found->second;
    if (event.finding.holds == BayHolds::kServed) bay.pid = event.finding.pid;
    if (forget_if_gone(event.bay, bay)) return;
    switch (event.finding.holds) {
        case BayHolds::kServed:
            tell(event.bay, "bay.taken_over", event.finding.words);
            bay.words.clear();
            return enter(bay, BayState::kServing);
        case BayHolds::kForeign:
            return leave_alone(event.bay, bay, std::move(event.finding.words));
        case BayHolds::kBusy:
            return pause(event.bay, bay, std::move(event.finding.words));
        case BayHolds::kBlank:
        case BayHolds::kMember:
            break;
    }
    if (stopping_) return enter(bay, BayState::kSettling);
    bool const blank = event.finding.holds == BayHolds::kBlank;
    tell(event.bay, blank ? "bay.blank" : "bay.member", event.finding.words);
    enter(bay, blank ? BayState::kMaking : BayState::kStarting);
    if (blank)
        effects_.emplace_back(MakeBay{event.bay});
    else
        effects_.emplace_back(StartBay{event.bay});
}

void BayCore::on(BayMade& event) {
    auto const found = bays_.find(event.bay);
    if (found == bays_.end() || found->second.state != BayState::kMaking) return;
    Bay& bay = found->second;
    if (forget_if_gone(event.bay, bay)) return;
    if (!event.trouble.empty()) return pause(event.bay, bay, std::move(event.trouble));
    if (stopping_) return enter(bay, BayState::kSettling);
    enter(bay, BayState::kStarting);
    effects_.emplace_back(StartBay{event.bay});
}

void BayCore::on(BayStarted& event) {
    auto const found = bays_.find(event.bay);
    if (found == bays_.end() || found->second.state != BayState::kStarting) return;
    Bay& bay = found->second;
    bay.pid = event.pid;
    if (forget_if_gone(event.bay, bay)) return;
    if (event.pid == 0) return pause(event.bay, bay, std::move(event.trouble));
    tell(event.bay, "bay.served", "process " + std::to_string(event.pid));
    bay.words.clear();
    enter(bay, BayState::kServing);
}

void BayCore::on(BayEnded& event) {
    auto const found = bays_.find(event.bay);
    if (found == bays_.end() || found->second.pid != event.pid) return;
    Bay& bay = found->second;
    bay.pid = 0;
    if (forget_if_gone(event.bay, bay)) return;
    if (stopping_) return enter(bay, BayState::kSettling);
    if (now_ - bay.since >= times_.proven) bay.pause = {};
    pause(event.bay, bay, "its corelet has ended; its log says why. It is started again");
}

void BayCore::on(KeeperStops& /*event*/) {
    stopping_ = true;
}

// One after the other: while there is a neighbour left, the volumes of one have somewhere to go.
void BayCore::end_next() {
    for (auto& [name, bay] : bays_) {
        if (bay.pid == 0) continue;
        if (bay.state != BayState::kEnding) {
            effects_.emplace_back(EndBay{name, bay.pid, false});
            enter(bay, BayState::kEnding);
        } else if (now_ - bay.since >= times_.patience) {
            effects_.emplace_back(EndBay{name, bay.pid, true});
            enter(bay, BayState::kEnding);
        }
        return;
    }
}

}  // namespace corelet::app
