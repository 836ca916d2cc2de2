// Faults of nodes and of the network between them.
#include "sim/fault_driver.h"

namespace corelet::sim {

void FaultDriver::revive(Node& node, const Fault& fault) {
    if (node.is_up()) return;
    if (hooks_.restart) {
        hooks_.restart(node, fault);
    } else {
        node.restart();
    }
}

// At once, or at one of the next awaits or disk operations; a node that does nothing is crashed a moment later.
void FaultDriver::begin_crash(Node& node, const Fault& fault, Ending ending) {
    constexpr u64 k_resumptions_max = 300, k_operations_max = 40;
    constexpr Duration k_patience{200'000'000};
    take(node.index());
    switch (prng().below(3)) {
        case 0:
            node.crash(ending);
            break;
        case 1:
            node.crash_after_resumptions(1 + prng().below(k_resumptions_max), ending);
            break;
        default:
            node.crash_after_disk_operations(1 + prng().below(k_operations_max), ending);
            break;
    }
    u64 const boot = node.boots();
    Duration const down = draw_outage();
    lasts(k_patience, [this, &node, fault, ending, boot, down] {
        if (node.is_up() && node.boots() == boot) node.crash(ending);
        lasts(down, [this, &node, fault] {
            give_back(node.index());
            revive(node, fault);
        });
    });
}

bool FaultDriver::crash(FaultKind kind) {
    Node* const node = draw_available();
    if (!node || !may_take(1)) return false;
    Fault const fault{kind, node->index(), {}, {}, 0, 0};
    if (!allowed(fault)) return false;
    note(fault, true);
    begin_crash(*node, fault, kind == FaultKind::kKill ? Ending::kKill : Ending::kPower);
    return true;
}

bool FaultDriver::lose_rack() {
    if (hooks_.racks.empty()) return false;
    auto const& rack = hooks_.racks[prng().below(hooks_.racks.size())];
    for (u32 const index : rack) {
        if (!world_.node(index).is_up() || unavailable_.contains(index)) return false;
    }
    Fault fault{FaultKind::kRackLoss, rack.front(), rack, {}, 0, 0};
    if (!allowed(fault)) return false;
    note(fault);
    Duration const down = draw_outage();
    for (u32 const index : rack) {
        Node& node = world_.node(index);
        take(index);
        node.crash(Ending::kPower);
        // Power comes back to all at once; they boot at their own pace.
        lasts(down + Duration{static_cast<i64>(prng().below(1'000'000'000))}, [this, &node, fault] {
            give_back(node.index());
            revive(node, fault);
        });
    }
    return true;
}

bool FaultDriver::pause() {
    Node* const node = draw_available();
    if (!node || !may_take(1)) return false;
    Fault const fault{FaultKind::kPause, node->index(), {}, {}, 0, 0};
    if (!allowed(fault)) return false;
    note(fault, true);
    take(node->index());
    node->pause();
    lasts(draw_outage(), [this, node] {
        give_back(node->index());
        node->resume();
    });
    return true;
}

bool FaultDriver::slow_node() {
    Node* const node = draw_available();
    if (!node) return false;
    Fault const fault{FaultKind::kSlowNode, node->index(), {}, {}, 0, 0};
    if (!allowed(fault)) return false;
    note(fault);
    node->set_turn_delay(Duration{static_cast<i64>(100'000 + prng().below(20'000'000))});
    lasts(draw_outage(), [node] { node->set_turn_delay({}); });
    return true;
}

bool FaultDriver::disturb_clock(FaultKind kind) {
    Node* const node = draw_available();
    if (!node) return false;
    Fault const fault{kind, node->index(), {}, {}, 0, 0};
    if (!allowed(fault)) return false;
    note(fault);
    if (kind == FaultKind::kClockDrift) {
        constexpr u64 k_ppm_max = 5'000;
        node->set_drift(static_cast<i64>(prng().below(2 * k_ppm_max + 1)) - static_cast<i64>(k_ppm_max));
    } else {
        constexpr u64 k_jump_max_ns = 7'200'000'000'000;
        node->jump_wall_clock(
            Duration{static_cast<i64>(prng().below(2 * k_jump_max_ns)) - static_cast<i64>(k_jump_max_ns)});
    }
    return true;
}

bool FaultDriver::partition(FaultKind kind) {
    std::vector<u32> order;
    for (u32 i = 0; i < world_.node_count(); ++i) order.push_back(i);
    if (order.size() < 2) return false;
    prng().shuffle(order);
    // The smaller side counts as unavailable; a single one is what an isolation is.
    usize const most = std::min(plan_.unavailable_max, order.size() / 2);
    if (most == 0) return false;
    usize const size = kind == FaultKind::kIsolation ? 1 : 1 + prng().below(most);
    std::vector<u32> const side(order.begin(), order.begin() + static_cast<i64>(size));
    // A partial partition leaves some of the others reachable from both sides.
    usize const rest = order.size() - size;
    usize const cut = kind == FaultKind::kIsolation || prng().chance(1, 2) ? rest : 1 + prng().below(rest);
    std::vector<u32> const other(order.begin() + static_cast<i64>(size),
                                 order.begin() + static_cast<i64>(size + cut));
    usize fresh = 0;
    for (u32 const node : side) fresh += unavailable_.contains(node) ? 0 : 1;
    Fault const fault{kind, side.front(), side, {}, 0, 0};
    if (!may_take(fresh) || !allowed(fault)) return false;
    note(fault);
    bool const inward = kind != FaultKind::kPartitionOneWay || prng().chance(1, 2);
    bool const outward = kind != FaultKind::kPartitionOneWay || !inward;
    if (inward) world_.partition_one_way(other, side);
    if (outward) world_.partition_one_way(side, other);
    for (u32 const node : side) take(node);
    lasts(draw_outage(), [this, side, other, inward, outward] {
        for (u32 const a : side) {
            give_back(a);
            for (u32 const b : other) {
                if (inward) world_.fabric().mend(b, a);
                if (outward) world_.fabric().mend(a, b);
            }
        }
    });
    return true;
}

bool FaultDriver::disturb_link(FaultKind kind) {
    if (world_.node_count() < 2) return false;
    u32 const from = static_cast<u32>(prng().below(world_.node_count()));
    u32 const to = static_cast<u32>((from + 1 + prng().below(world_.node_count() - 1)) % world_.node_count());
    Fault const fault{kind, from, {to}, {}, 0, 0};
    if (!allowed(fault)) return false;
    note(fault);
    if (kind == FaultKind::kClog) {
        constexpr u64 k_clog_max_ns = 400'000'000;
        world_.fabric().clog(from, to, Duration{static_cast<i64>(prng().below(k_clog_max_ns))});
        return true;
    }
    constexpr u64 k_delay_max_ns = 100'000'000;
    world_.fabric().set_delay(from, to, Duration{static_cast<i64>(prng().below(k_delay_max_ns))});
    lasts(draw_outage(), [this, from, to] { world_.fabric().set_delay(from, to, {}); });
    return true;
}

}  // namespace corelet::sim
