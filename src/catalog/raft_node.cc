#include "catalog/raft_node.h"

#include "raft/codec.h"
#include "wire/message.h"

namespace corelet {

namespace {

Journal::Record to_record(const raft::Persist& batch) {
    std::string const bytes = raft::encode(batch);
    return Journal::Record(bytes.begin(), bytes.end());
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

}  // namespace

Task<Result<std::unique_ptr<RaftNode>>> RaftNode::start(Env& env, RpcNode& rpc, Journal& journal,
                                                        const Identities& identities, raft::Options options,
                                                        bool first) {
    raft::Restored restored;
    std::optional<Error> bad;
    auto const take = [&](Bytes bytes) {
        auto batch = raft::decode_persist(bytes);
        if (!batch) {
            if (!bad) bad = with_context(batch.error(), "the consensus log");
            return;
        }
        raft::absorb(restored, *batch);
    };
    journal.replay([&](u64, Bytes state) { take(state); }, [&](u64, Bytes record) { take(record); });
    if (bad) co_return std::unexpected(*bad);
    if (first && journal.durable_number() == 0) {
        raft::Configuration only;
        only.voters = {rpc.id()};
        restored = raft::bootstrap(only);
        std::vector<Journal::Record> records;
        records.push_back(to_record(as_batch(restored)));
        CO_TRY_VOID(co_await journal.append(std::move(records)));
    }
    raft::Restored durable = restored;
    auto core =
        raft::Core::restore(rpc.id(), options, std::move(restored), env.random.fork("raft"), env.clock.now());
    if (!core) co_return std::unexpected(core.error());
    if (journal.is_rotten()) core->bar(raft::Bar::kForgotten);
    auto node = std::unique_ptr<RaftNode>(
        new RaftNode(env, rpc, journal, identities, std::move(*core), std::move(durable)));
    co_return node;
}

RaftNode::RaftNode(Env& env, RpcNode& rpc, Journal& journal, const Identities& identities, raft::Core core,
                   raft::Restored durable)
    : env_(env),
      rpc_(rpc),
      journal_(journal),
      identities_(identities),
      core_(std::move(core)),
      durable_(std::move(durable)),
      scope_(env.executor) {
    durable_number_ = journal_.durable_number();
    rpc_.register_handler(raft_method::k_message, [this](Request r) { return on_message(std::move(r)); });
    rpc_.register_handler(raft_method::k_greeting, [this](Request r) { return on_greeting(std::move(r)); });
    bool const alone = configuration().voters.size() == 1 && configuration().is_voter(rpc_.id());
    if (!alone) {
        core_.bar(raft::Bar::kMount);
        scope_.spawn(exchange_before_voting());
    }
    scope_.spawn(run());
    scope_.spawn(persist_in_order());
}

RaftNode::~RaftNode() {
    rpc_.unregister_handler(raft_method::k_message);
    rpc_.unregister_handler(raft_method::k_greeting);
}

void RaftNode::bar(raft::Bar reason) {
    core_.bar(reason);
    wake();
}

Task<void> RaftNode::run() {
    for (;;) {
        turn();
        if (woken_) {
            woken_ = false;
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

void RaftNode::turn() {
    core_.tick(env_.clock.now());
    for (;;) {
        raft::Effects effects = core_.take();
        if (effects.empty()) break;
        carry_out(std::move(effects));
    }
    if (core_.snapshot_due() && core_.applied() > 0)
        (void)core_.save_snapshot(core_.applied(), raft::Payload(state_.encode_snapshot()));
    if (journal_.wants_snapshot() && !compacting_) {
        compacting_ = true;
        scope_.spawn(compact());
    }
}

void RaftNode::carry_out(raft::Effects effects) {
    for (const raft::Message& message : effects.send_now) send(message);
    if (effects.persist) {
        std::vector<Journal::Record> records;
        records.push_back(to_record(*effects.persist));
        auto const number = journal_.submit(std::move(records));
        if (!number) {
            log_warning(env_.log, "raft.journal_failed", number.error().to_string());
            core_.fail_device();
        } else {
            pending_.push_back(
                Pending{*std::move(effects.persist), *number, effects.ticket, std::move(effects.send_after)});
            pending_wanted_.notify_one();
        }
    } else if (!effects.send_after.empty()) {
        // Nothing new to persist, but earlier batches may be under way: wait for the newest.
        pending_.push_back(Pending{{}, journal_.submitted_number(), 0, std::move(effects.send_after)});
        pending_wanted_.notify_one();
    }
    if (effects.install) {
        if (auto const restored = state_.restore_snapshot(effects.install->state.bytes()); !restored)
            CORELET_UNREACHABLE("a verified snapshot does not parse");
        core_.applied(effects.install->last.index);
        hub_.changed();
    }
    for (const raft::Entry& entry : effects.apply) apply(entry);
    if (!effects.apply.empty()) {
        core_.applied(effects.apply.back().at.index);
        hub_.changed();
        woken_ = true;
    }
    for (const raft::ReadState& read : effects.reads) {
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

// A batch is durable, then what it implies may leave; one after the other, in the order of the journal.
Task<void> RaftNode::persist_in_order() {
    for (;;) {
        while (pending_.empty()) co_await pending_wanted_.wait();
        auto const durable = co_await journal_.wait_durable(pending_.front().number);
        if (!durable) {
            log_warning(env_.log, "raft.journal_failed", durable.error().to_string());
            core_.fail_device();
            co_return;
        }
        Pending const done = std::move(pending_.front());
        pending_.pop_front();
        if (done.ticket != 0) {
            raft::absorb(durable_, done.batch);
            durable_number_ = done.number;
            core_.persisted(done.ticket);
        }
        for (const raft::Message& message : done.after) send(message);
        woken_ = true;
        wake();
    }
}

Task<void> RaftNode::compact() {
    u64 const through = durable_number_;
    auto const written = co_await journal_.snapshot(through, to_record(as_batch(durable_)));
    if (!written) log_warning(env_.log, "raft.compaction_failed", written.error().to_string());
    // Never one right after the other: the journal may be full of what is needed, or have failed for good.
    co_await env_.clock.sleep(written ? 100_ms : 5_s);
    compacting_ = false;
}

void RaftNode::send(const raft::Message& message) {
    scope_.spawn(send_one(message.to, Buffer::copy_of(as_bytes(raft::encode(message)))));
}

Task<void> RaftNode::send_one(CoreletId to, Buffer body) {
    CallOptions options;
    options.deadline = env_.clock.now() + 2_s;
    options.traffic = TrafficClass::kControl;
    (void)co_await rpc_.send(to, raft_method::k_message, std::move(body), {}, options);
}

Task<Result<Reply>> RaftNode::on_message(Request request) {
    auto const message = raft::decode_message(request.body);
    if (!message) co_return std::unexpected(message.error());
    if (message->from != request.from->corelet) co_return fail(Code::kDenied, "a raft message in another's name");
    core_.step(*message);
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

// Two seconds with all voters that answer, at least enough to make a majority with itself.
Task<void> RaftNode::exchange_before_voting() {
    Instant const earliest = env_.clock.now() + 2_s;
    std::set<CoreletId> answered;
    bool doubted = false;
    for (;;) {
        Scope greetings(env_.executor);
        for (CoreletId voter : configuration().voters)
            if (voter != rpc_.id() && !answered.contains(voter)) greetings.spawn(greet(voter, &answered, &doubted));
        co_await greetings.join();
        if (doubted) {
            // While another life of this identity is known it does not vote; perhaps it was another body, and that
            // one has stopped.
            answered.clear();
            doubted = false;
            co_await env_.clock.sleep(1_s);
            continue;
        }
        bool const everyone = answered.size() + 1 >= configuration().voters.size();
        bool const majority = answered.size() + 1 >= configuration().majority();
        if (majority && (everyone || env_.clock.now() >= earliest)) break;
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
