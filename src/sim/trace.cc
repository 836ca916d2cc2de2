#include "sim/trace.h"

#include <fmt/format.h>

#include <bit>

#include "base/assert.h"
#include "base/hash.h"

namespace corelet::sim {

const char* trace_kind_name(TraceKind kind) {
    switch (kind) {
        case TraceKind::kBoot:
            return "boot";
        case TraceKind::kCrash:
            return "crash";
        case TraceKind::kPause:
            return "pause";
        case TraceKind::kResume:
            return "resume";
        case TraceKind::kTurn:
            return "turn";
        case TraceKind::kTimer:
            return "timer";
        case TraceKind::kConnect:
            return "connect";
        case TraceKind::kAccept:
            return "accept";
        case TraceKind::kSegment:
            return "segment";
        case TraceKind::kReset:
            return "reset";
        case TraceKind::kDatagram:
            return "datagram";
        case TraceKind::kDiskIssue:
            return "disk-issue";
        case TraceKind::kDiskDone:
            return "disk-done";
        case TraceKind::kOffload:
            return "offload";
        case TraceKind::kLog:
            return "log";
        case TraceKind::kFault:
            return "fault";
        case TraceKind::kMark:
            return "mark";
    }
    return "?";
}

namespace {
std::string line_start(VirtualTime when, u32 node) {
    std::string const who = node == k_no_node ? "-" : std::to_string(node);
    return fmt::format("{:>5}.{:09} {:>3} ", when.ns / 1'000'000'000, when.ns % 1'000'000'000, who);
}
}  // namespace

std::string to_string(const TraceRecord& record) {
    return line_start(record.when, record.node) +
           fmt::format("{} {} {}", trace_kind_name(record.kind), record.id, record.value);
}

void Trace::fold(const TraceRecord& record) {
    u64 const what = static_cast<u64>(record.when.ns) ^ std::rotl(record.id, 23) ^ std::rotl(record.value, 41) ^
                     (static_cast<u64>(record.kind) << 56) ^ (static_cast<u64>(record.node) << 32);
    u64 const mixed = (std::rotl(hash_, 5) ^ what) * 0x9E3779B97F4A7C15ULL;
    hash_ = mixed ^ (mixed >> 32);
    if (++records_ % k_block_records == 0) blocks_.push_back({record.when, hash_});
    if (!ring_.empty()) ring_[records_ & (ring_.size() - 1)] = record;
}

void Trace::record(TraceKind kind, u32 node, u64 id, u64 value) {
    TraceRecord const record{queue_.now(), id, value, node, kind};
    fold(record);
    if (is_printing()) sink_(to_string(record));
}

void Trace::record_text(TraceKind kind, u32 node, std::string_view text) {
    fold({queue_.now(), hash64(text), text.size(), node, kind});
    note(node, std::string(trace_kind_name(kind)) + " " + std::string(text));
}

void Trace::note(u32 node, std::string_view text) {
    if (is_printing()) sink_(line_start(queue_.now(), node) + std::string(text));
}

void Trace::keep_recent(usize size) {
    CORELET_ASSERT(std::has_single_bit(size));
    ring_.assign(size, TraceRecord{});
}

std::vector<TraceRecord> Trace::recent() const {
    std::vector<TraceRecord> out;
    u64 const kept = std::min<u64>(records_, ring_.size());
    for (u64 number = records_ - kept + 1; kept != 0 && number <= records_; ++number) {
        out.push_back(ring_[number & (ring_.size() - 1)]);
    }
    return out;
}

void Trace::print_from(VirtualTime from, Sink sink) {
    print_from_ = from;
    sink_ = std::move(sink);
}

}  // namespace corelet::sim
