// Faults of disks.
#include "sim/fault_driver.h"

namespace corelet::sim {

// Some file of some node, up or down.
bool FaultDriver::draw_file(Fault* fault) {
    fault->node = static_cast<u32>(prng().below(world_.node_count()));
    auto const paths = world_.node(fault->node).media().paths();
    if (paths.empty()) return false;
    fault->path = paths[prng().below(paths.size())];
    return true;
}

bool FaultDriver::damage_media(FaultKind kind) {
    Fault fault{kind, 0, {}, {}, 0, 0};
    if (!draw_file(&fault)) return false;
    MediaFile& file = *world_.node(fault.node).media().find(fault.path);
    auto const page = file.random_used_page(prng());
    if (!page) return false;
    fault.offset = *page * k_block_bytes + prng().below(k_sectors) * k_sector_bytes;
    fault.size = k_sector_bytes * prng().between(1, k_sectors);
    if (kind == FaultKind::kBitRot) {
        fault.offset += prng().below(k_sector_bytes);
        fault.size = 1;
    }
    if (!allowed(fault)) return false;
    note(fault);
    if (kind == FaultKind::kBitRot) {
        file.flip_bit(fault.offset, static_cast<u32>(prng().below(8)));
    } else {
        file.make_unreadable(fault.offset, fault.size);
    }
    return true;
}

// The next operation of its kind suffers, and is counted when it does. A device that begins to lie goes on.
bool FaultDriver::arm_media(FaultKind kind) {
    Fault fault{kind, 0, {}, {}, 0, 0};
    if (!draw_file(&fault) || !allowed(fault)) return false;
    note(fault, kind != FaultKind::kLyingSync);
    MediaFaults& faults = world_.node(fault.node).media().find(fault.path)->faults;
    switch (kind) {
        case FaultKind::kMisdirectedRead:
            ++faults.misdirect_reads;
            break;
        case FaultKind::kMisdirectedWrite:
            ++faults.misdirect_writes;
            break;
        case FaultKind::kFailedWrite:
            ++faults.fail_writes;
            break;
        case FaultKind::kFailedSync:
            ++faults.fail_syncs;
            break;
        case FaultKind::kLyingSync:
            faults.lying_syncs = true;
            break;
        default:
            CORELET_UNREACHABLE("not a fault that waits for an operation");
    }
    return true;
}

bool FaultDriver::hinder_media(FaultKind kind) {
    Fault fault{kind, 0, {}, {}, 0, 0};
    if (!draw_file(&fault) || !allowed(fault)) return false;
    note(fault);
    Media& media = world_.node(fault.node).media();
    Duration const time = draw_outage();
    if (kind == FaultKind::kHostFull) {
        media.fill_host(media.model.host_bytes);
        lasts(time, [&media] { media.fill_host(0); });
        return true;
    }
    MediaFaults& faults = media.find(fault.path)->faults;
    if (kind == FaultKind::kStuckDisk) {
        faults.stuck_until = std::max(faults.stuck_until, world_.now() + time);
        return true;
    }
    faults.slow_factor = static_cast<u32>(2 + prng().below(100));
    // By name: the file may be gone by then.
    lasts(time, [&media, path = fault.path] {
        if (MediaFile* const file = media.find(path)) file->faults.slow_factor = 1;
    });
    return true;
}

void FaultDriver::remember_devices() {
    for (u32 index = 0; index < world_.node_count(); ++index) {
        Media& media = world_.node(index).media();
        for (std::string const& path : media.paths()) {
            if (!prng().chance(1, 2) && memories_.contains({index, path})) continue;
            memories_.insert_or_assign({index, path}, media.find(path)->snapshot());
        }
    }
}

// The machine goes down; when it comes back its device is missing, or as it was some time ago.
bool FaultDriver::replace_device(FaultKind kind) {
    Node* const node = draw_available();
    bool const rolls_back = kind == FaultKind::kDeviceRollback;
    Fault fault{kind, node ? node->index() : 0, {}, {}, 0, 0};
    std::optional<PageMap> memory;
    bool fits = node != nullptr && may_take(1);
    if (fits) {
        auto const paths = node->media().paths();
        fits = !paths.empty();
        if (fits) fault.path = paths[prng().below(paths.size())];
        auto const found = memories_.find({fault.node, fault.path});
        // The program may have made the file anew, in another size.
        if (found != memories_.end() && fits &&
            found->second.has_size_of(node->media().find(fault.path)->snapshot())) {
            memory = found->second;
        }
        fits = fits && (!rolls_back || memory.has_value()) && allowed(fault);
    }
    if (rolls_back) remember_devices();
    if (!fits) return false;
    note(fault);
    take(fault.node);
    node->crash(Ending::kPower);
    if (rolls_back) {
        node->media().find(fault.path)->roll_back(*std::move(memory));
    } else {
        node->media().erase(fault.path);
    }
    lasts(draw_outage(), [this, node, fault] {
        give_back(fault.node);
        revive(*node, fault);
    });
    return true;
}

}  // namespace corelet::sim
