// The fragments that one corelet keeps, served to others over RPC.
#pragma once

#include "device/store.h"
#include "mesh/map_source.h"
#include "rt/env.h"
#include "wire/rpc.h"

namespace corelet {

namespace chunk_method {
inline constexpr Method k_put{0x0501};
inline constexpr Method k_read{0x0502};
inline constexpr Method k_stat{0x0503};
inline constexpr Method k_remove{0x0504};
inline constexpr Method k_report{0x0505};
}  // namespace chunk_method

[[nodiscard]] IoClass io_class(TrafficClass traffic);

// Who may have chunks of a space deleted (protocols 8.3, 8.4).
class DeleteAuthority {
  public:
    virtual ~DeleteAuthority() = default;
    // By a linearizable read, at some time since this owner took the stream: `asker` owns the space at `epoch`, and
    // its chunks lie in `pool`. kFenced: a newer epoch is known; kDenied: it never did; what is retryable: it
    // cannot be told now, so nothing is deleted.
    [[nodiscard]] virtual Task<Result<void>> may_delete(SpaceId space, Epoch epoch, CoreletId asker,
                                                        PoolId pool) = 0;
};

class FragmentServer {
  public:
    // Serves until destroyed; all arguments outlive it. Without an authority nothing is removed.
    FragmentServer(Store& store, RpcNode& rpc, mesh::MapSource& maps, DeleteAuthority* authority = nullptr);
    ~FragmentServer();
    FragmentServer(const FragmentServer&) = delete;
    FragmentServer& operator=(const FragmentServer&) = delete;

    // Puts now under way that were admitted under a table older than `epoch` (protocols 9.1: a slot is clean only
    // when none is left).
    [[nodiscard]] usize puts_before(MapEpoch epoch) const;
    // Of fragments, sent out on reads since this corelet started.
    [[nodiscard]] u64 bytes_read() const { return bytes_read_; }
    // Called with fragments that are here and do not verify, or cannot be read; maybe more than once.
    // With whose read, or look, it was found.
    void on_damaged(std::function<void(FragmentId, IoClass)> listener) { damaged_ = std::move(listener); }
    // What clients feel here, in permille of the usual (0: there are none): who reads for healing is told.
    void set_strain(u32 permille) { strain_ = permille; }
    // Reads for healing that were answered.
    [[nodiscard]] u64 heal_reads() const { return heal_reads_; }

  private:
    [[nodiscard]] Task<Result<Reply>> put(Request request);
    [[nodiscard]] Task<Result<Reply>> read(Request request);
    [[nodiscard]] Task<Result<Reply>> stat(Request request);
    [[nodiscard]] Task<Result<Reply>> remove(Request request);
    [[nodiscard]] Task<Result<Reply>> report(Request request);
    [[nodiscard]] Result<void> check_place(PoolId pool, FragmentId fragment, MapEpoch table_epoch,
                                           u64 table_hash) const;
    void note_damage(FragmentId id, const Error& error, IoClass io) const;

    Store& store_;
    RpcNode& rpc_;
    mesh::MapSource& maps_;
    DeleteAuthority* authority_;
    std::function<void(FragmentId, IoClass)> damaged_;
    u32 strain_ = 0;
    u64 heal_reads_ = 0;
    u64 bytes_read_ = 0;
    std::map<MapEpoch, usize> puts_under_way_;  // by the epoch of the table they were admitted under
};

}  // namespace corelet
