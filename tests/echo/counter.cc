#include "counter.h"

#include <cstring>

#include "base/checksum.h"

namespace corelet::echo {

namespace {

struct Slot {
    u64 value;
    u32 crc;
    u32 copies;  // the value repeated over all sectors, so that a torn slot shows
};
constexpr usize k_sector = 512;

u32 crc_of(u64 value) {
    return crc32c(Bytes(reinterpret_cast<const u8*>(&value), sizeof(value)));
}

Buffer encode(u64 value) {
    Buffer out = Buffer::zeroed(k_block_bytes);
    Slot const slot{value, crc_of(value), 8};
    for (usize at = 0; at < k_block_bytes; at += k_sector)
        std::memcpy(out.mutable_data() + at, &slot, sizeof(slot));
    return out;
}

std::optional<u64> decode(Bytes block) {
    Slot first{};
    std::memcpy(&first, block.data(), sizeof(first));
    if (first.copies != 8 || first.crc != crc_of(first.value)) return std::nullopt;
    for (usize at = k_sector; at < k_block_bytes; at += k_sector) {
        if (std::memcmp(block.data() + at, &first, sizeof(first)) != 0) return std::nullopt;
    }
    return first.value;
}

}  // namespace

Task<Result<std::unique_ptr<Counter>>> Counter::open(Disk& disk, std::string path) {
    CO_TRY(bool const exists, co_await disk.exists(path));
    OpenOptions options;
    options.create = !exists;
    options.size_bytes = 2 * k_block_bytes;
    CO_TRY(auto file, co_await disk.open(std::move(path), options));
    std::unique_ptr<Counter> counter(new Counter(std::move(file)));
    CO_TRY_VOID(co_await counter->load());
    co_return counter;
}

Task<Result<void>> Counter::load() {
    CO_TRY(Buffer const slots, co_await file_->read(0, 2 * k_block_bytes));
    for (usize i = 0; i < 2; ++i) {
        Buffer const block = slots.slice(i * k_block_bytes, k_block_bytes);
        if (is_all_zero(block)) continue;
        value_ = std::max(value_, decode(block).value_or(0));
    }
    co_return Result<void>();
}

Task<Result<u64>> Counter::increment() {
    if (failed_) co_return fail(Code::kIo, "an earlier write failed");
    u64 const next = value_ + 1;
    // Until it is known to be durable, nothing more is written: a dropped increment leaves the counter unusable.
    failed_ = true;
    u64 const offset = next % 2 * k_block_bytes;
    CO_TRY_VOID(co_await file_->write(offset, encode(next), Durability::kBuffered));
    CO_TRY_VOID(co_await file_->flush());
    failed_ = false;
    value_ = next;
    co_return next;
}

}  // namespace corelet::echo
