// Snapshots: saved by the own state machine, sent in chunks to who lags behind the log, installed whole (Raft 7).
// They are verified end to end by their maker's checksum and never move backward.
#include "base/assert.h"
#include "raft/core.h"

namespace corelet::raft {

Result<Snapshot> Core::snapshot_of(Payload state) const {
    if (failed_) return fail(Code::kIo, "the device has failed");
    if (state.size() > options_.snapshot_bytes_max) return fail(Code::kInvalid, "snapshot too long", state.size());
    bool const newer = applied_ > 0 && (!log_.snapshot() || log_.snapshot()->last.index < applied_);
    if (!newer) return fail(Code::kConflict, "a snapshot as new as this is there");
    std::optional<Term> const term = log_.term_at(applied_);
    CORELET_ASSERT(term.has_value());
    return make_snapshot({*term, applied_}, configurations_.at(applied_), std::move(state));
}

Index Core::compact_floor(Index last) const {
    CORELET_ASSERT(last <= log_.last().index);
    Index floor = last;
    usize kept = 0;
    while (floor > log_.base().index && last - floor < options_.trailing_entries) {
        kept += log_.entry_at(floor).bytes();
        if (kept > options_.trailing_bytes) break;
        --floor;
    }
    return floor;
}

void Core::snapshot_saved(const Snapshot& snapshot) {
    if (failed_ || (log_.snapshot() && log_.snapshot()->last.index >= snapshot.last.index)) return;
    CORELET_ASSERT(snapshot.last.index <= std::min(applied_, log_.durable()), "a snapshot of what is not applied");
    CORELET_ASSERT(log_.matches(snapshot.last), "a snapshot of applied entries that are not in the log");
    log_.compact(snapshot, compact_floor(snapshot.last.index));
    configurations_.compact(snapshot.last.index);
}

void Core::install_durable(const Batch& batch) {
    // Unless another one has come since, whose batch is still out.
    bool const current = batch.install && log_.snapshot() && log_.snapshot()->last == *batch.install;
    if (current) installable_ = log_.snapshot();
}

void Core::start_transfer(CoreletId to, Progress& peer) {
    CORELET_ASSERT(log_.snapshot() && log_.snapshot()->verifies(), "a compacted log has a good snapshot");
    CORELET_ASSERT(log_.snapshot()->last.index >= log_.base().index);
    peer.start_transfer(*log_.snapshot(), now_);
    send_chunk(to, *log_.snapshot(), 0, false);
}

void Core::send_chunk(CoreletId to, const Snapshot& snapshot, u64 offset, bool repair) {
    CORELET_ASSERT(offset <= snapshot.state.size());
    usize const size = std::min<u64>(options_.snapshot_chunk_bytes, snapshot.state.size() - offset);
    SnapshotChunk chunk{snapshot.last, snapshot.configuration, snapshot.state.size(), snapshot.crc, offset, {},
                        repair};
    chunk.data = Payload(std::string(snapshot.state.text().substr(offset, size)));
    post(to, std::move(chunk), When::kNow);
}

void Core::resend_chunk(CoreletId to, Progress& peer) {
    Progress::Transfer& transfer = *peer.transfer();
    if (now_ - transfer.sent < options_.heartbeat) return;
    transfer.sent = now_;
    send_chunk(to, transfer.snapshot, transfer.offset, false);
}

void Core::on(const Message& message, const SnapshotResponse& response) {
    if (response.repair) {
        // Stateless: the one that repairs drives it.
        if (!log_.snapshot() || log_.snapshot()->last != response.last) return;
        if (response.next_offset >= log_.snapshot()->state.size()) return;
        send_chunk(message.from, *log_.snapshot(), response.next_offset, true);
        return;
    }
    auto const found = peers_.find(message.from);
    if (role_ != Role::kLeader || found == peers_.end() || !found->second.transfer()) return;
    Progress& peer = found->second;
    peer.heard(now_, false);
    Progress::Transfer& transfer = *peer.transfer();
    if (transfer.snapshot.last != response.last || response.next_offset > transfer.snapshot.state.size()) return;
    // Only progress sends the next chunk at once; what was lost, or begins anew, is sent again after a heartbeat.
    bool const onward = response.next_offset > transfer.offset;
    transfer.offset = response.next_offset;
    if (!onward || transfer.offset == transfer.snapshot.state.size()) return;
    transfer.sent = now_;
    send_chunk(message.from, transfer.snapshot, transfer.offset, false);
}

void Core::on(const Message& message, const SnapshotChunk& chunk) {
    if (chunk.total > options_.snapshot_bytes_max) {
        ++dropped_;
        return;
    }
    if (chunk.repair) {
        // A leader supplies what it has; and of several others one is listened to, or they would keep undoing each
        // other's beginning.
        bool const other = assembly_ && assembly_->from != message.from;
        bool const fresh = other && now_ - assembly_->progressed < options_.election_timeout_min;
        if (!rotten() || hears_leader() || fresh) return;
    } else {
        hear_leader(message.from);
    }
    if (chunk.last.index <= hard_.commit) {
        if (!chunk.repair) post_accepted(message.from, hard_.commit);
        return;
    }
    if (assemble(message.from, chunk)) {
        complete_assembly(message, chunk);
    } else {
        post(message.from, SnapshotResponse{chunk.last, assembly_->bytes.size(), chunk.repair}, When::kNow);
    }
}

// True when all bytes are there. Chunks of another sender or snapshot begin it anew.
bool Core::assemble(CoreletId from, const SnapshotChunk& chunk) {
    bool const same = assembly_ && assembly_->from == from && assembly_->head.last == chunk.last &&
                      assembly_->head.crc == chunk.crc && assembly_->head.total == chunk.total;
    if (!same) {
        assembly_ = Assembly{from, chunk, {}, now_};
        assembly_->head.data = Payload();
    }
    if (chunk.offset == assembly_->bytes.size()) {
        assembly_->bytes.append(chunk.data.text());
        assembly_->progressed = now_;
    }
    CORELET_ASSERT(assembly_->bytes.size() <= assembly_->head.total);
    return assembly_->bytes.size() == assembly_->head.total;
}

void Core::complete_assembly(const Message& message, const SnapshotChunk& chunk) {
    Assembly whole = *std::exchange(assembly_, std::nullopt);
    Snapshot snapshot{whole.head.last, whole.head.configuration, Payload(std::move(whole.bytes)), whole.head.crc};
    if (!snapshot.verifies() || snapshot.last.term > hard_.term) {
        ++dropped_;
        post(message.from, SnapshotResponse{chunk.last, 0, chunk.repair}, When::kNow);
        return;
    }
    install(std::move(snapshot));
    if (!chunk.repair) post_accepted(message.from, hard_.commit);
}

void Core::install(Snapshot snapshot) {
    Index const last = snapshot.last.index;
    CORELET_ASSERT(last > hard_.commit && role_ != Role::kLeader);
    if (log_.matches(snapshot.last)) {
        // The log has all of it; nothing to replace.
        commit_to(last);
    } else {
        configurations_.reset(last, snapshot.configuration);
        log_.reset(std::move(snapshot));
        hard_.commit = last;
        installable_.reset();
        to_install_ = true;
        for (Batch& batch : in_flight_) batch.last = 0;
    }
    // Everything up to there is committed, so nothing that was promised and may count is missing.
    if (rotten() && last >= hard_.repairing.index) repaired();
}

}  // namespace corelet::raft
