// What the keeper of a folder of bays does: each bay from the appearance of its device to the corelet that serves
// it, and to its end. Pure: (state, event, now) -> effects.
//
// A bay is looked at only when its device has stayed the same from one survey to the next. What is looked at, made
// or started when the device goes is finished first, and its result then counts for nothing.
#pragma once

#include <map>
#include <string>
#include <variant>
#include <vector>

#include "base/time.h"

namespace corelet::app {

// Which device is in a bay: another one has another mark, also at the same path.
struct DeviceMark {
    u64 file_system = 0;
    u64 number = 0;  // of the inode, or of the block device
    u64 size_bytes = 0;
    [[nodiscard]] bool same_device(const DeviceMark& other) const {
        return file_system == other.file_system && number == other.number;
    }
    friend bool operator==(const DeviceMark&, const DeviceMark&) = default;
};
struct BaySeen {
    DeviceMark mark;
    std::string unfit;  // why nothing can be served from it, whatever it holds; empty: it may be
};

// What somebody who looked says of a device.
enum class BayHolds : u8 {
    kBlank,    // nothing, as far as was looked
    kMember,   // a corelet of this mesh
    kServed,   // the same, and its process runs already
    kForeign,  // anything else: it is left alone
    kBusy,     // could not be looked at now
};
struct BayFinding {
    BayHolds holds = BayHolds::kBusy;
    std::string words;  // for people
    int pid = 0;        // with kServed
};

// Events.
struct BaysSurveyed {
    std::map<std::string, BaySeen> bays;  // all that is in the folder, by name
};
struct BayLookedAt {
    std::string bay;
    BayFinding finding;
};
struct BayMade {  // initialised; with words: it was not, and why
    std::string bay;
    std::string trouble;
};
struct BayStarted {  // pid 0: it was not, and why
    std::string bay;
    int pid = 0;
    std::string trouble;
};
struct BayEnded {
    std::string bay;
    int pid = 0;
};
struct KeeperStops {};
using BayEvent = std::variant<BaysSurveyed, BayLookedAt, BayMade, BayStarted, BayEnded, KeeperStops>;

// Effects. Each of the first three is answered by the event of its name.
struct LookAtBay {
    std::string bay;
};
struct MakeBay {
    std::string bay;
};
struct StartBay {
    std::string bay;
};
struct EndBay {
    std::string bay;
    int pid = 0;
    bool at_once = false;  // KILL: its device is gone, or it did not end by TERM
};
struct TellOfBay {
    std::string bay;
    std::string event;
    std::string words;
    bool is_trouble = false;
};
using BayEffect = std::variant<LookAtBay, MakeBay, StartBay, EndBay, TellOfBay>;

enum class BayState : u8 { kSettling, kLooking, kMaking, kStarting, kServing, kPausing, kLeftAlone, kEnding };
[[nodiscard]] const char* bay_state_name(BayState state);

struct Bay {
    BayState state = BayState::kSettling;
    DeviceMark subject;  // what the present state is about
    std::string unfit;   // likewise
    bool here = true;    // in the last survey, and still the subject
    int pid = 0;         // of its corelet; 0: none runs
    Instant since;       // of the state
    Duration pause;      // the last one; grows with each failure
    std::string words;   // why it is left alone, or pauses
};

struct BayTimes {
    Duration pause_least = 500_ms;
    Duration pause_most = 30_s;
    Duration proven = 60_s;      // a corelet that ran so long begins anew with the least pause
    Duration look_again = 30_s;  // at what is left alone: somebody may have emptied it
    Duration patience = 5_s;     // after TERM
};

class BayCore {
  public:
    explicit BayCore(BayTimes times = {}) : times_(times) {}
    [[nodiscard]] std::vector<BayEffect> step(BayEvent event, Instant now);
    [[nodiscard]] const std::map<std::string, Bay>& bays() const { return bays_; }
    // After KeeperStops: nothing runs that was not told to end, and all of that has ended.
    [[nodiscard]] bool is_done() const;

  private:
    void on(BaysSurveyed& event);
    void on(BayLookedAt& event);
    void on(BayMade& event);
    void on(BayStarted& event);
    void on(BayEnded& event);
    void on(KeeperStops& event);

    void enter(Bay& bay, BayState state);
    void look(const std::string& name, Bay& bay);
    void pause(const std::string& name, Bay& bay, std::string words);
    void leave_alone(const std::string& name, Bay& bay, std::string words);
    void device_gone(const std::string& name, Bay& bay);
    // Of a bay whose device went meanwhile; true: that was all.
    bool forget_if_gone(const std::string& name, Bay& bay);
    void advance(const std::string& name, Bay& bay);
    void end_next();
    void tell(const std::string& name, std::string event, std::string words, bool is_trouble = false);

    BayTimes times_;
    std::map<std::string, Bay> bays_;
    bool stopping_ = false;
    Instant now_;
    std::vector<BayEffect> effects_;
};

}  // namespace corelet::app
