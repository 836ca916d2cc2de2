// A block device in memory, for tests: with holes, a limit of space, injected failures, and requests that wait
// until told to go on.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "rt/sync.h"
#include "volume/block_device.h"

namespace corelet::nbd {

class MemoryBlockDevice final : public BlockDevice {
  public:
    explicit MemoryBlockDevice(u64 size_bytes)
        : bytes_(static_cast<u8*>(std::calloc(size_bytes, 1)), &std::free),
          size_bytes_(size_bytes),
          allocated_(div_ceil(size_bytes, k_block_bytes)) {
        CORELET_ASSERT(bytes_ != nullptr);
        gate_.set();
    }

    // What tests say of it.
    bool volatile_cache = false;
    u64 blocks_max = UINT64_MAX;    // writes that need more answer kNoSpace
    std::optional<Code> fail_all;   // every operation
    std::map<u64, Code> fail_at;    // operations that touch the block with this offset
    void hold() { gate_.reset(); }  // operations wait
    void release() { gate_.set(); }

    // What it saw.
    struct Seen {
        u64 reads = 0;
        u64 writes = 0;
        u64 fua = 0;
        u64 flushes = 0;
        u64 trims = 0;
        u64 zeroes = 0;
        u64 zeroes_without_holes = 0;
        u64 waiting = 0;
        u64 unaligned_buffers = 0;
    };
    Seen seen;
    [[nodiscard]] u8* bytes() { return bytes_.get(); }

    [[nodiscard]] u64 size_bytes() const override { return size_bytes_; }
    [[nodiscard]] bool has_volatile_cache() const override { return volatile_cache; }

    [[nodiscard]] Task<Result<BufferChain>> read(u64 offset, u32 length) override {
        check_range(offset, length);
        ++seen.reads;
        CO_TRY_VOID(co_await admit(offset, length));
        Buffer out = Buffer::allocate(length);
        std::memcpy(out.mutable_data(), bytes_.get() + offset, length);
        co_return BufferChain(std::move(out));
    }

    [[nodiscard]] Task<Result<void>> write(u64 offset, BufferChain data, bool fua) override {
        check_range(offset, data.size());
        ++seen.writes;
        seen.fua += fua ? 1 : 0;
        for (const Buffer& part : data.parts()) {
            if (part.size() >= k_block_bytes && !part.is_aligned(k_block_bytes)) ++seen.unaligned_buffers;
        }
        CO_TRY_VOID(co_await admit(offset, data.size()));
        if (!allocate(offset, data.size())) co_return fail(Code::kNoSpace, "the test's device is full");
        for (const Buffer& part : data.parts()) {
            std::memcpy(bytes_.get() + offset, part.data(), part.size());
            offset += part.size();
        }
        co_return Result<void>();
    }

    [[nodiscard]] Task<Result<void>> flush() override {
        ++seen.flushes;
        CO_TRY_VOID(co_await admit(0, 0));
        co_return Result<void>();
    }

    [[nodiscard]] Task<Result<void>> trim(u64 offset, u64 length, bool fua) override {
        check_range(offset, length);
        ++seen.trims;
        seen.fua += fua ? 1 : 0;
        CO_TRY_VOID(co_await admit(offset, length));
        clear(offset, length);
        co_return Result<void>();
    }

    [[nodiscard]] Task<Result<void>> write_zeroes(u64 offset, u64 length, bool may_trim, bool fua) override {
        check_range(offset, length);
        ++seen.zeroes;
        seen.zeroes_without_holes += may_trim ? 0 : 1;
        seen.fua += fua ? 1 : 0;
        CO_TRY_VOID(co_await admit(offset, length));
        if (may_trim) {
            clear(offset, length);
        } else {
            if (!allocate(offset, length)) co_return fail(Code::kNoSpace, "the test's device is full");
            std::memset(bytes_.get() + offset, 0, length);
        }
        co_return Result<void>();
    }

    [[nodiscard]] Task<Result<std::vector<BlockStatusExtent>>> block_status(u64 offset, u64 length) override {
        check_range(offset, length);
        CO_TRY_VOID(co_await admit(offset, length));
        std::vector<BlockStatusExtent> extents;
        for (u64 at = offset; at < offset + length;) {
            u64 const next = std::min(offset + length, round_down(at, k_block_bytes) + k_block_bytes);
            bool const hole = !allocated_[at / k_block_bytes];
            if (!extents.empty() && extents.back().is_hole == hole) {
                extents.back().length_bytes += next - at;
            } else {
                extents.push_back({next - at, hole, hole});
            }
            at = next;
        }
        co_return extents;
    }

  private:
    void check_range(u64 offset, u64 length) const {
        CORELET_ASSERT(length > 0 && offset % 512 == 0 && length % 512 == 0);
        CORELET_ASSERT(offset <= size_bytes_ && length <= size_bytes_ - offset);
    }
    Task<Result<void>> admit(u64 offset, u64 length) {
        ++seen.waiting;
        while (!gate_.is_set()) co_await gate_.wait();
        --seen.waiting;
        if (fail_all) co_return fail(*fail_all, "the test said so");
        auto const failing = fail_at.lower_bound(round_down(offset, k_block_bytes));
        if (failing != fail_at.end() && failing->first < offset + length)
            co_return fail(failing->second, "the test said so");
        co_return Result<void>();
    }
    bool allocate(u64 offset, u64 length) {
        u64 wanted = 0;
        u64 const last = (offset + length - 1) / k_block_bytes;
        for (u64 block = offset / k_block_bytes; block <= last; ++block) wanted += allocated_[block] ? 0 : 1;
        if (blocks_ + wanted > blocks_max) return false;
        for (u64 block = offset / k_block_bytes; block <= last; ++block) allocated_[block] = true;
        blocks_ += wanted;
        return true;
    }
    void clear(u64 offset, u64 length) {
        std::memset(bytes_.get() + offset, 0, length);
        for (u64 block = div_ceil(offset, k_block_bytes); (block + 1) * k_block_bytes <= offset + length; ++block) {
            blocks_ -= allocated_[block] ? 1 : 0;
            allocated_[block] = false;
        }
    }

    std::unique_ptr<u8[], void (*)(void*)> bytes_;
    u64 size_bytes_;
    std::vector<bool> allocated_;
    u64 blocks_ = 0;
    Event gate_;
};

}  // namespace corelet::nbd
