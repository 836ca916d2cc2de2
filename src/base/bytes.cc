#include "base/bytes.h"

#include <array>
#include <cstdlib>
#include <cstring>
#include <new>

namespace corelet {

namespace {
// The block's header lies in a page of its own before the data, so that data start aligned to 4 KiB; small buffers
// pay less: they are aligned to 64 bytes only up to half a block.
constexpr usize k_header_bytes = 64;

// What is freed is kept for the next buffer of its size, by thread: buffers come and go with every message, in few
// sizes, and glibc has no quick way for aligned memory. Nothing is kept under ASan, which shall see each use after
// free.
class BufferPool {
  public:
    BufferPool() = default;
    BufferPool(const BufferPool&) = delete;
    BufferPool& operator=(const BufferPool&) = delete;
    ~BufferPool() {
        clear();
        gone = true;
    }
    // Null: nothing of this size is kept.
    [[nodiscard]] u8* take(usize total) {
        Free** const head = bin(total);
        if (!head || !*head) return nullptr;
        kept_bytes_ -= total;
        return reinterpret_cast<u8*>(std::exchange(*head, (*head)->next));
    }
    [[nodiscard]] bool keep(u8* memory, usize total) {
        Free** const head = bin(total);
        if (!head || gone) return false;
        // Full of sizes that nobody asks for any more, perhaps.
        if (kept_bytes_ + total > k_kept_bytes_max) clear();
        kept_bytes_ += total;
        *head = new (memory) Free{*head};
        return true;
    }

    static thread_local bool gone;  // global: a buffer may be freed after its thread's pool

  private:
    struct Free {
        Free* next;
    };
    static constexpr usize k_kept_bytes_max = 16 * k_mib;
    static constexpr usize k_small_bytes_max = 2112;  // header and less than half a block
    static constexpr usize k_small_bins = k_small_bytes_max / k_header_bytes + 1;
    static constexpr usize k_large_bins = 1026;  // by pages, up to 4 MiB
    static_assert(sizeof(Free) <= k_header_bytes);

    [[nodiscard]] Free** bin(usize total) {
        usize const index =
            total <= k_small_bytes_max ? total / k_header_bytes : k_small_bins + total / k_block_bytes;
        return index < bins_.size() ? &bins_[index] : nullptr;
    }
    void clear() {
        for (Free*& head : bins_)
            while (head) std::free(std::exchange(head, head->next));
        kept_bytes_ = 0;
    }
    std::array<Free*, k_small_bins + k_large_bins> bins_{};
    usize kept_bytes_ = 0;
};
thread_local bool BufferPool::gone = false;  // global: as above

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr bool k_recycle = false;
#else
constexpr bool k_recycle = true;
#endif
#endif

BufferPool& pool() {
    static thread_local BufferPool instance;  // global: only memory that nobody uses
    return instance;
}

u8* take_memory(usize total, usize alignment) {
    if (k_recycle && !BufferPool::gone)
        if (u8* const kept = pool().take(total)) return kept;
    return static_cast<u8*>(std::aligned_alloc(alignment, total));
}

void give_memory(u8* memory, usize total) {
    if (k_recycle && !BufferPool::gone && pool().keep(memory, total)) return;
    std::free(memory);
}
}  // namespace

bool is_all_zero(Bytes bytes) {
    return bytes.empty() || (bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

Buffer Buffer::allocate(usize size) {
    Buffer out;
    if (size == 0) return out;
    bool const aligned = size >= k_block_bytes / 2;
    usize const lead = aligned ? k_block_bytes : k_header_bytes;
    usize const total = lead + round_up(size, aligned ? k_block_bytes : k_header_bytes);
    u8* const memory = take_memory(total, aligned ? k_block_bytes : k_header_bytes);
    CORELET_ASSERT(memory != nullptr, "out of memory");
    // The header sits right before the data.
    out.block_ = new (memory + lead - k_header_bytes) Block{1, total - lead};
    out.data_ = memory + lead;
    out.size_ = size;
    return out;
}

Buffer Buffer::zeroed(usize size) {
    Buffer out = allocate(size);
    if (size != 0) std::memset(out.data_, 0, size);
    return out;
}

Buffer Buffer::copy_of(Bytes bytes) {
    Buffer out = allocate(bytes.size());
    if (!bytes.empty()) std::memcpy(out.data_, bytes.data(), bytes.size());
    return out;
}

void Buffer::release() noexcept {
    if (block_->references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    bool const aligned = block_->capacity % k_block_bytes == 0;
    u8* const header = reinterpret_cast<u8*>(block_);
    usize const lead = aligned ? k_block_bytes : k_header_bytes;
    u8* const memory = header + k_header_bytes - lead;
    usize const total = lead + block_->capacity;
    block_->~Block();
    give_memory(memory, total);
}

Buffer BufferChain::flatten() const {
    if (parts_.size() == 1) return parts_.front();
    Buffer out = Buffer::allocate(size_);
    usize at = 0;
    for (const Buffer& part : parts_) {
        std::memcpy(out.mutable_data() + at, part.data(), part.size());
        at += part.size();
    }
    CORELET_ASSERT(at == size_);
    return out;
}

BufferChain BufferChain::slice(usize offset, usize size) const {
    CORELET_ASSERT(offset <= size_ && size <= size_ - offset);
    BufferChain out;
    for (const Buffer& part : parts_) {
        if (size == 0) break;
        if (offset >= part.size()) {
            offset -= part.size();
            continue;
        }
        usize const take = std::min(size, part.size() - offset);
        out.append(part.slice(offset, take));
        offset = 0;
        size -= take;
    }
    return out;
}

}  // namespace corelet
