// HealthService: looking around, and what is kept of it.
#include "node/health_service.h"

#include "node/health_findings.h"
#include "node/node_services.h"
#include "stream/stream_record.h"
#include "wire/message.h"

namespace corelet {

namespace {

constexpr const char* k_memory_note = "health";  // on the device: events, and what is usual
constexpr const char* k_write_note = "probe";    // written to see how a device in doubt is
constexpr Duration k_tick = 500_ms;
constexpr Duration k_save_least = 2_s;       // between two savings
constexpr Duration k_write_least = 1_s;      // between two writes to see how it is
constexpr usize k_error_windows = 12;        // a minute
constexpr Duration k_no_quorum_after = 5_s;  // an election is none
constexpr Duration k_unowned_after = 2_s;    // nor is a planned move

DeviceWork& operator+=(DeviceWork& sum, const IoCounters& part) {
    sum.operations += part.operations;
    sum.bytes += part.bytes;
    sum.busy_ns += part.latency.sum_ns();
    return sum;
}

pb::HealthMemory saved_memory(const Store& store) {
    pb::HealthMemory memory;
    if (auto const note = store.note(k_memory_note)) (void)decode_into(memory, *note);
    return memory;
}

}  // namespace

HealthService::HealthService(NodeServices& node)
    : node_(node),
      env_(node.env),
      self_(node.store->identity()),
      watching_since_(env_.clock.wall_now()),
      ledger_(HealthLedger::Options{}),
      events_(self_, node.store->incarnation()),
      requests_(self_, RequestWatch::Options{}),
      reads_(saved_memory(*node.store).read_cost_ns()),
      writes_(saved_memory(*node.store).write_cost_ns()),
      window_due_(env_.clock.now()),
      wrote_at_(env_.clock.now()),
      scope_(env_.executor) {
    events_.restore(saved_memory(*node.store));
    remembered_usual_ = reads_.cost().usual + writes_.cost().usual;
}

HealthService::~HealthService() {
    node_.rpc->unregister_handler(node_method::k_health);
}

void HealthService::start() {
    node_.rpc->register_handler(node_method::k_health, [this](Request r) { return on_ask(std::move(r)); });
    map_changed();
    scope_.spawn(run());
    scope_.spawn(remember());
    scope_.spawn(write_note());
}

void HealthService::map_changed() {
    std::vector<mesh::ObserverRing::Member> members;
    for (const mesh::Corelet& corelet : node_.maps->current()->corelets)
        members.push_back({corelet.id, corelet.is_up()});
    subjects_ = mesh::ObserverRing(std::move(members), mesh::MembershipConfig{}.observers).subjects_of(self_);
    std::erase_if(words_, [&](const auto& item) {
        return std::find(subjects_.begin(), subjects_.end(), item.first) == subjects_.end();
    });
}

Task<void> HealthService::run() {
    for (;;) {
        Instant const due = env_.clock.now() + k_tick;
        co_await env_.clock.sleep_until(due);
        Instant const now = env_.clock.now();
        if (now - due >= k_loop_late) {
            late_ = now - due;
            late_at_ = now;
        }
        look_at_marks();
        if (now >= window_due_) {
            window_due_ = now + CostMeter::k_window;
            measure_device();
            judge_peers();
            ask_peers();
            sweep_marks();
        }
        if (slow_.contains(self_)) write_something();
        for (CoreletId peer : requests_.doubtful(now))
            if (is_member(peer)) scope_.spawn(ask(peer, true));
        look();
        go_round_slow_devices();
    }
}

void HealthService::look() {
    Findings findings;
    look_at_peers(findings);
    look_at_requests(findings);
    look_at_self(findings);
    look_at_device(findings);
    Owned const owned = node_.volumes ? node_.volumes->owned() : Owned{};
    look_at_volumes(owned, findings);
    look_at_mesh(findings);
    forget_what_is_others(owned);
    WallTime const wall = env_.clock.wall_now();
    for (HealthChange& change : ledger_.observe(findings, env_.clock.now(), wall)) {
        log_info(env_.log, "health.changed", [&] {
            return change.subject.to_string() + " is " + health_name(change.to) + " (" + health_name(change.level) +
                   "), was " + health_name(change.from) + ": " + change.reason;
        });
        events_.add(std::move(change), wall);
        dirty_ = true;
        remember_wanted_.notify_one();
    }
}

bool HealthService::is_member(CoreletId id) const {
    auto const map = node_.maps->current();
    const mesh::Corelet* const corelet = map->find(id);
    return corelet && corelet->presence != mesh::Presence::kOut;
}

// While nobody answers this corelet, what it sees of the others is about itself.
void HealthService::look_at_peers(Findings& out) {
    const mesh::Membership& membership = node_.gossip->membership();
    std::set<CoreletId> const subjects(subjects_.begin(), subjects_.end());
    if (membership.isolated()) {
        out.add(Subject::corelet(self_), HealthLevel::kReachable, Finding::failed("it hears nobody"));
        for (CoreletId id : subjects) out.leave_open(Subject::corelet(id), HealthLevel::kReachable);
        return;
    }
    for (const mesh::PeerView& peer : membership.view(env_.clock.now()))
        if (subjects.contains(peer.id) && is_member(peer.id))
            out.add(Subject::corelet(peer.id), HealthLevel::kReachable, reachable_finding(peer, self_));
}

void HealthService::look_at_requests(Findings& out) {
    bool const isolated = node_.gossip->membership().isolated();
    for (RequestWatch::Judgement& judgement : requests_.judge(env_.clock.now())) {
        if (!is_member(judgement.peer)) {
            requests_.forget(judgement.peer);
            continue;
        }
        if (isolated && judgement.peer != self_) {
            out.leave_open(Subject::corelet(judgement.peer), HealthLevel::kServing);
            out.leave_open(Subject::device(judgement.peer), HealthLevel::kStoring);
            continue;
        }
        out.add(Subject::corelet(judgement.peer), HealthLevel::kServing, std::move(judgement.serving));
        Subject const device = Subject::device(judgement.peer);
        if (judgement.storing)
            out.add(device, HealthLevel::kStoring, *std::move(judgement.storing));
        else
            out.leave_open(device, HealthLevel::kStoring);
    }
}

void HealthService::look_at_self(Findings& out) {
    Subject const self = Subject::corelet(self_);
    out.add(self, HealthLevel::kServing, loop_finding(late_, env_.clock.now() - late_at_));
}

void HealthService::look_at_device(Findings& out) {
    Subject const device = Subject::device(self_);
    auto const found = [&](Finding finding) { out.add(device, HealthLevel::kStoring, std::move(finding)); };
    if (!node_.own_trouble.empty()) found(Finding::failed(node_.own_trouble));
    found(space_finding(node_.store->space()));
    if (node_.healer) {
        HealStatus const heal = node_.healer->status();
        found(room_finding(heal.full, heal.fragments_missing, heal.bytes_left));
    }
    if (writing_since_) found(stuck_finding(env_.clock.now() - *writing_since_));
    if (!errors_.empty())
        found(error_finding(errors_.back().corrupt - errors_.front().corrupt,
                            errors_.back().refused - errors_.front().refused));
    for (auto const& [id, finding] : node_.audit_record.findings(env_.clock.now()))
        if (is_member(id)) out.add(Subject::device(id), HealthLevel::kStoring, finding);
    for (auto const& [id, mark] : slow_)
        if (id == self_ || mark.found_by == self_)
            out.add(Subject::device(id), HealthLevel::kStoring, Finding::degraded("slow: " + mark.reason));
}

void HealthService::look_at_volumes(const Owned& owned, Findings& out) {
    for (auto const& [name, volume] : owned) {
        Subject const subject = Subject::volume(name);
        if (auto serving = volume_serving(volume.uri, volume.export_error))
            out.add(subject, HealthLevel::kServing, *std::move(serving));
        else
            out.leave_open(subject, HealthLevel::kServing);
        out.add(subject, HealthLevel::kStoring, volume_storing(volume.stream));
    }
}

void HealthService::look_at_mesh(Findings& out) {
    Instant const now = env_.clock.now();
    if (node_.catalog->is_available()) {
        no_quorum_since_.reset();
    } else if (!no_quorum_since_) {
        no_quorum_since_ = now;
    }
    if (no_quorum_since_ && now - *no_quorum_since_ >= k_no_quorum_after)
        out.add(Subject::mesh(), HealthLevel::kServing, Finding::failed("the catalog has no quorum"));
    if (!node_.keeper->has_its_turn()) return unowned_since_.clear();
    out.add(Subject::mesh(), HealthLevel::kReachable, mesh_finding(*node_.maps->current()));
    look_at_pools(out);
    look_for_unowned(out);
}

// Over all slots: only when the map is new.
void HealthService::look_at_pools(Findings& out) {
    auto const map = node_.maps->current();
    if (pools_looked_at_ != map->epoch) {
        pools_looked_at_ = map->epoch;
        pools_.clear();
        for (const mesh::Pool& pool : map->pools) pools_[pool.spec.name] = pool_finding(*map, pool);
    }
    for (auto const& [name, finding] : pools_) out.add(Subject::pool(name), HealthLevel::kStoring, finding);
}

void HealthService::look_for_unowned(Findings& out) {
    Instant const now = env_.clock.now();
    std::map<std::string, Instant> unowned;
    const CatalogState& local = node_.catalog->local();
    for (auto const& [key, item] : local.items("volumes/")) {
        const pb::Volume* const volume = volumes_.parse(item);
        if (!volume || volume->attached_to() == 0) continue;
        const KeyValue* const record = local.find(stream_key(SpaceId(volume->space())));
        const pb::Stream* const stream = record ? streams_.parse(*record) : nullptr;
        if (!stream) continue;
        if (stream->owner() != 0 && local.find(session_key(CoreletId(stream->owner())))) continue;
        auto const known = unowned_since_.find(volume->name());
        Instant const since = known == unowned_since_.end() ? now : known->second;
        unowned[volume->name()] = since;
        if (now - since >= k_unowned_after)
            out.add(Subject::volume(volume->name()), HealthLevel::kServing, unowned_finding());
    }
    unowned_since_ = std::move(unowned);
    volumes_.forget_others();
    streams_.forget_others();
}

// What was found as the leader, or as the owner, is the next one's to find.
void HealthService::forget_what_is_others(const Owned& owned) {
    bool const leads = node_.keeper->has_its_turn();
    for (const HealthLedger::Record& record : ledger_.records()) {
        const Subject& subject = record.subject;
        switch (subject.kind) {
            case SubjectKind::kMesh:
                if (!leads && record.level != HealthLevel::kServing) ledger_.forget(subject, record.level);
                break;
            case SubjectKind::kPool:
                if (!leads || !node_.maps->current()->find_pool(subject.name)) ledger_.forget(subject);
                break;
            case SubjectKind::kVolume:
                if (!owned.contains(subject.name) && (!leads || record.level != HealthLevel::kServing))
                    ledger_.forget(subject, record.level);
                break;
            case SubjectKind::kCorelet:
            case SubjectKind::kDevice:
                if (auto const id = parse_corelet_id(subject.name); !id || (*id != self_ && !is_member(*id)))
                    ledger_.forget(subject);
                break;
        }
    }
}

// --- the own device
// -----------------------------------------------------------------------------------------------------------

void HealthService::measure_device() {
    const Telemetry& telemetry = node_.store->telemetry();
    DeviceWork reads, writes;
    for (const IoCounters& part : telemetry.reads) reads += part;
    for (const IoCounters& part : telemetry.writes) writes += part;
    writes += telemetry.journal_writes;
    bool const slow = slow_.contains(self_);
    reads_.add(reads, env_.clock.now(), slow);
    writes_.add(writes, env_.clock.now(), slow);
    errors_.push_back({telemetry.corrupt_blocks, telemetry.latent_errors});
    if (errors_.size() > k_error_windows + 1) errors_.pop_front();
    // What is usual changes slowly; it is worth a write when it has changed by a fourth.
    u64 const usual = reads_.cost().usual + writes_.cost().usual;
    bool const changed = usual > remembered_usual_ + remembered_usual_ / 4 || usual < remembered_usual_ * 3 / 4;
    if (!changed) return;
    remembered_usual_ = usual;
    dirty_ = true;
    remember_wanted_.notify_one();
}

void HealthService::write_something() {
    if (!writing_since_ && env_.clock.now() - wrote_at_ >= k_write_least) write_wanted_.notify_one();
}

// One at a time: while it does not return, that is what is to be known.
Task<void> HealthService::write_note() {
    for (;;) {
        co_await write_wanted_.wait();
        writing_since_ = env_.clock.now();
        std::string const number = std::to_string(++notes_written_);
        (void)co_await node_.store->put_note(k_write_note, {number.begin(), number.end()});
        writing_since_.reset();
        wrote_at_ = env_.clock.now();
    }
}

// On the device, so that it goes where the identity goes; of a device that fails nothing more is kept.
Task<void> HealthService::remember() {
    for (;;) {
        while (!dirty_) co_await remember_wanted_.wait();
        dirty_ = false;
        pb::HealthMemory memory;
        events_.save(memory);
        memory.set_read_cost_ns(reads_.cost().usual);
        memory.set_write_cost_ns(writes_.cost().usual);
        std::string const bytes = memory.SerializeAsString();
        (void)co_await node_.store->put_note(k_memory_note, {bytes.begin(), bytes.end()});
        co_await env_.clock.sleep(k_save_least);
    }
}

}  // namespace corelet
