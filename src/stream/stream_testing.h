// Replicas, a catalog that loses answers, and a placement in memory, for tests of a stream's owner and of its
// recovery. What was sent is delivered even if its sender is gone by then.
#pragma once

#include <map>
#include <set>

#include "catalog/memory_catalog.h"
#include "rt/combine.h"
#include "rt/env.h"
#include "stream/ports.h"
#include "stream/replica_core.h"

namespace corelet {

// The replicas of all corelets. ReplicaServer's rules over memory instead of a device.
class MemoryReplicas {
  public:
    MemoryReplicas(Env& env, StreamTimes times) : env_(env), times_(times), scope_(env.executor) {}

    struct Host {
        bool down = false;    // refuses connections
        bool silent = false;  // takes in nothing and answers nothing
        bool forgotten = false;
        bool full = false;     // prepares nothing from outside the reserve
        bool failing = false;  // its device: no write, no fence
        Instant mounted{};
        Duration write_delay = 200_us;
    };
    Host& host(CoreletId id) { return hosts_[id]; }
    // What it held is still there; promises and what was under way are not.
    void restart(CoreletId id);
    // Nothing travels between the two, in this direction.
    void cut(CoreletId from, CoreletId to, bool cut) {
        cut ? void(cuts_.insert({from, to})) : void(cuts_.erase({from, to}));
    }
    void isolate(CoreletId id, const std::vector<CoreletId>& others, bool cut);
    // Flips a bit of what the replica holds there.
    void rot(CoreletId id, SegmentId segment, u64 offset);
    // It is gone from there, at once.
    void erase(CoreletId id, SegmentId segment) { copies_.erase({id, segment}); }
    // The next append to this replica lands and is not answered.
    void lose_answer_of_append(CoreletId id) { lose_answer_.insert(id); }
    [[nodiscard]] bool has(CoreletId id, SegmentId segment) const { return copies_.contains({id, segment}); }
    [[nodiscard]] bool is_sealed(CoreletId id, SegmentId segment) const {
        return copies_.at({id, segment})->sealed;
    }
    [[nodiscard]] u64 end_of(CoreletId id, SegmentId segment) const {
        return copies_.at({id, segment})->core.end_bytes();
    }
    [[nodiscard]] Epoch epoch_of(CoreletId id, SegmentId segment) const {
        return copies_.at({id, segment})->core.epoch();
    }

    Duration delay_max = 1_ms;  // one way
    usize prepares = 0;

  private:
    friend class MemoryReplicaPort;
    struct Copy {
        Copy(LogSegment the_spec, ReplicaCore the_core) : spec(std::move(the_spec)), core(std::move(the_core)) {}
        LogSegment spec;
        ReplicaCore core;
        std::vector<u8> bytes;
        u64 durable = 0;
        usize writes = 0;  // under way
        bool sealed = false;
        Notify changed;
    };
    using CopyPtr = std::shared_ptr<Copy>;
    template <class T>
    using Answer = std::shared_ptr<Completion<Result<T>>>;
    using Handler = std::function<Task<Result<Buffer>>()>;

    [[nodiscard]] Result<CopyPtr> find(CoreletId id, SegmentId segment) const;
    // Arrival after all that was sent that way before.
    [[nodiscard]] Instant arrival(CoreletId from, CoreletId to);
    [[nodiscard]] Task<void> deliver(CoreletId from, CoreletId to, Instant at, Handler handler,
                                     Answer<Buffer> answer);
    [[nodiscard]] Task<Result<Buffer>> write(CopyPtr copy, CoreletId owner, u64 offset, BufferChain record,
                                             CoreletId id);
    [[nodiscard]] Task<Result<Buffer>> do_fence(CopyPtr copy, CoreletId id, CoreletId owner, Epoch epoch);

    Env& env_;
    StreamTimes times_;
    std::map<CoreletId, Host> hosts_;
    std::map<std::pair<CoreletId, SegmentId>, CopyPtr> copies_;
    std::set<std::pair<CoreletId, SegmentId>> prepared_;  // ever
    std::set<std::pair<CoreletId, CoreletId>> cuts_;
    std::set<CoreletId> lose_answer_;
    std::map<std::pair<CoreletId, CoreletId>, Instant> last_arrival_;
    Scope scope_;
};

// What one corelet sees of them.
class MemoryReplicaPort final : public ReplicaPort {
  public:
    MemoryReplicaPort(MemoryReplicas& world, CoreletId self) : world_(world), self_(self) {}
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
    usize reads = 0;  // that were asked for

  private:
    [[nodiscard]] Task<Result<Buffer>> call(CoreletId to, Instant deadline, MemoryReplicas::Handler handler);
    [[nodiscard]] Task<Result<void>> call_void(CoreletId to, Duration patience, MemoryReplicas::Handler handler);
    MemoryReplicas& world_;
    CoreletId self_;
};

// One corelet's way to the catalog.
class FlakyCatalog final : public Catalog {
  public:
    FlakyCatalog(MemoryCatalog& inner, Env& env) : inner_(inner), env_(env) {}
    [[nodiscard]] Task<Result<TransactionResult>> commit(Transaction transaction, Instant deadline) override;
    [[nodiscard]] Task<Result<RangeResult>> range(std::string prefix, Instant deadline) override;
    [[nodiscard]] const CatalogState& local() const override { return inner_.local(); }
    [[nodiscard]] std::unique_ptr<Watch> watch(std::string prefix, Revision from) override {
        return inner_.watch(std::move(prefix), from);
    }
    [[nodiscard]] Task<Result<LeaseId>> grant_lease(Duration ttl, Instant deadline) override {
        return inner_.grant_lease(ttl, deadline);
    }
    [[nodiscard]] Task<Result<void>> renew_lease(LeaseId lease, Instant deadline) override {
        return inner_.renew_lease(lease, deadline);
    }
    [[nodiscard]] Task<Result<void>> revoke_lease(LeaseId lease, Instant deadline) override {
        return inner_.revoke_lease(lease, deadline);
    }
    [[nodiscard]] bool is_available() const override { return !away && inner_.is_available(); }

    bool away = false;
    u32 lost_answers_permille = 0;  // of commits: they happen, or do not, and nobody says
    u32 lose_answers = 0;           // of the next commits, which do happen
    Duration delay{};               // of commits

  private:
    MemoryCatalog& inner_;
    Env& env_;
};

class MemoryPlacement final : public LogPlacement {
  public:
    explicit MemoryPlacement(CoreletId self) : self_(self) {}
    [[nodiscard]] LogPolicy policy(PoolId) const override { return rules; }
    [[nodiscard]] std::vector<CoreletId> choose(PoolId pool, usize width, const std::vector<CoreletId>& avoid,
                                                u64 salt) const override;
    [[nodiscard]] usize count_up() const override { return up.size() + unheard; }
    [[nodiscard]] std::vector<CoreletId> homes(PoolId, SegmentId segment) const override {
        return homes_of ? homes_of(segment) : std::vector<CoreletId>{};
    }
    [[nodiscard]] bool suits(PoolId, ChunkId) const override { return true; }
    [[nodiscard]] std::vector<CoreletId> domain_of(PoolId, CoreletId corelet) const override;
    [[nodiscard]] bool is_up(CoreletId corelet) const override { return up.contains(corelet); }
    [[nodiscard]] bool is_confirmed_dead(CoreletId corelet) const override { return !up.contains(corelet); }
    [[nodiscard]] u64 packed_reservation(PoolId, u64) const override { return 0; }

    LogPolicy rules{3, 2};
    std::set<CoreletId> up;
    usize unheard = 0;                                          // that the map says are up as well
    std::map<CoreletId, u32> zones;                             // empty: each fails alone
    std::function<std::vector<CoreletId>(SegmentId)> homes_of;  // none: of a coded pool

  private:
    CoreletId self_;
};

}  // namespace corelet
