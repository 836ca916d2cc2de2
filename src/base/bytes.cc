#include "base/bytes.h"

#include <cstdlib>
#include <cstring>
#include <new>

namespace corelet {

namespace {
// The block's header lies in a page of its own before the data, so that data start aligned to 4 KiB; small buffers
// pay less: they are aligned to 64 bytes only up to half a block.
constexpr usize k_header_bytes = 64;
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
    auto* memory = static_cast<u8*>(std::aligned_alloc(aligned ? k_block_bytes : k_header_bytes, total));
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
    u8* const memory = aligned ? header + k_header_bytes - k_block_bytes : header;
    block_->~Block();
    std::free(memory);
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
