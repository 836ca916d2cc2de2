#include "wire/node.h"

#include <fmt/format.h>

namespace corelet {

using Impl = RpcNode::Impl;

Impl::Impl(RpcNode& self, Env& e, HelloPolicy& p, RpcOptions o, PeerEvents* ev, LocalBus* b)
    : node(self),
      env(e),
      policy(p),
      options(o),
      events(ev ? *ev : default_events),
      bus(b),
      rng(e.random.fork("wire")),
      dispatcher(e, options.limits),
      scope(e.executor) {
    Hello const hello = policy.local_hello();
    id = hello.corelet;
    map_epoch = hello.map_epoch;
    options.limits.calls_in_flight = std::min<u32>(options.limits.calls_in_flight, UINT16_MAX);
    dispatcher.set_handler(k_method_ping, [](Request) -> Task<Result<Reply>> { co_return Reply{}; }, {});
}

Impl::~Impl() {
    closing = true;
    scope.cancel();
    while (!local_callers.empty()) local_callers.front().target_gone();
    dispatcher.shut_down();
    peers.clear();
    bare_peers.clear();
}

u32 Impl::remaining_ms(Instant deadline) const {
    i64 const ns = (deadline - now()).ns;
    return static_cast<u32>(std::clamp<i64>((ns + 999'999) / 1'000'000, 1, UINT32_MAX));
}

Result<void> Impl::may_use(const Address& address) const {
    if (address.is_local() || options.security || options.insecure) return {};
    return fail(Code::kDenied,
                fmt::format("{} is beyond this host and the connection would be neither encrypted nor "
                            "authenticated; run with --insecure to allow it",
                            address.to_string()));
}

Hello Impl::hello(Lane lane) {
    Hello hello = policy.local_hello();
    CORELET_ASSERT(hello.corelet == id, "a node keeps its identity");
    hello.lane = lane;
    hello.window_requests = options.limits.session_requests;
    hello.window_bytes = options.limits.session_bytes;
    return hello;
}

// ---- calls out

std::unique_ptr<PendingCall> Impl::make_call(FrameKind kind, Method method, Buffer body, BufferChain payload,
                                             CallOptions call_options) {
    ++stats.calls;
    auto call = std::make_unique<PendingCall>();
    call->kind = kind;
    call->method = method;
    call->options = call_options;
    call->deadline =
        call_options.deadline == Instant{} ? now() + options.limits.default_timeout : call_options.deadline;
    call->body = std::move(body);
    call->payload = std::move(payload);
    call->cost_bytes = u64{call->body.size()} + call->payload.size() + call_options.reply_bytes_expected;
    return call;
}

void Impl::submit(const Target& target, PendingCall& call) {
    if (Result<void> const checked = check(call); !checked) return call.finish(std::unexpected(checked.error()));
    Result<CallPath*> const path = path_to(target, lane_of(call));
    if (!path) return call.finish(std::unexpected(path.error()));
    (*path)->submit(call);
}

Result<void> Impl::check(const PendingCall& call) const {
    if (closing) return fail(Code::kShutdown, "the node is stopping");
    const RpcLimits& limits = options.limits;
    if (call.body.size() > limits.header_bytes - k_header_slack_bytes)
        return fail(Code::kInvalid, fmt::format("body of {} bytes, at most {}", call.body.size(),
                                                limits.header_bytes - k_header_slack_bytes));
    if (call.payload.size() > limits.payload_bytes)
        return fail(Code::kInvalid,
                    fmt::format("payload of {} bytes, at most {}", call.payload.size(), limits.payload_bytes));
    return {};
}

Lane Impl::lane_of(const PendingCall& call) const {
    const CallOptions& wanted = call.options;
    if (wanted.lane != Lane::kAuto) return wanted.lane;
    bool const background = wanted.traffic == TrafficClass::kHeal || wanted.traffic == TrafficClass::kScrub;
    u64 const size = std::max<u64>(call.payload.size(), wanted.reply_bytes_expected);
    return background || size >= options.limits.bulk_bytes ? Lane::kBulk : Lane::kPrompt;
}

Result<CallPath*> Impl::path_to(const Target& target, Lane lane) {
    if (const auto* address = std::get_if<Address>(&target)) {
        auto found = bare_peers.find(*address);
        if (found == bare_peers.end()) {
            if (bare_peers.size() >= options.limits.links) {
                if (!std::exchange(reaping_, true)) scope.spawn(reap());
                return fail(Code::kOverloaded, fmt::format("{} addresses are connected to", bare_peers.size()));
            }
            found = bare_peers.emplace(*address, Peer{}).first;
        }
        return link_of(found->second, target, lane);
    }
    CoreletId const peer = std::get<CoreletId>(target);
    RpcNode* const other = peer == id && !id.is_zero() ? &node : bus ? bus->find(peer) : nullptr;
    if (other) return local_path(peer, *other);
    auto const found = peers.find(peer);
    if (found == peers.end() || found->second.addresses.empty())
        return fail(Code::kUnavailable, fmt::format("no address is known for {}", to_string(target)));
    return link_of(found->second, target, lane);
}

CallPath* Impl::link_of(Peer& peer, const Target& target, Lane lane) {
    CORELET_ASSERT(lane == Lane::kPrompt || lane == Lane::kBulk);
    auto& link = peer.links[lane == Lane::kPrompt ? 0 : 1];
    if (!link) link = std::make_unique<Link>(*this, target, lane);
    return link.get();
}

Result<CallPath*> Impl::local_path(CoreletId peer, RpcNode& other) {
    auto& slot = peers[peer].local;
    if (slot && slot->is_alive()) return slot.get();
    slot.reset();
    Impl& there = *other.impl_;
    if (there.closing) return fail(Code::kReset, fmt::format("corelet {} is stopping", to_string(peer)));
    auto const mine = std::make_shared<const Hello>(policy.local_hello());
    Hello const theirs = there.policy.local_hello();
    PeerContext here_context, there_context;
    here_context.same_process = there_context.same_process = true;
    here_context.address.host = there_context.address.host = "local";
    here_context.expected = peer;
    there_context.inbound = true;
    if (peer != id) {
        TRY_VOID(there.policy.judge(*mine, there_context));
        TRY_VOID(policy.judge(theirs, here_context));
    }
    slot = std::make_unique<LocalLink>(*this, there, mine, theirs);
    CallPath* const path = slot.get();
    if (peer != id) {
        events.peer_connected(theirs, here_context);
        there.events.peer_connected(*mine, there_context);
    }
    return path;
}

// Forgets idle links to bare addresses, and peers that nobody knows an address of.
Task<void> Impl::reap() {
    reaping_ = false;
    auto const idle = [](const Peer& peer) {
        return (!peer.links[0] || peer.links[0]->is_idle()) && (!peer.links[1] || peer.links[1]->is_idle());
    };
    std::erase_if(bare_peers, [&](const auto& entry) { return idle(entry.second); });
    std::erase_if(peers, [&](const auto& entry) {
        return entry.second.addresses.empty() && !entry.second.local && idle(entry.second);
    });
    co_return;
}

// ---- peers

std::vector<Address> Impl::addresses_of(const Target& target) const {
    if (const auto* address = std::get_if<Address>(&target)) return {*address};
    auto const found = peers.find(std::get<CoreletId>(target));
    if (found == peers.end()) return {};
    std::vector<Address> list = found->second.addresses;
    if (auto const& first = found->second.preferred) {
        auto const at = std::find(list.begin(), list.end(), *first);
        if (at != list.end()) std::rotate(list.begin(), at, at + 1);
    }
    return list;
}

std::vector<Way> Impl::ways_to(const Target& target, bool direct_first) const {
    std::vector<Way> direct, through;
    for (Address& address : addresses_of(target)) direct.push_back({std::move(address), {}});
    const auto* peer = std::get_if<CoreletId>(&target);
    if (!peer || !routes) return direct;
    Routes::Advice const advice = routes->advise(*peer);
    for (CoreletId const third : advice.through)
        if (third != *peer && third != id)
            for (Address& address : addresses_of(third)) through.push_back({std::move(address), third});
    if (advice.is_unreached && !direct_first) std::swap(direct, through);
    direct.insert(direct.end(), std::make_move_iterator(through.begin()), std::make_move_iterator(through.end()));
    return direct;
}

Task<Result<std::unique_ptr<Connection>>> Impl::connect(Address address) {
    CO_TRY_VOID(may_use(address));
    CO_TRY(std::unique_ptr<Connection> connection, co_await env.network.connect(address));
    if (!address.is_local() && options.security) {
        CO_TRY(connection, co_await options.security->secure(std::move(connection), false));
    }
    CO_TRY_VOID(check_credentials(*connection, address.kind == Address::Kind::kUnix, options.own_uid));
    co_return connection;
}

void Impl::set_addresses(CoreletId peer, std::vector<Address> list) {
    Peer& entry = peers[peer];
    if (entry.addresses != list) forgive(peer);
    entry.addresses = std::move(list);
    if (entry.addresses.empty() && !std::exchange(reaping_, true)) scope.spawn(reap());
}

void Impl::forgive(CoreletId peer) {
    auto const found = peers.find(peer);
    if (found == peers.end()) return;
    for (auto& link : found->second.links) {
        if (link) link->forgive();
    }
}

void Impl::doubt(CoreletId peer) {
    auto const found = peers.find(peer);
    if (found == peers.end()) return;
    for (auto& link : found->second.links) {
        if (link) link->doubt_direct();
    }
}

std::map<CoreletId, CoreletId> Impl::detours() const {
    std::map<CoreletId, CoreletId> found;
    for (auto const& [peer, entry] : peers)
        for (auto const& link : entry.links)
            if (link && !link->via().is_zero()) found[peer] = link->via();
    return found;
}

void Impl::epoch_shown(CoreletId peer, MapEpoch* last, MapEpoch shown) {
    if (*last == shown) return;
    *last = shown;
    events.peer_map_epoch(peer, shown);
}

void Impl::session_established(Session& session) {
    const Hello& peer = *session.peer();
    if (peer.corelet.is_zero()) return;
    sessions.for_each([&](Session& other) {
        bool const same = &other != &session && other.is_up() && other.peer()->corelet == peer.corelet &&
                          other.peer()->lane == peer.lane;
        if (same) other.break_off(Error{Code::kReset, false, 0, "the same corelet has connected anew"});
    });
    forgive(peer.corelet);
}

void Impl::disconnect(CoreletId peer, const std::string& reason) {
    Error const error{Code::kReset, false, 0, reason};
    auto const found = peers.find(peer);
    if (found != peers.end()) {
        for (auto& link : found->second.links) {
            if (link) link->break_off(error);
        }
        if (found->second.local) found->second.local->break_off(error);
    }
    sessions.for_each([&](Session& session) {
        if (session.is_up() && session.peer()->corelet == peer) session.break_off(error);
    });
}

bool Impl::is_connected(CoreletId peer) {
    if (peer == id || (bus && bus->find(peer))) return true;
    auto const found = peers.find(peer);
    if (found != peers.end()) {
        for (auto& link : found->second.links) {
            if (link && link->is_up()) return true;
        }
    }
    bool up = false;
    sessions.for_each([&](Session& session) { up = up || (session.is_up() && session.peer()->corelet == peer); });
    return up;
}

// ---- listening

Result<Address> Impl::listen(const Address& address, ListenOptions listen_options) {
    TRY_VOID(may_use(address));
    if (address.kind == Address::Kind::kUnix && !options.own_uid && !options.insecure)
        return fail(Code::kDenied, "whose connections a unix socket takes is not configured (own_uid)");
    TRY(std::unique_ptr<Listener> listener, env.network.listen(address, listen_options));
    Address const bound = listener->local_address();
    listeners.push_back(std::move(listener));
    scope.spawn(accept_from(listeners.back().get(), address.is_local()));
    return bound;
}

Task<void> Impl::accept_from(Listener* listener, bool is_local) {
    Address const address = listener->local_address();
    bool const is_unix = address.kind == Address::Kind::kUnix;
    for (;;) {
        auto connection = co_await listener->accept();
        if (connection) {
            scope.spawn(serve(*std::move(connection), is_local, is_unix));
            continue;
        }
        if (connection.error().code == Code::kClosed) co_return;
        log_warning(env.log, "wire.accept_failed",
                    [&] { return fmt::format("{}: {}", address.to_string(), connection.error().to_string()); });
        co_await env.clock.sleep(100_ms);
    }
}

Task<void> Impl::serve(std::unique_ptr<Connection> connection, bool is_local, bool is_unix) {
    Counted const counted(session_count);
    // Beyond the bound a refusal is still told; beyond this one the connection is closed without a word.
    if (session_count > 2 * options.limits.sessions + 64) co_return;
    if (!is_local && options.security) {
        auto secured = co_await options.security->secure(std::move(connection), true);
        if (!secured) {
            log_warning(env.log, "wire.insecure_peer", [&] { return secured.error().to_string(); });
            co_return;
        }
        connection = *std::move(secured);
    }
    Session session(*this, std::move(connection));
    sessions.push_back(session);
    co_await session.serve(is_unix);
}

}  // namespace corelet
