// Passing a connection on: two corelets of which neither reaches the other, or one only, talk through a third that
// reaches both.
//
// The caller connects to the third and names in its hello whom it means (`wanted`). The third judges the caller as
// it would for itself, connects to that one directly, hands the hello on with its own name in it (`via`), and
// copies bytes both ways until either side ends. Hellos, versions, bounds and checksums are between the two ends.
// For corelets only, not for tools; one hop: what was passed on is not passed on again.
//
// What the kernel says of the other end of a unix socket is then the third's: whoever comes `via` another is not
// vouched for.
#pragma once

#include "wire/stream.h"

namespace corelet {

// The far half of a connection that is passed on: connected, the hello sent. Errors are for the caller: kDenied: it
// may not; kOverloaded: RpcLimits::relays; kUnavailable: no address of `hello.wanted` is known here; what
// connecting ended with.
[[nodiscard]] Task<Result<std::unique_ptr<FrameStream>>> connect_on(RpcNode::Impl* node, Hello hello, Buffer body);

// Copies until either ends, then ends both. Holds k_relay_piece_bytes of each direction at most.
inline constexpr usize k_relay_piece_bytes = 64 << 10;
[[nodiscard]] Task<void> splice(RpcNode::Impl* node, Connection* near, Connection* far);

}  // namespace corelet
