#include "catalog/raft_catalog.h"

#include "base/fault_point.h"

#include "wire/message.h"

namespace corelet {

namespace {
constexpr Duration k_pull_wait = 1_s;
constexpr Duration k_contact_fresh = 3_s;
constexpr Duration k_try = 2_s;
constexpr Duration k_expiry_every = 250_ms;
constexpr Duration k_end_patience = 2_s;
constexpr usize k_reply_body_max = 64 * k_kib;
constexpr usize k_asked_max = 16;

// Large answers go as a payload: a frame's body is bounded more narrowly, and they leave the urgent lane to others.
Reply pack(const google::protobuf::MessageLite& message) {
    Buffer bytes = encode_message(message);
    if (bytes.size() <= k_reply_body_max) return Reply{std::move(bytes), {}};
    Reply reply;
    reply.payload = std::move(bytes);
    return reply;
}

template <class M>
Result<M> unpack(const Reply& reply) {
    if (reply.payload.empty()) return decode_message<M>(reply.body);
    return decode_message<M>(reply.payload.flatten());
}

std::vector<CoreletId> voters_of(const pb::CatalogPullReply& reply) {
    std::vector<CoreletId> voters;
    for (u64 voter : reply.voters()) voters.push_back(CoreletId(voter));
    return voters;
}
}  // namespace

RaftCatalog::RaftCatalog(Env& env, RpcNode& rpc, RaftNode* raft)
    : env_(env), rpc_(rpc), raft_(raft), client_(env.random.next()), scope_(env.executor) {
    rpc_.register_handler(catalog_method::k_commit, [this](Request r) { return on_commit(std::move(r)); });
    rpc_.register_handler(catalog_method::k_range, [this](Request r) { return on_range(std::move(r)); });
    rpc_.register_handler(catalog_method::k_renew, [this](Request r) { return on_renew(std::move(r)); });
    rpc_.register_handler(catalog_method::k_pull, [this](Request r) { return on_pull(std::move(r)); });
    scope_.spawn(mirror_loop());
    if (raft_) {
        scope_.spawn(expiry_loop());
        scope_.spawn(relay_changes());
    }
}

RaftCatalog::~RaftCatalog() {
    for (Method method :
         {catalog_method::k_commit, catalog_method::k_range, catalog_method::k_renew, catalog_method::k_pull})
        rpc_.unregister_handler(method);
}

void RaftCatalog::set_voter_hints(std::vector<CoreletId> voters) {
    hints_ = std::move(voters);
}

std::vector<CoreletId> RaftCatalog::voters() const {
    return holds_log() ? raft_->configuration().voters : hints_;
}

CoreletId RaftCatalog::leader() const {
    return holds_log() ? raft_->leader() : leader_hint_;
}

bool RaftCatalog::is_available() const {
    if (holds_log())
        return raft_->is_leader() || (!raft_->leader().is_zero() && rpc_.is_connected(raft_->leader()));
    return in_contact();
}

bool RaftCatalog::in_contact() const {
    return env_.clock.now() - last_contact_ < k_contact_fresh;
}

std::unique_ptr<Watch> RaftCatalog::watch(std::string prefix, Revision from) {
    return hub_.watch(std::move(prefix), from);
}

pb::RequestId RaftCatalog::next_request() {
    pb::RequestId id;
    id.set_client(client_);
    id.set_number(next_number_++);
    return id;
}

// --- asking
// ---------------------------------------------------------------------------------------------------------------

Task<Result<Reply>> RaftCatalog::ask(CoreletId whom, Method method, Buffer body, Instant deadline) {
    CallOptions options;
    options.deadline = std::min(deadline, env_.clock.now() + k_try);
    options.traffic = TrafficClass::kControl;
    return rpc_.call(whom, method, std::move(body), {}, options);
}

// Tries whoever is said to lead, then the voters one after the other and between them the leader again, until the
// deadline: one lost answer does not mean that it is gone, and each voter that cannot be reached takes its time. A
// repeat carries the same request id.
Task<Result<Reply>> RaftCatalog::ask_leader(Method method, Buffer body, Instant deadline) {
    Error last{Code::kUnavailable, false, 0, "no voter of the catalog is known"};
    CoreletId next = leader();
    usize turn = 0;
    bool leader_again = false;
    std::set<CoreletId> hinted_to;
    for (;;) {
        if (next.is_zero()) {
            auto const all = voters();
            if (leader_again) next = leader();
            if (next.is_zero() && !all.empty()) next = all[turn++ % all.size()];
            leader_again = !leader_again;
        }
        if (!next.is_zero()) {
            auto reply = co_await ask(next, method, body, deadline);
            if (reply) {
                leader_hint_ = next;
                last_contact_ = env_.clock.now();
                co_return reply;
            }
            last = reply.error();
            bool const refused =
                last.code == Code::kInvalid || last.code == Code::kNotFound || last.code == Code::kDenied;
            if (refused) co_return reply;
            CoreletId const hinted(last.code == Code::kNotLeader ? last.detail : 0);
            // Two that take each other for the leader are not asked in a circle without a pause.
            bool const again = hinted == next || !hinted_to.insert(hinted).second;
            if (again) hinted_to.clear();
            next = again ? CoreletId{} : hinted;
        }
        if (env_.clock.now() >= deadline) break;
        if (next.is_zero()) co_await env_.clock.sleep(100_ms);
        if (env_.clock.now() >= deadline) break;
    }
    co_return fail(Code::kUnavailable, "the catalog has no quorum that answers (" + last.to_string() + ")");
}

Task<Result<pb::CatalogResult>> RaftCatalog::submit(pb::CatalogCommand command, Instant deadline) {
    *command.mutable_request() = next_request();
    CO_TRY(Reply reply, co_await ask_leader(catalog_method::k_commit, encode_message(command), deadline));
    CO_TRY(auto result, unpack<pb::CatalogResult>(reply));
    // What this corelet has done it also sees, if it holds the log.
    if (holds_log() && result.revision() != 0) {
        co_await raft_->hub().wait_beyond(Revision(result.revision() - 1), env_.clock,
                                          std::min(deadline, env_.clock.now() + 500_ms));
        if (holds_log()) follow_log();
    }
    co_return result;
}

Task<Result<TransactionResult>> RaftCatalog::commit(Transaction transaction, Instant deadline) {
    CO_TRY_VOID(check_transaction(transaction));
    pb::CatalogCommand command;
    encode_transaction(transaction, *command.mutable_transaction());
    CO_TRY(auto result, co_await submit(std::move(command), deadline));
    if (FAULT_POINT("catalog.answer_lost")) co_return fail(Code::kTimeout, "no answer before the deadline");
    co_return to_transaction_result(result);
}

Task<Result<RangeResult>> RaftCatalog::range(std::string prefix, Instant deadline) {
    pb::CatalogRange message;
    message.set_prefix(prefix);
    CO_TRY(Reply reply, co_await ask_leader(catalog_method::k_range, encode_message(message), deadline));
    CO_TRY(auto answer, unpack<pb::CatalogRangeReply>(reply));
    RangeResult out;
    out.revision = Revision(answer.revision());
    for (const auto& item : answer.items()) out.items.push_back(decode_item(item));
    co_return out;
}

Task<Result<LeaseId>> RaftCatalog::grant_lease(Duration ttl, Instant deadline) {
    pb::CatalogCommand command;
    command.set_grant_lease_ttl_ns(static_cast<u64>(ttl.ns));
    CO_TRY(auto result, co_await submit(std::move(command), deadline));
    if (result.code() != 0) co_return fail(static_cast<Code>(result.code()), result.message());
    co_return LeaseId(result.lease());
}

Task<Result<void>> RaftCatalog::renew_lease(LeaseId lease, Instant deadline) {
    pb::CatalogRenew message;
    message.set_lease(lease.v);
    CO_TRY_VOID(co_await ask_leader(catalog_method::k_renew, encode_message(message), deadline));
    co_return {};
}

Task<Result<void>> RaftCatalog::revoke_lease(LeaseId lease, Instant deadline) {
    pb::CatalogCommand command;
    command.add_end_leases(lease.v);
    CO_TRY_VOID(co_await submit(std::move(command), deadline));
    co_return {};
}

// --- serving
// --------------------------------------------------------------------------------------------------------------

Task<Result<pb::CatalogResult>> RaftCatalog::propose_here(pb::CatalogCommand command, Instant deadline) {
    if (!raft_) co_return fail(Code::kNotLeader, "this corelet has no part in the catalog", leader_hint_.v);
    co_return co_await raft_->propose(command.SerializeAsString(), deadline);
}

Task<Result<Reply>> RaftCatalog::on_commit(Request request) {
    CO_TRY(auto command, decode_message<pb::CatalogCommand>(request.body));
    bool const reads = command.has_transaction() && command.transaction().operations_size() == 0;
    if (reads) co_return co_await on_read(decode_transaction(command.transaction()), request.deadline);
    CO_TRY(auto result, co_await propose_here(std::move(command), request.deadline));
    if (result.lease() != 0) {
        auto const granted = raft_->state().leases().find(LeaseId(result.lease()));
        if (granted != raft_->state().leases().end())
            expiry_[granted->first] = env_.clock.now() + granted->second.ttl;
    }
    co_return pack(result);
}

// What changes nothing needs no entry of the log.
Task<Result<Reply>> RaftCatalog::on_read(Transaction transaction, Instant deadline) {
    if (!holds_log()) co_return fail(Code::kNotLeader, "this corelet has no part in the catalog", leader_hint_.v);
    CO_TRY_VOID(co_await raft_->read_barrier(deadline));
    co_return pack(raft_->state().read(transaction));
}

Task<Result<Reply>> RaftCatalog::on_range(Request request) {
    CO_TRY(auto message, decode_message<pb::CatalogRange>(request.body));
    if (!holds_log()) co_return fail(Code::kNotLeader, "this corelet has no part in the catalog", leader_hint_.v);
    CO_TRY_VOID(co_await raft_->read_barrier(request.deadline));
    pb::CatalogRangeReply reply;
    RangeResult const found = raft_->state().range(message.prefix());
    reply.set_revision(found.revision.v);
    for (const KeyValue& item : found.items) encode_item(item, *reply.add_items());
    co_return pack(reply);
}

// Renewed only after a quorum round begun after the request; it counts at the holder from sending, so here from now
// on is enough. One whose end is on its way into the log is not: it might end although its holder was told that it
// lives.
Task<Result<void>> RaftCatalog::renew_here(LeaseId lease, Instant deadline) {
    if (!raft_ || !raft_->is_leader())
        co_return fail(Code::kNotLeader, "this corelet does not lead the catalog", leader().v);
    raft::Term const term = raft_->term();
    CO_TRY_VOID(co_await raft_->read_barrier(deadline));
    if (!raft_->is_leader() || raft_->term() != term)
        co_return fail(Code::kNotLeader, "leadership changed", leader().v);
    auto const found = raft_->state().leases().find(lease);
    if (found == raft_->state().leases().end()) co_return fail(Code::kNotFound, "the lease has ended");
    if (ending_.contains(lease)) co_return fail(Code::kUnavailable, "the lease has lapsed and is about to end");
    expiry_[lease] = env_.clock.now() + found->second.ttl;
    co_return {};
}

Task<Result<Reply>> RaftCatalog::on_renew(Request request) {
    CO_TRY(auto message, decode_message<pb::CatalogRenew>(request.body));
    CO_TRY_VOID(co_await renew_here(LeaseId(message.lease()), request.deadline));
    co_return Reply{};
}

Task<Result<Reply>> RaftCatalog::on_pull(Request request) {
    CO_TRY(auto message, decode_message<pb::CatalogPull>(request.body));
    Instant const until = std::min(request.deadline, env_.clock.now() + k_pull_wait);
    Revision const after(message.after());
    if (holds_log()) co_await hub_.wait_beyond(after, env_.clock, until);
    const CatalogState& state = view();
    pb::CatalogPullReply reply;
    // Nobody follows one that only follows itself: two of them could go on believing each other for ever. It says
    // at once what it knows.
    if (holds_log()) reply.set_leader(leader().v);
    for (CoreletId voter : voters()) reply.add_voters(voter.v);
    state.tell(after, k_catalog_pull_bytes, reply);
    co_return pack(reply);
}

// --- loops
// ----------------------------------------------------------------------------------------------------------------

bool RaftCatalog::learn(const pb::CatalogPullReply& reply) {
    if (Revision(reply.revision()) < mirror_.revision()) return false;  // it lags behind
    mirror_.mirror(reply);
    hub_.changed();
    bool const knows = reply.leader() != 0;
    // What others have heard of the voters may be old.
    if (!knows && in_contact()) return false;
    std::vector<CoreletId> voters = voters_of(reply);
    if (!voters.empty()) hints_ = std::move(voters);
    leader_hint_ = CoreletId(reply.leader());
    if (knows) last_contact_ = env_.clock.now();
    return knows;
}

std::vector<CoreletId> RaftCatalog::others_to_ask() const {
    std::vector<CoreletId> others = acquaintances_ ? acquaintances_() : std::vector<CoreletId>{};
    std::erase(others, rpc_.id());
    return others;
}

// A member that hears no leader asks the others whether they still count it in; and one more, with those whom that
// one names, for all that it knew may have been replaced.
Task<void> RaftCatalog::look_whether_removed() {
    std::vector<CoreletId> asked = raft_->configuration().voters;
    auto const others = others_to_ask();
    if (!others.empty()) asked.push_back(others[looked_++ % others.size()]);
    for (usize i = 0; i < asked.size(); ++i) {
        if (asked[i] == rpc_.id()) continue;
        pb::CatalogPull message;
        message.set_after(raft_->state().revision().v);
        auto const reply = co_await ask(asked[i], catalog_method::k_pull, encode_message(message),
                                        env_.clock.now() + k_pull_wait + 1_s);
        if (!raft_->leader().is_zero()) co_return;
        auto const answer = reply ? unpack<pb::CatalogPullReply>(*reply) : std::unexpected(reply.error());
        if (!answer) continue;
        std::vector<CoreletId> voters = voters_of(*answer);
        if (answer->leader() == 0) {
            for (CoreletId voter : voters)
                if (asked.size() < k_asked_max && std::find(asked.begin(), asked.end(), voter) == asked.end())
                    asked.push_back(voter);
            continue;
        }
        if (voters.empty() || std::find(voters.begin(), voters.end(), rpc_.id()) != voters.end()) continue;
        log_info(env_.log, "catalog.removed",
                 "this corelet is no voter any more, as " + to_string(asked[i]) + " says; it follows the others");
        hints_ = std::move(voters);
        removed_ = true;
        co_return;
    }
}

// Out of contact, every other time somebody who is no voter as far as is known here.
CoreletId RaftCatalog::next_to_follow(usize turn) const {
    std::vector<CoreletId> known = hints_;
    std::erase(known, rpc_.id());
    auto const others = in_contact() ? std::vector<CoreletId>{} : others_to_ask();
    if (others.empty()) return known.empty() ? CoreletId{} : known[turn % known.size()];
    if (known.empty()) return others[turn % others.size()];
    return turn % 2 == 0 ? known[turn / 2 % known.size()] : others[turn / 2 % others.size()];
}

// Whoever holds no log follows a voter that does; if it goes silent or lags without a leader, the next one.
Task<void> RaftCatalog::mirror_loop() {
    usize turn = static_cast<usize>(client_ % 7);
    for (;;) {
        if (holds_log()) {
            follow_log();
            co_await env_.clock.sleep(1_s);
            if (!raft_->leader().is_zero() || leader_known_.ns == 0) leader_known_ = env_.clock.now();
            if (env_.clock.now() - leader_known_ >= k_contact_fresh) co_await look_whether_removed();
            continue;
        }
        if (removed_ && !raft_->leader().is_zero()) {
            removed_ = false;  // a leader sends it the log again
            leader_known_ = env_.clock.now();
            continue;
        }
        if (hub_on_log_) follow_mirror();
        CoreletId const whom = next_to_follow(turn);
        if (whom.is_zero()) {
            co_await env_.clock.sleep(200_ms);
            continue;
        }
        if (co_await pull_from(whom)) continue;
        ++turn;
        co_await env_.clock.sleep(100_ms);
    }
}

// What the mirror has shown is not taken back: one that was removed and is a member again, or is a new one, has a
// log that lies behind it until it has caught up.
void RaftCatalog::follow_log() {
    if (hub_on_log_ || raft_->state().revision() < mirror_.revision()) return;
    hub_on_log_ = true;
    hub_.follow(raft_->state());
}

// It goes on from what the log has brought so far; who the voters were before it held the log is long out of date.
void RaftCatalog::follow_mirror() {
    hub_on_log_ = false;
    if (auto const& voters = raft_->configuration().voters; !removed_ && !voters.empty()) hints_ = voters;
    mirror_ = raft_->state();
    hub_.follow(mirror_);
}

Task<bool> RaftCatalog::pull_from(CoreletId whom) {
    pb::CatalogPull message;
    message.set_after(mirror_.revision().v <= 1 ? 0 : mirror_.revision().v);
    auto const reply =
        co_await ask(whom, catalog_method::k_pull, encode_message(message), env_.clock.now() + k_pull_wait + 1_s);
    if (!reply || holds_log()) co_return false;
    auto const decoded = unpack<pb::CatalogPullReply>(*reply);
    co_return decoded&& learn(*decoded);
}

// A voter's watches hear of what its log applies.
Task<void> RaftCatalog::relay_changes() {
    Revision seen;
    for (;;) {
        co_await raft_->hub().wait_beyond(seen, env_.clock, env_.clock.now() + 5_s);
        if (raft_->state().revision() == seen) continue;
        seen = raft_->state().revision();
        if (holds_log()) follow_log();
        if (hub_on_log_) hub_.changed();
    }
}

// Time in which this leader did not run does not count: the renewals it did not hear may have been sent.
void RaftCatalog::postpone_expiry(Duration lost) {
    if (lost <= Duration{}) return;
    for (auto& [lease, until] : expiry_) until = until + lost;
}

// The leader ends leases by entries of the log; a new leader gives each its full length.
Task<void> RaftCatalog::expiry_loop() {
    for (;;) {
        Instant const slept = env_.clock.now();
        co_await env_.clock.sleep(k_expiry_every);
        postpone_expiry(env_.clock.now() - slept - k_expiry_every);
        if (!raft_->is_leader()) {
            expiry_.clear();
            ending_.clear();
            expiry_term_ = {};
            continue;
        }
        Instant const now = env_.clock.now();
        if (expiry_term_ != raft_->term()) {
            expiry_.clear();
            ending_.clear();
            expiry_term_ = raft_->term();
        }
        std::vector<LeaseId> lapsed;
        auto const& leases = raft_->state().leases();
        for (auto const& [lease, details] : leases) {
            auto const [entry, added] = expiry_.try_emplace(lease, now + details.ttl);
            if (!added && entry->second <= now && !ending_.contains(lease)) lapsed.push_back(lease);
        }
        std::erase_if(expiry_, [&](const auto& entry) { return !leases.contains(entry.first); });
        std::erase_if(ending_, [&](LeaseId lease) { return !leases.contains(lease); });
        if (lapsed.empty()) continue;
        co_await end_lapsed(std::move(lapsed));
        postpone_expiry(env_.clock.now() - now - k_end_patience);
    }
}

// Once it is proposed it may end at any time, also if that is not heard of here.
Task<void> RaftCatalog::end_lapsed(std::vector<LeaseId> lapsed) {
    pb::CatalogCommand command;
    for (LeaseId lease : lapsed) {
        command.add_end_leases(lease.v);
        ending_.insert(lease);
    }
    auto const ended = co_await propose_here(std::move(command), env_.clock.now() + k_end_patience);
    if (ended || ended.error().code == Code::kTimeout) co_return;
    log_info(env_.log, "catalog.lease_not_ended", ended.error().to_string());
    if (ended.error().code != Code::kOverloaded) co_return;
    for (LeaseId lease : lapsed) ending_.erase(lease);
}

}  // namespace corelet
