// What a run of a simulated mesh is judged by, from outside of the code under test (protocols 12). A judge is a
// plug-in: it is asked after each event, every so often, at each answer that a client gets, and at the
// end; it fails the world under its name. What it looked at is counted ("judged.NAME" in the coverage): a judge
// that never judges tests nothing. It changes nothing in the mesh, so the events of a run are the same whichever
// judges sit.
#pragma once

#include "tests/mesh/catalog_changes.h"
#include "tests/mesh/catalog_workload.h"
#include "tests/mesh/fault_atlas.h"
#include "tests/mesh/holding_changes.h"
#include "tests/mesh/workload.h"

namespace corelet {

// What the judges of a run share.
struct Trial {
    SimMesh& mesh;
    std::vector<std::string> volumes;
    FaultAtlas& atlas;
    Workload& workload;
    CatalogWorkload& keys;
    bool fills = false;  // writes may be refused, for want of room
};

class Judge {
  public:
    // It looks so often; the default is as often as anybody does.
    Judge(Trial& trial, std::string name, Duration every = 100_ms)
        : trial_(trial), name_(std::move(name)), every_(every) {}
    virtual ~Judge() = default;
    Judge(const Judge&) = delete;
    Judge& operator=(const Judge&) = delete;
    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] Duration every() const { return every_; }

    // Between two events: programs of this corelet's machine have run, or it is the first time. What a corelet has
    // in memory changes by nothing else; whether it is up may.
    virtual void after_turn(usize /*index*/) { sees_turns_ = false; }
    // Whether it has anything to do then; found out by calling it once.
    [[nodiscard]] bool sees_turns() const { return sees_turns_; }
    // This corelet, which is up, goes by another map than before, or by its first one since it booted.
    using MapPtr = std::shared_ptr<const mesh::Map>;
    virtual void map_seen(usize /*index*/, const MapPtr& /*map*/) {}
    // A stream's record has changed, as the first corelet applies it; the sessions are those of that revision.
    virtual void stream_changed(const pb::Stream& /*before*/, const pb::Stream& /*after*/,
                                const CatalogChanges::Sessions& /*sessions*/) {}
    // So has the catalog, once or more often, and this is what it has come to.
    virtual void catalog_changed(const CatalogState& /*state*/) {}
    // Every so often, between two events.
    virtual void look() {}
    // Four times a second all stores are looked at: what was not there at this corelet (fresh: though it had been
    // looked at since it booted), what is there no more; and then that this was all.
    virtual void fragment_seen(usize /*index*/, const FragmentInfo& /*info*/, bool /*fresh*/) {}
    virtual void fragment_gone(usize /*index*/, const FragmentId& /*id*/) {}
    virtual void holdings_seen() {}
    // This corelet is about to carry out a request, or has done so and is about to answer; within its turn.
    virtual void at_moment(usize /*server*/, const FaultPoints::Moment& /*moment*/) {}
    // A client has just been answered, successfully; within the task of the answer.
    virtual void answered(const Answer& /*answer*/) {}
    // The faults are over and the mesh is whole; nobody asks anything any more. The world may be run on.
    virtual void at_end() {}

  protected:
    [[nodiscard]] SimMesh& mesh() const { return trial_.mesh; }
    [[nodiscard]] sim::World& world() const { return trial_.mesh.world(); }
    [[nodiscard]] const Trial& trial() const { return trial_; }
    void fail(const std::string& what) const { world().fail("[" + name_ + "] " + what); }
    void judged(u64 times = 1) const { world().stats().count("judged." + name_, times); }
    [[nodiscard]] static std::string corelet_name(usize index) { return "c" + std::to_string(index + 1); }
    // Of this corelet, if it is up and its device sound; else null.
    [[nodiscard]] const Store* sound_store(usize index) const {
        CoreletNode* const node = mesh().node(index);
        const Store* const store = node ? node->services().store.get() : nullptr;
        return store && !store->has_forgotten() && !store->is_failing() ? store : nullptr;
    }
    // Deadlines pass early or answers get lost in this run, again and again: nobody can tell how long anything
    // takes.
    [[nodiscard]] static bool is_slowed() {
        auto const armed = [](usize point) { return armed_fault_points->point(point).per_million != 0; };
        return armed_fault_points &&
               (armed(fault_point_index("rpc.early_timeout")) || armed(fault_point_index("catalog.answer_lost")));
    }

  private:
    Trial& trial_;
    std::string name_;
    Duration every_;
    bool sees_turns_ = true;
};

// The judges of a run.
class Court {
  public:
    // All that the list names ("all", or names with commas between them); kInvalid names one that there is not.
    [[nodiscard]] static Result<std::unique_ptr<Court>> convene(Trial& trial, std::string_view names);
    [[nodiscard]] static std::vector<std::string> names();

    void after_event();
    void at_moment(const FaultPoints::Moment& moment);
    void answered(const Answer& answer);
    void at_end();

  private:
    explicit Court(SimMesh& mesh)
        : mesh_(mesh),
          world_(mesh.world()),
          changes_(mesh),
          holdings_(mesh),
          maps_(mesh.size()),
          turns_(mesh.size(), UINT64_MAX) {}
    void after_turn(usize index);
    void look_at_map(usize index);
    void look_at_holdings();
    SimMesh& mesh_;
    sim::World& world_;
    CatalogChanges changes_;
    HoldingChanges holdings_;
    sim::VirtualTime next_holdings_{};
    std::vector<Judge::MapPtr> maps_;  // of each corelet, the last one seen
    struct Seat {
        std::unique_ptr<Judge> judge;
        sim::VirtualTime next_look{};
    };
    void seat(std::unique_ptr<Judge> judge) { seats_.push_back({std::move(judge)}); }
    std::vector<Seat> seats_;
    std::vector<u64> turns_;  // of each machine, when it was looked at
    sim::VirtualTime next_look_{};
};

}  // namespace corelet
