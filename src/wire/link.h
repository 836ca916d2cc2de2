// The calling end of a connection: one target, one lane. Connects when there is something to send, sends what was
// called in one loop turn with one write, and matches replies to calls.
#pragma once

#include "wire/call.h"
#include "wire/stream.h"

namespace corelet {

struct Way;

class Link final : public CallPath {
  public:
    Link(RpcNode::Impl& node, Target target, Lane lane);
    ~Link() override;
    Link(const Link&) = delete;
    Link& operator=(const Link&) = delete;

    void submit(PendingCall& call) override;
    void withdraw(PendingCall& call, bool timed_out) override;
    // Fails all calls with `reason` and closes the connection; the next call connects anew.
    void break_off(const Error& reason);
    // The target is known to be alive: the next call may connect at once.
    void forgive();
    [[nodiscard]] bool is_up() const { return state_ == State::kUp; }
    // Asks a direct connection for a sign of life, and gives it up if there is none.
    void doubt_direct();
    // Who passes the connection on; zero: nobody, or there is none.
    [[nodiscard]] CoreletId via() const { return state_ == State::kUp ? context_.via : CoreletId{}; }
    // Nothing waits, nothing is under way.
    [[nodiscard]] bool is_idle() const { return queue_.empty() && in_flight_ == 0 && !probing_; }

  private:
    enum class State : u8 {
        kIdle,        // no task
        kConnecting,  //
        kUp,          //
        kBroken,      // its task is winding up, and goes on to connect if calls have come
    };
    [[nodiscard]] Task<void> run();
    [[nodiscard]] Task<Result<void>> establish();
    [[nodiscard]] Task<Result<std::unique_ptr<FrameStream>>> connect_to(Way way);
    [[nodiscard]] Task<Result<void>> exchange_hellos(FrameStream* stream, Way way);
    [[nodiscard]] Result<u16> judge(const Hello& mine, const Hello& theirs);
    [[nodiscard]] Task<void> serve();
    [[nodiscard]] Task<Error> read_loop();
    [[nodiscard]] Task<void> write_loop();
    [[nodiscard]] Task<void> seek_direct();
    [[nodiscard]] Task<bool> answers_directly();
    [[nodiscard]] Task<bool> drain();
    [[nodiscard]] bool is_drained() const { return in_flight_ == 0 && writing_.empty() && !flushing_since_; }
    void ask_for_a_sign();
    void doubt();
    [[nodiscard]] Task<void> probe();

    [[nodiscard]] bool has_work();
    [[nodiscard]] bool may_send(const PendingCall& call) const;
    void fill_batch();
    void encode(PendingCall& call);
    [[nodiscard]] u64 enter(PendingCall& call);
    void leave(PendingCall& call);
    [[nodiscard]] Result<void> take(Frame frame);
    void fail_all(const Error& reason);
    [[nodiscard]] bool connect_failed(const Error& reason);

    RpcNode::Impl& node_;
    Target target_;
    Lane lane_;
    State state_ = State::kIdle;

    CallQueue queue_;
    std::vector<PendingCall*> table_;  // sent and unanswered, by the lower 16 bits of the correlation id
    std::vector<u16> free_;
    u32 in_flight_ = 0;
    u64 in_flight_bytes_ = 0;
    u64 sequence_ = 0;
    std::vector<u64> cancels_;  // to be sent; at most as many as there were in flight when the last batch was made
    IntrusiveList<PendingCall> writing_;  // one-way calls of the batch under way
    Notify work_;
    bool holding_ = false;  // nothing is sent: the connection is to be made anew, without a call lost
    Notify drained_;
    bool direct_first_ = false;  // its own address has answered

    std::unique_ptr<FrameStream> stream_;
    Hello peer_;
    PeerContext context_;
    std::optional<Error> broken_;   // break_off() while connecting
    std::optional<Error> refusal_;  // why we refused the other side
    MapEpoch peer_epoch_;
    Instant last_heard_;
    std::optional<Instant> flushing_since_;  // what is being written
    bool probing_ = false;
    u32 failures_ = 0;
    Instant retry_at_;
    std::string last_failure_;
    Scope scope_;
};

}  // namespace corelet
