// Who has not what it says to have is found out by the others' audits (ADR 24).
#include "tests/mesh/judges/judges.h"

namespace corelet {

namespace {

class AuditJudge final : public Judge {
  public:
    explicit AuditJudge(Trial& trial) : Judge(trial, "audits", 1_s) {}

    void look() override {
        auto const& liar = trial().atlas.liar();
        if (!liar) return;
        if (liar->id != known_) {
            known_ = liar->id;
            is_found_out_ = false;
        }
        if (is_found_out_) return;
        if (is_accused(liar->id)) {
            is_found_out_ = true;
            return judged();
        }
        if (world().now() - liar->since > FaultAtlas::k_liar_found_within)
            fail(corelet_name(liar->index) + " has kept nothing and said that it has it for " +
                 std::to_string(FaultAtlas::k_liar_found_within.ms() / 1000) + " s, and nobody has found it out");
    }

  private:
    [[nodiscard]] bool is_accused(CoreletId id) const {
        for (usize i = 0; i < mesh().size(); ++i)
            if (CoreletNode* const node = mesh().node(i);
                node && node->services().audit_record.findings(node->services().env.clock.now()).contains(id))
                return true;
        return false;
    }

    CoreletId known_;
    bool is_found_out_ = false;
};

}  // namespace

std::unique_ptr<Judge> make_audit_judge(Trial& trial) {
    return std::make_unique<AuditJudge>(trial);
}

}  // namespace corelet
