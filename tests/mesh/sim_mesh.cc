#include "tests/mesh/sim_mesh.h"

#include "mesh/voters.h"

namespace corelet {

// Lives in the main task's frame: when the corelet is dropped, nobody finds it any more.
struct SimMesh::Presence {
    Member& member;
    ~Presence() { member.node = nullptr; }
};

SimMesh::SimMesh(sim::World& world, SimMeshOptions options)
    : world_(world), options_(options), random_(world.fork("sim mesh")) {
    mesh_id_ = MeshId(random_.next() | 1);
    for (usize i = 0; i < options_.corelets + options_.witnesses + options_.spare_machines; ++i) {
        Member member;
        member.machine = &world_.add_node("c" + std::to_string(i + 1));
        member.id = CoreletId(random_.next() | 1);
        member.device = "/device";
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
    config.role = index < options_.corelets || index >= size() ? mesh::Role::kStorage : mesh::Role::kWitness;
    config.listen = {Address::tcp("c" + std::to_string(index + 1), 7000)};
    // Also the first one, which asks them when its device is lost or has forgotten: `serve` keeps what the map
    // says.
    for (usize seed = 0; seed < std::min<usize>(3, members_.size()); ++seed)
        if (seed != index) config.seeds.push_back(Address::tcp("c" + std::to_string(seed + 1), 7000));
    config.export_directory = "/exports";
    config.bootstrap = index == 0 && members_[0].generation == 0;
    config.insecure = true;
    config.out_after = options_.out_after;
    config.segment_target_bytes = options_.segment_target_bytes;
    config.heal_round = options_.heal_round;
    config.cache_bytes = 4 * k_mib;
    config.page_cache_bytes = 8 * k_mib;
    // What a client writes at once is small here: some of it goes straight to chunks all the same.
    config.direct_write_bytes = 8 * k_kib;
    config.direct_chunk_bytes = 8 * k_kib;
    return config;
}

Task<void> SimMesh::life(Env& env, SimMesh* mesh, usize index) {
    Member& member = mesh->members_[index];
    auto const exists = co_await env.disk.exists(member.device);
    if (!exists || !*exists) {
        OpenOptions create;
        create.create = true;
        create.size_bytes = index < mesh->options_.corelets ? mesh->options_.device_bytes : 32 * k_mib;
        auto file = co_await env.disk.open(member.device, create);
        CORELET_ASSERT(file.has_value());
        FormatOptions format;
        format.mesh = mesh->mesh_id_;
        format.identity = member.id;
        format.witness = index >= mesh->options_.corelets;
        // A crash in the middle of formatting leaves a device that is formatted again.
        format.force = true;
        auto const formatted = co_await format_device(file->get(), StoreEnv::of(env), format);
        CORELET_ASSERT(formatted.has_value());
    }
    auto node = co_await CoreletNode::start(env, mesh->config_of(index));
    if (!node) {
        log_error(env.log, "sim.corelet_not_started", node.error().to_string());
        co_return;
    }
    member.id = (*node)->id();  // a device that has forgotten promises goes on as somebody else
    member.node = node->get();
    // Another one, if the device has forgotten promises: it began no mesh.
    if (member.id != member.node->id()) ++member.generation;
    member.id = member.node->id();
    Presence const presence{member};
    Event never;
    co_await never.wait();
}

void SimMesh::start(usize index) {
    members_[index].machine->start([this, index](Env& env) { return life(env, this, index); });
}

void SimMesh::start_empty(usize index) {
    Member& member = members_[index];
    CORELET_ASSERT(!member.machine->is_up());
    member.machine->media().erase(member.device);
    ++member.generation;
    member.id = CoreletId(random_.next() | 1);
    start(index);
}

void SimMesh::start_copy(usize index, usize of) {
    sim::MediaFile* const original = members_[of].machine->media().find(members_[of].device);
    CORELET_ASSERT(original && !members_[index].machine->is_up());
    members_[index].id = members_[of].id;
    members_[index]
        .machine->media()
        .add_device(members_[index].device, original->size_bytes())
        .roll_back(original->snapshot());
    start(index);
}

std::optional<usize> SimMesh::index_of(CoreletId id) const {
    for (usize i = 0; i < size(); ++i)
        if (members_[i].id == id) return i;
    return std::nullopt;
}

bool SimMesh::up(Duration bound) {
    for (usize i = 0; i < size(); ++i) start(i);
    return world_.run_until(
        [&] {
            for (usize i = 0; i < size(); ++i) {
                const Member& member = members_[i];
                if (!member.node) return false;
                auto const map = member.node->services().maps->current();
                if (map->corelets.size() != size()) return false;
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
        member.machine->spawn(run_command(member.node, name, arguments, out));
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
    for (usize i = 0; i < members_.size(); ++i)
        if (members_[i].node && members_[i].node->services().volumes &&
            members_[i].node->services().volumes->device(volume))
            servers.push_back(i);
    return servers;
}

std::optional<usize> SimMesh::server_of(const std::string& volume) {
    auto const servers = servers_of(volume);
    return servers.empty() ? std::nullopt : std::optional(servers.front());
}

std::shared_ptr<std::optional<Result<std::string>>> SimMesh::request(usize index, std::string name,
                                                                     std::string arguments) {
    CORELET_ASSERT(members_[index].node);
    auto out = std::make_shared<std::optional<Result<std::string>>>();
    members_[index].machine->spawn(run_command(members_[index].node, std::move(name), std::move(arguments), out));
    return out;
}

std::shared_ptr<BlockDevice> SimMesh::device(const std::string& volume) {
    auto const server = server_of(volume);
    return server ? members_[*server].node->services().volumes->device(volume) : nullptr;
}

}  // namespace corelet
