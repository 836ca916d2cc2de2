#include "rt/frame_pool.h"

#include <gtest/gtest.h>

#include "rt/scope.h"
#include "rt/sync.h"

namespace corelet {
namespace {

#if __has_feature(address_sanitizer)
constexpr bool k_recycles = false;  // so that the sanitizer sees a use after free
#else
constexpr bool k_recycles = true;
#endif

TEST(FramePool, AFreedFrameIsTheNextOneOfItsClass) {
    usize const before = frame_bytes_in_use();
    void* const first = allocate_frame(100);
    EXPECT_EQ(frame_bytes_in_use(), before + 100);
    void* const beside = allocate_frame(100);
    EXPECT_NE(first, beside);
    free_frame(first, 100);
    void* const again = allocate_frame(128);  // the same 64 bytes up
    if (k_recycles) EXPECT_EQ(again, first);
    std::memset(again, 0xFF, 128);
    void* const other = allocate_frame(129);
    EXPECT_NE(other, first);
    free_frame(again, 128);
    free_frame(beside, 100);
    free_frame(other, 129);
    EXPECT_EQ(frame_bytes_in_use(), before);
}

TEST(FramePool, FramesOfAnySizeAreWhole) {
    usize const before = frame_bytes_in_use();
    std::vector<std::pair<void*, usize>> frames;
    for (usize size : {1, 63, 64, 65, 2047, 2048, 2049, 100'000}) {
        for (int i = 0; i < 3; ++i) {
            void* const frame = allocate_frame(size);
            EXPECT_EQ(reinterpret_cast<std::uintptr_t>(frame) % alignof(std::max_align_t), 0U);
            std::memset(frame, static_cast<int>(frames.size()), size);
            frames.emplace_back(frame, size);
        }
    }
    for (usize i = 0; i < frames.size(); ++i) {
        const u8* const bytes = static_cast<const u8*>(frames[i].first);
        EXPECT_TRUE(
            std::all_of(bytes, bytes + frames[i].second, [&](u8 byte) { return byte == static_cast<u8>(i); }));
        free_frame(frames[i].first, frames[i].second);
    }
    EXPECT_EQ(frame_bytes_in_use(), before);
}

Task<u64> sum_below(u64 n) {
    co_return n == 0 ? 0 : n + co_await sum_below(n - 1);
}
Task<void> add_up(u64 n, u64* out) {
    *out += co_await sum_below(n);
}
Task<void> wait_for(Notify* notify) {
    co_await notify->wait();
}

// Finished, dropped while suspended, never started: each gives its frames back.
TEST(FramePool, TasksGiveTheirFramesBackHoweverTheyEnd) {
    usize const before = frame_bytes_in_use();
    {
        Executor executor;
        Notify never;
        Scope scope(executor);
        u64 sum = 0;
        for (u64 i = 0; i < 1000; ++i) scope.spawn(add_up(i % 7, &sum));
        for (int i = 0; i < 100; ++i) scope.spawn(wait_for(&never));
        executor.run_ready();
        EXPECT_GT(sum, 0U);
        EXPECT_GT(frame_bytes_in_use(), before);
        Task<u64> const unstarted = sum_below(3);
        scope.cancel();
    }
    EXPECT_EQ(frame_bytes_in_use(), before);
}

}  // namespace
}  // namespace corelet
