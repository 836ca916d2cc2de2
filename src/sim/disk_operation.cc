#include "sim/disk_operation.h"

namespace corelet::sim {

namespace {
constexpr Duration k_slower_max = 2_s;

std::unexpected<Error> injected(const char* what) {
    return std::unexpected<Error>(Error{Code::kIo, true, 0, what});
}
bool take_one(u32& armed) {
    if (armed == 0) return false;
    --armed;
    return true;
}
}  // namespace

DiskOperation::DiskOperation(Media& media, std::shared_ptr<MediaEntry> entry, const Request& request,
                             Awaiter* awaiter)
    : media_(media),
      entry_(std::move(entry)),
      kind_(request.kind),
      offset_(request.offset),
      size_(request.size),
      awaiter_(awaiter) {
    begin();
    if (!request.data.empty()) write_ = entry_->file.begin_write(offset_, request.data);
    entry_->in_flight.push_back(*this);
}

void DiskOperation::start(Media& media, std::shared_ptr<MediaEntry> entry, Request request, Awaiter* awaiter) {
    if (media.on_issue) media.on_issue();
    ++media.issued;
    std::unique_ptr<DiskOperation> operation(new DiskOperation(media, std::move(entry), request, awaiter));
    awaiter->operation_ = operation.get();
    media.engine.trace.record(TraceKind::kDiskIssue, media.node(), operation->offset_,
                              (operation->size_ << 3) | static_cast<u64>(operation->kind_));
    VirtualTime const when = operation->completion_time();
    media.engine.queue.schedule_owned(std::move(operation), when);
}

// Faults that wait for an operation of this kind.
void DiskOperation::begin() {
    MediaFaults& faults = entry_->file.faults;
    switch (kind_) {
        case Kind::kRead:
            return misdirect(faults.misdirect_reads, FaultKind::kMisdirectedRead);
        case Kind::kWrite:
        case Kind::kDurableWrite:
            misdirect(faults.misdirect_writes, FaultKind::kMisdirectedWrite);
            if (take_one(faults.fail_writes)) return fail_with(FaultKind::kFailedWrite);
            // A durable write ends with a sync of its own.
            if (kind_ == Kind::kDurableWrite && take_one(faults.fail_syncs)) fail_with(FaultKind::kFailedSync);
            return;
        case Kind::kFlush:
            flush_mark_ = entry_->file.begin_flush();
            if (take_one(faults.fail_syncs)) fail_with(FaultKind::kFailedSync);
            return;
        case Kind::kDiscard:
            return;
    }
}

void DiskOperation::fail_with(FaultKind kind) {
    fails_ = true;
    media_.engine.stats.count_fault(kind);
}

void DiskOperation::misdirect(u32& armed, FaultKind kind) {
    if (!take_one(armed)) return;
    u64 const places = (entry_->file.size_bytes() - size_) / k_block_bytes + 1;
    u64 const other = media_.prng.below(places) * k_block_bytes;
    if (other == offset_) return;
    offset_ = other;
    media_.engine.stats.count_fault(kind);
}

VirtualTime DiskOperation::completion_time() {
    DiskModel const& model = media_.model;
    Duration latency{};
    switch (kind_) {
        case Kind::kRead:
            latency = media_.draw_latency(model.read_min, model.read_spread);
            break;
        case Kind::kWrite:
        case Kind::kDurableWrite:
        case Kind::kDiscard:
            latency = media_.draw_latency(model.write_min, model.write_spread);
            break;
        case Kind::kFlush:
            latency = media_.draw_latency(model.flush_min, model.flush_spread);
            break;
    }
    MediaFaults const& faults = entry_->file.faults;
    VirtualTime begins = std::max(media_.engine.now(), faults.stuck_until);
    if (kind_ != Kind::kDiscard && kind_ != Kind::kFlush && model.bytes_per_second != 0) {
        begins = std::max(begins, entry_->busy_until) +
                 Duration{static_cast<i64>(size_ * 1'000'000'000 / model.bytes_per_second)};
        entry_->busy_until = begins;
    }
    // A slow device is not a stuck one: what it has begun ends soon after it is quick again.
    return begins + std::min(latency * faults.slow_factor, latency + k_slower_max);
}

void DiskOperation::fire() {
    VirtualTime const stuck_until = entry_->file.faults.stuck_until;
    if (stuck_until > media_.engine.now()) {
        media_.engine.queue.schedule(*this, stuck_until);
        return;
    }
    Result<Buffer> result = complete();
    media_.engine.trace.record(TraceKind::kDiskDone, media_.node(), offset_, result ? 1 : 0);
    if (awaiter_) {
        bool const saves = kind_ != Kind::kRead && kind_ != Kind::kDiscard;
        if (saves && !result) ++entry_->file.failures_told;
        awaiter_->result_ = std::move(result);
        awaiter_->operation_ = nullptr;
        awaiter_->waiter_.make_ready();
    }
    unlink();
}

Result<Buffer> DiskOperation::complete() {
    MediaFile& file = entry_->file;
    bool const fails = fails_ || file.faults.dead;
    switch (kind_) {
        case Kind::kRead:
            if (fails) return injected("the device does not answer");
            return file.read(offset_, size_);
        case Kind::kWrite:
        case Kind::kDurableWrite:
            if (fails) {
                file.fail_write(write_, offset_, size_);
                return injected("the write failed");
            }
            if (kind_ == Kind::kWrite) {
                file.complete_buffered(write_, offset_, size_);
            } else {
                file.complete_durable(write_, offset_, size_);
            }
            return Buffer();
        case Kind::kFlush:
            if (fails) {
                file.fail_flush();
                return injected("the flush failed");
            }
            file.complete_flush(flush_mark_);
            return Buffer();
        case Kind::kDiscard:
            if (fails) return injected("the discard failed");
            file.discard(offset_, size_);
            return Buffer();
    }
    CORELET_UNREACHABLE("not a kind of operation");
}

}  // namespace corelet::sim
