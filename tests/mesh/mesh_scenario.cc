#include "tests/mesh/mesh_scenario.h"

#include "tests/mesh/consensus_judge.h"
#include "tests/mesh/fault_atlas.h"
#include "tests/mesh/loss_judge.h"
#include "tests/mesh/workload.h"

namespace corelet {

namespace {

constexpr u64 k_volume_bytes = 64 * k_mib;
constexpr usize k_tasks_max = 1'500;  // of a corelet that nobody asks anything

struct Drawn {
    std::string redundancy;
    usize promise = 1;
    usize volumes = 1;
    SimMeshOptions mesh;
    WorkloadOptions workload;
    FaultOptions faults;
    u64 writes_least = 2'000;
};

Drawn draw(const sim::World& world, const sim::ScenarioParameters& parameters) {
    Prng random = world.fork("mesh scenario");
    Drawn drawn;
    static constexpr std::array<std::pair<const char*, usize>, 3> k_pools{
        {{"rep:3", 2}, {"ec:2+1", 1}, {"ec:4+2", 2}}};
    auto const [redundancy, promise] = k_pools[random.below(k_pools.size())];
    drawn.redundancy = redundancy;
    drawn.promise = promise;
    drawn.volumes = 1 + random.below(2);
    drawn.mesh.corelets = parameters.number("corelets", 6);
    drawn.mesh.zones = 1 + random.below(3);
    drawn.mesh.device_bytes = 256 * k_mib;
    drawn.mesh.out_after = Duration{static_cast<i64>(random.between(1, 6)) * 1'000'000'000};
    drawn.mesh.heal_round = Duration{static_cast<i64>(random.between(1, 5)) * 1'000'000'000};
    drawn.mesh.segment_target_bytes = u64{256 * k_kib} << random.below(4);
    drawn.workload.clients = random.between(4, 10);
    drawn.workload.blocks = 4 * random.between(4, 16);
    drawn.faults.promise = drawn.promise;
    drawn.faults.whole_for = drawn.mesh.heal_round + drawn.mesh.heal_round / 4 + 200_ms;
    drawn.faults.length = Duration{static_cast<i64>(parameters.number("seconds", 50)) * 1'000'000'000};
    drawn.faults.every = Duration{static_cast<i64>(random.between(150, 900)) * 1'000'000};
    drawn.writes_least = parameters.number("writes", 2'000);
    return drawn;
}

// Owner changes and rolls, as seen from outside every so often.
class Observer {
  public:
    Observer(SimMesh& mesh, std::vector<std::string> volumes) : mesh_(mesh), volumes_(std::move(volumes)) {}
    void look() {
        for (const std::string& name : volumes_)
            for (usize server : mesh_.servers_of(name)) {
                StreamStatus const status = mesh_.node(server)->services().volumes->owned().at(name).stream;
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
    struct Seen {
        Epoch epoch;
        usize server = 0;
        u64 rolls = 0;
    };
    SimMesh& mesh_;
    std::vector<std::string> volumes_;
    std::map<std::string, Seen> seen_;
};

Result<void> broken(std::string what) {
    return fail(Code::kInvalid, std::move(what));
}

// One run, from an empty mesh to a judged one.
class Run {
  public:
    Run(sim::World& world, Drawn drawn)
        : world_(world), drawn_(std::move(drawn)), mesh_(world, drawn_.mesh), consensus_(mesh_) {}

    Result<void> all() {
        TRY_VOID(build());
        Observer observer(mesh_, names_);
        observer_ = &observer;
        LossJudge losses(mesh_, names_);
        losses_ = &losses;
        Workload workload(mesh_, names_, k_volume_bytes, drawn_.workload);
        FaultAtlas atlas(mesh_, names_, drawn_.faults);
        atlas_ = &atlas;
        workload.start();
        atlas.start();
        if (!until([&] { return atlas.is_over(); }, drawn_.faults.length + 30_s))
            return broken("the faults never ended");
        atlas.mend_all();
        TRY_VOID(settle(atlas));
        if (!until([&] { return workload.acknowledged_writes() >= drawn_.writes_least; }, 60_s))
            return broken("only " + std::to_string(workload.acknowledged_writes()) + " writes were acknowledged");
        workload.stop();
        (void)until([&] { return workload.idle(); }, 20_s);
        if (!workload.read_back(120_s)) return broken("blocks could not be read back");
        world_.stats().count("voter.replaced", consensus_.voters_replaced());
        if (auto const wrong = workload.judge()) return broken("not linearizable: " + *wrong);
        return leaks();
    }

  private:
    Result<void> build() {
        std::string error;
        if (!mesh_.up()) return broken("the mesh does not come up");
        if (!mesh_.command("pool.create", R"({"name":"p","redundancy":")" + drawn_.redundancy + R"("})", &error))
            return broken("pool: " + error);
        for (usize i = 0; i < drawn_.volumes; ++i) {
            std::string const name = "v" + std::to_string(i);
            std::string const size = std::to_string(k_volume_bytes);
            if (!mesh_.command("volume.create",
                               R"({"name":")" + name + R"(","pool":"p","size_bytes":)" + size + "}", &error))
                return broken("volume: " + error);
            if (!mesh_.command("volume.attach", R"({"name":")" + name + R"("})", &error))
                return broken("attach: " + error);
            names_.push_back(name);
        }
        return {};
    }

    bool until(const std::function<bool()>& predicate, Duration bound) {
        return world_.run_until(
            [&] {
                consensus_.look();
                if (world_.now() >= next_look_) {
                    observer_->look();
                    losses_->look(atlas_->is_open());
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
        if (!until(whole, 180_s)) return broken("three minutes after the last fault " + atlas.what_is_missing());
        world_.stats().count("settle-ms", static_cast<u64>((world_.now() - from).ms()));
        return {};
    }

    Result<void> leaks() {
        (void)until([] { return false; }, 3_s);
        for (usize i = 0; i < mesh_.size(); ++i) {
            usize const tasks = mesh_.machine(i).live_tasks();
            if (tasks > k_tasks_max)
                return broken(std::to_string(tasks) + " tasks wait at c" + std::to_string(i + 1) +
                              " though nobody asks anything");
        }
        return {};
    }

    sim::World& world_;
    Drawn drawn_;
    SimMesh mesh_;
    ConsensusJudge consensus_;
    std::vector<std::string> names_;
    Observer* observer_ = nullptr;
    LossJudge* losses_ = nullptr;
    FaultAtlas* atlas_ = nullptr;
    sim::VirtualTime next_look_;
};

Result<void> run_mesh(sim::World& world, const sim::ScenarioParameters& parameters) {
    Run run(world, draw(world, parameters));
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
    scenario.options = [](u64 seed, const sim::ScenarioParameters&) {
        sim::WorldOptions options = sim::draw_world_options(seed);
        // On slow devices more is in flight when power is lost.
        Prng random = Prng(seed).fork("slow devices");
        if (random.chance(3, 4)) options.disk.write_min = Duration{static_cast<i64>(500'000 << random.below(5))};
        return options;
    };
    scenario.shrinkable = {{"seconds", 2, 50}};
    return scenario;
}

}  // namespace corelet
