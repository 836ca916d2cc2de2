// Mutual exclusion by key across awaits: operations on one id follow each other, those on different ids do not
// wait. Takes memory only for keys that are held or waited for.
#pragma once

#include <map>

#include "rt/sync.h"

namespace corelet {

template <class Key>
class KeyedMutex {
    struct Slot {
        Mutex mutex;
        usize users = 0;
    };
    using Slots = std::map<Key, Slot>;

    // Keeps the slot alive while somebody holds or waits for it.
    class Use {
      public:
        Use(Slots& slots, typename Slots::iterator at) : slots_(&slots), at_(at) { ++at_->second.users; }
        Use(Use&& other) noexcept : slots_(std::exchange(other.slots_, nullptr)), at_(other.at_) {}
        Use& operator=(Use&&) = delete;
        ~Use() {
            if (slots_ && --at_->second.users == 0) slots_->erase(at_);
        }
        [[nodiscard]] Mutex& mutex() { return at_->second.mutex; }

      private:
        Slots* slots_;
        typename Slots::iterator at_;
    };

  public:
    class Lock {
      public:
        Lock(Use use, Permit permit) : use_(std::move(use)), permit_(std::move(permit)) {}
        Lock(Lock&&) noexcept = default;
        Lock& operator=(Lock&&) = delete;
        ~Lock() { permit_ = Permit(); }  // released while the slot still lives

      private:
        Use use_;
        Permit permit_;
    };
    [[nodiscard]] Task<Lock> lock(Key key) {
        Use use(slots_, slots_.try_emplace(key).first);
        Permit permit = co_await use.mutex().lock();
        co_return Lock(std::move(use), std::move(permit));
    }
    [[nodiscard]] bool empty() const { return slots_.empty(); }

  private:
    Slots slots_;
};

}  // namespace corelet
