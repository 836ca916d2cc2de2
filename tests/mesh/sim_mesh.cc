#include "tests/mesh/sim_mesh.h"

#include "catalog/state.h"
#include "mesh/voters.h"
#include "stream/stream_record.h"

namespace corelet {

// Lives in the main task's frame: when the corelet is dropped, nobody finds it any more.
struct SimMesh::Presence {
    Member& member;
    Scope users;
    Presence(Member& its, Executor& executor) : member(its), users(executor) { member.users = &users; }
    Presence(const Presence&) = delete;
    Presence& operator=(const Presence&) = delete;
    ~Presence() {
        member.node = nullptr;
        member.users = nullptr;
    }
};

SimMesh::SimMesh(sim::World& world, SimMeshOptions options)
    : world_(world), options_(options), random_(world.fork("sim mesh")) {
    mesh_id_ = MeshId(random_.next() | 1);
    add_machines();
    for (Member& member : members_) member.id = CoreletId(random_.next() | 1);
}

SimMesh::SimMesh(sim::World& world, const SimMesh& original, const std::set<usize>& without)
    : world_(world),
      options_(original.options_),
      mesh_id_(original.mesh_id_),
      random_(world.fork("sim mesh copy")) {
    add_machines();
    for (usize i = 0; i < size(); ++i) {
        const Member& its = original.members_[i];
        Member& member = members_[i];
        member.id = its.id;
        member.generation = its.generation;
        member.is_formatting = its.is_formatting;
        member.is_absent = its.is_absent;
        member.role = its.role;
        if (its.is_absent || without.contains(i)) continue;
        if (sim::MediaFile* const device = its.machine->media().find(its.device))
            member.machine->media().add_device(member.device, device->size_bytes()).roll_back(device->snapshot());
        start(i);
    }
}

void SimMesh::add_machines() {
    for (usize i = 0; i < options_.corelets + options_.witnesses + options_.spare_machines; ++i) {
        Member member;
        member.machine = &world_.add_node("c" + std::to_string(i + 1));
        member.device = "/device";
        bool const is_witness = i >= options_.corelets && i < options_.corelets + options_.witnesses;
        if (is_witness) member.role = mesh::Role::kWitness;
        member.is_absent = i < options_.corelets && i >= options_.corelets - options_.late;
        members_.push_back(std::move(member));
    }
}

SimMesh::~SimMesh() {
    for (Member& member : members_) member.machine->crash();
}

NodeConfig SimMesh::config_of(usize index) const {
    NodeConfig config;
    config.mesh = mesh_id_;
    config.device_path = members_[index].device;
    config.location =
        mesh::Location{"z" + std::to_string(index % options_.zones + 1), "r1", "c" + std::to_string(index + 1)};
    config.role = members_[index].role;
    config.listen = {Address::tcp("c" + std::to_string(index + 1), 7000)};
    if (options_.two_addresses) config.listen.push_back(Address::tcp("c" + std::to_string(index + 1), 7001));
    // Also the first one, which asks them when its device is lost or has forgotten: `serve` keeps what the map
    // says.
    usize named = 0;
    for (usize seed = 0; seed < members_.size() && named < 3; ++seed) {
        if (members_[seed].is_absent) continue;
        ++named;
        if (seed != index) config.seeds.push_back(Address::tcp("c" + std::to_string(seed + 1), 7000));
    }
    config.export_directory = "/exports";
    config.bootstrap = index == 0 && members_[0].generation == 0;
    config.insecure = true;
    config.admin_key = options_.admin_key;
    if (members_[index].is_of_later_build) config.wire_version = k_wire_version + 1;
    config.out_after = options_.out_after;
    config.segment_target_bytes = options_.segment_target_bytes;
    config.stream_times.lease = options_.lease;
    config.stream_bytes_max = options_.stream_bytes_max;
    config.heal_round = options_.heal_round;
    config.audit_every = options_.audit_every;
    config.cache_bytes = options_.cache_bytes;
    config.page_cache_bytes = options_.page_cache_bytes;
    // What a client writes at once is small here: some of it goes straight to chunks all the same.
    config.direct_write_bytes = 8 * k_kib;
    config.direct_chunk_bytes = 8 * k_kib;
    return config;
}

// As `corelet init` does.
Task<void> SimMesh::format(Env& env, SimMesh* mesh, usize index) {
    Member& member = mesh->members_[index];
    member.is_formatting = true;
    OpenOptions open;
    open.create = true;
    open.size_bytes = index < mesh->options_.corelets ? mesh->options_.device_bytes
                      : index >= mesh->size()         ? mesh->options_.spare_device_bytes
                                                      : 32 * k_mib;
    auto file = co_await env.disk.open(member.device, open);
    // A crash in the middle of formatting leaves a device that is formatted again, when the kernel lets go of it.
    while (!file && (file.error().code == Code::kExists || file.error().code == Code::kConflict)) {
        co_await env.clock.sleep(1_ms);
        file = co_await env.disk.open(member.device, {});
    }
    CORELET_ASSERT(file.has_value());
    FormatOptions format;
    format.mesh = mesh->mesh_id_;
    format.identity = member.id;
    format.witness = index >= mesh->options_.corelets && index < mesh->size();
    format.force = true;
    auto const formatted = co_await format_device(file->get(), StoreEnv::of(env), format);
    CORELET_ASSERT(formatted.has_value());
    member.is_formatting = false;
}

// A device that goes meanwhile, or holds something after all, is left as it is.
Task<void> SimMesh::format_fresh(Env& env, SimMesh* mesh, usize index, CoreletId identity,
                                 std::shared_ptr<std::optional<bool>> out) {
    FormatOptions format;
    format.mesh = mesh->mesh_id_;
    format.identity = identity;
    auto const file = co_await env.disk.open(mesh->members_[index].device, {});
    bool made = false;
    if (file) {
        auto const formatted = co_await format_device(file->get(), StoreEnv::of(env), format);
        made = formatted.has_value();
    }
    out->emplace(made);
}

void SimMesh::format_inserted(usize index, std::shared_ptr<std::optional<bool>> out) {
    CoreletId const identity(random_.next() | 1);
    members_[index].machine->start(
        [this, index, identity, out](Env& env) { return format_fresh(env, this, index, identity, out); });
}

Task<void> SimMesh::life(Env& env, SimMesh* mesh, usize index) {
    Member& member = mesh->members_[index];
    auto const exists = co_await env.disk.exists(member.device);
    if (!exists || !*exists || member.is_formatting) co_await format(env, mesh, index);
    if (mesh->options_.mixed && !member.is_of_later_build && env.random.chance(1, 3)) {
        member.is_of_later_build = true;
        mesh->world_.stats().count("upgraded");
    }
    auto node = co_await CoreletNode::start(env, mesh->config_of(index));
    if (!node) {
        // A fault that waited in the device may meet the mount: whoever spoilt it sees to it. All else is
        // unexpected.
        if (node.error().code == Code::kIo)
            log_info(env.log, "sim.device_failed", node.error().to_string());
        else
            log_error(env.log, "sim.corelet_not_started", node.error().to_string());
        co_return;
    }
    member.node = node->get();
    // A device that has forgotten promises goes on as somebody else, who began no mesh.
    if (member.id != member.node->id()) ++member.generation;
    member.id = member.node->id();
    Presence const presence(member, env.executor);
    Event never;
    co_await never.wait();
}

void SimMesh::spawn(usize index, Task<void> task) {
    CORELET_ASSERT(members_[index].users);
    members_[index].users->spawn(std::move(task));
}

void SimMesh::start(usize index) {
    members_[index].machine->start([this, index](Env& env) { return life(env, this, index); });
}

void SimMesh::start_empty(usize index) {
    Member& member = members_[index];
    CORELET_ASSERT(!member.machine->is_up());
    member.machine->media().erase(member.device);
    ++member.generation;
    ++member.devices;
    member.id = CoreletId(random_.next() | 1);
    start(index);
}

void SimMesh::join(usize index, mesh::Role role) {
    CORELET_ASSERT(members_[index].is_absent);
    members_[index].is_absent = false;
    members_[index].role = role;
    start_empty(index);
}

void SimMesh::take_away(usize index) {
    Member& member = members_[index];
    CORELET_ASSERT(!member.is_absent);
    member.machine->crash();
    member.machine->set_turn_delay({});
    member.machine->media().erase(member.device);
    member.is_absent = true;
}

void SimMesh::put_copy(usize index, usize of) {
    sim::MediaFile* const original = members_[of].machine->media().find(members_[of].device);
    CORELET_ASSERT(original && !members_[index].machine->is_up());
    members_[index].id = members_[of].id;
    members_[index]
        .machine->media()
        .add_device(members_[index].device, original->size_bytes())
        .roll_back(original->snapshot());
}

void SimMesh::start_copy(usize index, usize of) {
    put_copy(index, of);
    start(index);
}

void SimMesh::drop_copy(usize index) {
    members_[index].machine->crash();
    members_[index].machine->media().erase(members_[index].device);
}

std::optional<usize> SimMesh::index_of(CoreletId id) const {
    for (usize i = 0; i < size(); ++i)
        if (members_[i].id == id) return i;
    return std::nullopt;
}

bool SimMesh::up(Duration bound) {
    usize present = 0;
    for (usize i = 0; i < size(); ++i) {
        if (members_[i].is_absent) continue;
        ++present;
        start(i);
    }
    return world_.run_until(
        [&] {
            for (usize i = 0; i < size(); ++i) {
                const Member& member = members_[i];
                if (member.is_absent) continue;
                if (!member.node) return false;
                auto const map = member.node->services().maps->current();
                if (map->corelets.size() != present) return false;
                for (const mesh::Corelet& corelet : map->corelets)
                    if (!corelet.is_up()) return false;
                if (member.node->services().catalog->voters().size() < mesh::voters_wanted(*map)) return false;
            }
            return true;
        },
        bound);
}

Task<void> SimMesh::run_command(CoreletNode* node, std::string name, std::string arguments,
                                std::shared_ptr<std::optional<Result<std::string>>> out) {
    out->emplace(co_await node->command(std::move(name), std::move(arguments)));
}

std::optional<std::string> SimMesh::command(std::string name, std::string arguments, std::string* error,
                                            Duration bound) {
    for (Member& member : members_) {
        if (!member.node) continue;
        auto out = std::make_shared<std::optional<Result<std::string>>>();
        member.users->spawn(run_command(member.node, name, arguments, out));
        world_.run_until([&] { return out->has_value(); }, bound);
        if (!out->has_value()) {
            if (error) *error = "no answer";
            return std::nullopt;
        }
        if (!**out) {
            if (error) *error = (*out)->error().to_string();
            return std::nullopt;
        }
        return **std::move(*out);
    }
    if (error) *error = "no corelet is up";
    return std::nullopt;
}

std::vector<usize> SimMesh::servers_of(const std::string& volume) {
    std::vector<usize> servers;
    for (usize i = 0; i < size(); ++i)  // whoever asks has none of what is known of a second body
        if (members_[i].node && members_[i].node->services().volumes &&
            members_[i].node->services().volumes->device(volume))
            servers.push_back(i);
    return servers;
}

std::optional<usize> SimMesh::running() const {
    for (usize i = 0; i < size(); ++i)
        if (members_[i].machine->is_running()) return i;
    return std::nullopt;
}

std::optional<std::pair<usize, StreamStatus>> SimMesh::sole_server_of(const std::string& volume) {
    auto const servers = servers_of(volume);
    auto stream = servers.size() == 1 ? stream_status(servers.front(), volume) : std::nullopt;
    return stream ? std::optional(std::pair{servers.front(), *std::move(stream)}) : std::nullopt;
}

std::optional<usize> SimMesh::server_of(const std::string& volume) {
    auto const servers = servers_of(volume);
    return servers.empty() ? std::nullopt : std::optional(servers.front());
}

std::shared_ptr<std::optional<Result<std::string>>> SimMesh::request(usize index, std::string name,
                                                                     std::string arguments) {
    CORELET_ASSERT(members_[index].node);
    auto out = std::make_shared<std::optional<Result<std::string>>>();
    spawn(index, run_command(members_[index].node, std::move(name), std::move(arguments), out));
    return out;
}

pb::Stream SimMesh::stream_record(const std::string& name) const {
    pb::Stream newest;
    Revision changed;
    for (const Member& member : members_) {
        if (!member.node) continue;
        const CatalogState& catalog = member.node->services().catalog->local();
        const KeyValue* const volume = catalog.find(volume_key(name));
        pb::Volume parsed;
        if (!volume || !parsed.ParseFromString(volume->value)) continue;
        const KeyValue* const record = catalog.find(stream_key(SpaceId(parsed.space())));
        if (!record || record->mod_revision <= changed || !newest.ParseFromString(record->value)) continue;
        changed = record->mod_revision;
    }
    return newest;
}

std::optional<StreamStatus> SimMesh::stream_status(usize server, const std::string& volume) const {
    CoreletNode* const node = members_[server].node;
    return node && node->services().volumes ? node->services().volumes->stream_of(volume) : std::nullopt;
}

std::optional<usize> SimMesh::catalog_leader() const {
    std::optional<usize> best;
    auto const raft = [this](usize i) -> const RaftNode& { return *members_[i].node->services().raft; };
    for (usize i = 0; i < size(); ++i) {
        if (!members_[i].node || !raft(i).is_leader()) continue;
        if (!best || raft(i).term() > raft(*best).term()) best = i;
    }
    return best;
}

std::shared_ptr<BlockDevice> SimMesh::device(const std::string& volume) {
    auto const server = server_of(volume);
    return server ? members_[*server].node->services().volumes->device(volume) : nullptr;
}

Task<Result<BufferChain>> read_device(std::shared_ptr<BlockDevice> device, u64 offset, u32 length) {
    co_return co_await device->read(offset, length);
}

}  // namespace corelet
