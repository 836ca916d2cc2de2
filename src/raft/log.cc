#include "raft/log.h"

#include <algorithm>

#include "base/assert.h"

namespace corelet::raft {

Log::Log(std::optional<Snapshot> snapshot, std::vector<Entry> entries) : snapshot_(std::move(snapshot)) {
    Position const floor = snapshot_ ? snapshot_->last : Position{};
    if (entries.empty() || entries.back().at.index < floor.index) {
        base_ = floor;
    } else {
        CORELET_ASSERT(entries.front().at.index <= floor.index + 1, "a gap between snapshot and log");
        // The term before the first entry is known only where it is the snapshot's own place; else that entry
        // itself becomes the base.
        bool const meets = entries.front().at.index == floor.index + 1;
        base_ = meets ? floor : entries.front().at;
        for (usize i = meets ? 0 : 1; i < entries.size(); ++i) append(std::move(entries[i]));
        CORELET_ASSERT(matches(floor), "snapshot and log disagree");
    }
    issued_ = durable_ = last().index;
    check();
}

std::optional<Term> Log::term_at(Index index) const {
    if (index == base_.index) return base_.term;
    if (index < base_.index || index > last().index) return std::nullopt;
    return entry_at(index).at.term;
}

const Entry& Log::entry_at(Index index) const {
    CORELET_ASSERT(index > base_.index && index <= last().index);
    const Entry& entry = entries_[index - base_.index - 1];
    CORELET_ASSERT(entry.at.index == index);
    return entry;
}

std::vector<Entry> Log::slice(Index first, Index last_wanted, usize bytes_max) const {
    std::vector<Entry> out;
    usize taken = 0;
    for (Index index = first; index <= last_wanted; ++index) {
        const Entry& entry = entry_at(index);
        taken += entry.bytes();
        if (!out.empty() && taken > bytes_max) break;
        out.push_back(entry);
    }
    return out;
}

Position Log::last_at_or_below(Index index, Term term) const {
    Index at = std::min(index, last().index);
    while (at > base_.index && entry_at(at).at.term > term) --at;
    if (at <= base_.index) return base_;
    return entry_at(at).at;
}

void Log::append(Entry entry) {
    CORELET_ASSERT(entry.at.index == last().index + 1, "a gap in the log");
    CORELET_ASSERT(entry.at.term >= last().term, "terms never fall along a log");
    bytes_ += entry.bytes();
    entries_.push_back(std::move(entry));
}

void Log::truncate_from(Index first) {
    CORELET_ASSERT(first > base_.index && first <= last().index);
    CORELET_ASSERT(!snapshot_ || first > snapshot_->last.index, "what a snapshot covers is final");
    while (!entries_.empty() && entries_.back().at.index >= first) {
        bytes_ -= entries_.back().bytes();
        entries_.pop_back();
    }
    if (first <= issued_) {
        void_from_ = void_from_ == 0 ? first : std::min(void_from_, first);
        issued_ = first - 1;
    }
    durable_ = std::min(durable_, first - 1);
    check();
}

Log::Unissued Log::take_unissued(usize bytes_max) {
    Unissued out;
    out.truncate_from = std::exchange(void_from_, 0);
    out.entries = slice(issued_ + 1, last().index, bytes_max);
    issued_ += out.entries.size();
    check();
    return out;
}

void Log::mark_durable(Index index) {
    CORELET_ASSERT(index <= issued_, "durable before it was handed out");
    durable_ = std::max(durable_, index);
}

void Log::compact(Snapshot snapshot, Index compact_to) {
    CORELET_ASSERT(!snapshot_ || snapshot_->last.index < snapshot.last.index, "snapshots never move backward");
    CORELET_ASSERT(matches(snapshot.last) && compact_to <= snapshot.last.index);
    snapshot_ = std::move(snapshot);
    while (!entries_.empty() && entries_.front().at.index <= compact_to) {
        bytes_ -= entries_.front().bytes();
        base_ = entries_.front().at;
        entries_.pop_front();
    }
    check();
}

void Log::reset(Snapshot snapshot) {
    CORELET_ASSERT(!snapshot_ || snapshot_->last.index < snapshot.last.index, "snapshots never move backward");
    base_ = snapshot.last;
    snapshot_ = std::move(snapshot);
    entries_.clear();
    bytes_ = 0;
    issued_ = base_.index;
    void_from_ = 0;
    durable_ = 0;
    check();
}

void Log::check() const {
    CORELET_ASSERT(issued_ >= base_.index || entries_.empty());
    CORELET_ASSERT(issued_ <= last().index && durable_ <= issued_);
    CORELET_ASSERT(!snapshot_ || base_.index <= snapshot_->last.index);
}

}  // namespace corelet::raft
