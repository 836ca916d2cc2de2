// Leases of etcd, kept to what the catalog promises of its own.
//
// A leader of etcd's answers a keep-alive from its memory alone: one that was paused or cut off, and is leader no
// more, still says yes, while the new leader has given the lease its full time at its own election, which may be
// earlier. So a renewal counts only when one member said, in this order and in one and the same term: who it is;
// that the lease was renewed; and the answer to a linearizable read. The read shows that this term's leader had a
// quorum after the renewal; the member's term did not change, so that leader is the one that renewed; and whoever
// leads later gives the lease its full time from later on. Likewise "there is no such lease" is believed only after
// such a read: a leader just elected may not have applied all that was granted.
#pragma once

#include "catalog/etcd/client.h"
#include "catalog/etcd/codec.h"
#include "rt/sync.h"

namespace corelet::etcd {

class LeaseKeeper {
  public:
    LeaseKeeper(Env& env, Client& client, const KeySpace& keys) : env_(env), client_(client), keys_(keys) {}

    // Errors as those of the catalog's calls.
    [[nodiscard]] Task<Result<LeaseId>> grant(Duration ttl, Instant deadline);
    [[nodiscard]] Task<Result<void>> renew(LeaseId lease, Instant deadline);
    [[nodiscard]] Task<Result<void>> revoke(LeaseId lease, Instant deadline);

  private:
    enum class Renewal : u8 { kRenewed, kGone, kUnproven };
    [[nodiscard]] Task<Result<Renewal>> renew_once(LeaseId lease, Instant deadline);
    [[nodiscard]] Task<Result<LeaseAnswer>> keep_alive(LeaseId lease, Instant deadline);
    // Proves that a quorum stands behind the member this is connected to.
    [[nodiscard]] Task<Result<Header>> confirm(Instant deadline);
    Env& env_;
    Client& client_;
    const KeySpace& keys_;
    Mutex turn_;
    std::unique_ptr<HttpConnection> connection_;
    u64 connected_turn_ = 0;
    Header last_;  // what the member at the other end last said of itself; no member: nothing yet
};

}  // namespace corelet::etcd
