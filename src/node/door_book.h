// Who may come in by a volume's door, at its owner (docs/protocols.md, doors). Pure; all on the owner's executor.
//
// A door is a process at a client's side that sends requests to whoever owns the volume, and sends them again
// when it does not know what became of them. What it sent before must be over, for good, before what it sends anew
// counts: else a write that lingered in a stalled connection overwrites a later one. So each connection has a
// ticket, only the newest ticket is good, and a new one is good only when nothing of the former ones runs any more.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/result.h"
#include "rt/sync.h"

namespace corelet {

// What a request of a door asks for. Numbers on the wire, for ever.
enum class DoorKind : u32 { kAlive = 0, kRead = 1, kWrite = 2, kFlush = 3, kTrim = 4, kZeroes = 5, kStatus = 6 };

class DoorBook {
  public:
    // One volume's door at one epoch of its stream. Requests that run hold it.
    struct Door {
        Epoch epoch;
        u64 number = 0;   // of the newest door that has opened
        u64 ticket = 0;   // of the newest connection; never zero once one has opened
        u64 running = 0;  // requests, of whatever ticket
        Notify ended;     // one of them has
    };
    // A request that was let in; counts as running while it lives.
    class Pass {
      public:
        explicit Pass(std::shared_ptr<Door> door) : door_(std::move(door)) { ++door_->running; }
        Pass(Pass&&) noexcept = default;
        Pass& operator=(Pass&&) = delete;
        ~Pass() {
            if (!door_) return;
            --door_->running;
            door_->ended.notify_all();
        }

      private:
        std::shared_ptr<Door> door_;
    };

    // From now on `ticket` (not zero, never used before) is the only good one of that volume; it may be used when
    // the door's `running` has fallen to zero. `known`: the highest number of a door that the catalog is known to
    // have given out. kConflict: a later door has taken this one's place. kFenced: a later epoch has been seen.
    [[nodiscard]] Result<std::shared_ptr<Door>> open(const std::string& volume, Epoch epoch, u64 number, u64 known,
                                                     u64 ticket);
    // kFenced: the ticket, or its epoch, is over.
    [[nodiscard]] Result<Pass> admit(const std::string& volume, Epoch epoch, u64 ticket);
    // Of volumes for which `keep` is false nothing is remembered.
    template <class Keep>
    void forget_others(Keep keep) {
        std::erase_if(doors_, [&](const auto& item) { return !keep(item.first); });
    }
    [[nodiscard]] usize size() const { return doors_.size(); }

  private:
    std::map<std::string, std::shared_ptr<Door>> doors_;
};

}  // namespace corelet
