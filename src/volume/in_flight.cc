#include "volume/in_flight.h"

namespace corelet {

namespace {
bool overlap(const Extent& a, const Extent& b) {
    return a.lba < b.end() && b.lba < a.end();
}
}  // namespace

std::optional<Buffer> InFlight::newest(u64 lba) {
    std::optional<Buffer> found;
    sent_.for_each([&](Sent& sent) {
        u64 before = 0;  // blocks of the extents passed
        for (const Extent& extent : sent.extents) {
            if (lba >= extent.lba && lba < extent.end()) {
                u64 const at = (before + lba - extent.lba) * k_block_bytes;
                found = sent.blocks.empty() ? Buffer() : sent.blocks.slice(at, k_block_bytes).flatten();
            }
            before += extent.count;
        }
    });
    return found;
}

void InFlight::acknowledged(u64 ticket) {
    sent_.for_each([&](Sent& sent) {
        if (sent.ticket == ticket) sent.unlink();
    });
}

void RangeLocks::Held::release() {
    if (!owner_) return;
    unlink();
    std::exchange(owner_, nullptr)->released_.notify_all();
}

bool RangeLocks::is_first(const Held& held) {
    bool first = true;
    bool passed = false;
    locks_.for_each([&](Held& other) {
        passed = passed || &other == &held;
        if (!passed && overlap(other.extent_, held.extent_)) first = false;
    });
    return first;
}

Task<void> RangeLocks::lock(Held& held, Extent extent) {
    CORELET_ASSERT(!held.is_linked());
    held.owner_ = this;
    held.extent_ = extent;
    locks_.push_back(held);
    while (!is_first(held)) co_await released_.wait();
}

}  // namespace corelet
