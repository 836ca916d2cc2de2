// The owner's side of a volume's doors: whom it lets in, and what it does for them (docs/protocols.md, doors).
#pragma once

#include "catalog/catalog.h"
#include "node/config.h"
#include "node/door.pb.h"
#include "node/door_book.h"
#include "node/map_service.h"
#include "node/volume_host.h"
#include "wire/rpc.h"

namespace corelet {

namespace door_method {
inline constexpr Method k_find{0x0801};
inline constexpr Method k_open{0x0802};
inline constexpr Method k_request{0x0803};
}  // namespace door_method

inline constexpr u32 k_door_piece_max = 1 << 20;  // bytes that one request reads or writes
inline constexpr usize k_door_others_max = 16;    // addresses that an answer names

class DoorKeeper {
  public:
    // All outlive it. `host` is null where no volumes are served: then it only says who serves them.
    DoorKeeper(Env& env, const NodeConfig& config, RpcNode& rpc, const Catalog& catalog, const MapService& maps,
               VolumeHost* host);
    // Drops what runs.
    ~DoorKeeper();
    DoorKeeper(const DoorKeeper&) = delete;
    DoorKeeper& operator=(const DoorKeeper&) = delete;

  private:
    // What is served here under that name, at which epoch of its stream.
    struct Served {
        std::shared_ptr<BlockDevice> device;
        Epoch epoch;
    };
    [[nodiscard]] Result<Served> served(const std::string& volume) const;
    [[nodiscard]] Task<Result<Reply>> find(Request request);
    [[nodiscard]] Task<Result<Reply>> open(Request request);
    [[nodiscard]] Task<Result<Reply>> carry_out(Request request);
    // The highest number of a door of that volume that the catalog, as known here, has given out.
    [[nodiscard]] u64 known_door(const std::string& volume) const;

    Env& env_;
    const NodeConfig& config_;
    RpcNode& rpc_;
    const Catalog& catalog_;
    const MapService& maps_;
    VolumeHost* host_;
    DoorBook book_;
    Prng tickets_;
};

}  // namespace corelet
