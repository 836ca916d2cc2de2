// A write or a flush that failed is final (design 2.2): whoever was told of one never relies on the device again.
// The kernel may have dropped what others wrote before, and the next flush that comes back well proves nothing.
#include "tests/mesh/judges/judges.h"

namespace corelet {

namespace {

constexpr Duration k_final_after = 1_s;

class DeviceJudge final : public Judge {
  public:
    explicit DeviceJudge(Trial& trial) : Judge(trial, "devices"), seen_(trial.mesh.size()) {}

    void look() override {
        for (usize i = 0; i < mesh().size(); ++i)
            if (mesh().node(i)) look_at(i);
    }

  private:
    struct Seen {
        u64 boot = 0;
        u64 failures = 0;  // before this start, as far as can be told
        std::optional<sim::VirtualTime> failed;
    };

    void look_at(usize index) {
        const sim::MediaFile* const device = mesh().machine(index).media().find(mesh().device_path(index));
        if (!device) return;
        Seen& seen = seen_[index];
        u64 const boot = mesh().machine(index).boots();
        if (seen.boot != boot) seen = Seen{boot, device->failures_told, {}};
        if (device->failures_told == seen.failures) return;
        if (!seen.failed) seen.failed = world().now();
        if (world().now() - *seen.failed < k_final_after) return;
        judged();
        if (!mesh().node(index)->services().store->is_failing())
            fail(corelet_name(index) + " was told that a write or a flush had failed, and goes on with its device");
    }

    std::vector<Seen> seen_;
};

}  // namespace

std::unique_ptr<Judge> make_device_judge(Trial& trial) {
    return std::make_unique<DeviceJudge>(trial);
}

}  // namespace corelet
