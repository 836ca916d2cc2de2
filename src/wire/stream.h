// A connection that speaks frames, and the exchange of hellos on it. Shared by both directions of initiative.
#pragma once

#include "rt/env.h"
#include "wire/frame.h"
#include "wire/rpc.h"

namespace corelet {

class FrameStream {
  public:
    FrameStream(std::unique_ptr<Connection> connection, const RpcLimits& limits, RpcStats& stats);

    FrameParser parser;
    FrameEncoder encoder;

    [[nodiscard]] Connection& connection() { return *connection_; }
    // Reads what the parser wants next.
    [[nodiscard]] Task<Result<void>> fill();
    // Writes all that was encoded.
    [[nodiscard]] Task<Result<void>> flush();
    [[nodiscard]] Task<Result<Frame>> read_frame();
    void encode_hello_frame(const Hello& hello);
    // The same of a hello that is encoded already, of which `hello` is the meaning.
    void encode_hello_frame(const Hello& hello, Buffer body);
    // Tells the other side why it is refused and waits until it has hung up: closing at once could lose the words.
    [[nodiscard]] Task<void> refuse(Error reason);
    // Hellos are exchanged: this version, full sizes.
    void agree(u16 version);

  private:
    std::unique_ptr<Connection> connection_;
    const RpcLimits& limits_;
    RpcStats& stats_;
};

// The other side's hello out of its first frame; its refusal, if it is one.
[[nodiscard]] Result<Hello> hello_of(const Frame& frame);

// Unix sockets: same uid or root. Nothing to check elsewhere.
[[nodiscard]] Result<void> check_credentials(const Connection& connection, bool is_unix,
                                             const std::optional<u32>& own_uid);

}  // namespace corelet
