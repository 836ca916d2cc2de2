// How a transaction whose answer was lost is not applied twice, and finds its own success.
//
// A slot is a key of etcd's that this client alone writes. A transaction is tried by a slot: it requires that the
// slot's key is still at the revision last known here, and moves it. Revisions only grow, so whatever moves the
// slot makes an earlier try, wherever it may linger, fail for ever. When an answer is lost the slot is settled
// before anything else is tried by it: one transaction that moves it if it has not moved (then the lost one had no
// effect and never will have any), and else reads what moved it. No time limit comes into this. The keys hang on a
// lease of the client's and go with it; a slot whose key has gone is made anew, at a higher revision.
#pragma once

#include <array>

#include "catalog/etcd/codec.h"
#include "rt/sync.h"

namespace corelet::etcd {

inline constexpr usize k_slots = 16;  // transactions under way at once; others wait

class RequestSlots {
  public:
    // `client`: drawn when the catalog starts, so that no two use one slot.
    explicit RequestSlots(u64 client);

    struct Use {
        Slot slot;
        bool unsettled = false;  // something was tried by it and its answer is not known
        bool taken = false;
    };
    // Given back when it is destroyed; as unsettled as it is then.
    class Loan {
      public:
        Loan(Use& use, Permit permit) : use_(&use), permit_(std::move(permit)) { use.taken = true; }
        Loan(Loan&& other) noexcept : use_(std::exchange(other.use_, nullptr)), permit_(std::move(other.permit_)) {}
        Loan& operator=(Loan&&) = delete;
        ~Loan() {
            if (use_) use_->taken = false;
        }
        [[nodiscard]] Use& operator*() const { return *use_; }
        [[nodiscard]] Use* operator->() const { return use_; }

      private:
        Use* use_;
        Permit permit_;
    };
    // Waits until one is free.
    [[nodiscard]] Task<Loan> take();

  private:
    std::array<Use, k_slots> uses_;
    Semaphore free_{k_slots};
};

// What a settling's answer says.
enum class Settled : u8 {
    kNoEffect,  // what was tried had none, and never will
    kDone,      // it took effect
    kGone,      // the slot's key has gone: whether it did cannot be known
};
// Brings the slot up to date.
[[nodiscard]] Settled settle(RequestSlots::Use& use, const TransactionAnswer& answer);

// What an attempt's answer says. Brings the slot up to date.
enum class Tried : u8 {
    kDone,
    kRefused,  // a compare of the caller's does not hold
    kMoved,    // the slot was not where it was thought to be: nothing happened, try again
};
[[nodiscard]] Tried conclude(RequestSlots::Use& use, const TransactionAnswer& answer);

}  // namespace corelet::etcd
