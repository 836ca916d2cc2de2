// The serving end of a connection: takes requests in while its bounds allow, and sends all replies of a turn in one
// write. Lives in the frame of the task that serves it.
#pragma once

#include "rt/sync.h"
#include "wire/dispatcher.h"
#include "wire/stream.h"

namespace corelet {

class Session final : public CallOrigin, public ListNode {
  public:
    Session(RpcNode::Impl& node, std::unique_ptr<Connection> connection);
    ~Session() override;
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    // Until the connection ends.
    [[nodiscard]] Task<void> serve(bool is_unix);
    // Drops its requests and closes it.
    void break_off(const Error& reason);
    // Null before hellos are exchanged.
    [[nodiscard]] const Hello* peer() const { return peer_.get(); }
    [[nodiscard]] bool is_up() const { return state_ == State::kUp; }

    void reply(ServerCall& call) override;
    void released(ServerCall& call) override;
    [[nodiscard]] bool holds_back() const override;

  private:
    enum class State : u8 { kGreeting, kUp, kBroken };
    [[nodiscard]] Task<Result<void>> greet(bool is_unix);
    [[nodiscard]] Task<Result<void>> answer(Hello mine, Hello theirs, u16 version);
    [[nodiscard]] Task<Result<void>> pass_on(Hello theirs, Buffer body);
    [[nodiscard]] Task<Result<void>> refuse(Error reason);
    [[nodiscard]] Result<u16> judge(const Hello& mine, const Hello& theirs, bool is_unix);
    [[nodiscard]] Task<Error> read_loop();
    [[nodiscard]] Task<void> write_loop();
    [[nodiscard]] Result<void> take(Frame frame);
    [[nodiscard]] Result<void> take_request(Frame frame);
    void take_cancel(u64 correlation);
    [[nodiscard]] bool is_full() const;
    void fill_batch();
    void encode(ServerCall& call);
    void written();
    void relieve();

    RpcNode::Impl& node_;
    State state_ = State::kGreeting;
    FrameStream stream_;
    std::shared_ptr<const Hello> peer_;
    PeerContext context_;
    std::optional<Error> refusal_;         // why we refused the other side
    std::unique_ptr<FrameStream> onward_;  // it meant somebody else
    MapEpoch peer_epoch_;

    u32 requests_ = 0;       // in progress
    u64 bytes_ = 0;          // of these, and of the batch being written
    u64 reply_bytes_ = 0;    // finished and not yet written
    u64 writing_bytes_ = 0;  // the part of these that is being written
    std::array<IntrusiveList<ServerCall>, 4> replies_;
    u32 reply_count_ = 0;
    Notify work_;
    Notify room_;
};

}  // namespace corelet
