#include "stream/recovery_core.h"

namespace corelet {

u64 SegmentChain::end_bytes() const {
    return records_.empty() ? 0 : records_.back().offset + records_.back().size_bytes();
}

bool SegmentChain::offer(const RecordHeader& header) {
    if (header.offset != end_bytes() || header.segment != spec_.id) return false;
    if (!records_.empty()) {
        const RecordHeader& last = records_.back();
        if (header.previous_crc != last.crc || header.number != last.number.next() || header.epoch != last.epoch ||
            header.roll != last.roll)
            return false;
    } else if (header.previous_crc != 0) {
        return false;
    }
    records_.push_back(header);
    return true;
}

namespace {

const StatedEnd* find_end(const std::vector<StatedEnd>& ends, u64 seq) {
    for (const StatedEnd& end : ends)
        if (end.seq == seq) return &end;
    return nullptr;
}

Error lost(const SegmentChain& chain, std::string why) {
    return Error{Code::kLost, false, 0,
                 "segment " + to_string(chain.spec().id) + ": " + std::move(why) +
                     "; more copies are gone than the pool survives. Bring back a corelet that holds a replica"};
}

// Checks that the chain reaches the stated end and that it falls between two records.
Result<void> check_reaches(const SegmentChain& chain, const StatedEnd& end) {
    if (end.end_bytes == 0) return {};
    for (const RecordHeader& record : chain.records())
        if (record.offset + record.size_bytes() == end.end_bytes) {
            if (record.number != end.last_record)
                return fail(Code::kCorrupt,
                            "segment " + to_string(chain.spec().id) + ": stated end names another record");
            return {};
        }
    return std::unexpected(lost(chain, "records up to its stated end are missing"));
}

// What is written at all replicas was perhaps acknowledged, unless a later segment says where this one ends.
Result<void> check_written(const std::vector<SegmentChain>& chains, const std::vector<StatedEnd>& stated) {
    for (const SegmentChain& chain : chains)
        if (chain.end_bytes() < chain.written_by_all() && !find_end(stated, chain.spec().id.seq))
            return std::unexpected(lost(chain, "its replicas hold " + std::to_string(chain.written_by_all()) +
                                                   " bytes, of which " + std::to_string(chain.end_bytes()) +
                                                   " can be read"));
    return {};
}

// Listed and without a record: they end empty, unless somebody says that they were used.
Result<void> end_unused(const std::vector<SegmentChain>& chains, const std::vector<StatedEnd>& stated,
                        RecoveryPlan& plan) {
    for (const SegmentChain& chain : chains) {
        if (chain.is_used()) continue;
        const StatedEnd* const found = find_end(stated, chain.spec().id.seq);
        if (found && found->end_bytes != 0)
            return std::unexpected(lost(chain, "it was used and no record of it is left"));
        plan.ends.push_back(StatedEnd{chain.spec().id.seq, 0, found ? found->last_record : RecordNumber{}});
    }
    return {};
}

}  // namespace

Result<RecoveryPlan> plan_recovery(const std::vector<SegmentChain>& chains, RecordNumber base, RecordNumber kept,
                                   u64 base_roll) {
    RecoveryPlan plan;
    plan.roll = base_roll;
    plan.mark = std::max(base, kept);
    for (usize i = 0; i < chains.size(); ++i)
        if (chains[i].is_used()) plan.replay.push_back(i);
    std::sort(plan.replay.begin(), plan.replay.end(),
              [&](usize a, usize b) { return chains[a].roll() < chains[b].roll(); });
    for (usize n = 1; n < plan.replay.size(); ++n)
        if (chains[plan.replay[n - 1]].roll() == chains[plan.replay[n]].roll())
            return fail(Code::kCorrupt, "two segments bear the same roll number");

    std::vector<StatedEnd> stated;
    if (!plan.replay.empty()) {
        const SegmentChain& last = chains[plan.replay.back()];
        plan.roll = std::max(plan.roll, last.roll());
        stated = last.records().front().ends;
        // Whatever anyone was told of acknowledgements is true, also in records that no longer count or cannot be
        // reached.
        for (usize i : plan.replay)
            for (const RecordHeader& record : chains[i].records())
                plan.mark = std::max(plan.mark, record.acknowledged);
        for (const StatedEnd& end : stated) plan.mark = std::max(plan.mark, end.last_record);
    }
    for (const SegmentChain& chain : chains) plan.mark = std::max(plan.mark, chain.mark_beyond());

    // Segments before the last end where its first record says; the last one at the mark.
    RecordNumber reached = base;
    for (usize n = 0; n < plan.replay.size(); ++n) {
        const SegmentChain& chain = chains[plan.replay[n]];
        bool const is_last = n + 1 == plan.replay.size();
        StatedEnd end{chain.spec().id.seq, 0, reached};
        if (!is_last) {
            const StatedEnd* const found = find_end(stated, chain.spec().id.seq);
            if (!found)
                return fail(Code::kCorrupt,
                            "segment " + to_string(chain.spec().id) + " was used, its end is stated nowhere");
            end = *found;
            TRY_VOID(check_reaches(chain, end));
        }
        for (const RecordHeader& record : chain.records()) {
            u64 const record_end = record.offset + record.size_bytes();
            if (!is_last && record_end > end.end_bytes) break;
            if (record.number != reached.next())
                return std::unexpected(lost(chain, "record " + std::to_string(reached.v + 1) + " is missing"));
            reached = record.number;
            if (is_last && record.number <= plan.mark) {
                end.end_bytes = record_end;
                end.last_record = record.number;
            }
        }
        if (is_last && reached > plan.mark) plan.tail_chain = plan.replay[n];
        plan.ends.push_back(end);
    }
    if (reached < plan.mark) {
        if (chains.empty()) return fail(Code::kLost, "acknowledged records are missing");
        return std::unexpected(lost(chains[plan.replay.empty() ? 0 : plan.replay.back()],
                                    "records up to " + std::to_string(plan.mark.v) +
                                        " were acknowledged, found up to " + std::to_string(reached.v)));
    }
    plan.last_record = reached;
    TRY_VOID(check_written(chains, stated));
    TRY_VOID(end_unused(chains, stated, plan));
    return plan;
}

usize fences_needed(usize width, usize write_width, usize fenced, usize others_with_session) {
    CORELET_ASSERT(write_width >= 1 && write_width <= width);
    usize const quorum = width - write_width + 1;
    return fenced >= quorum && others_with_session > 0 ? std::min(width, quorum + 1) : quorum;
}

}  // namespace corelet
