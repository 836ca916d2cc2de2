// What would be left if power were lost everywhere at this instant. What is durable on each device at some moment
// of the run is copied into a world of its own; a mesh boots on it without further faults, and every block must
// read as some order of what clients have done and been told until that moment explains. Devices that have gone bad
// are left out; when none has and the mesh is whole, drawn ones are, as many as the pool promises to survive.
#include <set>

#include "base/fault_point.h"

#include "tests/mesh/judges/judges.h"

namespace corelet {

namespace {

constexpr Duration k_served_within = 90_s;

class PowerLossJudge final : public Judge {
  public:
    explicit PowerLossJudge(Trial& trial) : Judge(trial, "power-loss"), random_(world().fork("power loss judge")) {
        draw_next();
    }

    void look() override {
        if (world().now() < next_) return;
        draw_next();
        try_here();
    }
    void at_end() override {
        if (random_.chance(1, 3)) try_here();
    }

  private:
    void draw_next() {
        next_ = world().now() + Duration{static_cast<i64>(random_.between(20'000, 100'000)) * 1'000'000};
    }

    // A small mesh promises more copies of data than of the catalog.
    [[nodiscard]] usize votes_to_spare() const {
        auto const leader = mesh().catalog_leader();
        return leader ? (mesh().node(*leader)->services().raft->configuration().voters.size() - 1) / 2 : 0;
    }

    // Of the voters as the leader has them; a device that was lost took its vote along.
    [[nodiscard]] bool has_quorum(const std::set<usize>& without) const {
        auto const leader = mesh().catalog_leader();
        if (!leader) return without.empty();
        auto const& configuration = mesh().node(*leader)->services().raft->configuration();
        auto const left = std::ranges::count_if(configuration.voters, [&](CoreletId id) {
            auto const i = mesh().index_of(id);
            return i && !without.contains(*i);
        });
        return static_cast<usize>(left) >= configuration.majority();
    }

    void try_here() {
        std::set<usize> without = trial().atlas.spoiled();
        // Whole now, too: since the atlas looked last an owner may have had to go on with fewer copies.
        if (without.empty() && trial().atlas.is_whole_for_long() && trial().atlas.is_whole()) {
            usize const more = random_.below(std::min(trial().atlas.promise(), votes_to_spare()) + 1);
            while (without.size() < more) without.insert(random_.below(mesh().size()));
            if (more != 0) world().stats().count("judged.power-loss-with-losses");
        }
        if (!has_quorum(without)) return;
        judged();
        FaultPoints::Suspension const suspension;
        sim::WorldOptions options;
        options.log_level = LogLevel::kInfo;
        sim::World scratch(world().seed(), options);
        SimMesh copy(scratch, mesh(), without);
        std::string const wrong = read_all(scratch, copy);
        if (wrong.empty()) return;
        std::string names;
        for (usize i : without) names += " " + corelet_name(i);
        fail("were power lost at " + std::to_string(world().now().ns / 1'000'000) + " ms" +
             (names.empty() ? "" : ", and also" + names) + ": " + wrong);
    }

    // What is wrong with the copy, if anything.
    [[nodiscard]] std::string read_all(sim::World& scratch, SimMesh& copy) const {
        sim::VirtualTime const until = scratch.now() + k_served_within;
        for (const Workload::Block& block : trial().workload.blocks()) {
            if (trial().atlas.is_detached(block.volume)) continue;
            std::optional<std::string> wrong;
            while (!wrong) {
                if (scratch.failed()) return scratch.failure();
                if (scratch.now() >= until) return block.volume + " is not served again" + last_log(scratch);
                wrong = try_block(scratch, copy, block);
                if (!wrong) scratch.run_for(200_ms);
            }
            if (!wrong->empty()) return block.volume + ", block " + std::to_string(block.lba) + ": " + *wrong;
        }
        return {};
    }

    // Nothing while it cannot be read; else what is wrong with it, which may be empty.
    [[nodiscard]] std::optional<std::string> try_block(sim::World& scratch, SimMesh& copy,
                                                       const Workload::Block& block) const {
        auto const server = copy.server_of(block.volume);
        if (!server) return std::nullopt;
        auto const data = scratch.run(
            copy.machine(*server),
            read_device(copy.device(block.volume), block.lba * k_block_bytes, static_cast<u32>(k_block_bytes)),
            20_s);
        if (!data) return std::nullopt;
        if (!*data) {
            Error const& error = data->error();
            if (error.code != Code::kLost && error.code != Code::kCorrupt) return std::nullopt;
            return error.to_string();
        }
        auto const seen = Workload::decode((*data)->flatten().bytes(), block.lba);
        if (!seen) return "bytes that nobody wrote there";
        BlockHistory history = *block.history;
        usize const read = history.begin_read(trial().workload.now_tick() + 1, "after the power loss");
        history.end_read(read, *seen, trial().workload.now_tick() + 2);
        return history.judge().value_or("");
    }

    [[nodiscard]] static std::string last_log(sim::World& scratch) {
        std::string out;
        auto const& log = scratch.recent_log();
        for (usize i = log.size() > 12 ? log.size() - 12 : 0; i < log.size(); ++i) out += "\n    " + log[i];
        return out;
    }

    Prng random_;
    sim::VirtualTime next_;
};

}  // namespace

std::unique_ptr<Judge> make_power_loss_judge(Trial& trial) {
    return std::make_unique<PowerLossJudge>(trial);
}

}  // namespace corelet
