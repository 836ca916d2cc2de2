// How long clients wait for the volumes that this corelet owns: what healing gives way to.
#pragma once

#include <algorithm>
#include <memory>

#include "chunk/peer_book.h"
#include "rt/clock.h"
#include "volume/block_device.h"

namespace corelet {

// Since it was last looked at. By units of 64 KiB, so that large requests among small ones do not look like
// waiting.
class RequestTimes {
  public:
    struct Seen {
        u64 requests = 0;
        Duration p95{};
    };
    void took(u64 bytes, Duration time) {
        u64 const units = std::max<u64>(bytes / (64 * k_kib), 1);
        latency_.add(time / static_cast<i64>(units));
        ++requests_;
    }
    [[nodiscard]] Seen take() {
        Seen const seen{requests_, latency_.p95()};
        requests_ = 0;
        latency_ = {};
        return seen;
    }

  private:
    RecentLatency latency_;
    u64 requests_ = 0;
};
struct ClientTimes {
    RequestTimes reads, writes;
};

// A volume with a watch at its door. The volume outlives it.
class TimedDevice final : public BlockDevice {
  public:
    TimedDevice(BlockDevice& device, Clock& clock, std::shared_ptr<ClientTimes> times)
        : device_(device), clock_(clock), times_(std::move(times)) {}
    [[nodiscard]] u64 size_bytes() const override { return device_.size_bytes(); }
    [[nodiscard]] bool has_volatile_cache() const override { return device_.has_volatile_cache(); }
    [[nodiscard]] Task<Result<BufferChain>> read(u64 offset, u32 length) override;
    [[nodiscard]] Task<Result<void>> write(u64 offset, BufferChain data, bool fua) override;
    [[nodiscard]] Task<Result<void>> flush() override { return device_.flush(); }
    [[nodiscard]] Task<Result<void>> trim(u64 offset, u64 length, bool fua) override {
        return device_.trim(offset, length, fua);
    }
    [[nodiscard]] Task<Result<void>> write_zeroes(u64 offset, u64 length, bool may_trim, bool fua) override {
        return device_.write_zeroes(offset, length, may_trim, fua);
    }
    [[nodiscard]] Task<Result<std::vector<BlockStatusExtent>>> block_status(u64 offset, u64 length) override {
        return device_.block_status(offset, length);
    }

  private:
    BlockDevice& device_;
    Clock& clock_;
    std::shared_ptr<ClientTimes> times_;
};

}  // namespace corelet
