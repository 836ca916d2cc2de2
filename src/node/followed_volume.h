// A volume as a client's machine has it, wherever it is owned just now: each request goes to the owner, and to the
// next one when that one is gone, until it is answered. Nothing is kept here, and no device is needed.
//
// A request that was sent and not answered may have happened; it is sent again all the same. What makes that the
// same as sending it once (docs/protocols.md, doors): before it is sent again, what was sent before is over at the
// owner (node/door_book.h), or fenced with it; and until it is answered, nothing that overlaps it is sent, so
// nobody behind this door sees in between.
//
// Waits, rather than failing, for as long as nobody serves the volume: clients see a pause. Errors of the volume
// itself (kCorrupt, kLost, kNoSpace, kIo, kInvalid) are its answer. Once another door has taken this one's place
// every request ends with kShutdown, and end_reason() says why.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "rt/env.h"
#include "volume/block_device.h"
#include "volume/in_flight.h"
#include "wire/rpc.h"

namespace corelet {

namespace pb {
class DoorRequest;
}

struct FollowOptions {
    std::string volume;
    u64 door = 0;                   // as `volume.door` gave it out: the highest there is
    std::string key;                // the mesh's, for owners on other hosts
    std::vector<Address> places;    // corelets of the mesh: any of them, to begin with
    Duration alive_every = 500_ms;  // while requests wait: the owner is asked whether it is there
    Duration silence = 1500_ms;     // without an answer for so long it is taken for gone
};

struct FollowStats {
    u64 requests = 0;
    u64 repeated = 0;  // sent once more
    u64 owners = 0;    // connections to an owner that were opened
};

class FollowedVolume final : public BlockDevice {
  public:
    // `env` and `rpc` outlive it. `rpc` may be used by others too.
    FollowedVolume(Env& env, RpcNode& rpc, FollowOptions options);
    // Drops what waits; what was sent may or may not happen.
    ~FollowedVolume() override;
    FollowedVolume(const FollowedVolume&) = delete;
    FollowedVolume& operator=(const FollowedVolume&) = delete;

    // Finds the owner: before it has, the size is not known. kTimeout, or why it ended.
    [[nodiscard]] Task<Result<void>> start(Instant deadline);
    [[nodiscard]] u64 size_bytes() const override { return size_bytes_; }
    [[nodiscard]] bool has_volatile_cache() const override { return volatile_cache_; }
    [[nodiscard]] Task<Result<BufferChain>> read(u64 offset, u32 length) override;
    [[nodiscard]] Task<Result<void>> write(u64 offset, BufferChain data, bool fua) override;
    [[nodiscard]] Task<Result<void>> flush() override;
    [[nodiscard]] Task<Result<void>> trim(u64 offset, u64 length, bool fua) override;
    [[nodiscard]] Task<Result<void>> write_zeroes(u64 offset, u64 length, bool may_trim, bool fua) override;
    [[nodiscard]] Task<Result<std::vector<BlockStatusExtent>>> block_status(u64 offset, u64 length) override;

    // Set once it follows no more, for the reason given.
    [[nodiscard]] Event& ended() { return ended_; }
    [[nodiscard]] const Error& end_reason() const { return end_reason_; }
    [[nodiscard]] const FollowStats& stats() const { return stats_; }

  private:
    // A connection to an owner, under a ticket of it.
    struct Way {
        CoreletId owner;
        Epoch epoch;
        u64 ticket = 0;
        Event lost;
    };
    struct Place {
        CoreletId owner;
        Epoch epoch;
        std::vector<Address> addresses;
    };
    struct Sent;
    [[nodiscard]] Task<Result<Reply>> ask(pb::DoorRequest message, BufferChain payload);
    [[nodiscard]] static Task<void> see_to_end(FollowedVolume* self, std::shared_ptr<Sent> sent);
    [[nodiscard]] Task<Result<Reply>> carry(Sent* sent);
    [[nodiscard]] Task<Result<Reply>> send_once(std::shared_ptr<Way> way, Sent* sent);
    [[nodiscard]] Task<Result<std::shared_ptr<Way>>> way();
    [[nodiscard]] Task<std::shared_ptr<Way>> seek();
    [[nodiscard]] Task<void> look(Address place, std::shared_ptr<Channel<Place>> found);
    [[nodiscard]] Task<Result<std::shared_ptr<Way>>> open(Place place);
    [[nodiscard]] Task<void> watch(std::shared_ptr<Way> way);
    [[nodiscard]] Task<bool> is_elsewhere(Epoch epoch);
    void lose(const std::shared_ptr<Way>& way, const Error& why);
    void remember(std::vector<Address> places);
    void end(Error reason);

    Env& env_;
    RpcNode& rpc_;
    FollowOptions options_;
    u64 size_bytes_ = 0;
    bool volatile_cache_ = false;
    std::vector<Address> places_;  // where to ask, those first that answered last
    std::shared_ptr<Way> way_;     // null while the owner is sought
    Mutex seeking_;
    RangeLocks locks_;
    Semaphore room_;   // bytes of requests that are under way
    u64 waiting_ = 0;  // requests
    Notify stirred_;   // there is one, or the way is lost
    Event ended_;
    Error end_reason_;
    FollowStats stats_;
    Scope scope_;
};

}  // namespace corelet
