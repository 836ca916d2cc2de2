// What happened in a world, folded into a chained 64-bit hash: two runs of one seed are equal if their hashes are.
// Hashes of blocks of records are kept, so that a difference can be narrowed down; a ring of the latest records and
// a printed trace from some moment on are there on request, and change nothing.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "sim/event_queue.h"

namespace corelet::sim {

enum class TraceKind : u8 {
    kBoot,
    kCrash,
    kPause,
    kResume,
    kTurn,  // a task went on: id = resumptions so far, value = draws of the node's generator
    kTimer,
    kConnect,
    kAccept,
    kSegment,
    kReset,
    kDatagram,
    kDiskIssue,
    kDiskDone,
    kOffload,
    kLog,
    kFault,
    kMark,  // by tests and judges
};
[[nodiscard]] const char* trace_kind_name(TraceKind kind);

inline constexpr u32 k_no_node = UINT32_MAX;

struct TraceRecord {
    VirtualTime when;
    u64 id = 0;
    u64 value = 0;
    u32 node = k_no_node;
    TraceKind kind = TraceKind::kMark;
};
[[nodiscard]] std::string to_string(const TraceRecord& record);

class Trace {
  public:
    using Sink = std::function<void(std::string_view line)>;
    struct Block {
        VirtualTime end;
        u64 hash = 0;
    };
    static constexpr u64 k_block_records = 1024;

    explicit Trace(const EventQueue& queue) : queue_(queue) {}
    void record(TraceKind kind, u32 node, u64 id, u64 value = 0);
    // A record with words: its hash counts, the text is shown where records are.
    void record_text(TraceKind kind, u32 node, std::string_view text);
    // Shown in a printed trace, and no part of the hash.
    void note(u32 node, std::string_view text);

    [[nodiscard]] u64 hash() const { return hash_; }
    [[nodiscard]] u64 records() const { return records_; }
    [[nodiscard]] const std::vector<Block>& blocks() const { return blocks_; }
    // Keeps the last `size` records, a power of two.
    void keep_recent(usize size);
    [[nodiscard]] std::vector<TraceRecord> recent() const;
    // Prints each record from `from` on.
    void print_from(VirtualTime from, Sink sink);
    [[nodiscard]] bool is_printing() const { return sink_ && queue_.now() >= print_from_; }

  private:
    void fold(const TraceRecord& record);
    const EventQueue& queue_;
    u64 hash_ = 0x436F72656C657400ULL;
    u64 records_ = 0;
    std::vector<Block> blocks_;
    std::vector<TraceRecord> ring_;
    VirtualTime print_from_;
    Sink sink_;
};

}  // namespace corelet::sim
