// One export: the block device behind it, the memory of its connections, its sessions and what it counts.
#pragma once

#include <array>
#include <memory>

#include "base/intrusive_list.h"
#include "gateway/nbd/budget.h"
#include "gateway/nbd/negotiation.h"
#include "volume/block_device.h"

namespace corelet {

struct NbdExportOptions {
    std::string description;  // for people, at most 4,096 bytes
    bool read_only = false;
    // Zeroing with leave to make holes is a matter of metadata, however long the range.
    bool fast_zero = true;
    u32 connections_max = 256;  // one more is closed after its handshake
};

// Counted since the export was added.
struct NbdExportStats {
    std::array<u64, nbd::k_commands> requests{};  // answered, by nbd::Command
    u64 bytes_read = 0;
    u64 bytes_written = 0;
    u64 errors = 0;             // requests answered with one
    u64 connections = 0;        // now
    u64 connections_total = 0;  // since the export was added
    u64 held_bytes = 0;         // of memory, now
    // latency[i]: requests answered within [2^i, 2^(i+1)) microseconds from their arrival; 0 holds what is below 2
    // us.
    std::array<u64, 32> latency{};
};

namespace nbd {

class Session;

struct Export {
    Export(ExportInfo about, std::shared_ptr<BlockDevice> served)
        : info(std::move(about)), device(std::move(served)) {}
    ExportInfo info;
    std::shared_ptr<BlockDevice> device;
    MemoryBudget budget;
    u64 receive_bytes = 0;  // part of the common lane that is in large receive buffers
    NbdExportStats stats;
    u32 connections_max = 0;
    IntrusiveList<Session> sessions;
    Notify session_left;
};

}  // namespace nbd
}  // namespace corelet
