// Who may take how much: the system's reserve, reservations, and space for logs that was written once before.
#include <fmt/format.h>

#include "device/store_core.h"

namespace corelet {

namespace {
constexpr u64 k_zero_units = 16;  // 1 MiB a write
}  // namespace

Reservation::Reservation(Reservation&& other) noexcept
    : core_(std::exchange(other.core_, nullptr)), units_(std::exchange(other.units_, 0)) {}
Reservation& Reservation::operator=(Reservation&& other) noexcept {
    std::swap(core_, other.core_);
    std::swap(units_, other.units_);
    return *this;
}
Reservation::~Reservation() {
    if (core_) core_->give_back(units_);
}
Reservation Reservation::split(u64 units) {
    u64 const part = std::min(units, units_);
    units_ -= part;
    return Reservation(core_, part);
}

void StoreCore::give_back(u64 units) {
    CORELET_ASSERT(units <= reserved_units_);
    reserved_units_ -= units;
}

u64 StoreCore::system_reserve_units() const {
    // On a small device a twentieth would be less than a segment of the log.
    u64 const least = std::min(k_system_reserve_min / k_unit_bytes, space_->units() / 5);
    return std::max(div_ceil(space_->units() * 5, 100), least);
}

u64 StoreCore::kept_from(SpaceClass space) const {
    switch (space) {
        case SpaceClass::kClient:
            return system_reserve_units();
        case SpaceClass::kPacking:
            return system_reserve_units() / 2;
        case SpaceClass::kLog:
            return system_reserve_units() / 4;
        case SpaceClass::kCheckpoint:
            return 0;
    }
    CORELET_UNREACHABLE("not a class of space");
}

u64 StoreCore::available_units(SpaceClass space) const {
    u64 const kept = reserved_units_ + kept_from(space);
    return space_->free_units() > kept ? space_->free_units() - kept : 0;
}

SpaceUse StoreCore::space_use() const {
    SpaceUse use;
    use.capacity_bytes = space_->units() * k_unit_bytes;
    use.used_bytes = (space_->units() - space_->free_units()) * k_unit_bytes;
    use.reserved_bytes = reserved_units_ * k_unit_bytes;
    use.system_reserve_bytes = system_reserve_units() * k_unit_bytes;
    return use;
}

Result<Reservation> StoreCore::reserve_units(u64 units, SpaceClass space) {
    if (units > available_units(space))
        return fail(Code::kNoSpace, fmt::format("the device is full: {} KiB are wanted, {} KiB are available",
                                                units * k_unit_bytes / k_kib, available_bytes(space) / k_kib));
    reserved_units_ += units;
    return Reservation(this, units);
}

Result<Reservation> StoreCore::reserve(u64 bytes, SpaceClass space) {
    TRY_VOID(may_change());
    return reserve_units(div_ceil(bytes, k_unit_bytes), space);
}

// Scattered fragments have longer headers, hence perhaps one unit more: tried until what is taken fits.
Result<std::vector<UnitExtent>> StoreCore::take_fragment_space(u64 blocks, SpaceClass space,
                                                               Reservation& promised) {
    u64 units = fragment_units(blocks);
    for (;;) {
        u64 const more = units > promised.units_ ? units - promised.units_ : 0;
        if (more > 0) {
            TRY(Reservation extra, reserve_units(more, space));
            promised.units_ += std::exchange(extra.units_, 0);
            promised.core_ = this;
        }
        std::vector<UnitExtent> extents = space_->allocate(units);
        CORELET_ASSERT(!extents.empty(), "what is reserved is free");
        FragmentShape const shape = fragment_shape(blocks, extents.size(), false);
        bool const header_fits = extents.front().units * k_unit_blocks >= shape.header_blocks;
        if (shape.total_units == units && header_fits) {
            promised = Reservation();  // used up, or more than was needed: given back
            space_taken_.notify_all();
            return extents;
        }
        space_->release(extents);
        if (!header_fits) return fail(Code::kNoSpace, "free space is too scattered");
        units = shape.total_units;
    }
}

Task<Result<void>> StoreCore::zero(UnitExtent extent, IoClass io) {
    if (zeros_.empty()) zeros_ = Buffer::zeroed(k_unit_bytes);
    for (u64 unit = extent.start; unit < extent.end(); unit += k_zero_units) {
        BufferChain zeros;
        for (u64 i = std::min<u64>(k_zero_units, extent.end() - unit); i > 0; --i) zeros.append(zeros_);
        usize const bytes = zeros.size();
        // Durable, so that no zeros of this write ever come after a record in the same place.
        CO_TRY_VOID(
            co_await io_.write(super_.layout.device_offset(unit), std::move(zeros), Durability::kDurable, io));
        io_.telemetry().zeroed_bytes += bytes;
    }
    co_return Result<void>{};
}

// Written space if there is; else fresh space, zeroed here.
Task<Result<std::vector<UnitExtent>>> StoreCore::take_log_space(u64 units, SpaceClass space) {
    CO_TRY(Reservation promised, reserve_units(units, space));
    std::vector<UnitExtent> extents = space_->allocate_written(units);
    if (extents.empty()) {
        UnitExtent const fresh = space_->take_frontier(units);
        if (fresh.units > 0) extents.push_back(fresh);
        if (fresh.units < units) {
            std::vector<UnitExtent> const rest = space_->allocate_written(units - fresh.units);
            CORELET_ASSERT(!rest.empty(), "what is reserved is free");
            extents.insert(extents.end(), rest.begin(), rest.end());
        }
        promised = Reservation();
        if (fresh.units > 0) CO_TRY_VOID(co_await zero(fresh, IoClass::kClient));
    }
    promised = Reservation();
    space_taken_.notify_all();
    co_return extents;
}

// Keeps some written space ready, and the frontier on record so that the next mount need not do it again.
Task<void> StoreCore::zero_ahead_loop() {
    u64 const target = std::min(options_.log_ahead_bytes / k_unit_bytes, space_->units() / 64);
    while (!io_.is_failing() && !has_forgotten()) {
        bool const enough = space_->free_written_units() >= target || space_->frontier() == space_->units();
        if (!enough) {
            UnitExtent const extent = space_->take_frontier(k_zero_units);
            if (!co_await zero(extent, IoClass::kScrub)) co_return;
            space_->release(extent);
            continue;
        }
        if (space_->frontier() > meta_.frontier() + target / 2)
            if (!co_await commit(records::frontier(space_->frontier()))) co_return;
        co_await space_taken_.wait();
    }
}

}  // namespace corelet
