#include "raft/cluster_testing.h"

#include <fmt/format.h>

#include "base/assert.h"
#include "raft/codec.h"

namespace corelet::raft::testing {
namespace {

std::string describe(const Message& message) {
    std::string out = fmt::format("<- {} {} of term {}", message.from.v, body_name(message.body), message.term.v);
    if (auto const* append = std::get_if<Append>(&message.body)) {
        out += fmt::format(" prev {}@{} +{} commit {} last {}", append->prev.index, append->prev.term.v,
                           append->entries.size(), append->commit, append->leader_last);
    } else if (auto const* answer = std::get_if<AppendResponse>(&message.body)) {
        out += answer->accepted ? fmt::format(" match {}", answer->match)
                                : fmt::format(" rejects {} hint {}@{}", answer->rejected, answer->hint.index,
                                              answer->hint.term.v);
        if (!answer->promise) out += " no promise";
    } else if (auto const* chunk = std::get_if<SnapshotChunk>(&message.body)) {
        out += fmt::format(" of {}@{} {}+{} of {}", chunk->last.index, chunk->last.term.v, chunk->offset,
                           chunk->data.size(), chunk->total);
    } else if (auto const* got = std::get_if<SnapshotResponse>(&message.body)) {
        out += fmt::format(" of {}@{} next {}", got->last.index, got->last.term.v, got->next_offset);
    } else if (auto const* vote = std::get_if<VoteResponse>(&message.body)) {
        out += vote->granted ? " granted" : " refused";
    }
    return out;
}

}  // namespace

Cluster::Cluster(u64 seed, const Options& options, const Weather& weather)
    : random(Prng(seed).fork("cluster")),  // host: a member of ours
      options_(options),
      weather_(weather),
      now_{1'000'000'000} {}

Duration Cluster::drawn(Duration low, Duration high) {
    return {static_cast<i64>(random.between(static_cast<u64>(low.ns), static_cast<u64>(high.ns)))};
}

CoreletId Cluster::add(Restored media) {
    CoreletId const id(members_.size() + 1);
    Member member;
    member.id = id;
    member.media = std::move(media);
    member.offset = drawn(0_s, 100_s);
    member.skew_permille = static_cast<i64>(random.below(21)) - 10;
    members_.emplace(id, std::move(member));
    return id;
}

void Cluster::found(usize n) {
    Configuration configuration;
    for (u64 id = 1; id <= n; ++id) configuration.voters.emplace_back(id);
    for (usize i = 0; i < n; ++i) start(add(bootstrap(configuration)));
}

Instant Cluster::local_time(const Member& member) const {
    return Instant{now_.ns + now_.ns / 1000 * member.skew_permille} + member.offset;
}

void Cluster::start(CoreletId id, bool mount_bar) {
    Member& member = members_.at(id);
    CORELET_ASSERT(!member.core && !member.lost);
    ++member.life;
    Result<Core> core =
        Core::restore(id, options_, member.media, random.fork("core", random.next()), local_time(member));
    CORELET_ASSERT(core.has_value(), "what the sim stores is always good");
    member.core.emplace(*std::move(core));
    member.chain = {};
    member.journal_free = now_;
    member.wake_planned = Instant{};
    judge.saw_start(id);
    tell(member, "starts");
    if (mount_bar) {
        member.core->bar(Bar::kMount);
        plan(2_s, Wake{id, member.life, false, true});
    }
    turn(id);
}

void Cluster::crash(CoreletId id) {
    Member& member = members_.at(id);
    CORELET_ASSERT(member.core.has_value());
    tell(member, "crashes");
    usize survive = random.below(member.journal.size() + 1);
    for (; survive > 0; --survive) {
        absorb(member.media, member.journal.front().batch);
        member.journal.pop_front();
    }
    member.journal.clear();
    member.proposals.clear();
    member.reads.clear();
    member.turn_planned = false;
    member.core.reset();
}

void Cluster::lose(CoreletId id) {
    if (runs(id)) crash(id);
    Member& member = members_.at(id);
    member.lost = true;
    tell(member, "loses its media");
    member.media = {};
    judge.saw_impaired(id);
}

bool Cluster::rot(CoreletId id, usize entries) {
    Member& member = members_.at(id);
    CORELET_ASSERT(!member.core && !member.lost);
    Restored& media = member.media;
    Index const floor = media.snapshot ? media.snapshot->last.index : 1;
    if (media.entries.empty() || media.entries.back().at.index <= floor || entries == 0) return false;
    media.rotten = media.entries.back().at;
    while (entries-- > 0 && !media.entries.empty() && media.entries.back().at.index > floor)
        media.entries.pop_back();
    judge.saw_impaired(id);
    tell(member, "rots");
    return true;
}

void Cluster::isolate(CoreletId id) {
    split({id});
}

void Cluster::split(const std::set<CoreletId>& side) {
    for (const auto& [a, x] : members_) {
        for (const auto& [b, y] : members_) {
            if (side.contains(a) != side.contains(b)) block(a, b);
        }
    }
}

CoreletId Cluster::leader() const {
    CoreletId best;
    Term term;
    for (const auto& [id, member] : members_) {
        if (!member.core || member.core->role() != Role::kLeader || member.core->term() < term) continue;
        best = id;
        term = member.core->term();
    }
    return best;
}

std::map<CoreletId, const Restored*> Cluster::media() const {
    std::map<CoreletId, const Restored*> out;
    for (const auto& [id, member] : members_) out[id] = &member.media;
    return out;
}

void Cluster::tell(const Member& member, const std::string& what) const {
    if (!trace) return;
    std::string line = fmt::format("{:9.3f} {} ", static_cast<double>(now_.ns) / 1e9, member.id.v) + what;
    if (member.core) {
        const Core& core = *member.core;
        line +=
            fmt::format(" [{} term {} log {}..{}@{} durable {} commit {}{}]", "fpcL"[static_cast<int>(core.role())],
                        core.term().v, core.log().base().index, core.log().last().index, core.log().last().term.v,
                        core.log().durable(), core.commit(), core.barred() ? " barred" : "");
    }
    trace(line);
}

// A message leaves: every one of them is checked against what its sender's media hold at this instant.
void Cluster::send(Message message, const Restored& media) {
    judge.saw_send(message, media);
    if (random.chance(1, 16)) {
        Result<Message> decoded = decode_message(as_bytes(encode(message)));
        if (!decoded) {
            judge.fail("a message does not survive its encoding: " + decoded.error().to_string());
            return;
        }
        message = *std::move(decoded);
    }
    if (random.chance(weather_.loss, 1000)) return;
    usize const copies = random.chance(weather_.duplicate, 1000) ? 2 : 1;
    for (usize i = 0; i < copies; ++i) {
        Duration const delay = random.chance(weather_.straggle, 1000)
                                   ? drawn(0_s, weather_.straggle_max)
                                   : drawn(weather_.delay_min, weather_.delay_max);
        soup_.emplace(std::pair(now_ + delay, ++sequence_), Delivery{message});
    }
}

void Cluster::persist(Member& member, Effects& effects) {
    judge.saw_persist(*member.core, *effects.persist);
    Instant const done = std::max(member.journal_free, now_) + drawn(weather_.disk_min, weather_.disk_max);
    member.journal_free = done;
    plan(done - now_, Durable{member.id, member.life, effects.ticket});
    Result<Persist> decoded = decode_persist(as_bytes(encode(*effects.persist)));
    if (!decoded) judge.fail("a batch does not survive its encoding: " + decoded.error().to_string());
    member.journal.push_back({effects.ticket, decoded ? *std::move(decoded) : *effects.persist, {}});
}

void Cluster::carry_out(Member& member, Effects effects) {
    for (Message& message : effects.send_now) send(std::move(message), member.media);
    if (effects.persist) persist(member, effects);
    if (!effects.send_after.empty()) {
        if (member.journal.empty() || member.journal.back().ticket != effects.ticket) {
            judge.fail("messages wait for a batch that is not under way");
            return;
        }
        auto& after = member.journal.back().after;
        for (Message& message : effects.send_after) after.push_back(std::move(message));
    }
    apply(member, effects);
    finish_reads(member, effects);
}

void Cluster::apply(Member& member, const Effects& effects) {
    if (effects.install) {
        member.chain.load(*effects.install);
        if (member.chain.index != effects.install->last.index) judge.fail("a snapshot of another index");
        judge.saw_install(member.id, member.chain);
    }
    for (const Entry& entry : effects.apply) {
        if (entry.at.index != member.chain.index + 1) judge.fail("entries are applied in order, without a gap");
        member.chain.apply(entry);
        judge.saw_apply(member.id, entry, member.chain);
        auto const proposal = member.proposals.find(entry.at.index);
        if (proposal == member.proposals.end()) continue;
        if (proposal->second == entry.at.term) judge.acknowledged(entry.at);
        member.proposals.erase(proposal);
    }
    if (effects.install || !effects.apply.empty()) member.core->applied(member.chain.index);
}

void Cluster::finish_reads(Member& member, const Effects& effects) {
    for (const ReadState& read : effects.reads) {
        auto const begun = member.reads.find(read.context);
        if (begun == member.reads.end()) {
            judge.fail("a read ended that had not begun, or ended before");
            continue;
        }
        if (read.index) {
            ++member.reads_done;
            judge.read_ends(member.id, begun->second, member.chain.index);
            if (*read.index > member.chain.index) judge.fail("a read was answered before it was applied");
        } else {
            ++member.reads_failed;
        }
        member.reads.erase(begun);
    }
}

void Cluster::turn(CoreletId id) {
    Member& member = members_.at(id);
    for (;;) {
        bool const busy = member.journal.size() >= weather_.batches_max;
        Effects effects = member.core->take(busy ? Journal::kBusy : Journal::kReady);
        judge.saw_state(*member.core, media());
        if (effects.empty()) break;
        carry_out(member, std::move(effects));
    }
    if (member.core->snapshot_due()) snapshot(id, random.below(2000));
    plan_wake(member);
}

void Cluster::plan_wake(Member& member) {
    Duration const local = std::min(member.core->next_tick() - local_time(member), 5_s);
    Duration const wait = std::max(local, 0_s) * 1000 / (1000 + member.skew_permille) + 10_us;
    Instant const when = now_ + wait;
    if (member.wake_planned > now_ && member.wake_planned <= when) return;
    member.wake_planned = when;
    plan(wait, Wake{member.id, member.life, false, false});
}

bool Cluster::step() {
    bool const soup_first = !soup_.empty() && (events_.empty() || soup_.begin()->first < events_.begin()->first);
    if (soup_first) {
        auto const next = soup_.extract(soup_.begin());
        now_ = std::max(now_, next.key().first);
        happen(next.mapped());
        return true;
    }
    if (events_.empty()) return false;
    auto const next = events_.extract(events_.begin());
    now_ = std::max(now_, next.key().first);
    std::visit([this](const auto& event) { happen(event); }, next.mapped());
    return true;
}

void Cluster::happen(const Delivery& delivery) {
    const Message& message = delivery.message;
    Member& member = members_.at(message.to);
    if (blocked_.contains({message.from, message.to}) || (filter_ && filter_(message)) || !member.core) return;
    member.core->tick(local_time(member));
    member.core->step(message);
    if (trace) tell(member, describe(message));
    after_event(member);
}

// The order of the two duties, to send and to tell the core, is free.
void Cluster::happen(const Durable& durable) {
    Member& member = members_.at(durable.id);
    if (!member.core || member.life != durable.life) return;
    while (!member.journal.empty() && member.journal.front().ticket <= durable.ticket) {
        Member::Pending const done = std::move(member.journal.front());
        member.journal.pop_front();
        absorb(member.media, done.batch);
        for (const Message& message : done.after) send(message, member.media);
    }
    member.core->tick(local_time(member));
    member.core->persisted(durable.ticket);
    if (trace) tell(member, fmt::format("batch {} durable", durable.ticket));
    after_event(member);
}

void Cluster::happen(const Wake& wake) {
    Member& member = members_.at(wake.id);
    if (!member.core || member.life != wake.life) return;
    if (wake.lift) member.core->lift(Bar::kMount);
    if (wake.turn) {
        member.turn_planned = false;
        turn(wake.id);
        return;
    }
    if (!wake.lift && member.core->next_tick() > local_time(member)) {
        plan_wake(member);  // something put it off since
        return;
    }
    member.core->tick(local_time(member));
    after_event(member);
}

void Cluster::after_event(Member& member) {
    judge.saw_state(*member.core, media());
    if (member.turn_planned) return;
    if (random.chance(weather_.postpone_turn, 1000)) {
        member.turn_planned = true;
        plan(drawn(0_s, 1_ms), Wake{member.id, member.life, true, false});
        return;
    }
    turn(member.id);
}

void Cluster::run_for(Duration duration) {
    Instant const end = now_ + duration;
    while (judge.verdict().empty()) {
        bool const soup = !soup_.empty() && soup_.begin()->first.first <= end;
        bool const event = !events_.empty() && events_.begin()->first.first <= end;
        if (!soup && !event) break;
        step();
    }
    now_ = std::max(now_, end);
}

bool Cluster::run_until(const std::function<bool()>& done, Duration bound) {
    Instant const end = now_ + bound;
    while (!done()) {
        if (!judge.verdict().empty() || now_ > end || !step()) return false;
    }
    return true;
}

bool Cluster::propose(CoreletId id, usize bytes) {
    Member& member = members_.at(id);
    if (!member.core) return false;
    std::string command(bytes, '\0');
    for (char& c : command) c = static_cast<char>(random.next());
    member.core->tick(local_time(member));
    Result<Position> const place = member.core->propose(Payload(std::move(command)));
    if (place) member.proposals[place->index] = place->term;
    after_event(member);
    return place.has_value();
}

bool Cluster::read(CoreletId id) {
    Member& member = members_.at(id);
    if (!member.core) return false;
    member.core->tick(local_time(member));
    u64 const context = ++next_context_;
    Index const floor = judge.read_begins();
    bool const begun = member.core->read_index(context).has_value();
    if (begun) member.reads[context] = floor;
    after_event(member);
    return begun;
}

void Cluster::snapshot(CoreletId id, usize padding) {
    Member& member = members_.at(id);
    if (!member.core || member.chain.index == 0) return;
    CORELET_ASSERT(member.chain.index == member.core->applied());
    Result<Snapshot> const snapshot = member.core->snapshot_of(member.chain.save(padding));
    if (!snapshot) return;
    // Durable at once; what the journal still holds comes after it.
    absorb(member.media, *snapshot, member.core->compact_floor(snapshot->last.index));
    member.core->snapshot_saved(*snapshot);
}

void Cluster::hasten(CoreletId id) {
    Member& member = at(id);
    member.offset = member.offset + std::max(member.core->next_tick() - local_time(member), 0_s);
    member.core->tick(local_time(member));
    after_event(member);
}

bool Cluster::works(Duration bound) {
    Instant const end = now_ + bound;
    while (now_ <= end && judge.verdict().empty()) {
        CoreletId const who = leader();
        Index const before = judge.acknowledged_index();
        if (!who.is_zero() && propose(who)) {
            if (run_until([&] { return judge.acknowledged_index() > before; }, 1_s)) return true;
        } else {
            run_for(100_ms);
        }
    }
    return false;
}

}  // namespace corelet::raft::testing
