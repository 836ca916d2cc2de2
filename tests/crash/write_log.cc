#include "tests/crash/write_log.h"

#include <algorithm>

namespace corelet::testing {

usize WriteLog::begin_write(u64 offset, const BufferChain& data, Durability durability) {
    LoggedWrite write;
    write.offset = offset;
    write.bytes = Buffer::allocate(data.size());
    usize at = 0;
    for (const Buffer& part : data.parts()) {  // a copy: the owner may use its memory again
        std::memcpy(write.bytes.mutable_data() + at, part.data(), part.size());
        at += part.size();
    }
    write.durable = durability == Durability::kDurable;
    write.begun = tick();
    writes_.push_back(std::move(write));
    return writes_.size() - 1;
}

usize WriteLog::begin_flush() {
    flushes_.push_back({tick(), k_never});
    return flushes_.size() - 1;
}

void WriteLog::process_died() {
    Moment const moment = tick();
    for (LoggedWrite& write : writes_) {
        if (write.ended != k_never) continue;
        write.ended = moment;
        write.durable = false;
    }
}

void WriteLog::finish(Honesty honesty) {
    for (LoggedWrite& write : writes_) {
        write.settled = write.durable && honesty != Honesty::kIgnoresDurability ? write.ended : k_never;
        if (honesty == Honesty::kIgnoresFlushes) continue;
        for (const LoggedFlush& flush : flushes_)
            if (write.ended < flush.begun) write.settled = std::min(write.settled, flush.ended);
    }
}

namespace {

class RecordedFile final : public File {
  public:
    RecordedFile(std::unique_ptr<File> inner, WriteLog& log) : inner_(std::move(inner)), log_(log) {}
    Task<Result<Buffer>> read(u64 offset, usize size) override { return inner_->read(offset, size); }
    Task<Result<void>> write(u64 offset, BufferChain data, Durability durability) override {
        usize const write = log_.begin_write(offset, data, durability);
        Result<void> const done = co_await inner_->write(offset, std::move(data), durability);
        if (done) log_.end_write(write);
        co_return done;
    }
    Task<Result<void>> flush() override {
        usize const flush = log_.begin_flush();
        Result<void> const done = co_await inner_->flush();
        if (done) log_.end_flush(flush);
        co_return done;
    }
    Task<Result<void>> discard(u64 offset, u64 size) override {
        // Reads as anything afterwards: as zeros, or as before, in any mixture.
        usize const write = log_.begin_write(offset, Buffer::zeroed(size), Durability::kBuffered);
        Result<void> const done = co_await inner_->discard(offset, size);
        if (done) log_.end_write(write);
        co_return done;
    }
    [[nodiscard]] u64 size_bytes() const override { return inner_->size_bytes(); }

  private:
    std::unique_ptr<File> inner_;
    WriteLog& log_;
};

}  // namespace

std::unique_ptr<File> record_file(std::unique_ptr<File> file, WriteLog& log) {
    return std::make_unique<RecordedFile>(std::move(file), log);
}

Task<Result<std::unique_ptr<File>>> RecordingDisk::open(std::string path, OpenOptions options) {
    CO_TRY(std::unique_ptr<File> file, co_await inner_.open(std::move(path), options));
    log_.process_died();
    co_return record_file(std::move(file), log_);
}

}  // namespace corelet::testing
