#include "tests/mesh/mesh_scenario.h"

#include "base/fault_point.h"
#include "tests/mesh/filler.h"
#include "tests/mesh/judge.h"

namespace corelet {

namespace {

struct Drawn {
    std::string redundancy;
    u64 write_quorum = 0, read_quorum = 0, repair_threshold = 0;  // 0: the pool names none
    std::string domain;  // over which fragments are kept apart; empty: the default
    u64 chunk_bytes = 0;
    usize volumes = 1;
    u64 volume_bytes = 64 * k_mib;
    SimMeshOptions mesh;
    WorkloadOptions workload;
    bool doors = false;  // clients come in by doors at machines of their own
    FaultOptions faults;
    u64 writes_least = 2'000;
    std::string judges;
    Duration whole_within = 180_s;    // of virtual time, from the end of the faults on
    bool fills = false;               // the pool is filled again and again
    bool points = true;               // fault points in the code are armed
    std::vector<std::string> forced;  // these fire every time
    bool must_be_whole = true;        // in the end, with everything readable
};

// How many corelets a pool with this redundancy survives the loss of.
Result<usize> promise_of(const std::string& redundancy) {
    TRY(auto const parsed, mesh::Redundancy::parse(redundancy));
    return usize{parsed.m};
}

// What the judges of a tier are, unless the scenario names others: beyond the promise a mesh need not serve, but
// what it serves is right; of syncs that lie little is expected but that no byte is served that nobody wrote.
std::string judges_of(bool beyond, bool lying) {
    if (lying) return "catalog";
    return beyond ? "linear,catalog,raft,promises,streams,names" : "all";
}

Result<void> check_points(const std::vector<std::string>& names) {
    for (const std::string& name : names)
        if (std::ranges::find(k_fault_points, name) == k_fault_points.end())
            return fail(Code::kInvalid, "there is no fault point '" + name + "'");
    return {};
}

Duration milliseconds(const sim::ScenarioParameters& parameters, const char* name, Duration otherwise) {
    return Duration{static_cast<i64>(parameters.number(name, static_cast<u64>(otherwise.ms()))) * 1'000'000};
}

// Drawn from the seed, but for what the parameters say.
Result<Drawn> draw(const sim::World& world, const sim::ScenarioParameters& parameters) {
    Prng random = world.fork("mesh scenario");
    Drawn drawn;
    static constexpr std::array k_pools{"rep:3", "ec:2+1", "ec:4+2"};
    drawn.redundancy = parameters.text("pool", k_pools[random.below(k_pools.size())]);
    drawn.write_quorum = parameters.number("write_quorum", 0);
    drawn.read_quorum = parameters.number("read_quorum", 0);
    drawn.repair_threshold = parameters.number("repair_threshold", 0);
    drawn.chunk_bytes = parameters.number("chunk_kib", 8 * 1024) * k_kib;
    drawn.volumes = parameters.number("volumes", 1 + random.below(2));
    drawn.volume_bytes = parameters.number("volume_mib", 64) * k_mib;
    drawn.mesh.corelets = parameters.number("corelets", 6);
    drawn.mesh.witnesses = parameters.number("witnesses", 0);
    drawn.mesh.zones = parameters.number("zones", 1 + random.below(3));
    drawn.domain = parameters.text("domain", "");
    drawn.faults.zones_survive = drawn.domain == "zone";
    drawn.mesh.late = parameters.number("late", 0);
    if (drawn.mesh.late >= drawn.mesh.corelets)
        return fail(Code::kInvalid, "somebody has to be there before 'late' join");
    drawn.mesh.spare_machines = parameters.number("copies", 0);
    drawn.mesh.device_bytes = parameters.number("device_mib", 256) * k_mib;
    Duration const drawn_out_after{static_cast<i64>(random.between(1, 6)) * 1'000'000'000};
    drawn.mesh.out_after = milliseconds(parameters, "out_ms", drawn_out_after);
    drawn.mesh.heal_round = Duration{static_cast<i64>(random.between(1, 5)) * 1'000'000'000};
    drawn.mesh.audit_every = milliseconds(parameters, "audit_ms", drawn.mesh.audit_every);
    drawn.mesh.segment_target_bytes = u64{256 * k_kib} << random.below(4);
    // With small caches what clients read comes from log and chunks.
    drawn.mesh.cache_bytes = random.chance(1, 2) ? 4 * k_mib : u64{16 * k_kib} << random.below(4);
    drawn.mesh.page_cache_bytes = random.chance(1, 2) ? 8 * k_mib : k_mib << random.below(2);
    drawn.mesh.mixed = parameters.number("mixed", world.fork("mixed").chance(1, 4) ? 1 : 0) != 0;
    drawn.mesh.lease = milliseconds(parameters, "lease_ms", drawn.mesh.lease);
    drawn.mesh.stream_bytes_max = parameters.number("stream_kib", 64 * 1024) * k_kib;
    drawn.doors = parameters.number("doors", 0) != 0;
    if (drawn.doors) drawn.mesh.admin_key = "the key of the simulated mesh, 32 digits";
    drawn.workload.clients = parameters.number("clients", random.between(4, 10));
    drawn.workload.readers = parameters.number("readers", 0);
    drawn.workload.think_max = milliseconds(parameters, "think_ms", drawn.workload.think_max);
    drawn.workload.patience = milliseconds(parameters, "patience_ms", drawn.workload.patience);
    drawn.workload.blocks = 4 * parameters.number("runs", random.chance(1, 4) ? 1 : random.between(4, 16));
    TRY(drawn.faults.promise, promise_of(drawn.redundancy));
    drawn.faults.copies = drawn.faults.promise + 1;
    // A large promise is one for data: the catalog's voters may lose fewer.
    drawn.faults.promise = std::min<usize>(drawn.faults.promise, parameters.number("losses", drawn.faults.promise));
    drawn.faults.whole_for = drawn.mesh.heal_round + drawn.mesh.heal_round / 4 + 200_ms;
    drawn.faults.length = Duration{static_cast<i64>(parameters.number("seconds", 42)) * 1'000'000'000};
    Duration const drawn_every{static_cast<i64>(random.between(150, 900)) * 1'000'000};
    drawn.faults.every = milliseconds(parameters, "every_ms", drawn_every);
    // Longer than a session lives: somebody is taken over while he lives.
    drawn.faults.longest = random.chance(1, 2) ? 4_s : 12_s;
    drawn.faults.only = parameters.list("faults");
    drawn.faults.without = parameters.list("without");
    TRY_VOID(FaultAtlas::check_classes(drawn.faults.only));
    TRY_VOID(FaultAtlas::check_classes(drawn.faults.without));
    u64 const beyond = parameters.number("beyond", 0);
    drawn.faults.beyond = beyond != 0;
    drawn.faults.promise += beyond;
    drawn.faults.lying = parameters.number("lying", 0) != 0;
    drawn.must_be_whole = !drawn.faults.beyond && !drawn.faults.lying;
    drawn.workload.losses = !drawn.must_be_whole;
    drawn.writes_least = parameters.number("writes", drawn.must_be_whole ? 2'000 : 0);
    drawn.whole_within = Duration{static_cast<i64>(parameters.number("whole_s", 180)) * 1'000'000'000};
    drawn.fills = parameters.number("fill", 0) != 0;
    drawn.points = parameters.number("points", 1) != 0;
    drawn.forced = parameters.list("forced");
    TRY_VOID(check_points(drawn.forced));
    drawn.judges = parameters.text("judges", judges_of(drawn.faults.beyond, drawn.faults.lying));
    return drawn;
}

// Owner changes and rolls, as seen from outside every so often.
class Observer {
  public:
    Observer(SimMesh& mesh, std::vector<std::string> volumes) : mesh_(mesh), volumes_(std::move(volumes)) {}
    void look() {
        look_at_voters();
        for (const std::string& name : volumes_)
            for (usize server : mesh_.servers_of(name)) {
                StreamStatus const status = mesh_.stream_status(server, name).value();
                Seen& seen = seen_[name];
                auto& stats = mesh_.world().stats();
                if (status.epoch > seen.epoch) {
                    stats.count("recovery");
                    if (seen.epoch.v != 0 && seen.server != server) stats.count("owner.changed");
                    seen = Seen{status.epoch, server, status.rolls};
                } else if (status.epoch == seen.epoch && status.rolls > seen.rolls) {
                    stats.count("roll", status.rolls - seen.rolls);
                    seen.rolls = status.rolls;
                }
            }
    }

  private:
    void look_at_voters() {
        auto const leader = mesh_.catalog_leader();
        if (!leader) return;
        auto const& services = mesh_.node(*leader)->services();
        if (std::exchange(voters_, services.catalog->voters()) == services.catalog->voters()) return;
        mesh_.world().stats().count("voters.changed");
        auto const map = services.maps->current();
        bool const heals =
            std::ranges::any_of(map->pools, [](const mesh::Pool& pool) { return pool.tables.size() > 1; });
        if (heals) mesh_.world().stats().count("voters.changed-in-healing");
    }

    struct Seen {
        Epoch epoch;
        usize server = 0;
        u64 rolls = 0;
    };
    SimMesh& mesh_;
    std::vector<std::string> volumes_;
    std::map<std::string, Seen> seen_;
    std::vector<CoreletId> voters_;
};

Result<void> broken(std::string what) {
    return fail(Code::kInvalid, std::move(what));
}

// One run, from an empty mesh to a judged one.
class Run {
  public:
    Run(sim::World& world, Drawn drawn) : world_(world), drawn_(std::move(drawn)), mesh_(world, drawn_.mesh) {}

    Result<void> all() {
        TRY_VOID(build());
        Observer observer(mesh_, names_);
        observer_ = &observer;
        Workload workload(mesh_, names_, drawn_.volume_bytes, drawn_.workload);
        std::optional<Doors> doors;
        if (drawn_.doors) workload.use(doors.emplace(mesh_, names_));
        if (doors) doors->start();
        CatalogWorkload keys(mesh_);
        FaultAtlas atlas(mesh_, names_, drawn_.faults);
        Trial trial{mesh_, names_, atlas, workload, keys, drawn_.fills};
        TRY(court_, Court::convene(trial, drawn_.judges));
        workload.on_answer = [this](const Answer& answer) { court_->answered(answer); };
        workload.bears_loss = [&atlas](usize server) { return atlas.is_beyond_promise(server); };
        atlas.on_moment = [this](const FaultPoints::Moment& moment) { court_->at_moment(moment); };
        auto result = carry_on(workload, keys, atlas);
        atlas.on_moment = {};
        court_.reset();
        return result;
    }

  private:
    Result<void> carry_on(Workload& workload, CatalogWorkload& keys, FaultAtlas& atlas) {
        FaultPoints points(world_.fork("fault points"));
        if (!drawn_.points) points.disarm();
        for (usize i = 0; i < k_fault_points.size(); ++i)
            if (std::ranges::find(drawn_.forced, k_fault_points[i]) != drawn_.forced.end()) points.force(i);
        auto result = carry_on_armed(workload, keys, atlas, points);
        for (usize i = 0; i < k_fault_points.size(); ++i) {
            std::string const name = "point." + std::string(k_fault_points[i]);
            world_.stats().count(name, points.point(i).fired);
            world_.stats().count(name + ".reached", points.point(i).reached);
        }
        return result;
    }

    Result<void> carry_on_armed(Workload& workload, CatalogWorkload& keys, FaultAtlas& atlas, FaultPoints& points) {
        workload.start();
        keys.start();
        Filler filler(mesh_, names_.front(), drawn_.volume_bytes, workload.places());
        if (drawn_.fills) filler.start();
        atlas.start();
        if (!until([&] { return atlas.is_over(); }, drawn_.faults.length + 30_s))
            return broken("the faults never ended");
        atlas.mend_all();
        points.disarm();
        filler.finish();
        if (drawn_.fills && !until([&] { return filler.is_done(); }, 180_s))
            return broken("[full] what fills the pool cannot be trimmed");
        if (!drawn_.must_be_whole) return come_to_rest(workload, keys);
        TRY_VOID(settle(atlas));
        if (!until([&] { return workload.acknowledged_writes() >= drawn_.writes_least; }, 60_s))
            return broken("[progress] only " + std::to_string(workload.acknowledged_writes()) +
                          " writes were acknowledged");
        workload.stop();
        keys.stop();
        (void)until([&] { return workload.idle() && keys.idle(); }, 20_s);
        if (!keys.read_back(60_s)) return broken("[progress] keys of the catalog could not be read back");
        if (!workload.read_back(120_s)) return broken("[progress] blocks could not be read back");
        court_->at_end();
        return {};
    }

    // Beyond the promise: it goes on as far as it can, and what cannot be read is known to be so.
    Result<void> come_to_rest(Workload& workload, CatalogWorkload& keys) {
        (void)until([] { return false; }, 20_s);
        workload.stop();
        keys.stop();
        (void)until([&] { return workload.idle() && keys.idle(); }, 20_s);
        usize const readable = workload.readable(5_s);
        auto& stats = world_.stats();
        stats.count("blocks.readable", readable);
        stats.count("blocks.not-readable", workload.blocks().size() - readable);
        if (!world_.failed()) court_->at_end();
        if (readable == workload.blocks().size()) return {};
        auto const status = mesh_.command("status", "{}");
        if (status && status->find(R"("health":"ok")") != std::string::npos)
            return broken("[detects] blocks cannot be read, and status says that all is well");
        return {};
    }

    Result<void> build() {
        std::string error;
        if (!mesh_.up()) return broken("the mesh does not come up");
        if (!mesh_.command("pool.create", pool_wish(), &error)) return broken("pool: " + error);
        for (usize i = 0; i < drawn_.volumes; ++i) {
            std::string const name = "v" + std::to_string(i);
            std::string const size = std::to_string(drawn_.volume_bytes);
            if (!mesh_.command("volume.create",
                               R"({"name":")" + name + R"(","pool":"p","size_bytes":)" + size + "}", &error))
                return broken("volume: " + error);
            if (!mesh_.command("volume.attach", R"({"name":")" + name + R"("})", &error))
                return broken("attach: " + error);
            names_.push_back(name);
        }
        return {};
    }

    [[nodiscard]] std::string pool_wish() const {
        std::string out = R"({"name":"p","redundancy":")" + drawn_.redundancy + R"(","chunk_bytes":)" +
                          std::to_string(drawn_.chunk_bytes);
        auto const name = [&](const char* key, u64 value) {
            if (value != 0) out += std::string(",\"") + key + "\":" + std::to_string(value);
        };
        name("write_quorum", drawn_.write_quorum);
        name("read_quorum", drawn_.read_quorum);
        name("repair_threshold", drawn_.repair_threshold);
        if (!drawn_.domain.empty()) out += R"(,"failure_domain":")" + drawn_.domain + "\"";
        return out + "}";
    }

    bool until(const std::function<bool()>& predicate, Duration bound) {
        return world_.run_until(
            [&] {
                court_->after_event();
                if (world_.now() >= next_look_) {
                    observer_->look();
                    next_look_ = world_.now() + 100_ms;
                }
                return predicate();
            },
            bound);
    }

    // Looks at the whole mesh now and then only: it takes long.
    Result<void> settle(const FaultAtlas& atlas) {
        sim::VirtualTime next = world_.now();
        auto const whole = [&] {
            if (world_.now() < next) return false;
            next = world_.now() + 200_ms;
            return atlas.is_whole();
        };
        sim::VirtualTime const from = world_.now();
        if (!until(whole, drawn_.whole_within))
            return broken("[settles] " + std::to_string(drawn_.whole_within.ms() / 1000) +
                          " seconds after the last fault " + atlas.what_is_missing());
        world_.stats().count("settle-ms", static_cast<u64>((world_.now() - from).ms()));
        return {};
    }

    sim::World& world_;
    Drawn drawn_;
    SimMesh mesh_;
    std::vector<std::string> names_;
    Observer* observer_ = nullptr;
    std::unique_ptr<Court> court_;
    sim::VirtualTime next_look_;
};

Result<void> run_mesh(sim::World& world, const sim::ScenarioParameters& parameters) {
    TRY(Drawn drawn, draw(world, parameters));
    // What a device that lies has lost, it says when it is mounted again.
    if (drawn.faults.lying) world.expect_error("sim.corelet_not_started");
    // Beyond the promise acknowledged records may be gone: a recovery that misses them has to say so, and does.
    if (!drawn.must_be_whole) world.expect_error("recovery.lost");
    Run run(world, std::move(drawn));
    auto result = run.all();
    if (world.failed()) return broken(world.failure());
    return result;
}

}  // namespace

sim::Scenario mesh_scenario() {
    sim::Scenario scenario;
    scenario.name = "mesh";
    scenario.summary = "six corelets serve volumes under all faults within the promise";
    scenario.run = run_mesh;
    scenario.options = [](u64 seed, const sim::ScenarioParameters& parameters) {
        sim::WorldOptions options = sim::draw_world_options(seed);
        // On slow devices more is in flight when power is lost.
        Prng random = Prng(seed).fork("slow devices");
        if (random.chance(3, 4) && parameters.number("fast", 0) == 0)
            options.disk.write_min = Duration{static_cast<i64>(500'000 << random.below(5))};
        return options;
    };
    scenario.shrinkable = {
        {"seconds", 2, 42}, {"corelets", 3, 6}, {"volumes", 1, 2}, {"clients", 1, 10}, {"runs", 1, 16}};
    scenario.droppable = FaultAtlas::classes();
    return scenario;
}

}  // namespace corelet
