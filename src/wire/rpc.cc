#include "wire/rpc.h"

#include "base/fault_point.h"

#include "wire/node.h"

namespace corelet {

std::string to_string(const Target& target) {
    if (const auto* id = std::get_if<CoreletId>(&target)) return "corelet " + to_string(*id);
    return std::get<Address>(target).to_string();
}

// ---- LocalBus

LocalBus::~LocalBus() {
    CORELET_ASSERT(nodes_.empty(), "a bus outlives its nodes");
}

RpcNode* LocalBus::find(CoreletId id) const {
    auto const found = nodes_.find(id);
    return found == nodes_.end() ? nullptr : found->second;
}

void LocalBus::add(CoreletId id, RpcNode& node) {
    bool const added = nodes_.emplace(id, &node).second;
    CORELET_ASSERT(added, "two nodes of one id in a process");
}

void LocalBus::remove(CoreletId id) {
    nodes_.erase(id);
}

// ---- RpcNode

RpcNode::RpcNode(Env& env, HelloPolicy& policy, RpcOptions options, PeerEvents* events, LocalBus* bus)
    : impl_(std::make_unique<Impl>(*this, env, policy, std::move(options), events, bus)) {
    if (bus && !impl_->id.is_zero()) bus->add(impl_->id, *this);
}

RpcNode::~RpcNode() {
    if (impl_->bus && !impl_->id.is_zero()) impl_->bus->remove(impl_->id);
}

CoreletId RpcNode::id() const {
    return impl_->id;
}

Result<Address> RpcNode::listen(const Address& address, ListenOptions options) {
    return impl_->listen(address, options);
}

void RpcNode::stop_listening() {
    // Their tasks end with kClosed; the listeners live on until the node goes.
    for (auto& listener : impl_->listeners) listener->close();
}

void RpcNode::register_handler(Method method, Handler handler, HandlerOptions options) {
    impl_->dispatcher.set_handler(method, std::move(handler), options);
}
void RpcNode::unregister_handler(Method method) {
    impl_->dispatcher.remove_handler(method);
}

void RpcNode::set_addresses(CoreletId peer, std::vector<Address> addresses) {
    impl_->set_addresses(peer, std::move(addresses));
}
void RpcNode::prefer(CoreletId peer, const Address& address) {
    if (auto const found = impl_->peers.find(peer); found != impl_->peers.end()) found->second.preferred = address;
}
std::vector<Address> RpcNode::addresses(CoreletId peer) const {
    return impl_->addresses_of(peer);
}

Task<Result<Reply>> await_reply(std::unique_ptr<PendingCall> call, Clock* clock) {
    Instant const until =
        FAULT_POINT("rpc.early_timeout") ? std::min(call->deadline, clock->now() + 1_ms) : call->deadline;
    co_await call->done.wait_until(*clock, until);
    if (!call->result) {
        CORELET_ASSERT(call->path != nullptr);
        call->path->withdraw(*call, true);
        call->finish(fail(Code::kTimeout, "no answer before the deadline"));
    }
    co_return *std::move(call->result);
}

Task<Result<Reply>> RpcNode::call(Target target, Method method, Buffer body, BufferChain payload,
                                  CallOptions options) {
    auto call = impl_->make_call(FrameKind::kRequest, method, std::move(body), std::move(payload), options);
    impl_->submit(target, *call);
    return await_reply(std::move(call), &impl_->env.clock);
}

void RpcNode::send(const Target& target, Method method, Buffer body, CallOptions options) {
    auto call = impl_->make_call(FrameKind::kOneWay, method, std::move(body), {}, options);
    if (FAULT_POINT("rpc.early_timeout")) call->deadline = std::min(call->deadline, impl_->now() + 1_ms);
    call->unattended = true;
    impl_->submit(target, *call.release());
}

void RpcNode::disconnect(CoreletId peer, const std::string& reason) {
    impl_->disconnect(peer, reason);
}
bool RpcNode::is_connected(CoreletId peer) const {
    return impl_->is_connected(peer);
}
void RpcNode::set_routes(Routes* routes) {
    impl_->routes = routes;
}
void RpcNode::doubt(CoreletId peer) {
    impl_->doubt(peer);
}
std::map<CoreletId, CoreletId> RpcNode::detours() const {
    return impl_->detours();
}
void RpcNode::set_map_epoch(MapEpoch epoch) {
    impl_->map_epoch = epoch;
}
const RpcStats& RpcNode::stats() const {
    return impl_->stats;
}
const RpcLimits& RpcNode::limits() const {
    return impl_->options.limits;
}

}  // namespace corelet
