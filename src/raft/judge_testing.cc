#include "raft/judge_testing.h"

#include <fmt/format.h>

#include "base/codec.h"
#include "base/hash.h"

namespace corelet::raft::testing {
namespace {

std::string show(Position at) {
    return fmt::format("{}@{}", at.index, at.term.v);
}

bool on_media(const Restored& media, Position at) {
    if (media.snapshot && media.snapshot->last.index >= at.index) return true;
    for (auto entry = media.entries.rbegin(); entry != media.entries.rend(); ++entry) {
        if (entry->at.index == at.index) return entry->at.term == at.term;
    }
    return false;
}

Index last_on_media(const Restored& media) {
    Index const floor = media.snapshot ? media.snapshot->last.index : 0;
    return media.entries.empty() ? floor : std::max(floor, media.entries.back().at.index);
}

}  // namespace

void Chain::apply(const Entry& entry) {
    index = entry.at.index;
    hash = hash64(hash, entry.at.term.v, entry.crc);
}

Payload Chain::save(usize padding) const {
    Writer out;
    out.put(index).put(hash);
    return Payload(std::string(as_text(out.bytes())) + std::string(padding, 'p'));
}

void Chain::load(const Snapshot& snapshot) {
    Reader in(snapshot.state.bytes());
    index = in.get<u64>();
    hash = in.get<u64>();
}

void Judge::fail(std::string what) {
    if (verdict_.empty()) verdict_ = std::move(what);
}

// Log matching by induction: one content per (index, term), and one entry before it.
void Judge::saw_persist(const Core& core, const Persist& batch) {
    for (const Entry& entry : batch.entries) {
        auto const prev = core.log().term_at(entry.at.index - 1);
        if (!prev) continue;
        auto const [known, fresh] = written_.try_emplace(entry.at, Written{entry.crc, *prev});
        if (!fresh && (known->second.crc != entry.crc || known->second.prev_term != *prev)) {
            fail(fmt::format("log matching: two entries {}", show(entry.at)));
        }
    }
}

void Judge::saw_state(const Core& core, const std::map<CoreletId, const Restored*>& media) {
    check_commit(core, media);
    if (core.role() == Role::kLeader) check_leader(core);
}

void Judge::check_leader(const Core& core) {
    auto const [leader, fresh] = leader_of_.try_emplace(core.term(), core.self());
    if (leader->second != core.self()) {
        fail(fmt::format("election safety: two leaders in term {}", core.term().v));
    }
    if (checked_as_leader_[core.self()] == core.term()) return;
    checked_as_leader_[core.self()] = core.term();
    for (const auto& [index, committed] : committed_) check_has(core, index, committed);
}

void Judge::check_has(const Core& leader, Index index, const Committed& committed) {
    if (leader.term() < committed.seen_in || index < leader.log().base().index) return;
    if (leader.log().term_at(index) != committed.term) {
        fail(fmt::format("leader completeness: leader of term {} lacks {}", leader.term().v,
                         show({committed.term, index})));
    }
}

void Judge::check_commit(const Core& core, const std::map<CoreletId, const Restored*>& media) {
    Index& known = commits_[core.self()];
    if (core.commit() < known) fail("a commit index went back");
    for (Index index = std::max(known, core.log().base().index) + 1; index <= core.commit(); ++index) {
        Term const term = core.log().term_at(index).value();
        auto const [committed, fresh] = committed_.try_emplace(index, Committed{term, core.term()});
        if (committed->second.term != term) {
            fail(fmt::format("two entries committed at {}: terms {} and {}", index, committed->second.term.v,
                             term.v));
        }
        if (fresh && core.role() == Role::kLeader) check_durable(core, index, media);
    }
    known = core.commit();
}

void Judge::check_durable(const Core& leader, Index index, const std::map<CoreletId, const Restored*>& media) {
    Position const at{leader.log().term_at(index).value(), index};
    usize copies = 0;
    // An entry that changes the voters is committed by those it names; the ones before it may have had others.
    for (CoreletId voter : leader.configuration().voters) {
        auto const found = media.find(voter);
        if (impaired_.contains(voter) || (found != media.end() && on_media(*found->second, at))) ++copies;
    }
    if (copies < leader.configuration().majority()) {
        std::string holders;
        for (CoreletId voter : leader.configuration().voters) {
            auto const found = media.find(voter);
            bool const has = found != media.end() && on_media(*found->second, at);
            holders += fmt::format(" {}{}{}", voter.v, has ? "+" : "-", impaired_.contains(voter) ? "!" : "");
        }
        fail(fmt::format("{} committed with too few durable copies:{}", show(at), holders));
    }
}

void Judge::saw_send(const Message& message, const Restored& media) {
    const HardState& hard = media.hard_state;
    if (hard.term < message.term) {
        fail(
            fmt::format("{} of term {} left before its term was durable", body_name(message.body), message.term.v));
    }
    bool const later = hard.term > message.term;
    CoreletId vote;
    if (auto const* response = std::get_if<VoteResponse>(&message.body); response && response->granted) {
        vote = message.to;
    } else if (std::holds_alternative<Vote>(message.body)) {
        vote = message.from;
    }
    if (!vote.is_zero()) {
        if (!later && hard.vote != vote) fail("a vote left before it was durable");
        auto const [given, fresh] = votes_.try_emplace({message.from, message.term}, vote);
        if (given->second != vote) fail(fmt::format("two votes in term {}", message.term.v));
    }
    auto const* accepted = std::get_if<AppendResponse>(&message.body);
    if (accepted && accepted->accepted && accepted->promise && !later) {
        if (last_on_media(media) < accepted->match) fail("an acknowledgement left before its entries were durable");
    }
}

void Judge::saw_apply(CoreletId who, const Entry& entry, const Chain& after) {
    auto const [known, fresh] = applied_.try_emplace(entry.at.index, entry.at.term, after.hash);
    if (known->second != std::pair(entry.at.term, after.hash)) {
        fail(fmt::format("state machine safety: {} applied another entry at {}", to_string(who), show(entry.at)));
    }
}

void Judge::saw_install(CoreletId who, const Chain& after) {
    auto const known = applied_.find(after.index);
    if (known == applied_.end() || known->second.second != after.hash) {
        fail(fmt::format("{} installed a snapshot at {} that nobody's state was", to_string(who), after.index));
    }
}

void Judge::acknowledged(Position at) {
    auto const committed = committed_.find(at.index);
    if (committed == committed_.end() || committed->second.term != at.term) fail("acknowledged, not committed");
    seen_ = std::max(seen_, at.index);
}

void Judge::read_ends(CoreletId who, Index floor, Index index) {
    if (index < floor) {
        fail(fmt::format("stale read at {}: {} although {} was known before it began", to_string(who), index,
                         floor));
    }
    seen_ = std::max(seen_, index);
}

}  // namespace corelet::raft::testing
