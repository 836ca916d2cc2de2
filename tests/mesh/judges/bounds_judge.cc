// Nothing grows without bound, and nothing waits for ever.
#include "tests/mesh/judges/judges.h"

namespace corelet {

namespace {

constexpr usize k_tasks_max = 20'000;      // of a corelet, whatever happens
constexpr usize k_idle_tasks_max = 1'500;  // of one that nobody asks anything
constexpr usize k_events_max = 200'000;    // of the whole world
constexpr u64 k_wait_max_s = 60;           // of a request at a corelet that lives, once the mesh is whole

class BoundsJudge final : public Judge {
  public:
    explicit BoundsJudge(Trial& trial) : Judge(trial, "bounds") {}

    void look() override {
        judged();
        bound_tasks(k_tasks_max, "");
        bound_streams();
        if (world().engine().queue.size() > k_events_max)
            fail(std::to_string(world().engine().queue.size()) + " events are scheduled");
    }

    void at_end() override {
        world().run_until([this] { return trial().workload.unanswered() == 0; },
                          Duration{static_cast<i64>(k_wait_max_s) * 1'000'000'000});
        if (usize const left = trial().workload.unanswered())
            fail(std::to_string(left) + " requests still wait though the mesh has been whole for " +
                 std::to_string(k_wait_max_s) + " s");
        world().run_for(3_s);
        bound_tasks(k_idle_tasks_max, " though nobody asks anything");
    }

  private:
    void bound_streams() const {
        for (const std::string& volume : trial().volumes)
            for (usize server : mesh().servers_of(volume)) {
                auto const stream = mesh().stream_status(server, volume);
                if (stream && stream->held_bytes > mesh().options().stream_bytes_max)
                    fail(corelet_name(server) + " holds " + std::to_string(stream->held_bytes) +
                         " bytes of writes to " + volume + " that are not acknowledged");
            }
    }

    void bound_tasks(usize most, const std::string& though) const {
        for (usize i = 0; i < mesh().size(); ++i)
            if (usize const tasks = mesh().machine(i).live_tasks(); tasks > most)
                fail(std::to_string(tasks) + " tasks wait at " + corelet_name(i) + though);
    }
};

}  // namespace

std::unique_ptr<Judge> make_bounds_judge(Trial& trial) {
    return std::make_unique<BoundsJudge>(trial);
}

}  // namespace corelet
