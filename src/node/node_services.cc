#include "node/node_services.h"

#include "base/codec.h"
#include "heal/heal.pb.h"
#include "node/admin_commands.h"
#include "node/health_service.h"
#include "node/node.pb.h"
#include "node/token_service.h"
#include "node/volume_care.h"
#include "stream/stream_record.h"
#include "wire/message.h"

namespace corelet {

namespace {
constexpr Duration k_body_gone_after = 10_s;
}  // namespace

// --- spaces
// ---------------------------------------------------------------------------------------------------------------

void CatalogSpaces::refresh() const {
    const CatalogState& local = catalog_.local();
    Revision const revision = local.revision();
    if (revision == cached_at_ && !cached_at_.is_zero()) return;
    cached_at_ = revision;
    std::map<SpaceId, PoolId> pools;
    std::set<SpaceId> deleted;
    for (auto const& [key, item] : local.items("streams/")) {
        const pb::Stream* const stream = streams_.parse(item);
        if (stream) pools[SpaceId(stream->space())] = PoolId(stream->pool());
    }
    streams_.forget_others();
    for (auto const& [key, item] : local.items("deleted/")) {
        Reader r(as_bytes(item.value));
        deleted.insert(r.get<SpaceId>());
    }
    if (pools == pools_ && deleted == deleted_) return;
    pools_ = std::move(pools);
    deleted_ = std::move(deleted);
    ++version_;
}

u64 CatalogSpaces::version() const {
    refresh();
    return version_;
}

std::optional<PoolId> CatalogSpaces::pool_of(SpaceId space) const {
    refresh();
    auto const found = pools_.find(space);
    return found == pools_.end() ? std::nullopt : std::optional(found->second);
}

bool CatalogSpaces::seems_deleted(SpaceId space) const {
    refresh();
    return deleted_.contains(space);
}

// --- life
// -----------------------------------------------------------------------------------------------------------------

NodeServices::NodeServices(Env& the_env, NodeConfig the_config, std::unique_ptr<Store> the_store)
    : env(the_env),
      config(std::move(the_config)),
      store(std::move(the_store)),
      proof(store->identity()),
      scope_(the_env.executor) {}

NodeServices::~NodeServices() = default;

void NodeServices::start_gossip() {
    Gossip::Callbacks callbacks;
    callbacks.forgotten = [this](std::string reason) { forgotten(std::move(reason)); };
    callbacks.two_bodies = [this] {
        if (!other_body_seen_) log_warning(env.log, "node.other_body", "the same device image is mounted twice");
        other_body_seen_ = env.clock.now();
        vote_no_more(raft::Bar::kTwoBodies);
    };
    callbacks.confirmed_down = [this](CoreletId id) {
        if (volumes) volumes->corelet_lost(id);
    };
    callbacks.indirect = [this](CoreletId id) { rpc->doubt(id); };
    callbacks.moved = [this](CoreletId id, const Address& address) {
        rpc->prefer(id, address);
        rpc->doubt(id);
    };
    gossip =
        std::make_unique<Gossip>(env, *store, *maps, *policy, config.mesh, config.admin_key, std::move(callbacks));
}

void NodeServices::start_health() {
    health = std::make_unique<HealthService>(*this);
    chunks->set_observer(health->observer());
    replica_port->set_observer(health->observer());
    health->start();
}

void NodeServices::follow_map() {
    maps->on_change([this] { map_changed(); });
    if (!maps->current()->epoch.is_zero()) proof.map_changed(*maps->current());
}

void NodeServices::register_handlers() {
    rpc->register_handler(node_method::k_introduce, [this](Request r) { return on_introduce(std::move(r)); });
    rpc->register_handler(
        node_method::k_admin, [this](Request r) { return on_admin(std::move(r)); },
        HandlerOptions{.detached = true});
    rpc->register_handler(
        node_method::k_redeem, [this](Request r) { return redeem_token(*this, std::move(r)); },
        HandlerOptions{.detached = true});
    rpc->register_handler(heal_method::k_fates, [this](Request r) { return on_fates(std::move(r)); });
    rpc->register_handler(
        heal_method::k_mend_log, [this](Request r) { return on_mend_log(*this, std::move(r)); },
        HandlerOptions{.detached = true});
}

Task<Result<void>> NodeServices::start() {
    policy = std::make_unique<PeerPolicy>(config.mesh, *store, config.wire_version);
    RpcOptions rpc_options;
    rpc_options.own_uid = config.own_uid;
    rpc_options.insecure = config.insecure;
    rpc = std::make_unique<RpcNode>(env, *policy, rpc_options, this);
    CO_TRY_VOID(co_await start_catalog());
    policy->set_records([this](CoreletId id) { return recorded_life(id); });
    spaces = std::make_unique<CatalogSpaces>(*catalog);
    maps = std::make_unique<MapService>(env, *catalog, *store, *rpc);
    start_gossip();
    detours = std::make_unique<Detours>(*rpc, *maps, gossip->membership());
    rpc->set_routes(detours.get());
    placement = std::make_unique<MapLogPlacement>(*maps, store->identity());
    placement->attach(&gossip->membership());
    if (mesh::may_store(config.role)) {
        fragments = std::make_unique<FragmentServer>(*store, *rpc, *maps, this);
        replica_server = std::make_unique<ReplicaServer>(env, *store, *rpc, config.stream_times);
        replica_server->set_gate([this] { return may_keep_segments(); });
        sweeper = std::make_unique<SegmentSweeper>(env, *store, *replica_server, *catalog);
    }
    chunks = std::make_unique<MeshChunks>(env, *rpc, *maps, MeshChunks::Options{});
    replica_port = std::make_unique<RpcReplicaPort>(*rpc, env.clock);
    Healer::Options heal_options;
    heal_options.round_every = config.heal_round;
    heal_options.scrub_pass = config.scrub_pass;
    heal_options.audit_every = config.audit_every;
    if (fragments)
        healer =
            std::make_unique<Healer>(env, *store, *rpc, *maps, *chunks, *fragments, *spaces, *this, heal_options);
    session = std::make_unique<SessionKeeper>(env, *catalog, *store, config,
                                              [this](std::string reason) { forgotten(std::move(reason)); });
    keeper = std::make_unique<MapKeeper>(env, store->identity(), raft.get(), *maps, config.out_after,
                                         [this] { return healing_paused(); });
    if (mesh::may_store(config.role))
        volumes = std::make_unique<VolumeHost>(env, config, *catalog, *replica_port, *placement, *maps, *chunks,
                                               *session, store->identity());
    doors = std::make_unique<DoorKeeper>(env, config, *rpc, *catalog, *maps, volumes.get());
    if (healer) pacer = std::make_unique<HealPacer>(*this);
    start_health();
    follow_map();
    register_handlers();
    for (const Address& address : config.listen) {
        CO_TRY(Address actual, rpc->listen(address, ListenOptions{.replace = true}));
        CO_TRY_VOID(gossip->bind(actual));
        listening.push_back(std::move(actual));
    }
    // Also what an earlier mount has found out, or this one: a start gives no promise back.
    if (store->has_forgotten())
        forgotten(store->forgotten_reason());
    else if (raft && !raft->forgotten().empty())
        forgotten(raft->forgotten());
    scope_.spawn(enter_mesh());
    scope_.spawn(remember_voters());
    scope_.spawn(watch_identities());
    scope_.spawn(watch_device());
    if (pacer) pacer->start();
    co_return {};
}

Task<void> NodeServices::shut_down(Duration limit) {
    Instant const deadline = env.clock.now() + limit;
    if (volumes) co_await volumes->hand_over_all(deadline);
    if (raft) raft->step_down();
    co_await session->end();
    // Leave the network before the device: what still arrives finds nobody.
    rpc->stop_listening();
}

// Promises of this identity are void: it neither fences, nor tells a log's end, nor votes (protocols 1.3).
void NodeServices::forgotten(std::string reason) {
    if (!own_trouble.empty()) return;
    own_trouble = "this device has forgotten promises (" + reason +
                  "); started again, the corelet joins as a new one and keeps the fragments it has";
    log_warning(env.log, "node.forgotten", own_trouble);
    vote_no_more(raft::Bar::kForgotten);
    gossip->fall_silent();
    // It goes to nobody any more; who comes may read what it has.
    auto const map = maps->current();
    for (const mesh::Corelet& corelet : map->corelets) {
        rpc->set_addresses(corelet.id, {});
        rpc->disconnect(corelet.id, "this identity has forgotten promises");
    }
    scope_.spawn(mark_forgotten(std::move(reason)));
}

Task<void> NodeServices::mark_forgotten(std::string reason) {
    (void)co_await store->mark_forgotten(std::move(reason));
    if (volumes) co_await volumes->retire();
}

// The catalog has recorded this life of the identity, and nobody knows better (protocols 1.1, 1.3).
Result<void> NodeServices::may_keep_segments() const {
    if (store->has_forgotten())
        return fail(Code::kForgotten, "this device has forgotten promises: " + store->forgotten_reason());
    if (!session || !session->first_session().is_set())
        return fail(Code::kUnavailable, "the catalog has not yet recorded this corelet's present life");
    return {};
}

void NodeServices::peer_unreachable(CoreletId /*peer*/, const Error& error) {
    // Each refusal names the incarnation that it is about: an old one is no news.
    if (error.code == Code::kForgotten && error.detail == store->incarnation().v && gossip)
        return forgotten(error.message);
    if (error.code == Code::kFenced && error.detail == store->incarnation().v) life_is_over(error.message);
}

// Put out, or replaced, and back: it goes on under a new incarnation, without restarting (protocols 1.5).
void NodeServices::life_is_over(std::string reason) {
    if (!own_trouble.empty()) return;
    over_ = store->incarnation();
    if (!std::exchange(renewing_, true)) scope_.spawn(renew_life(std::move(reason)));
}

// Until the map has it again. Before it hears so it may be put out once more.
Task<void> NodeServices::renew_life(std::string reason) {
    log_info(env.log, "node.life_renewed", reason);
    while (own_trouble.empty()) {
        if (over_ == store->incarnation()) {
            if (!co_await store->raise_incarnation()) break;
            gossip->life_renewed();
            session->reopen();
        }
        if (co_await introduce_self()) break;
        co_await env.clock.sleep(300_ms);
    }
    co_await env.clock.sleep(1_s);
    renewing_ = false;
}

Task<void> NodeServices::watch_identities() {
    for (;;) {
        co_await env.clock.sleep(500_ms);
        look_at_records();
        look_at_bodies();
        look_at_pause();
    }
}

void NodeServices::look_at_pause() {
    const KeyValue* const item = catalog->local().find(k_pause_key);
    auto const order = item ? decode_pause(item->value) : std::nullopt;
    bool const paused = pause_clock_.look(order, env.clock.now(), env.clock.wall_now());
    if (paused != healing_paused() && healer) healer->pause(paused);
    paused_until_ = paused ? std::optional(order->ends) : std::nullopt;
}

std::optional<mesh::PeerMemory> NodeServices::recorded_life(CoreletId id) const {
    const KeyValue* const item = catalog->local().find(identity_key(id));
    pb::IdentityRecord record;
    if (!item || !record.ParseFromString(item->value)) return std::nullopt;
    return mesh::PeerMemory{Incarnation(record.incarnation()), record.nonce(), record.durable_sequence(),
                            record.began_sequence()};
}

// What the catalog has recorded of the others' lives wins over what gossip says.
void NodeServices::look_at_records() {
    auto const map = maps->current();
    for (const mesh::Corelet& corelet : map->corelets) {
        auto const life = recorded_life(corelet.id);
        auto const known = gossip->membership().memory(corelet.id);
        if (life && (!known || life->newer_than(*known) || life->other_body_of(*known)))
            gossip->recorded(corelet.id, *life);
    }
}

// While another body of this identity shows itself, this one does not vote. Which of the two is the one, the
// catalog's record says; the other falls silent, and some time later this one votes again (protocols 1.2, 1.3).
void NodeServices::look_at_bodies() {
    if (!other_body_seen_ || store->has_forgotten() || env.clock.now() - *other_body_seen_ < k_body_gone_after)
        return;
    other_body_seen_.reset();
    if (raft) raft->core().lift(raft::Bar::kTwoBodies);
    log_info(env.log, "node.other_body_gone", "no other body of this identity has shown itself for a while");
}

void NodeServices::map_changed() {
    std::set<CoreletId> out;
    for (const mesh::Corelet& corelet : maps->current()->corelets)
        if (corelet.presence == mesh::Presence::kOut) out.insert(corelet.id);
    for (CoreletId id : out)
        if (!out_.contains(id) && id != store->identity()) rpc->disconnect(id, "it was put out");
    out_ = std::move(out);
    proof.map_changed(*maps->current());
    gossip->map_changed();
    health->map_changed();
    if (healer) healer->wake();
    if (volumes) volumes->wake();
}

Task<void> NodeServices::watch_device() {
    co_await store->failed().wait();
    own_trouble = "the device has failed: " + store->failure();
    log_warning(env.log, "node.device_failed", own_trouble);
    // Its process lives and renews the session: nobody else may take its streams until it gives them up
    // (protocols 3.4).
    if (raft) raft->step_down();
    if (volumes) co_await volumes->retire();
    // Recovery waits for a second fence while the session of a replica lives, and this one fences no more.
    co_await session->first_session().wait();
    co_await session->end();
    while (
        !co_await maps->change(mesh::DutyChanged{store->identity(), mesh::Duty::kFailing}, env.clock.now() + 5_s))
        co_await env.clock.sleep(1_s);
}

// --- answering
// ------------------------------------------------------------------------------------------------------------

Task<Result<Reply>> NodeServices::on_introduce(Request /*request*/) {
    pb::IntroduceReply reply;
    reply.set_mesh(config.mesh.v);
    reply.set_catalog_available(catalog->is_available());
    if (!maps->current()->epoch.is_zero()) reply.set_map(maps->introduction());
    for (CoreletId voter : catalog->voters()) reply.add_voters(voter.v);
    reply.set_catalog(config.catalog);
    co_return Reply{encode_message(reply), {}};
}

Task<Result<Reply>> NodeServices::on_admin(Request request) {
    CO_TRY(auto message, decode_message<pb::AdminRequest>(request.body));
    CO_TRY_VOID(admit_command(config, request, message));
    CO_TRY(std::string result, co_await run_command(*this, message.command(), message.arguments()));
    co_return admin_reply(std::move(result));
}

// --- what is to become of chunks
// --------------------------------------------------------------------------------------------

Task<Result<Reply>> NodeServices::on_fates(Request request) {
    CO_TRY(auto message, decode_message<pb::AskFates>(request.body));
    if (!volumes) co_return fail(Code::kNotOwner, "this corelet serves no volumes");
    CO_TRY(auto const verdict,
           volumes->fates(SpaceId(message.space()), {message.seqs().begin(), message.seqs().end()}));
    pb::Fates reply;
    reply.set_epoch(verdict.epoch.v);
    reply.mutable_dead()->Add(verdict.fates.dead.begin(), verdict.fates.dead.end());
    reply.mutable_pending()->Add(verdict.fates.pending.begin(), verdict.fates.pending.end());
    co_return Reply{encode_message(reply), {}};
}

Task<Result<ChunkFates>> NodeServices::fates(SpaceId space, std::vector<u64> seqs) {
    auto const streams = catalog->local_range(stream_key(space));
    pb::Stream stream;
    if (streams.items.empty() || !stream.ParseFromString(streams.items.front().value) || stream.owner() == 0)
        co_return fail(Code::kUnavailable, "nobody owns the space now");
    CoreletId const owner(stream.owner());
    pb::AskFates message;
    message.set_space(space.v);
    message.mutable_seqs()->Add(seqs.begin(), seqs.end());
    CallOptions options;
    options.deadline = env.clock.now() + 5_s;
    options.traffic = TrafficClass::kHeal;
    CO_TRY(Reply reply, co_await rpc->call(owner, heal_method::k_fates, encode_message(message), {}, options));
    CO_TRY(auto answer, decode_message<pb::Fates>(reply.body));
    ChunkFates out{{answer.dead().begin(), answer.dead().end()},
                   {answer.pending().begin(), answer.pending().end()}};
    // Death is believed of an owner alone; what is pending harms nobody.
    if (!out.dead.empty())
        if (auto const proven = co_await may_delete(space, Epoch(answer.epoch()), owner, PoolId(stream.pool()));
            !proven)
            out.dead.clear();
    co_return out;
}

void NodeServices::audit_failed(CoreletId holder, FragmentId fragment, std::string why) {
    audit_record.failed(holder, to_string(fragment.chunk) + "." + std::to_string(fragment.position) + ": " + why,
                        env.clock.now());
}

// A recovered catalog may be older than what the mesh did: until somebody agrees to it, nothing is dead by its
// word.
Task<Result<void>> NodeServices::may_delete_anything() {
    Error const held_back{Code::kUnavailable, true, 0,
                          "the catalog was recovered, and nobody has agreed to it yet"};
    if (catalog->local().find(k_recovery_key)) co_return std::unexpected(held_back);
    CO_TRY(auto const recovery, co_await catalog->get(k_recovery_key, env.clock.now() + 3_s));
    if (recovery) co_return std::unexpected(held_back);
    co_return {};
}

// A linearizable read once an epoch; after that only what is known here of a newer one.
Task<Result<void>> NodeServices::may_delete(SpaceId space, Epoch epoch, CoreletId asker, PoolId pool) {
    auto const judge = [&](const pb::Stream& stream) -> Result<void> {
        if (Epoch(stream.epoch()) > epoch)
            return fail(Code::kFenced, "the space has another owner by now", stream.epoch());
        bool const owner =
            Epoch(stream.epoch()) == epoch && CoreletId(stream.owner()) == asker && PoolId(stream.pool()) == pool;
        if (!owner) return fail(Code::kDenied, to_string(asker) + " does not own space " + std::to_string(space.v));
        return {};
    };
    ProvenOwner const wanted{epoch, asker, pool};
    pb::Stream stream;
    auto const local = catalog->local_range(stream_key(space));
    bool const heard =
        !local.items.empty() && stream.ParseFromString(local.items.front().value) && Epoch(stream.epoch()) >= epoch;
    if (heard) CO_TRY_VOID(judge(stream));
    if (catalog->local().find(k_recovery_key)) co_return co_await may_delete_anything();
    if (auto const known = proven_owners_.find(space); known != proven_owners_.end() && known->second == wanted)
        co_return {};
    CO_TRY_VOID(co_await may_delete_anything());
    CO_TRY(auto const item, co_await catalog->get(stream_key(space), env.clock.now() + 3_s));
    if (!item || !stream.ParseFromString(item->value))
        co_return fail(Code::kNotFound, "the catalog has no such space");
    CO_TRY_VOID(judge(stream));
    if (proven_owners_.size() >= 4096) proven_owners_.clear();
    proven_owners_[space] = wanted;
    co_return {};
}

Task<Result<void>> NodeServices::report_clean(PoolId pool, MapEpoch table_epoch, u64 table_hash) {
    return maps->change(mesh::SlotsClean{pool, store->identity(), table_epoch, table_hash}, env.clock.now() + 5_s);
}

Task<Result<bool>> NodeServices::is_space_deleted(SpaceId space) {
    CO_TRY_VOID(co_await may_delete_anything());
    CO_TRY(auto found, co_await catalog->get(deleted_space_key(space), env.clock.now() + 3_s));
    co_return found.has_value();
}

Task<Result<std::set<u64>>> NodeServices::listed_segments(SpaceId space) {
    std::set<u64> listed;
    CO_TRY(auto const found, co_await catalog->get(stream_key(space), env.clock.now() + 3_s));
    if (!found) co_return listed;
    pb::Stream stream;
    if (!stream.ParseFromString(found->value))
        co_return fail(Code::kCorrupt, "the record of space " + std::to_string(space.v) + " does not parse");
    for (const pb::Segment& segment : stream.segments()) listed.insert(segment.seq());
    co_return listed;
}

}  // namespace corelet
