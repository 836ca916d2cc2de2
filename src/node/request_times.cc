#include "node/request_times.h"

namespace corelet {

// What fails says nothing of how fast it is.
Task<Result<BufferChain>> TimedDevice::read(u64 offset, u32 length) {
    Clock& clock = clock_;
    auto const times = times_;
    Instant const began = clock.now();
    auto result = co_await device_.read(offset, length);
    if (result) times->reads.took(length, clock.now() - began);
    co_return result;
}

Task<Result<void>> TimedDevice::write(u64 offset, BufferChain data, bool fua) {
    Clock& clock = clock_;
    auto const times = times_;
    u64 const bytes = data.size();
    Instant const began = clock.now();
    auto result = co_await device_.write(offset, std::move(data), fua);
    if (result) times->writes.took(bytes, clock.now() - began);
    co_return result;
}

}  // namespace corelet
