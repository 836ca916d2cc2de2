// What a device was told to write, in order: a Disk that records each write and flush of the files opened through
// it, and hands them on to a real one.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "rt/disk.h"

namespace corelet::testing {

// Whatever happens has a moment of its own; a power cut at moment t leaves what began before t.
using Moment = u64;
inline constexpr Moment k_never = UINT64_MAX;

struct LoggedWrite {
    u64 offset = 0;
    Buffer bytes;
    bool durable = false;  // by itself
    Moment begun = 0;
    Moment ended = k_never;
    Moment settled = k_never;  // on media whatever happens afterwards; known when the log is finished
};
struct LoggedFlush {
    Moment begun = 0;
    Moment ended = k_never;
};

// What the device makes of what it is told. Only an honest one keeps promises: the others show that what looks for
// losses finds them.
enum class Honesty : u8 {
    kHonest,
    kIgnoresFlushes,     // a flush settles nothing
    kIgnoresDurability,  // a durable write is one like any other
};

class WriteLog {
  public:
    [[nodiscard]] Moment tick() { return ++now_; }
    [[nodiscard]] Moment now() const { return now_; }

    [[nodiscard]] usize begin_write(u64 offset, const BufferChain& data, Durability durability);
    void end_write(usize write) { writes_[write].ended = tick(); }
    [[nodiscard]] usize begin_flush();
    void end_flush(usize flush) { flushes_[flush].ended = tick(); }
    // The process is gone and the kernel has done what it had been told: nobody was told of it, so nothing of it is
    // durable.
    void process_died();
    // Says of each write when it was settled. Nothing is recorded afterwards.
    void finish(Honesty honesty = Honesty::kHonest);

    // In the order in which they began.
    [[nodiscard]] const std::vector<LoggedWrite>& writes() const { return writes_; }
    [[nodiscard]] const std::vector<LoggedFlush>& flushes() const { return flushes_; }

  private:
    Moment now_ = 0;
    std::vector<LoggedWrite> writes_;
    std::vector<LoggedFlush> flushes_;
};

[[nodiscard]] std::unique_ptr<File> record_file(std::unique_ptr<File> file, WriteLog& log);

class RecordingDisk final : public Disk {
  public:
    RecordingDisk(Disk& inner, WriteLog& log) : inner_(inner), log_(log) {}
    // What a former file of this log had in flight has ended by then: see process_died().
    [[nodiscard]] Task<Result<std::unique_ptr<File>>> open(std::string path, OpenOptions options) override;
    [[nodiscard]] Task<Result<void>> remove(std::string path) override { return inner_.remove(std::move(path)); }
    [[nodiscard]] Task<Result<bool>> exists(std::string path) override { return inner_.exists(std::move(path)); }

  private:
    Disk& inner_;
    WriteLog& log_;
};

}  // namespace corelet::testing
