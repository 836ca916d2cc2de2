#include "heal/scrub_schedule.h"

#include <algorithm>

#include "heal/heal.pb.h"

namespace corelet {

namespace {
WallTime wall_of(i64 ms) {
    constexpr i64 k_most = INT64_MAX / 1'000'000;
    return WallTime{std::clamp<i64>(ms, 0, k_most) * 1'000'000};
}
}  // namespace

ScrubSchedule::ScrubSchedule(Options options, const std::optional<std::vector<u8>>& note, WallTime now)
    : options_(options), began_(now) {
    pb::ScrubMemory memory;
    if (!note || !memory.ParseFromArray(note->data(), static_cast<int>(note->size()))) return;
    if (memory.position() >= 256) return;
    if (memory.under_way()) {
        position_ = FragmentId{ChunkId{SpaceId(memory.space()), memory.seq()}, static_cast<u8>(memory.position())};
        read_ = memory.read_bytes();
        // A pass that begins in the future was begun by a clock that has been set back since.
        began_ = std::min(wall_of(memory.began_wall_ms()), now);
    }
    if (memory.ended_wall_ms() != 0) last_ended_ = wall_of(memory.ended_wall_ms());
    passes_ = memory.passes();
}

// What is left of the pass in what is left of its time, with a tenth of it to spare.
u64 ScrubSchedule::bytes_per_second(u64 held_bytes, WallTime now) const {
    u64 const whole = static_cast<u64>(std::max<i64>(options_.full_pass.ns / 1'000'000'000 * 9 / 10, 1));
    u64 const gone = static_cast<u64>(std::max<i64>((now.unix_ns - began_.unix_ns) / 1'000'000'000, 0));
    u64 const left = gone < whole ? whole - gone : 1;
    u64 const unread = held_bytes > read_ ? held_bytes - read_ : 0;
    u64 const rush = div_ceil(held_bytes, whole) * k_rush;
    return std::max(options_.least_bytes_per_second, std::min(div_ceil(unread, left), rush));
}

void ScrubSchedule::done(const FragmentId& id, u64 bytes) {
    position_ = id;
    read_ += bytes;
    unsaved_ += bytes;
}

void ScrubSchedule::pass_ended(WallTime now) {
    position_.reset();
    read_ = 0;
    began_ = now;
    last_ended_ = now;
    ++passes_;
    unsaved_ = k_save_bytes;
}

u32 ScrubSchedule::permille(u64 held_bytes) const {
    if (held_bytes == 0) return 0;
    return static_cast<u32>(std::min<u128>(static_cast<u128>(read_) * 1000 / held_bytes, 1000));
}

std::vector<u8> ScrubSchedule::save() {
    unsaved_ = 0;
    pb::ScrubMemory memory;
    if (position_) {
        memory.set_under_way(true);
        memory.set_space(position_->chunk.space.v);
        memory.set_seq(position_->chunk.seq);
        memory.set_position(position_->position);
        memory.set_read_bytes(read_);
        memory.set_began_wall_ms(began_.unix_ns / 1'000'000);
    }
    if (last_ended_) memory.set_ended_wall_ms(last_ended_->unix_ns / 1'000'000);
    memory.set_passes(passes_);
    std::string const bytes = memory.SerializeAsString();
    return {bytes.begin(), bytes.end()};
}

}  // namespace corelet
