#include "device/device_io.h"

#include <fmt/format.h>

namespace corelet {

DeviceIo::DeviceIo(std::unique_ptr<File> file, Clock& clock, u32 depth)
    : file_(std::move(file)), clock_(clock), scheduler_(depth) {}

Task<Result<Buffer>> DeviceIo::read(u64 offset, usize size, IoClass io) {
    CORELET_ASSERT(offset % k_block_bytes == 0 && size % k_block_bytes == 0 && size > 0);
    IoTurn const turn = co_await scheduler_.enter(io);
    IoCounters& counters = telemetry_.reads[static_cast<usize>(io)];
    Instant const start = clock_.now();
    Result<Buffer> data = co_await file_->read(offset, size);
    counters.latency.add(clock_.now() - start);
    ++counters.operations;
    if (data) {
        CORELET_ASSERT(data->size() == size);
        counters.bytes += size;
    } else {
        ++counters.errors;
        ++telemetry_.latent_errors;
    }
    co_return data;
}

Task<Result<void>> DeviceIo::write(u64 offset, BufferChain data, Durability durability, IoClass io) {
    if (is_failing()) co_return std::unexpected(failing_error());
    IoTurn const turn = co_await scheduler_.enter(io);
    co_return co_await do_write(offset, std::move(data), durability, &telemetry_.writes[static_cast<usize>(io)]);
}

Task<Result<void>> DeviceIo::write_journal(u64 offset, BufferChain data, Durability durability) {
    co_return co_await do_write(offset, std::move(data), durability, &telemetry_.journal_writes);
}

Task<Result<void>> DeviceIo::do_write(u64 offset, BufferChain data, Durability durability, IoCounters* counters) {
    CORELET_ASSERT(offset % k_block_bytes == 0 && data.size() % k_block_bytes == 0 && !data.empty());
    if (is_failing()) co_return std::unexpected(failing_error());
    u64 const size = data.size();
    Instant const start = clock_.now();
    Result<void> const done = co_await file_->write(offset, std::move(data), durability);
    counters->latency.add(clock_.now() - start);
    ++counters->operations;
    counters->bytes += size;
    if (!done) {
        ++counters->errors;
        fail_device(fmt::format("write of {} bytes at {} failed: {}", size, offset, done.error().to_string()));
    }
    // A write that came back good beside one that failed proves little: the device is not to be trusted from there
    // on.
    if (is_failing()) co_return std::unexpected(failing_error());
    co_return Result<void>{};
}

Task<Result<void>> DeviceIo::flush() {
    if (is_failing()) co_return std::unexpected(failing_error());
    Instant const start = clock_.now();
    Result<void> const done = co_await file_->flush();
    telemetry_.flushes.latency.add(clock_.now() - start);
    ++telemetry_.flushes.operations;
    if (!done) {
        ++telemetry_.flushes.errors;
        fail_device("flush failed: " + done.error().to_string());
    }
    if (is_failing()) co_return std::unexpected(failing_error());
    co_return Result<void>{};
}

Task<bool> DeviceIo::write_last_words(u64 offset, Buffer block) {
    CORELET_ASSERT(is_failing());
    Result<void> const done = co_await file_->write(offset, BufferChain(std::move(block)), Durability::kDurable);
    co_return done.has_value();
}

void DeviceIo::fail_device(std::string reason) {
    if (is_failing()) return;
    failure_ = std::move(reason);
    failed_.set();
}

Error DeviceIo::failing_error() const {
    CORELET_ASSERT(is_failing());
    return Error{Code::kIo, false, 0, "the device is failing and takes no writes: " + failure_};
}

}  // namespace corelet
