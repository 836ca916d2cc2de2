// Calls to a node of the same process, the caller itself included: no socket, no bytes; the request goes to the
// handler in the next turn and its payload is shared, not copied.
#pragma once

#include "wire/dispatcher.h"

namespace corelet {

class LocalLink final : public CallPath, public CallOrigin, public ListNode {
  public:
    LocalLink(RpcNode::Impl& from, RpcNode::Impl& to, std::shared_ptr<const Hello> caller, Hello peer);
    ~LocalLink() override;
    LocalLink(const LocalLink&) = delete;
    LocalLink& operator=(const LocalLink&) = delete;

    void submit(PendingCall& call) override;
    void withdraw(PendingCall& call, bool timed_out) override;
    // All calls fail with `reason`; what was begun for them is dropped. The link stays usable.
    void break_off(const Error& reason);
    // The other node is about to go away; further calls fail.
    void target_gone();
    [[nodiscard]] bool is_alive() const { return to_ != nullptr; }
    [[nodiscard]] const Hello& caller() const { return *caller_; }
    [[nodiscard]] const Hello& peer() const { return peer_; }

    void reply(ServerCall& call) override;
    void released(ServerCall& call) override;
    [[nodiscard]] bool holds_back() const override { return false; }

  private:
    [[nodiscard]] bool is_full() const;
    void admit();
    void hand_over(PendingCall& call);

    RpcNode::Impl& from_;
    RpcNode::Impl* to_;
    std::shared_ptr<const Hello> caller_;
    Hello peer_;
    CallQueue queue_;
    u32 requests_ = 0;
    u64 bytes_ = 0;
    MapEpoch epoch_shown_there_;
    MapEpoch epoch_shown_here_;
};

}  // namespace corelet
