#include "node/volume_host.h"

#include "base/fault_point.h"
#include "catalog/state.h"
#include "node/candidates.h"
#include "node/volume_serving.h"
#include "volume/chunk_io.h"

namespace corelet {

namespace {
constexpr Duration k_candidate_step = 300_ms;
constexpr Duration k_look_every = 300_ms;
constexpr Duration k_look_least = 20_ms;
constexpr Duration k_returned_owner_first = 5_s;
constexpr Duration k_caretaker_after = 60_s;
constexpr Duration k_horizon_every = 10_s;
constexpr Duration k_secure_after = 10_s;
constexpr usize k_recoveries_max = 4;  // of one corelet at once: more volumes go to whoever comes next
constexpr u64 k_adopted_target_max = 32 * k_mib;
}  // namespace

std::string volume_key(std::string_view name) {
    return "volumes/" + std::string(name);
}
std::string deleted_space_key(SpaceId space) {
    return "deleted/" + hex64(space.v);
}

VolumeHost::VolumeHost(Env& env, const NodeConfig& config, Catalog& catalog, ReplicaPort& replicas,
                       MapLogPlacement& placement, MapService& maps, MeshChunks& chunks, SessionKeeper& session,
                       CoreletId self)
    : env_(env),
      config_(config),
      catalog_(catalog),
      replicas_(replicas),
      placement_(placement),
      maps_(maps),
      chunks_(chunks),
      session_(session),
      self_(self),
      nbd_(env),
      scope_(env.executor) {
    scope_.spawn(run());
    for (const char* prefix : {"volumes/", "streams/", "sessions/"}) scope_.spawn(follow(prefix));
}

VolumeHost::~VolumeHost() = default;

std::map<std::string, VolumeHost::Owned> VolumeHost::owned() const {
    std::map<std::string, Owned> out;
    for (auto const& [name, serving] : serving_) {
        Owned owned{serving->mounted->stream->status(), serving->mounted->volume->stats(), serving->uri,
                    serving->export_error, 0};
        if (auto const stats = nbd_.export_stats(name)) owned.connections = stats->connections;
        out.emplace(name, std::move(owned));
    }
    return out;
}

const VolumeHost::Serving* VolumeHost::serving_of(const std::string& name) const {
    auto const found = serving_.find(name);
    return found != serving_.end() ? found->second.get() : nullptr;
}

const VolumeHost::Serving* VolumeHost::served(const std::string& name) const {
    const Serving* const serving = serving_of(name);
    return serving && serving->is_served && !serving->releasing ? serving : nullptr;
}

std::optional<StreamStatus> VolumeHost::stream_of(const std::string& name) const {
    const Serving* const serving = serving_of(name);
    if (!serving) return std::nullopt;
    return serving->mounted->stream->status();
}

std::shared_ptr<BlockDevice> VolumeHost::device(const std::string& name) const {
    const Serving* const serving = served(name);
    if (!serving) return nullptr;
    return {serving->mounted, serving->mounted->timed.get()};
}

std::shared_ptr<Volume> VolumeHost::volume(const std::string& name) const {
    const Serving* const serving = served(name);
    if (!serving) return nullptr;
    return {serving->mounted, serving->mounted->volume.get()};
}

std::vector<ChunkId> VolumeHost::live_chunks(const std::string& name) const {
    std::vector<ChunkId> out;
    const Serving* const serving = serving_of(name);
    if (!serving) return out;
    const VolumeCore& core = serving->mounted->volume->core();
    for (u64 seq : core.state.containers.live_chunks()) out.push_back(ChunkId{core.options.space, seq});
    return out;
}

std::optional<bool> VolumeHost::knows(const std::string& name, ChunkId chunk) const {
    // While it goes to another owner it still knows.
    const Serving* const serving = serving_of(name);
    if (!serving || !serving->is_served) return std::nullopt;
    const VolumeCore& core = serving->mounted->volume->core();
    if (core.options.space != chunk.space) return std::nullopt;
    return core.standing(chunk.seq) != Standing::kNone || serving->mounted->stream->lists(chunk.seq);
}

std::optional<bool> VolumeHost::has_condemned(ChunkId chunk) const {
    for (auto const& [name, serving] : serving_) {
        if (serving->mounted->volume->core().options.space != chunk.space) continue;
        const Container* const container = serving->mounted->volume->core().state.containers.find(chunk.seq);
        return container ? std::optional(container->condemned) : std::nullopt;
    }
    return std::nullopt;
}

Task<void> VolumeHost::retire() {
    retired_ = true;
    co_await release_all(env_.clock.now() + 2_s);
}

usize VolumeHost::taking() const {
    return static_cast<usize>(std::count_if(candidacies_.begin(), candidacies_.end(),
                                            [](const auto& item) { return item.second.taking; }));
}

void VolumeHost::corelet_lost(CoreletId corelet) {
    for (auto const& [name, serving] : serving_) serving->mounted->stream->corelet_lost(corelet);
    wake();
}

// The fullest member decides: a slot that meets it cannot be written.
u32 VolumeHost::free_permille(PoolId /*pool*/) const {
    u32 least = 1000;
    auto const map = maps_.current();
    for (auto const& [corelet, space] : peer_space_)
        if (map->is_up(corelet) && space.second != 0)
            least = std::min(least, static_cast<u32>(space.first * 1000 / space.second));
    return least;
}

bool VolumeHost::may_write(PoolId pool) const {
    return free_permille(pool) > 0;
}

bool VolumeHost::has_session(CoreletId corelet) const {
    return !corelet.is_zero() && catalog_.local().find(session_key(corelet)) != nullptr;
}

// What the catalog says of volumes, streams and sessions is looked at as soon as it changes.
Task<void> VolumeHost::follow(std::string prefix) {
    for (;;) {
        auto const watch = catalog_.watch(prefix, {});
        while (co_await watch->next()) {
            wake();
            co_await env_.clock.sleep(k_look_least);
        }
        co_await env_.clock.sleep(k_look_least);
    }
}

Task<void> VolumeHost::run() {
    for (;;) {
        co_await wanted_.wait_until(env_.clock, env_.clock.now() + k_look_every);
        if (stopping_) co_return;
        std::vector<std::string> ended;
        for (auto const& [name, serving] : serving_) {
            if (serving->releasing) continue;
            if (serving->mounted->stream->stopped().is_set()) {
                ended.push_back(name);
                // What was given up here as hopeless is another one's first, whomever the volume is attached to.
                if (serving->mounted->stream->stop_reason().code == Code::kShutdown)
                    candidacies_[name] = Candidacy{0, {}, false, k_failures_of_hopeless, env_.clock.now()};
            } else if (serving->mounted->volume->stopped().is_set()) {
                // What ended the volume may be this corelet's own trouble: its log goes to the next candidate.
                scope_.spawn(release(name, false, env_.clock.now() + 2_s));
            } else if (serving->address && !serving->mounted->stream->may_serve() &&
                       !nbd_.has_address(*serving->address)) {
                // Cut off, and another corelet of this host serves at its path: clients need not wait here to hear
                // it.
                log_info(env_.log, "volume.path_lost", name);
                scope_.spawn(release(name, false, env_.clock.now() + 2_s));
            }
        }
        for (const std::string& name : ended) drop(name);
        std::set<std::string> seen;
        const CatalogState& local = catalog_.local();
        for (auto const& [key, item] : local.items("volumes/")) {
            const pb::Volume* const volume = volumes_.parse(item);
            const KeyValue* const record = volume ? local.find(stream_key(SpaceId(volume->space()))) : nullptr;
            const pb::Stream* const stream = record ? streams_.parse(*record) : nullptr;
            if (!stream) continue;
            seen.insert(volume->name());
            look_at(*volume, *stream);
        }
        volumes_.forget_others();
        streams_.forget_others();
        for (auto const& [name, serving] : serving_)
            if (!seen.contains(name) && !serving->releasing && catalog_.is_available())
                scope_.spawn(release(name, true, env_.clock.now() + 2_s));
    }
}

// This corelet is to leave the mesh: whom a volume is attached to then is a wish that others stand in for.
bool VolumeHost::must_let_go() const {
    auto const map = maps_.current();
    const mesh::Corelet* const own = map->find(self_);
    return own && own->duty == mesh::Duty::kDrain &&
           another_may_own(*map, self_, [this](CoreletId id) { return has_session(id); });
}

void VolumeHost::look_at(const pb::Volume& volume, const pb::Stream& stream) {
    const std::string& name = volume.name();
    CoreletId const target(volume.attached_to());
    if (auto const found = serving_.find(name); found != serving_.end()) {
        Serving& serving = *found->second;
        if (serving.releasing) return;
        bool const detached = target.is_zero();
        // Whom it was to go to has not taken it in time: given away again it would be served by nobody.
        bool const in_vain = volume.attachment() == serving.taken_for;
        bool const moved = volume.move_wanted() && target != self_ && !in_vain;
        bool const readdressed = volume.move_wanted() && target == self_;
        if (detached || moved || must_let_go()) {
            scope_.spawn(release(name, detached, env_.clock.now() + 2_s));
        } else if (!serving.securing && serving.is_served && lacks_a_copy(stream)) {
            serving.securing = true;
            scope_.spawn(secure(name));
        } else if (serving.is_served) {
            leave_slow_devices(serving);
        }
        bool const unexported = !serving.address && env_.clock.now() >= serving.listen_again;
        if (serving.is_served && !detached && !moved && (readdressed || unexported)) open_export(serving, volume);
        return;
    }
    if (retired_ || session_.session().is_zero()) return;
    CoreletId const owner(stream.owner());
    const KeyValue* const session = owner.is_zero() ? nullptr : catalog_.local().find(session_key(owner));
    bool const ownerless = owner.is_zero() || owner == self_ || !session || !is_session_of(stream, *session);
    Candidacy& candidacy = candidacies_[name];
    if (!ownerless) {
        candidacy.epoch = 0;
        return;
    }
    u64 const about = stream.epoch() + 1;
    if (candidacy.epoch != about) {
        candidacy.epoch = about;
        candidacy.since = env_.clock.now();
    }
    if (candidacy.taking) return;
    Duration const waited = env_.clock.now() - candidacy.since;
    // It is back, and may take its stream again itself.
    if (session && owner != self_ && waited < k_returned_owner_first) return;
    bool caretaker = false;
    if (target.is_zero()) {
        // Nobody wants to serve it: end its segments, so that they can be healed.
        bool const open = std::any_of(stream.segments().begin(), stream.segments().end(),
                                      [](const pb::Segment& s) { return s.state() != pb::Segment::ENDED; });
        // What an ended segment with a lost copy holds is packed by an owner, who lets go of the stream again.
        if (!open && !lacks_a_copy(stream)) return;
        // An owner that was away may come back for it. This one has.
        bool const may_return = !owner.is_zero() && owner != self_;
        if (waited < (may_return ? k_caretaker_after : open ? k_candidate_step * 4 : k_secure_after)) return;
        caretaker = open;
    }
    auto const place = rank(volume, stream);
    if (!place || taking() >= k_recoveries_max) return;
    u32 const failures = candidacy.failures_lately(env_.clock.now());
    Duration const pause = failures != 0 ? backoff(failures) : Duration{};
    if (waited < std::max(pause, k_candidate_step * static_cast<i64>(*place))) return;
    candidacy.taking = true;
    scope_.spawn(take(name, volume, caretaker));
}

std::optional<usize> VolumeHost::rank(const pb::Volume& volume, const pb::Stream& stream) const {
    CandidateView view{*maps_.current(), CoreletId(volume.attached_to()), {}, volume.space(), [this](CoreletId id) {
                           return has_session(id);
                       }};
    view.slow = placement_.avoided();
    for (const pb::Segment& segment : stream.segments())
        for (u64 replica : segment.replicas()) view.holders.insert(CoreletId(replica));
    view.named = stream.owner() == self_.v;
    return candidate_rank(view, self_);
}

Task<void> VolumeHost::take(std::string name, pb::Volume volume, bool caretaker) {
    auto const taken = co_await take_now(name, volume, caretaker);
    Candidacy& candidacy = candidacies_[name];
    candidacy.taking = false;
    candidacy.since = env_.clock.now();
    candidacy.failures = taken ? 0 : candidacy.failures_lately(env_.clock.now()) + 1;
    if (!taken) candidacy.failed_at = env_.clock.now();
    if (!taken) log_info(env_.log, "volume.not_taken", [&] { return name + ": " + taken.error().to_string(); });
}

Task<Result<void>> VolumeHost::take_now(std::string name, pb::Volume record, bool caretaker) {
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(PoolId(record.pool()));
    if (!pool) co_return fail(Code::kUnavailable, "its pool is not in the map here");
    VolumeOptions options;
    options.space = SpaceId(record.space());
    options.pool = PoolId(record.pool());
    options.size_bytes = record.size_bytes();
    options.data_fragments = pool->spec.redundancy.k;
    options.chunk_bytes = pool->spec.chunk_bytes;
    options.map_cache_bytes = config_.page_cache_bytes;
    options.block_cache_bytes = config_.cache_bytes;
    options.direct_bytes_min = config_.direct_write_bytes;
    options.direct_chunk_bytes_min = config_.direct_chunk_bytes;
    auto mounted = std::make_shared<Serving::Mounted>();
    VolumeDeps volume_deps{env_.executor, env_.clock, env_.log, chunks_, mounted.get(), this};
    mounted->volume = std::make_unique<Volume>(volume_deps, options);
    mounted->timed = std::make_unique<TimedDevice>(*mounted->volume, env_.clock, client_times_);
    if (FAULT_POINT("stream.owner_elsewhere"))
        mounted->placement = std::make_unique<ElsewherePlacement>(placement_, self_);
    const LogPlacement& placement = mounted->placement ? *mounted->placement : placement_;
    StreamDeps stream_deps{env_, catalog_, replicas_, placement, self_, session_.session()};
    TakeOptions take_options;
    take_options.stream.owner.times = config_.stream_times;
    take_options.stream.bytes_in_flight_max = config_.stream_bytes_max;
    // An adopted segment is a chunk: with its last record it stays within a chunk's bound.
    u64 const target_max =
        pool->spec.redundancy.is_replicated() ? k_adopted_target_max : config_.segment_target_bytes;
    take_options.stream.owner.segment_target_bytes = std::min(config_.segment_target_bytes, target_max);
    take_options.caretaker = caretaker;
    Volume* const volume = mounted->volume.get();
    Instant const began = env_.clock.now();
    CO_TRY(mounted->stream, co_await take_stream(stream_deps, options.space, take_options, *volume,
                                                 [volume](std::string root, RecordNumber position) {
                                                     return volume->restore(std::move(root), position);
                                                 }));
    if (caretaker) co_return {};
    auto& slot = serving_[name];
    slot = std::make_unique<Serving>(std::move(mounted));
    slot->name = name;
    slot->taken_for = record.attachment();
    Serving* const serving = slot.get();
    // While it is replayed the stream may be lost, and dropped here: the replay needs both to its end.
    auto const held = serving->mounted;
    auto const served = co_await volume->serve(*held->stream);
    if (auto const found = serving_.find(name); found == serving_.end() || found->second.get() != serving)
        co_return fail(Code::kFenced, "the stream was lost while it was replayed");
    if (served && record.attached_to() == 0) co_return {};  // only to make it safe: let go of at the next look
    auto const added = served ? add_export(*serving) : served;
    if (!added) {
        // It may be this corelet's own trouble: the next candidate tries.
        serving->releasing = true;
        (void)co_await held->stream->hand_over(false);
        serving_.erase(name);
        co_return std::unexpected(added.error());
    }
    open_export(*serving, record);
    log_info(env_.log, "volume.taken", [&] {
        return name + " at epoch " + std::to_string(held->stream->epoch().v) + " in " +
               std::to_string((env_.clock.now() - began).ms()) + " ms, " +
               (serving->uri.empty() ? serving->export_error : serving->uri);
    });
    co_return {};
}

// Ended segments are never copied: packed, what they hold is as redundant as the pool promises, and a checkpoint
// releases them. A replica that is only down comes back; one that is out does not, nor one that is to leave.
bool VolumeHost::lacks_a_copy(const pb::Stream& stream) const {
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(PoolId(stream.pool()));
    if (!pool) return false;
    mesh::Redundancy const redundancy = pool->spec.redundancy;
    // A narrow segment is what there was room for when it was listed; when there is room again it is a copy short.
    bool const room = placement_.choose(pool->id, redundancy.width(), {}, 0).size() == redundancy.width();
    for (const pb::Segment& segment : stream.segments()) {
        if (segment.state() != pb::Segment::ENDED) continue;
        if (room && segment.replicas_size() < redundancy.m + 1) return true;
        for (u64 id : segment.replicas()) {
            const mesh::Corelet* const replica = map->find(CoreletId(id));
            if (!replica || replica->presence == mesh::Presence::kOut || replica->duty == mesh::Duty::kDrain)
                return true;
        }
    }
    return false;
}

Task<void> VolumeHost::secure(std::string name) {
    auto const found = serving_.find(name);
    if (found == serving_.end()) co_return;
    auto const mounted = found->second->mounted;
    (void)co_await mounted->volume->checkpoint();
    co_await env_.clock.sleep(1_s);
    if (auto const again = serving_.find(name); again != serving_.end() && again->second->mounted == mounted)
        again->second->securing = false;
}

// The owner is fenced, gave up, or lost its volume: its clients are closed, they find the next owner at the same
// path.
void VolumeHost::drop(const std::string& name) {
    auto const found = serving_.find(name);
    if (found == serving_.end()) return;
    log_info(env_.log, "volume.dropped", name);
    nbd_.close_export(name);
    if (found->second->address) nbd_.stop_listening(*found->second->address);
    serving_.erase(found);
    Candidacy& candidacy = candidacies_[name];
    candidacy.epoch = 0;
    candidacy.since = env_.clock.now();
}

Task<void> VolumeHost::release(std::string name, bool end_segments, Instant deadline) {
    auto const found = serving_.find(name);
    if (found == serving_.end() || found->second->releasing) co_return;
    found->second->releasing = true;
    auto const mounted = found->second->mounted;
    if (found->second->address) nbd_.stop_listening(*found->second->address);
    co_await nbd_.drain_export(name, std::min(deadline, env_.clock.now() + 500_ms));
    if (end_segments) (void)co_await mounted->volume->detach();
    auto const handed = co_await mounted->stream->hand_over(end_segments);
    if (!handed)
        log_info(env_.log, "volume.not_handed_over", [&] { return name + ": " + handed.error().to_string(); });
    drop(name);
}

// The horizon is the mark (protocols 8.2, 8.4): it is committed, only an owner at the then current epoch moved it,
// and no record after that checkpoint refers to a number below it that the checkpoint does not. So death, once
// said, stays true under every later owner. A segment of the log is numbered like a chunk, maybe below the horizon,
// and gets its references later: what the stream's record lists is not dead.
Result<VolumeHost::Verdict> VolumeHost::fates(SpaceId space, std::vector<u64> seqs) {
    for (auto const& [name, serving] : serving_) {
        // Until it is replayed, a volume does not know what it refers to.
        bool const replayed = !serving->uri.empty() && !serving->releasing;
        if (!replayed || serving->mounted->volume->core().options.space != space) continue;
        const VolumeCore& core = serving->mounted->volume->core();
        const StreamOwner& stream = *serving->mounted->stream;
        if (!stream.may_serve()) break;
        Verdict verdict{stream.epoch(), {}};
        std::vector<u64> dead;
        bool doubtful = false;
        for (u64 seq : seqs) {
            Standing const standing = core.standing(seq);
            bool const in_log = standing == Standing::kNone && stream.lists(seq);
            // Who puts it goes on with it.
            bool const tail = chunks_.has_tail(ChunkId{space, seq});
            if (standing == Standing::kPending || in_log || (tail && standing != Standing::kNone)) {
                verdict.fates.pending.insert(seq);
            } else if (standing == Standing::kNone) {
                bool const proven = seq < stream.committed_horizon();
                doubtful = doubtful || !proven;
                if (!proven) continue;
                verdict.fates.dead.insert(seq);
                dead.push_back(seq);
            }
        }
        // Above the horizon nothing is proven; a checkpoint moves it, and a volume that is busy may do without one
        // for long.
        if (doubtful && env_.clock.now() - serving->horizon_asked_at >= k_horizon_every) {
            serving->horizon_asked_at = env_.clock.now();
            scope_.spawn(move_horizon(name));
        }
        if (!dead.empty() && !burying_) {
            burying_ = true;
            scope_.spawn(bury(name, std::move(dead)));
        }
        return verdict;
    }
    return fail(Code::kNotOwner, "space " + std::to_string(space.v) + " is not served here");
}

Task<void> VolumeHost::move_horizon(std::string name) {
    auto const found = serving_.find(name);
    if (found == serving_.end()) co_return;
    auto const mounted = found->second->mounted;
    auto const moved = co_await mounted->volume->checkpoint();
    if (!moved) log_info(env_.log, "volume.horizon_not_moved", moved.error().to_string());
}

Task<void> VolumeHost::bury(std::string name, std::vector<u64> dead) {
    if (auto const found = serving_.find(name); found != serving_.end()) {
        auto const mounted = found->second->mounted;
        auto const buried = co_await mounted->volume->bury(std::move(dead), mounted->stream->committed_horizon());
        if (!buried) log_info(env_.log, "volume.not_buried", buried.error().to_string());
    }
    burying_ = false;
}

Task<void> VolumeHost::hand_over_all(Instant deadline) {
    stopping_ = true;
    co_await release_all(deadline);
}

Task<void> VolumeHost::release_all(Instant deadline) {
    Scope releases(env_.executor);
    std::vector<std::string> names;
    for (auto const& [name, serving] : serving_) names.push_back(name);
    for (const std::string& name : names) releases.spawn(release(name, false, deadline));
    co_await releases.join();
}

}  // namespace corelet
