#include "catalog/raft_node.h"

#include "base/fault_point.h"
#include "raft/codec.h"
#include "wire/message.h"

namespace corelet {

namespace {
constexpr Duration k_exchange = 2_s;
constexpr Duration k_stuck_after = 3_s;
constexpr Duration k_turn_counts_max = 1_s;
}  // namespace

Task<Result<std::unique_ptr<RaftNode>>> RaftNode::start(Env& env, RpcNode& rpc, Journal& journal,
                                                        const Identities& identities, raft::Options options,
                                                        bool first) {
    CO_TRY(RaftMedia::Opened opened, co_await RaftMedia::open(&journal, rpc.id(), first));
    if (opened.repaired_rot)
        log_warning(
            env.log, "raft.journal_rotten",
            "the consensus log has rotted in part; it is supplied by the others before this corelet votes again");
    CO_TRY(auto core,
           raft::Core::restore(rpc.id(), options, opened.restored, env.random.fork("raft"), env.clock.now()));
    if (!opened.forgotten.empty()) core.bar(raft::Bar::kForgotten);
    co_return std::unique_ptr<RaftNode>(
        new RaftNode(env, rpc, journal, identities, std::move(core), std::move(opened)));
}

RaftNode::RaftNode(Env& env, RpcNode& rpc, Journal& journal, const Identities& identities, raft::Core core,
                   RaftMedia::Opened opened)
    : env_(env),
      rpc_(rpc),
      identities_(identities),
      core_(std::move(core)),
      forgotten_(std::move(opened.forgotten)),
      never_promised_(opened.restored.hard_state.term.is_zero()),
      media_(env, journal, std::move(opened.restored), media_events()),
      scope_(env.executor) {
    rpc_.register_handler(raft_method::k_message, [this](Request r) { return on_message(std::move(r)); });
    rpc_.register_handler(raft_method::k_greeting, [this](Request r) { return on_greeting(std::move(r)); });
    bool const alone = configuration().voters.size() == 1 && configuration().is_voter(rpc_.id());
    if (!alone) {
        core_.bar(raft::Bar::kMount);
        scope_.spawn(exchange_before_voting());
    }
    scope_.spawn(run());
}

RaftNode::~RaftNode() {
    rpc_.unregister_handler(raft_method::k_message);
    rpc_.unregister_handler(raft_method::k_greeting);
}

RaftMedia::Events RaftNode::media_events() {
    RaftMedia::Events events;
    events.durable = [this](u64 ticket, std::vector<raft::Message> after) {
        if (ticket != 0) core_.persisted(ticket);
        for (const raft::Message& message : after) send(message);
        woken_ = true;
        wake();
    };
    events.snapshot_saved = [this](const raft::Snapshot& snapshot) { core_.snapshot_saved(snapshot); };
    events.failed = [this](const Error& error) {
        log_warning(env_.log, "raft.journal_failed", error.to_string());
        core_.fail_device();
        woken_ = true;
        wake();
    };
    events.wants_room = [this] {
        room_wanted_ = true;
        wake();
    };
    return events;
}

void RaftNode::bar(raft::Bar reason) {
    core_.bar(reason);
    wake();
}

Task<void> RaftNode::run() {
    for (;;) {
        woken_ = false;  // what came before this turn, it sees
        turn();
        if (woken_) {
            co_await yield();
            continue;
        }
        Instant const next = core_.next_tick();
        if (next > env_.clock.now())
            co_await wanted_.wait_until(env_.clock, next);
        else
            co_await env_.clock.sleep(10_ms);
    }
}

// Heartbeats need no media: a leader whose own ones hang would keep everybody from leading and commit nothing
// itself.
void RaftNode::watch_media() {
    Instant const now = env_.clock.now();
    // While this process stood still it saw nothing of its media either.
    Duration const passed = std::min(now - std::exchange(last_turn_, now), k_turn_counts_max);
    if (media_.is_idle() || media_.finished() != media_finished_) {
        media_finished_ = media_.finished();
        media_silent_ = {};
        if (std::exchange(stuck_, false)) core_.lift(raft::Bar::kStuck);
        return;
    }
    media_silent_ = media_silent_ + passed;
    if (stuck_ || media_silent_ < k_stuck_after) return;
    stuck_ = true;
    log_warning(env_.log, "raft.media_stuck", "the device does not answer; until it does, no vote from here");
    core_.bar(raft::Bar::kStuck);
}

void RaftNode::turn() {
    watch_media();
    core_.tick(env_.clock.now());
    for (;;) {
        raft::Effects effects = core_.take(media_.takes_batches() ? raft::Journal::kReady : raft::Journal::kBusy);
        if (effects.empty()) break;
        carry_out(std::move(effects));
    }
    if (state_.level() > k_catalog_level_known && !core_.failed()) {
        // Two versions never apply one entry differently: this one stops here.
        log_error(env_.log, "catalog.too_new",
                  "the catalog is at feature level " + std::to_string(state_.level()) + "; update this corelet");
        core_.fail_device();
    }
    keep_journal_short();
}

void RaftNode::carry_out(raft::Effects effects) {
    for (const raft::Message& message : effects.send_now) send(message);
    if (effects.persist || !effects.send_after.empty()) {
        // Without a batch of its own, what is sent waits for those before.
        u64 const ticket = effects.persist ? effects.ticket : 0;
        media_.put(std::move(effects.persist), ticket, std::move(effects.send_after));
    }
    if (effects.install) install(*effects.install);
    for (const raft::Entry& entry : effects.apply) apply(entry);
    if (!effects.apply.empty()) {
        core_.applied(effects.apply.back().at.index);
        hub_.changed();
        woken_ = true;
    }
    answer_reads(effects.reads);
}

void RaftNode::install(const raft::Snapshot& snapshot) {
    if (auto const restored = state_.restore_snapshot(snapshot.state.bytes()); !restored)
        CORELET_UNREACHABLE("a verified snapshot does not parse");
    // What was proposed there is decided, but not known here.
    while (!proposals_.empty() && proposals_.begin()->first <= snapshot.last.index) {
        proposals_.begin()->second.done->complete(
            fail(Code::kTimeout, "it is not known whether the catalog committed it"));
        proposals_.erase(proposals_.begin());
    }
    core_.applied(snapshot.last.index);
    hub_.changed();
}

void RaftNode::answer_reads(const std::vector<raft::ReadState>& reads) {
    for (const raft::ReadState& read : reads) {
        auto const found = reads_.find(read.context);
        if (found == reads_.end()) continue;
        if (read.index) {
            found->second->complete({});
        } else {
            found->second->complete(std::unexpected(read.index.error()));
        }
        reads_.erase(found);
    }
}

void RaftNode::apply(const raft::Entry& entry) {
    pb::CatalogResult result;
    if (entry.kind == raft::EntryKind::kCommand) result = state_.apply(entry.data.bytes());
    auto const found = proposals_.find(entry.at.index);
    if (found == proposals_.end()) return;
    // Another term's entry in its place: ours did not survive.
    if (found->second.term == entry.at.term) {
        found->second.done->complete(std::move(result));
    } else {
        found->second.done->complete(fail(Code::kNotLeader, "leadership changed", core_.leader().v));
    }
    proposals_.erase(found);
}

// A snapshot of the state machine takes the place of the log that it covers, before either is long.
void RaftNode::keep_journal_short() {
    if (core_.failed() || !media_.may_compact()) return;
    bool const room = media_.wants_snapshot() || std::exchange(room_wanted_, false);
    constexpr raft::Index k_early_every = 64;
    bool const early = core_.applied() % k_early_every == 0 && FAULT_POINT("raft.snapshot_early");
    if (!room && !early && !core_.snapshot_due()) return;
    auto const snapshot = core_.snapshot_of(raft::Payload(state_.encode_snapshot()));
    if (snapshot) {
        media_.compact(*snapshot, core_.compact_floor(snapshot->last.index));
    } else if (room) {
        media_.compact(std::nullopt, 0);
    }
}

void RaftNode::send(const raft::Message& message) {
    CallOptions options;
    options.deadline = env_.clock.now() + 2_s;
    options.traffic = TrafficClass::kControl;
    rpc_.send(message.to, raft_method::k_message, Buffer::copy_of(as_bytes(raft::encode(message))), options);
}

Task<Result<Reply>> RaftNode::on_message(Request request) {
    auto const message = raft::decode_message(request.body);
    if (!message) co_return std::unexpected(message.error());
    if (message->from != request.from->corelet) co_return fail(Code::kDenied, "a raft message in another's name");
    core_.step(*message);
    spoken_to_.notify_all();
    woken_ = true;
    wake();
    co_return Reply{};
}

Task<Result<pb::CatalogResult>> RaftNode::propose(std::string command, Instant deadline) {
    auto const at = core_.propose(raft::Payload(std::move(command)));
    if (!at) co_return std::unexpected(at.error());
    auto const done = std::make_shared<Completion<Result<pb::CatalogResult>>>();
    if (auto const former = proposals_.find(at->index); former != proposals_.end())
        former->second.done->complete(fail(Code::kNotLeader, "leadership changed", core_.leader().v));
    proposals_[at->index] = Proposal{at->term, done};
    woken_ = true;
    wake();
    auto result = co_await done->wait_until(env_.clock, deadline);
    if (!result) co_return fail(Code::kTimeout, "the catalog did not commit in time; it may yet");
    co_return *std::move(result);
}

Task<Result<void>> RaftNode::read_barrier(Instant deadline) {
    u64 const context = next_read_++;
    CO_TRY_VOID(core_.read_index(context));
    auto const done = std::make_shared<Completion<Result<void>>>();
    reads_.emplace(context, done);
    woken_ = true;
    wake();
    auto result = co_await done->wait_until(env_.clock, deadline);
    if (!result) {
        reads_.erase(context);
        co_return fail(Code::kTimeout, "no quorum answered");
    }
    co_return *std::move(result);
}

Task<Result<void>> RaftNode::change(raft::Change change, Instant deadline) {
    auto const at = core_.propose_change(change);
    if (!at) co_return std::unexpected(at.error());
    auto const done = std::make_shared<Completion<Result<pb::CatalogResult>>>();
    proposals_[at->index] = Proposal{at->term, done};
    woken_ = true;
    wake();
    auto result = co_await done->wait_until(env_.clock, deadline);
    if (!result) co_return fail(Code::kTimeout, "the change of voters did not commit in time; it may yet");
    if (!*result) co_return std::unexpected(result->error());
    co_return {};
}

void RaftNode::step_down() {
    if (!is_leader()) return;
    for (const raft::Core::Peer& peer : core_.peers())
        if (configuration().is_voter(peer.id) && peer.id != rpc_.id() && peer.silent < 1_s &&
            core_.transfer(peer.id))
            break;
    woken_ = true;
    wake();
}

// Two seconds with all voters that answer, at least enough to make a majority with itself; they are asked again and
// again, for another body may begin meanwhile. Who never promised anything needs no more than an answer of each.
Task<void> RaftNode::exchange_before_voting() {
    Instant const earliest = env_.clock.now() + k_exchange;
    std::set<CoreletId> answered;
    bool doubted = false;
    for (;;) {
        while (configuration().voters.empty()) co_await spoken_to_.wait();
        std::vector<CoreletId> const voters = configuration().voters;
        Scope greetings(env_.executor);
        for (CoreletId voter : voters)
            if (voter != rpc_.id()) greetings.spawn(greet(voter, &answered, &doubted));
        co_await greetings.join();
        if (doubted) {
            // While another life of this identity is known it does not vote; perhaps it was another body, and that
            // one has stopped.
            answered.clear();
            doubted = false;
            co_await env_.clock.sleep(1_s);
            continue;
        }
        // By the present configuration: it may have changed while the greetings were out.
        auto const has_answered = [&](CoreletId voter) { return voter == rpc_.id() || answered.contains(voter); };
        std::vector<CoreletId> const& now = configuration().voters;
        auto const count = static_cast<usize>(std::count_if(now.begin(), now.end(), has_answered));
        bool const enough = never_promised_ && count == now.size();
        if (count >= configuration().majority() && (enough || env_.clock.now() >= earliest)) break;
        co_await env_.clock.sleep(200_ms);
    }
    core_.lift(raft::Bar::kMount);
    wake();
}

Task<void> RaftNode::greet(CoreletId voter, std::set<CoreletId>* answered, bool* doubted) {
    CallOptions options;
    options.deadline = env_.clock.now() + 500_ms;
    options.traffic = TrafficClass::kControl;
    auto const reply =
        co_await rpc_.call(voter, raft_method::k_greeting, encode_message(identities_.own()), {}, options);
    if (!reply) co_return;
    auto const answer = decode_message<pb::VoterGreetingReply>(reply->body);
    if (!answer) co_return;
    if (answer->other_body()) {
        log_warning(env_.log, "raft.other_body", answer->reason());
        *doubted = true;
    }
    answered->insert(voter);
}

Task<Result<Reply>> RaftNode::on_greeting(Request request) {
    CO_TRY(auto greeting, decode_message<pb::VoterGreeting>(request.body));
    pb::VoterGreetingReply reply;
    std::string reason;
    reply.set_other_body(identities_.knows_better(request.from->corelet, greeting, reason));
    reply.set_reason(reason);
    co_return Reply{encode_message(reply), {}};
}

}  // namespace corelet
