#include "os/host_testing.h"

#include <cstdlib>

namespace corelet::os {

void HostTest::SetUp() {
    HostOptions options;
    options.loop.engine = GetParam();
    auto host = Host::create(options);
    if (!host && GetParam() == Engine::kUring) GTEST_SKIP() << host.error().to_string();
    ASSERT_TRUE(host.has_value());
    host_ = *std::move(host);
    directory_ = (std::filesystem::temp_directory_path() / "corelet-os-XXXXXX").string();
    ASSERT_NE(::mkdtemp(directory_.data()), nullptr);
}

void HostTest::TearDown() {
    wake_.disarm();
    host_.reset();
    if (!directory_.empty()) std::filesystem::remove_all(directory_);
}

Buffer pattern(usize count, u64 seed) {
    Buffer out = Buffer::allocate(count);
    Prng random(seed);
    usize at = 0;
    for (; at + 8 <= count; at += 8) {
        u64 const word = random.next();
        std::memcpy(out.mutable_data() + at, &word, 8);
    }
    for (; at < count; ++at) out.mutable_data()[at] = static_cast<u8>(random.next());
    return out;
}

}  // namespace corelet::os
