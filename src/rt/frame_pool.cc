#include "rt/frame_pool.h"

#include <array>
#include <cstdlib>

#include "base/assert.h"

namespace corelet {

namespace {

constexpr usize k_class_bytes = 64;
constexpr usize k_classes = 32;          // frames up to 2 KiB; larger ones are rare and go to malloc
constexpr usize k_kept_bytes = 1 << 20;  // a class keeps at most this much for reuse

struct FreeFrame {
    FreeFrame* next;
};

struct Pool {
    struct Class {
        FreeFrame* head = nullptr;
        usize kept = 0;
    };
    std::array<Class, k_classes> classes;
    usize in_use = 0;
    ~Pool() {
        for (Class& c : classes)
            while (c.head) std::free(std::exchange(c.head, c.head->next));
    }
};

Pool& pool() {
    static thread_local Pool instance;
    return instance;
}

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr bool k_recycle = false;  // let the sanitizer see every use after free
#else
constexpr bool k_recycle = true;
#endif
#endif

}  // namespace

void* allocate_frame(usize size) {
    usize const index = (size - 1) / k_class_bytes;
    Pool& p = pool();
    p.in_use += size;
    if (k_recycle && index < k_classes && p.classes[index].head) {
        auto& c = p.classes[index];
        --c.kept;
        return std::exchange(c.head, c.head->next);
    }
    void* const memory = std::malloc(k_recycle ? (index + 1) * k_class_bytes : size);
    CORELET_ASSERT(memory != nullptr, "out of memory");
    return memory;
}

void free_frame(void* memory, usize size) noexcept {
    usize const index = (size - 1) / k_class_bytes;
    Pool& p = pool();
    p.in_use -= size;
    if (!k_recycle || index >= k_classes || p.classes[index].kept * (index + 1) * k_class_bytes >= k_kept_bytes) {
        std::free(memory);
        return;
    }
    auto& c = p.classes[index];
    auto* const frame = static_cast<FreeFrame*>(memory);
    frame->next = c.head;
    c.head = frame;
    ++c.kept;
}

usize frame_bytes_in_use() {
    return pool().in_use;
}

}  // namespace corelet
