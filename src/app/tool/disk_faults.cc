#include "app/tool/disk_faults.h"

#include <fmt/format.h>

#include <sstream>

#include "app/tool/files.h"
#include "app/tool/units.h"

namespace corelet::app {

namespace {

using Action = DiskFaultRule::Action;
using Operation = DiskFaultRule::Operation;
using Which = DiskFaultRule::Which;

constexpr Duration k_look_again = 20_ms;
constexpr u64 k_logged_max = 200;

template <class Kind>
std::optional<Kind> named(const std::string& word, std::initializer_list<const char*> names) {
    u8 at = 0;
    for (const char* name : names) {
        if (word == name) return static_cast<Kind>(at);
        ++at;
    }
    return std::nullopt;
}

bool parse_which(std::string word, DiskFaultRule* rule) {
    if (word.starts_with('/')) {
        rule->which = Which::kEach;
        word.erase(0, 1);
    } else if (word.ends_with('+')) {
        rule->which = Which::kFrom;
        word.pop_back();
    }
    if (word.empty() || word.size() > 9 || word.find_first_not_of("0123456789") != std::string::npos) return false;
    rule->number = std::stoull(word);
    return rule->number != 0;
}

std::optional<DiskFaultRule> parse_line(const std::string& line) {
    DiskFaultRule rule;
    rule.text = line;
    std::istringstream in(line);
    std::string action, operation, which, word;
    in >> action >> operation >> which;
    auto const what = named<Action>(action, {"error", "full", "flip", "stuck", "slow"});
    auto const to = named<Operation>(operation, {"read", "write", "sync"});
    if (!what || !to || !parse_which(which, &rule)) return std::nullopt;
    rule.action = *what;
    rule.operation = *to;
    if (rule.action == Action::kFlip && rule.operation != Operation::kRead) return std::nullopt;
    if (rule.action == Action::kFull && rule.operation == Operation::kRead) return std::nullopt;
    if (rule.action == Action::kSlow) {
        in >> word;
        auto const delay = parse_duration(word);
        if (!delay) return std::nullopt;
        rule.delay = *delay;
    }
    if (!(in >> word)) return rule;
    std::string from, until;
    if (word != "at" || !(in >> from >> until) || in >> word) return std::nullopt;
    auto const begin = parse_size(from), end = parse_size(until);
    if (!begin || !end) return std::nullopt;
    rule.from = *begin;
    rule.to = *end;
    return rule;
}

}  // namespace

bool DiskFaultRule::counts(Operation kind, u64 offset) {
    if (kind != operation || offset < from || offset >= to) return false;
    ++seen;
    switch (which) {
        case Which::kNth:
            return seen == number;
        case Which::kFrom:
            return seen >= number;
        case Which::kEach:
            return seen % number == 0;
    }
    return false;
}

Result<std::vector<DiskFaultRule>> parse_disk_faults(const std::string& text) {
    std::vector<DiskFaultRule> rules;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        if (line.find_first_not_of(" \t\r") == std::string::npos || line.starts_with('#')) continue;
        auto rule = parse_line(line);
        if (!rule) return fail(Code::kInvalid, fmt::format("'{}' is no rule for faults of a disk", line));
        rules.push_back(*std::move(rule));
    }
    return rules;
}

// The rules as the file has them now, and what has been done by them.
class FaultyDisk::Rules {
  public:
    Rules(Clock& clock, Log& log, Prng random, std::string path)
        : clock_(clock), log_(log), random_(random), path_(std::move(path)) {}

    // The rules that this operation meets.
    [[nodiscard]] std::vector<DiskFaultRule> meet(std::initializer_list<Operation> kinds, u64 offset) {
        look();
        std::vector<DiskFaultRule> out;
        for (DiskFaultRule& rule : rules_) {
            bool met = false;
            for (Operation const kind : kinds) met |= rule.counts(kind, offset);
            if (!met) continue;
            out.push_back(rule);
            if (++injected_ > k_logged_max) continue;
            log_warning(log_, "disk_faults.injected",
                        [&] { return fmt::format("'{}' at offset {}", rule.text, offset); });
        }
        return out;
    }
    // Slow and stuck ones come back some time; an error is the answer.
    [[nodiscard]] Task<Result<void>> suffer(std::vector<DiskFaultRule> met) {
        std::optional<Error> error;
        for (const DiskFaultRule& rule : met) {
            if (rule.action == Action::kSlow) co_await clock_.sleep(rule.delay);
            while (rule.action == Action::kStuck && is_there(rule.text)) co_await clock_.sleep(k_look_again);
            if (rule.action == Action::kError) error = Error{Code::kIo, false, 0, "injected: Input/output error"};
            if (rule.action == Action::kFull)
                error = Error{Code::kNoSpace, false, 0, "injected: No space left on device"};
        }
        if (error) co_return std::unexpected(*std::move(error));
        co_return Result<void>{};
    }
    [[nodiscard]] Prng& draw() { return random_; }
    [[nodiscard]] std::string describe() {
        look();
        return fmt::format("{}: {} rules, injected {} times", path_, rules_.size(), injected_);
    }

  private:
    void look() {
        auto const text = read_file(path_);
        std::string const now = text ? *text : std::string();
        if (now == text_) return;
        text_ = now;
        auto rules = parse_disk_faults(text_);
        if (rules) {
            rules_ = *std::move(rules);
            log_warning(log_, "disk_faults.rules", [&] { return fmt::format("{} rules now", rules_.size()); });
        } else {
            rules_.clear();
            log_error(log_, "disk_faults.malformed", [&] { return rules.error().message; });
        }
    }
    [[nodiscard]] bool is_there(const std::string& text) {
        look();
        return std::ranges::any_of(rules_, [&](const DiskFaultRule& rule) { return rule.text == text; });
    }

    Clock& clock_;
    Log& log_;
    Prng random_;
    std::string path_;
    std::string text_;
    std::vector<DiskFaultRule> rules_;
    u64 injected_ = 0;
};

namespace {

class FaultyFile final : public File {
  public:
    FaultyFile(std::unique_ptr<File> inner, std::shared_ptr<FaultyDisk::Rules> rules)
        : inner_(std::move(inner)), rules_(std::move(rules)) {}

    Task<Result<Buffer>> read(u64 offset, usize size) override {
        std::vector<DiskFaultRule> const met = rules_->meet({Operation::kRead}, offset);
        CO_TRY_VOID(co_await rules_->suffer(met));
        CO_TRY(Buffer data, co_await inner_->read(offset, size));
        for (const DiskFaultRule& rule : met) {
            if (rule.action != Action::kFlip) continue;
            data = Buffer::copy_of(data);
            data.mutable_data()[rules_->draw().below(size)] ^= static_cast<u8>(1U << rules_->draw().below(8));
        }
        co_return data;
    }
    Task<Result<void>> write(u64 offset, BufferChain data, Durability durability) override {
        std::vector<DiskFaultRule> met;
        if (durability == Durability::kDurable)
            met = rules_->meet({Operation::kWrite, Operation::kSync}, offset);
        else
            met = rules_->meet({Operation::kWrite}, offset);
        Result<void> const done = co_await rules_->suffer(std::move(met));
        // A write that failed says nothing about what is on the media.
        if (!done && rules_->draw().chance(1, 2)) co_return done;
        Result<void> const written = co_await inner_->write(offset, std::move(data), durability);
        co_return done ? written : done;
    }
    Task<Result<void>> flush() override {
        CO_TRY_VOID(co_await rules_->suffer(rules_->meet({Operation::kSync}, 0)));
        co_return co_await inner_->flush();
    }
    Task<Result<void>> discard(u64 offset, u64 size) override { return inner_->discard(offset, size); }
    [[nodiscard]] u64 size_bytes() const override { return inner_->size_bytes(); }

  private:
    std::unique_ptr<File> inner_;
    std::shared_ptr<FaultyDisk::Rules> rules_;
};

}  // namespace

FaultyDisk::FaultyDisk(Disk& inner, Clock& clock, Log& log, Prng random, std::string path)
    : inner_(inner), rules_(std::make_shared<Rules>(clock, log, random, std::move(path))) {}
FaultyDisk::~FaultyDisk() = default;

Task<Result<std::unique_ptr<File>>> FaultyDisk::open(std::string path, OpenOptions options) {
    CO_TRY(std::unique_ptr<File> file, co_await inner_.open(std::move(path), options));
    co_return std::make_unique<FaultyFile>(std::move(file), rules_);
}
Task<Result<void>> FaultyDisk::remove(std::string path) {
    return inner_.remove(std::move(path));
}
Task<Result<bool>> FaultyDisk::exists(std::string path) {
    return inner_.exists(std::move(path));
}
std::string FaultyDisk::describe() const {
    return rules_->describe();
}

}  // namespace corelet::app
