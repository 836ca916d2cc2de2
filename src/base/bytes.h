// Byte ranges and reference-counted buffers.
//
// Buffer is a slice of an immutable-once-shared, 4 KiB-aligned allocation; copies share it and cost an atomic
// increment, so that one payload travels from socket to device and to several peers without being copied. I/O takes
// Buffers by value: a dropped operation keeps its memory alive until the kernel is done with it.
#pragma once

#include <atomic>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "base/types.h"

namespace corelet {

using Bytes = std::span<const u8>;
using MutableBytes = std::span<u8>;

[[nodiscard]] inline Bytes as_bytes(std::string_view text) {
    return {reinterpret_cast<const u8*>(text.data()), text.size()};
}
[[nodiscard]] inline std::string_view as_text(Bytes bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
[[nodiscard]] bool is_all_zero(Bytes bytes);

class Buffer {
  public:
    Buffer() = default;
    // Uninitialised / zeroed memory of `size` bytes, start aligned to 4 KiB. Aborts when memory is exhausted.
    [[nodiscard]] static Buffer allocate(usize size);
    [[nodiscard]] static Buffer zeroed(usize size);
    [[nodiscard]] static Buffer copy_of(Bytes bytes);

    Buffer(const Buffer& other) noexcept : block_(other.block_), data_(other.data_), size_(other.size_) {
        if (block_) block_->references.fetch_add(1, std::memory_order_relaxed);
    }
    Buffer(Buffer&& other) noexcept
        : block_(std::exchange(other.block_, nullptr)),
          data_(std::exchange(other.data_, nullptr)),
          size_(std::exchange(other.size_, 0)) {}
    Buffer& operator=(Buffer other) noexcept {
        std::swap(block_, other.block_);
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~Buffer() {
        if (block_) release();
    }

    [[nodiscard]] usize size() const { return size_; }
    [[nodiscard]] bool empty() const { return size_ == 0; }
    [[nodiscard]] const u8* data() const { return data_; }
    [[nodiscard]] Bytes bytes() const { return {data_, size_}; }
    operator Bytes() const { return bytes(); }  // NOLINT: a Buffer is its bytes
    // For the one who fills it, before it is shared.
    [[nodiscard]] u8* mutable_data() { return data_; }
    [[nodiscard]] MutableBytes mutable_bytes() { return {data_, size_}; }
    // A part of it, sharing the memory.
    [[nodiscard]] Buffer slice(usize offset, usize size) const {
        CORELET_ASSERT(offset <= size_ && size <= size_ - offset);
        Buffer part(*this);
        part.data_ += offset;
        part.size_ = size;
        return part;
    }
    [[nodiscard]] Buffer slice(usize offset) const { return slice(offset, size_ - offset); }
    [[nodiscard]] bool is_aligned(usize alignment) const {
        return reinterpret_cast<std::uintptr_t>(data_) % alignment == 0;
    }
    // Bytes of memory that this buffer keeps alive, for accounting.
    [[nodiscard]] usize allocation_bytes() const { return block_ ? block_->capacity : 0; }

  private:
    struct Block {
        std::atomic<u32> references;
        usize capacity;
    };
    void release() noexcept;
    Block* block_ = nullptr;
    u8* data_ = nullptr;
    usize size_ = 0;
};

// Several buffers that read as one: what a vectored write takes.
class BufferChain {
  public:
    BufferChain() = default;
    BufferChain(Buffer one) { append(std::move(one)); }  // NOLINT: a buffer is a chain of one
    void append(Buffer part) {
        if (part.empty()) return;
        size_ += part.size();
        parts_.push_back(std::move(part));
    }
    void append(const BufferChain& other) {
        for (const Buffer& part : other.parts_) append(part);
    }
    [[nodiscard]] usize size() const { return size_; }
    [[nodiscard]] bool empty() const { return size_ == 0; }
    [[nodiscard]] const std::vector<Buffer>& parts() const { return parts_; }
    // One contiguous, aligned buffer; shares memory if it already is one part.
    [[nodiscard]] Buffer flatten() const;
    // Bytes [offset, offset + size) as a chain that shares the memory.
    [[nodiscard]] BufferChain slice(usize offset, usize size) const;
    void clear() {
        parts_.clear();
        size_ = 0;
    }

  private:
    std::vector<Buffer> parts_;
    usize size_ = 0;
};

}  // namespace corelet
