#include "stream/owner_core.h"

#include "base/fault_point.h"

namespace corelet {

OwnerCore::OwnerCore(OwnerStart start, OwnerOptions options, Instant now)
    : space_(start.space),
      epoch_(start.epoch),
      options_(options),
      acknowledged_(start.last_record),
      sent_(start.last_record),
      roll_(start.roll),
      last_activity_(now),
      standbys_(std::move(start.standbys)) {
    CORELET_ASSERT(!epoch_.is_zero());
    if (!start.open) return;
    open(*std::move(start.open), now);
    end_bytes_ = acknowledged_bytes_ = start.open_end_bytes;
    previous_crc_ = start.open_previous_crc;
    open_used_ = end_bytes_ != 0;
    for (Replica& replica : replicas_) replica.durable = sent_;
}

void OwnerCore::submit(u64 request, LogEntry entry, Instant now, bool may_be_refused) {
    CORELET_ASSERT(!stopped_, "appends to an owner that has stopped");
    CORELET_ASSERT(entry.meta.size() <= k_entry_meta_bytes_max && entry.crcs.size() <= k_entry_blocks_max);
    CORELET_ASSERT(entry.blocks.size() == entry.crcs.size() * k_block_bytes);
    pending_bytes_ += entry.blocks.size() + entry.meta.size();
    pending_.push_back(Request{request, std::move(entry), may_be_refused});
    last_activity_ = now;
    if (!blocked_since_) blocked_since_ = now;
}

// While a record is in flight, small requests gather for the next one; large ones are sent beside it.
bool OwnerCore::should_send(Instant now) const {
    if (pending_.empty() || !open_ || stopped_ || want_roll_ || stuck_) return false;
    if (in_flight_.empty())
        return !is_gathering() || now >= gather_until_ || pending_bytes_ >= options_.pipeline_bytes;
    return in_flight_.size() < options_.pipeline_records &&
           (pending_bytes_ >= options_.pipeline_bytes || FAULT_POINT("stream.send_early"));
}

void OwnerCore::flush(Instant now, OwnerEffects& out) {
    if (want_roll_ && in_flight_.empty()) maybe_roll_for_size(now, out);
    while (should_send(now)) send_record(now, out);
}

u64 OwnerCore::bytes_held() const {
    u64 bytes = pending_bytes_;
    for (const InFlight& record : in_flight_)
        for (const Request& request : record.requests)
            bytes += request.entry.blocks.size() + request.entry.meta.size();
    return bytes;
}

void OwnerCore::send_record(Instant now, OwnerEffects& out) {
    InFlight record;
    std::vector<const LogEntry*> entries;
    usize meta = 0, blocks = 0;
    while (!pending_.empty() && record.requests.size() < k_record_entries_max) {
        const LogEntry& next = pending_.front().entry;
        meta += next.meta.size() + 8;
        blocks += next.crcs.size();
        if (!record.requests.empty() && (meta > k_record_meta_bytes_max || blocks > k_record_data_blocks_max))
            break;
        pending_bytes_ -= next.blocks.size() + next.meta.size();
        record.requests.push_back(std::move(pending_.front()));
        pending_.pop_front();
    }
    for (const Request& request : record.requests) entries.push_back(&request.entry);

    RecordHeader header;
    header.segment = open_->id;
    header.epoch = epoch_;
    header.number = sent_.next();
    header.acknowledged = acknowledged_;
    header.offset = end_bytes_;
    header.roll = roll_;
    for (const Request& request : record.requests)
        header.client_data = header.client_data || request.may_be_refused;
    header.previous_crc = previous_crc_;
    if (header.is_first()) header.ends = uncommitted_ends_;
    EncodedRecord encoded = encode_record(std::move(header), open_->salt, entries);

    record.number = encoded.header.number;
    record.crc = encoded.header.crc;
    record.sent = now;
    record.first_block = std::move(encoded.entry_first_block);
    end_bytes_ += encoded.header.size_bytes();
    record.end_bytes = end_bytes_;
    previous_crc_ = encoded.header.crc;
    sent_ = record.number;
    open_used_ = true;
    for (const Replica& replica : replicas_)
        out.push_back(owner_effect::SendRecord{open_->id, replica.id, record.number, encoded.header.offset,
                                               encoded.bytes, encoded.bytes_crc});
    in_flight_.push_back(std::move(record));
    CORELET_ASSERT(in_flight_.size() <= options_.pipeline_records);
}

void OwnerCore::appended(SegmentId segment, CoreletId id, RecordNumber number, Instant now, OwnerEffects& out) {
    Replica* const replica = find(segment, id);
    if (!replica || stopped_) return;  // a late answer of a segment left behind counts for nothing (protocols 5.3)
    CORELET_ASSERT(number <= sent_, "a replica has a record that was never sent");
    for (const InFlight& record : in_flight_)
        if (record.number == number && (!replica->promise_from || *replica->promise_from < record.sent))
            replica->promise_from = record.sent;
    if (number > replica->durable) replica->durable = number;
    acknowledge_ready(now, out);
    last_activity_ = now;
    resume_if_answered(*replica, now, out);
    bool const full = end_bytes_ >= options_.segment_target_bytes || FAULT_POINT("stream.roll_early");
    if (full && catalog_available_) want_roll_ = true;
    flush(now, out);
}

void OwnerCore::acknowledge_ready(Instant now, OwnerEffects& out) {
    static constexpr usize k_latencies_kept = 64;
    RecordNumber everywhere = sent_;
    for (const Replica& replica : replicas_) everywhere = std::min(everywhere, replica.durable);
    while (!in_flight_.empty() && in_flight_.front().number <= everywhere) {
        InFlight record = std::move(in_flight_.front());
        in_flight_.pop_front();
        CORELET_ASSERT(record.number == acknowledged_.next(), "acknowledged out of order");
        acknowledged_ = record.number;
        acknowledged_bytes_ = record.end_bytes;
        blocked_since_.reset();
        if (recent_latencies_.size() == k_latencies_kept) recent_latencies_.erase(recent_latencies_.begin());
        recent_latencies_.push_back(now - record.sent);
        company_ = record.requests.size() + pending_.size();
        gather_until_ = now + std::min(options_.gather_max, (now - record.sent) / 4);
        for (usize i = 0; i < record.requests.size(); ++i) {
            Request& request = record.requests[i];
            out.push_back(owner_effect::Acknowledge{
                request.id, record.number, LogPlace{open_->id, record.first_block[i]}, std::move(request.entry)});
        }
    }
    if (!blocked_since_ && (!in_flight_.empty() || !pending_.empty())) blocked_since_ = now;
}

}  // namespace corelet
