#include "sim/fault_driver.h"

namespace corelet::sim {

FaultDriver::FaultDriver(World& world, FaultPlan plan, FaultHooks hooks)
    : world_(world), plan_(plan), hooks_(std::move(hooks)) {
    // Each kind draws from a stream of its own, so that leaving one out disturbs the others little.
    Prng const source = world.fork("faults");
    for (usize i = 0; i < k_fault_kinds; ++i) {
        streams_.push_back(source.fork(fault_name(static_cast<FaultKind>(i))));
    }
}

FaultDriver::~FaultDriver() = default;

void FaultDriver::start() {
    plan_.apply_to(world_.fabric().model);
    for (usize i = 0; i < k_fault_kinds; ++i) {
        FaultKind const kind = static_cast<FaultKind>(i);
        if (!plan_.is_on(kind)) continue;
        auto made = std::make_unique<Kind>();
        made->driver = this;
        made->kind = kind;
        drawing_ = kind;
        Duration const first{static_cast<i64>(prng().below(static_cast<u64>(2 * plan_.of(kind).ns)))};
        world_.engine().queue.schedule_in(*made, first);
        kinds_.push_back(std::move(made));
    }
}

void FaultDriver::stop() {
    kinds_.clear();
    while (!outages_.empty()) ended(*outages_.front());
    FaultPlan{}.apply_to(world_.fabric().model);
    world_.heal_network();
    for (usize i = 0; i < world_.node_count(); ++i) {
        Node& node = world_.node(i);
        node.disarm_crash();
        for (std::string const& path : node.media().paths()) {
            MediaFaults& faults = node.media().find(path)->faults;
            faults.misdirect_reads = faults.misdirect_writes = faults.fail_syncs = faults.fail_writes = 0;
            faults.lying_syncs = false;
        }
    }
    unavailable_.clear();
}

void FaultDriver::due(Kind& kind) {
    drawing_ = kind.kind;
    Duration const next{static_cast<i64>(prng().below(static_cast<u64>(2 * plan_.of(kind.kind).ns)))};
    world_.engine().queue.schedule_in(kind, next);
    inject(kind.kind);
}

bool FaultDriver::inject(FaultKind kind) {
    if (kind == FaultKind::kCount) return false;
    drawing_ = kind;
    switch (kind) {
        case FaultKind::kKill:
        case FaultKind::kPowerLoss:
            return crash(kind);
        case FaultKind::kRackLoss:
            return lose_rack();
        case FaultKind::kPause:
            return pause();
        case FaultKind::kSlowNode:
            return slow_node();
        case FaultKind::kClockJump:
        case FaultKind::kClockDrift:
            return disturb_clock(kind);
        case FaultKind::kPartition:
        case FaultKind::kPartitionOneWay:
        case FaultKind::kIsolation:
            return partition(kind);
        case FaultKind::kClog:
        case FaultKind::kDelay:
            return disturb_link(kind);
        case FaultKind::kReset:
        case FaultKind::kHalfOpen:
            return world_.fabric().reset_random_stream(prng(), kind == FaultKind::kHalfOpen);
        case FaultKind::kBitRot:
        case FaultKind::kLatentError:
            return damage_media(kind);
        case FaultKind::kMisdirectedRead:
        case FaultKind::kMisdirectedWrite:
        case FaultKind::kFailedWrite:
        case FaultKind::kFailedSync:
        case FaultKind::kLyingSync:
            return arm_media(kind);
        case FaultKind::kSlowDisk:
        case FaultKind::kStuckDisk:
        case FaultKind::kHostFull:
            return hinder_media(kind);
        case FaultKind::kDeviceLoss:
        case FaultKind::kDeviceRollback:
            return replace_device(kind);
        // Rates of the network, and what crashes leave behind.
        case FaultKind::kDatagramLoss:
        case FaultKind::kDatagramDuplicate:
        case FaultKind::kDatagramReorder:
        case FaultKind::kTornWrite:
        case FaultKind::kLostWrite:
        case FaultKind::kCount:
            return false;
    }
    return false;
}

void FaultDriver::lasts(Duration time, std::move_only_function<void()> end) {
    auto outage = std::make_unique<Outage>();
    outage->driver = this;
    outage->end = std::move(end);
    world_.engine().queue.schedule_in(*outage, time);
    outages_.push_back(std::move(outage));
}

void FaultDriver::ended(Outage& outage) {
    auto const mine = std::ranges::find(outages_, &outage, &std::unique_ptr<Outage>::get);
    CORELET_ASSERT(mine != outages_.end());
    auto const keep = std::move(*mine);
    outages_.erase(mine);
    keep->end();
}

Duration FaultDriver::draw_outage() {
    // Uniform in the order of magnitude: short ones are as likely as long ones.
    u64 const low = static_cast<u64>(plan_.outage_min.ns), high = static_cast<u64>(plan_.outage_max.ns);
    u64 top = low;
    while (top < high && prng().chance(3, 4)) top *= 2;
    return Duration{static_cast<i64>(std::min(high, prng().between(low, std::max(low, top))))};
}

bool FaultDriver::allowed(const Fault& fault) {
    if (!hooks_.allows || hooks_.allows(fault)) return true;
    ++vetoed_;
    return false;
}

void FaultDriver::note(const Fault& fault, bool counted_below) {
    if (!counted_below) world_.stats().count_fault(fault.kind);
    world_.trace().record(TraceKind::kFault, fault.node, static_cast<u64>(fault.kind), fault.offset);
    if (world_.trace().is_printing()) {
        world_.trace().note(fault.node, std::string("fault ") + fault_name(fault.kind) + " " + fault.path);
    }
}

Node* FaultDriver::draw_available() {
    std::vector<Node*> fit;
    for (usize i = 0; i < world_.node_count(); ++i) {
        Node& node = world_.node(i);
        if (node.is_up() && !node.is_paused() && !unavailable_.contains(node.index())) fit.push_back(&node);
    }
    return fit.empty() ? nullptr : fit[prng().below(fit.size())];
}

void FaultDriver::give_back(u32 node) {
    auto const found = unavailable_.find(node);
    CORELET_ASSERT(found != unavailable_.end());
    if (--found->second == 0) unavailable_.erase(found);
}

}  // namespace corelet::sim
