#include "catalog/raft_media.h"

#include "catalog/limits.h"
#include "raft/codec.h"
#include "raft/promise.h"

namespace corelet {

namespace {

constexpr Duration k_compact_pause = 1_s;  // after one that failed

Journal::Record to_record(const raft::Persist& batch) {
    std::string const bytes = raft::encode(batch);
    return Journal::Record(bytes.begin(), bytes.end());
}

std::vector<Journal::Record> one_record(const raft::Persist& batch) {
    std::vector<Journal::Record> records;
    records.push_back(to_record(batch));
    return records;
}

// The whole durable content as one batch.
raft::Persist as_batch(const raft::Restored& durable) {
    raft::Persist batch;
    batch.hard_state = durable.hard_state;
    batch.snapshot = durable.snapshot;
    batch.reset_log = durable.snapshot.has_value();
    batch.entries = durable.entries;
    return batch;
}

raft::Position end_of(const raft::Restored& durable) {
    raft::Position const floor = durable.snapshot ? durable.snapshot->last : raft::Position{};
    if (durable.entries.empty() || durable.entries.back().at.index < floor.index) return floor;
    return durable.entries.back().at;
}

std::vector<u8> memo_of(const raft::HardState& hard, raft::Position last, raft::Index voided_from) {
    return raft::encode_promise({hard.term, hard.vote, last, hard.repairing, voided_from});
}

// Only the promises again: so that the newest identifier speaks of what the journal holds now.
Task<Result<u64>> append_promise(Journal* journal, const raft::Restored* durable) {
    raft::Persist promises;
    promises.hard_state = durable->hard_state;
    auto memo = memo_of(durable->hard_state, end_of(*durable), 0);
    co_return co_await journal->append(one_record(promises), std::move(memo));
}

// Starts a rotten journal anew with what is certain; the core gets the rest from its peers. An error: it is
// forgotten.
Task<Result<raft::Restored>> salvage(Journal* journal, raft::Restored readable) {
    const JournalReport& report = journal->report();
    auto const promise = raft::decode_promise(report.memo);
    if (!promise || report.promised <= report.record)
        co_return fail(Code::kForgotten,
                       "the consensus log has rotted and does not say what it had promised (" + report.what + ")");
    CO_TRY(raft::Restored restored,
           raft::restored_from_rot(std::move(readable), *promise, report.promised - report.record));
    raft::Restored durable = restored;
    // The core carries the rot on in its hard state; so must the media, which no longer show it.
    if (durable.rotten.index > durable.hard_state.repairing.index) durable.hard_state.repairing = durable.rotten;
    durable.rotten = {};
    CO_TRY_VOID(co_await journal->restart(to_record(as_batch(durable))));
    CO_TRY_VOID(co_await append_promise(journal, &durable));
    co_return durable;
}

}  // namespace

Task<Result<RaftMedia::Opened>> RaftMedia::open(Journal* journal, CoreletId self, bool first) {
    if (journal->state_bytes_max() < k_catalog_journal_state_bytes ||
        journal->record_bytes_max() < k_catalog_journal_record_bytes)
        co_return fail(Code::kNoSpace,
                       "the consensus journal of this device is too small for a catalog: format a larger device",
                       journal->state_bytes_max());
    Opened out;
    std::optional<Error> bad;
    auto const take = [&](Bytes bytes) {
        auto batch = raft::decode_persist(bytes);
        if (batch && !bad) raft::absorb(out.restored, *batch);
        if (!batch && !bad) bad = with_context(batch.error(), "the consensus log");
    };
    journal->replay(
        [&](u64, Bytes state) {
            if (!state.empty()) take(state);
        },
        [&](u64, Bytes record) { take(record); });
    if (bad) co_return std::unexpected(*bad);
    if (journal->is_rotten()) {
        auto salvaged = co_await salvage(journal, out.restored);
        if (salvaged) {
            out.restored = *std::move(salvaged);
            out.repaired_rot = true;
        } else if (salvaged.error().code == Code::kForgotten) {
            out.forgotten = salvaged.error().message;
        } else {
            co_return std::unexpected(salvaged.error());
        }
        co_return out;
    }
    if (first && journal->durable_number() == 0) {
        raft::Configuration only;
        only.voters = {self};
        out.restored = raft::bootstrap(only);
        auto memo = memo_of(out.restored.hard_state, end_of(out.restored), 0);
        CO_TRY_VOID(co_await journal->append(one_record(as_batch(out.restored)), std::move(memo)));
    } else if (journal->durable_number() != 0) {
        // What was durable and not promised is relied upon from here on. A full journal says so with its next
        // record.
        auto const said = co_await append_promise(journal, &out.restored);
        if (!said && said.error().code != Code::kNoSpace) co_return std::unexpected(said.error());
    }
    co_return out;
}

Task<Result<void>> RaftMedia::replace(Journal* journal, raft::Restored start) {
    if (journal->is_rotten())
        co_return fail(Code::kForgotten, "the consensus journal of this device has rotted; take another corelet's");
    if (journal->durable_number() == 0) {
        // A snapshot covers records. This one says no more than the term, which by itself lets nobody vote.
        raft::Persist first;
        first.hard_state.term = start.hard_state.term;
        auto memo = memo_of(first.hard_state, {}, 0);
        CO_TRY_VOID(co_await journal->append(one_record(first), std::move(memo)));
    }
    CO_TRY_VOID(co_await journal->snapshot(journal->durable_number(), to_record(as_batch(start))));
    CO_TRY_VOID(co_await append_promise(journal, &start));
    co_return {};
}

RaftMedia::RaftMedia(Env& env, Journal& journal, raft::Restored durable, Events events)
    : env_(env), journal_(journal), durable_(std::move(durable)), events_(std::move(events)), scope_(env.executor) {
    durable_number_ = journal_.durable_number();
    scope_.spawn(run());
}

void RaftMedia::put(std::optional<raft::Persist> batch, u64 ticket, std::vector<raft::Message> after) {
    Pending pending{std::move(batch), ticket, std::move(after), std::nullopt};
    if (pending.batch) {
        CORELET_ASSERT(takes_batches(), "a batch handed in while another one waits");
        if (!pending.batch->reset_log) {
            auto const number = journal_.submit(
                one_record(*pending.batch),
                memo_of(pending.batch->hard_state, pending.batch->last, pending.batch->truncate_from));
            if (number) pending.number = *number;
        }
        if (!pending.number) ++unsubmitted_;
    }
    pending_.push_back(std::move(pending));
    pending_wanted_.notify_one();
}

// One after the other, in the order of the core: durable, then whatever waited for it.
Task<void> RaftMedia::run() {
    for (;;) {
        while (pending_.empty()) co_await pending_wanted_.wait();
        Pending& front = pending_.front();  // stays the front meanwhile: others are only added behind it
        if (front.batch) {
            auto const durable = co_await make_durable(&front);
            if (!durable) {
                events_.failed(durable.error());
                co_return;
            }
        }
        Pending done = std::move(pending_.front());
        pending_.pop_front();
        ++finished_;
        events_.durable(done.ticket, std::move(done.after));
    }
}

Task<Result<void>> RaftMedia::make_durable(Pending* pending) {
    if (pending->batch->reset_log) {
        CO_TRY_VOID(co_await install(&*pending->batch));
        --unsubmitted_;
        co_return {};
    }
    if (!pending->number) {
        CO_TRY_VOID(co_await submit_patiently(pending));
        --unsubmitted_;
    }
    CO_TRY_VOID(co_await journal_.wait_durable(*pending->number));
    raft::absorb(durable_, *pending->batch);
    durable_number_ = *pending->number;
    co_return {};
}

// A full or overloaded journal is no failure: a snapshot makes room.
Task<Result<void>> RaftMedia::submit_patiently(Pending* pending) {
    const raft::Persist& batch = *pending->batch;
    for (;;) {
        auto const number =
            journal_.submit(one_record(batch), memo_of(batch.hard_state, batch.last, batch.truncate_from));
        if (number) {
            pending->number = *number;
            co_return {};
        }
        if (number.error().code != Code::kNoSpace && number.error().code != Code::kOverloaded)
            co_return std::unexpected(number.error());
        events_.wants_room();
        co_await compacted_.wait_until(env_.clock, env_.clock.now() + 50_ms);
    }
}

// All batches before it are durable, none after it has been handed in.
Task<Result<void>> RaftMedia::install(const raft::Persist* batch) {
    while (compacting_) co_await compacted_.wait();
    compacting_ = true;
    raft::Restored next = durable_;
    raft::absorb(next, *batch);
    auto const written = co_await journal_.snapshot(durable_number_, to_record(as_batch(next)));
    compacting_ = false;
    compacted_.notify_all();
    if (!written) co_return std::unexpected(written.error());
    durable_ = std::move(next);
    CO_TRY(durable_number_, co_await append_promise(&journal_, &durable_));
    co_return {};
}

void RaftMedia::compact(std::optional<raft::Snapshot> snapshot, raft::Index floor) {
    CORELET_ASSERT(may_compact());
    compacting_ = true;
    scope_.spawn(run_compaction(std::move(snapshot), floor));
}

Task<void> RaftMedia::run_compaction(std::optional<raft::Snapshot> snapshot, raft::Index floor) {
    raft::Restored fold = durable_;
    if (snapshot) raft::absorb(fold, *snapshot, floor);
    auto const written = co_await journal_.snapshot(durable_number_, to_record(as_batch(fold)));
    compacting_ = false;
    if (written) {
        if (snapshot) {
            raft::absorb(durable_, *snapshot, floor);
            events_.snapshot_saved(*snapshot);
        }
    } else {
        log_warning(env_.log, "raft.compaction_failed", written.error().to_string());
        compact_after_ = env_.clock.now() + k_compact_pause;
    }
    compacted_.notify_all();
}

}  // namespace corelet
