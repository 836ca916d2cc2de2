// The replicas that one corelet keeps: ReplicaCore over the chunk store, served over RPC. And the owner's side of
// the same methods. One executor; the store and the node outlive both.
#pragma once

#include <map>
#include <optional>
#include <set>

#include "device/store.h"
#include "rt/env.h"
#include "stream/ports.h"
#include "stream/replica_core.h"
#include "wire/request_observer.h"
#include "wire/rpc.h"

namespace corelet {

namespace pb {
class SegmentLook;
}

namespace stream_method {
inline constexpr Method k_prepare{0x0701};
inline constexpr Method k_append{0x0702};
inline constexpr Method k_heartbeat{0x0703};
inline constexpr Method k_release{0x0704};
inline constexpr Method k_fence{0x0705};
inline constexpr Method k_read{0x0706};
inline constexpr Method k_seal{0x0707};
inline constexpr Method k_drop{0x0708};
inline constexpr Method k_adopt{0x0709};
inline constexpr Method k_look{0x0612};
}  // namespace stream_method

class ReplicaServer {
  public:
    // Serves from now on until destroyed.
    ReplicaServer(Env& env, Store& store, RpcNode& rpc, StreamTimes times);
    ~ReplicaServer();
    ReplicaServer(const ReplicaServer&) = delete;
    ReplicaServer& operator=(const ReplicaServer&) = delete;

    // Asked before anything that rests on a promise of this identity (protocols 1.1, 1.3): an error refuses it.
    void set_gate(std::function<Result<void>()> gate) { gate_ = std::move(gate); }

    // Verified bytes of records in the segment, for adoption: an error unless they reach `end_bytes`.
    [[nodiscard]] Task<Result<void>> verify_to(SegmentId segment, u64 end_bytes);
    // The replica here of a segment that is proven dead.
    [[nodiscard]] Task<Result<void>> drop_dead(SegmentId segment);

  private:
    struct Replica;
    struct Preparing;
    using ReplicaPtr = std::shared_ptr<Replica>;
    [[nodiscard]] Task<Result<ReplicaPtr>> open(SegmentId segment);
    [[nodiscard]] Task<Result<void>> scan(ReplicaPtr replica);
    [[nodiscard]] Task<Result<Reply>> prepare(Request request);
    [[nodiscard]] Task<Result<Reply>> append(Request request);
    [[nodiscard]] Task<Result<Reply>> heartbeat(Request request);
    [[nodiscard]] Task<Result<Reply>> release(Request request);
    [[nodiscard]] Task<Result<Reply>> fence(Request request);
    [[nodiscard]] Task<Result<Reply>> read(Request request);
    [[nodiscard]] Task<Result<Reply>> seal(Request request);
    [[nodiscard]] Task<Result<Reply>> drop(Request request);
    [[nodiscard]] Task<Result<Reply>> adopt(Request request);
    // Of a replica that was opened since the mount: all before it is on media.
    [[nodiscard]] std::optional<u64> durable_end(SegmentId segment) const;
    // replica_look.cc
    [[nodiscard]] Task<Result<Reply>> look(Request request);
    [[nodiscard]] Task<Result<void>> look_at(SegmentId id, bool verify, pb::SegmentLook* look);
    [[nodiscard]] Result<void> look_at_adopted(SegmentId id, pb::SegmentLook* look) const;
    static void note_verified(Replica& replica, u64 offset, const std::vector<u32>& block_crcs);
    void keep_verified(SegmentId segment, u64 end_bytes);
    [[nodiscard]] std::vector<u32> take_verified(SegmentId segment, u64 end_bytes);
    [[nodiscard]] Task<Result<Reply>> read_adopted(SegmentId segment, u64 offset, u64 length);

    Env& env_;
    Store& store_;
    RpcNode& rpc_;
    StreamTimes times_;
    Instant mounted_;
    std::function<Result<void>()> gate_ = [] { return Result<void>{}; };
    std::map<SegmentId, ReplicaPtr> replicas_;
    std::multiset<SegmentId> preparing_;  // on their way to the device
    Notify prepared_;
    std::map<SegmentId, std::vector<u32>> verified_;  // of sealed segments: checksums of their blocks; bounded
};

// Replicas on other corelets (and the own one, which skips the socket) by RPC.
class RpcReplicaPort final : public ReplicaPort {
  public:
    RpcReplicaPort(RpcNode& rpc, Clock& clock) : rpc_(rpc), clock_(clock) {}
    // Told of appends, heartbeats and reads. Outlives this.
    void set_observer(RequestObserver* observer) { observer_ = observer; }
    [[nodiscard]] Task<Result<void>> prepare(CoreletId replica, PrepareRequest request) override;
    [[nodiscard]] Task<Result<void>> append(CoreletId replica, SegmentId segment, u64 offset, BufferChain record,
                                            u32 record_crc) override;
    [[nodiscard]] Task<Result<void>> heartbeat(CoreletId replica, SegmentId segment, Epoch epoch) override;
    [[nodiscard]] Task<Result<void>> release(CoreletId replica, SegmentId segment, Epoch epoch) override;
    [[nodiscard]] Task<Result<FenceAnswer>> fence(CoreletId replica, SegmentId segment, Epoch epoch,
                                                  Instant deadline) override;
    [[nodiscard]] Task<Result<Buffer>> read(CoreletId replica, SegmentId segment, u64 offset, u64 length) override;
    [[nodiscard]] Task<Result<void>> seal(CoreletId replica, SegmentId segment, u64 end_bytes) override;
    [[nodiscard]] Task<Result<void>> adopt(CoreletId replica, SegmentId segment, u64 end_bytes, u8 position,
                                           u8 copies) override;
    [[nodiscard]] Task<Result<void>> drop(CoreletId replica, SegmentId segment, Epoch epoch) override;

  private:
    [[nodiscard]] Task<Result<void>> simple(CoreletId replica, Method method, Buffer body, Duration timeout);
    [[nodiscard]] Task<Result<void>> watched(WatchedRequest request, Task<Result<void>> call);
    RpcNode& rpc_;
    Clock& clock_;
    RequestObserver* observer_ = nullptr;
};

}  // namespace corelet
