// What a device does and how long it takes, by class: what failure prediction, `status` and metrics read.
#pragma once

#include <algorithm>
#include <array>
#include <bit>

#include "base/time.h"
#include "device/types.h"

namespace corelet {

// Counts durations in powers of two of nanoseconds: bucket i holds [2^i, 2^(i+1)).
class LatencyHistogram {
  public:
    static constexpr usize k_buckets = 48;
    void add(Duration latency) {
        u64 const ns = latency.ns > 0 ? static_cast<u64>(latency.ns) : 1;
        ++counts_[std::min<usize>(static_cast<usize>(std::bit_width(ns)) - 1, k_buckets - 1)];
        ++count_;
        sum_ns_ += ns;
    }
    [[nodiscard]] u64 count() const { return count_; }
    [[nodiscard]] u64 sum_ns() const { return sum_ns_; }
    [[nodiscard]] u64 bucket(usize index) const { return counts_[index]; }
    // Upper edge of the bucket in which the given share (numerator / denominator) of all is reached; 0 when empty.
    [[nodiscard]] Duration quantile(u64 numerator, u64 denominator) const;

  private:
    std::array<u64, k_buckets> counts_{};
    u64 count_ = 0;
    u64 sum_ns_ = 0;
};

struct IoCounters {
    u64 operations = 0;
    u64 bytes = 0;
    u64 errors = 0;
    LatencyHistogram latency;  // from submission to the device; waiting for one's turn is not in it
};

struct Telemetry {
    std::array<IoCounters, k_io_classes> reads;
    std::array<IoCounters, k_io_classes> writes;
    IoCounters journal_writes;
    IoCounters flushes;
    u64 corrupt_blocks = 0;  // reads that did not verify
    u64 latent_errors = 0;   // reads that the device refused
    u64 scrubbed_bytes = 0;
    u64 zeroed_bytes = 0;   // written ahead for logs
    u64 fenced_writes = 0;  // refused
};

}  // namespace corelet
