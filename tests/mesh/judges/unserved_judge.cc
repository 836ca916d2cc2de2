// What nobody serves is closed: no segment of a volume without an owner stays open long (protocols 7.7).
#include "tests/mesh/judges/judges.h"

namespace corelet {

namespace {

// A caretaker recovers it 60 s later, fences for T + 1 s, and may have to give up once, after 10 s.
constexpr Duration k_open_unserved_max = 80_s;
constexpr Duration k_calm_least = 15_s;  // of it, without anything new that is in the way

class UnservedJudge final : public Judge {
  public:
    explicit UnservedJudge(Trial& trial) : Judge(trial, "unserved") {}

    void look() override {
        if (is_slowed()) return since_.clear();
        for (const std::string& volume : trial().volumes) {
            if (!mesh().servers_of(volume).empty()) {
                since_.erase(volume);
                continue;
            }
            auto const [since, fresh] = since_.try_emplace(volume, world().now());
            if (world().now() - since->second > k_open_unserved_max &&
                world().now() - trial().atlas.calm_since() > k_calm_least)
                check_closed(volume);
        }
    }

  private:
    void check_closed(const std::string& volume) {
        judged();
        for (const pb::Segment& segment : mesh().stream_record(volume).segments())
            if (segment.state() != pb::Segment::ENDED)
                fail("segment " + std::to_string(segment.seq()) + " of " + volume +
                     " is still open, though nobody has served it for " +
                     std::to_string((world().now() - since_[volume]).ms()) + " ms");
    }

    std::map<std::string, sim::VirtualTime> since_;
};

}  // namespace

std::unique_ptr<Judge> make_unserved_judge(Trial& trial) {
    return std::make_unique<UnservedJudge>(trial);
}

}  // namespace corelet
