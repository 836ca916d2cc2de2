// Linearizability of what a workload has recorded: of every block, over owner changes (block_history.h), and of the
// catalog's keys (key_history.h).
#include "tests/mesh/judges/judges.h"

namespace corelet {

namespace {

template <class Recorded>
class HistoryJudge final : public Judge {
  public:
    HistoryJudge(Trial& trial, std::string name, const Recorded& recorded)
        : Judge(trial, std::move(name), 10_s), recorded_(recorded) {}
    void look() override {
        judged();
        if (auto const wrong = recorded_.judge()) fail("not linearizable: " + *wrong);
    }
    void at_end() override { look(); }

  private:
    const Recorded& recorded_;
};

}  // namespace

std::unique_ptr<Judge> make_linear_judge(Trial& trial) {
    return std::make_unique<HistoryJudge<Workload>>(trial, "linear", trial.workload);
}

std::unique_ptr<Judge> make_catalog_judge(Trial& trial) {
    return std::make_unique<HistoryJudge<CatalogWorkload>>(trial, "catalog", trial.keys);
}

}  // namespace corelet
