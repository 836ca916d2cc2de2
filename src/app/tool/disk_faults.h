// Faults that a test injects into the disk of a real process. Never in use unless the environment names a file
// (CORELET_DISK_FAULTS; a relative path is taken from the corelet's directory), and then said in log and status.
//
// The file may change, come and go while the process runs; it is looked at before each operation. One rule a line:
//
//     ACTION OPERATION WHICH [TIME] [at FROM TO]
//
// ACTION is error, full (ENOSPC), flip (one bit of what is read), stuck (until the rule is gone) or slow (by TIME);
// OPERATION is read, write or sync (a flush or a durable write); WHICH is N (the Nth since the file last changed),
// N+ (that one and all after it) or /N (each Nth). `at` counts operations that begin in this range only. An empty
// line or one that begins with # says nothing.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/prng.h"
#include "base/result.h"
#include "base/time.h"
#include "rt/clock.h"
#include "rt/disk.h"
#include "rt/log.h"

namespace corelet::app {

struct DiskFaultRule {
    enum class Action : u8 { kError, kFull, kFlip, kStuck, kSlow };
    enum class Operation : u8 { kRead, kWrite, kSync };
    enum class Which : u8 { kNth, kFrom, kEach };
    std::string text;
    Action action = Action::kError;
    Operation operation = Operation::kRead;
    Which which = Which::kNth;
    u64 number = 1;
    Duration delay{};
    u64 from = 0, to = UINT64_MAX;
    u64 seen = 0;  // operations it counted
    // Counts the operation; true if it is one of those.
    [[nodiscard]] bool counts(Operation kind, u64 offset);
};

// kInvalid says which line is none.
[[nodiscard]] Result<std::vector<DiskFaultRule>> parse_disk_faults(const std::string& text);

// A Disk in front of another one. The file `path` holds the rules.
class FaultyDisk final : public Disk {
  public:
    FaultyDisk(Disk& inner, Clock& clock, Log& log, Prng random, std::string path);
    ~FaultyDisk() override;
    [[nodiscard]] Task<Result<std::unique_ptr<File>>> open(std::string path, OpenOptions options) override;
    [[nodiscard]] Task<Result<void>> remove(std::string path) override;
    [[nodiscard]] Task<Result<bool>> exists(std::string path) override;
    // For status: what is injected, and how often it was.
    [[nodiscard]] std::string describe() const;

    class Rules;

  private:
    Disk& inner_;
    std::shared_ptr<Rules> rules_;  // shared with the files, which may outlive it
};

}  // namespace corelet::app
