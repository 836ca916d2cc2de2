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
}  // namespace chunk_method

[[nodiscard]] IoClass io_class(TrafficClass traffic);

class FragmentServer {
  public:
    // Serves until destroyed; all arguments outlive it.
    FragmentServer(Store& store, RpcNode& rpc, mesh::MapSource& maps);
    ~FragmentServer();
    FragmentServer(const FragmentServer&) = delete;
    FragmentServer& operator=(const FragmentServer&) = delete;

    // Puts now under way that were admitted under a table older than `epoch` (protocols 9.1: a slot is clean only when none is left).
    [[nodiscard]] usize puts_before(MapEpoch epoch) const;

  private:
    [[nodiscard]] Task<Result<Reply>> put(Request request);
    [[nodiscard]] Task<Result<Reply>> read(Request request);
    [[nodiscard]] Task<Result<Reply>> stat(Request request);
    [[nodiscard]] Task<Result<Reply>> remove(Request request);
    [[nodiscard]] Result<void> check_place(PoolId pool, FragmentId fragment, MapEpoch table_epoch, u64 table_hash) const;

    Store& store_;
    RpcNode& rpc_;
    mesh::MapSource& maps_;
    std::map<MapEpoch, usize> puts_under_way_;  // by the epoch of the table they named
};

}  // namespace corelet
