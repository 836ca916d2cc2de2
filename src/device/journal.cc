#include "device/journal.h"

#include "device/journal_core.h"

namespace corelet {

Journal::Journal(std::unique_ptr<JournalCore> core) : core_(std::move(core)) {}
Journal::~Journal() = default;

void Journal::replay(const std::function<void(u64, Bytes)>& on_snapshot,
                     const std::function<void(u64, Bytes)>& on_record) {
    core_->replay(on_snapshot, on_record);
}
Result<u64> Journal::submit(std::vector<Record> records, std::vector<u8> memo) {
    return core_->submit(std::move(records), std::move(memo));
}
Task<Result<void>> Journal::wait_durable(u64 number) {
    return core_->wait_durable(number);
}
Task<Result<u64>> Journal::append(std::vector<Record> records, std::vector<u8> memo) {
    return core_->append(std::move(records), std::move(memo));
}
Task<Result<void>> Journal::snapshot(u64 through, Record state) {
    return core_->snapshot(through, std::move(state));
}
Task<Result<void>> Journal::restart(Record state) {
    return core_->restart(std::move(state));
}
const JournalReport& Journal::report() const {
    return core_->report();
}
bool Journal::is_rotten() const {
    return core_->is_rotten();
}
u64 Journal::durable_number() const {
    return core_->durable_number();
}
u64 Journal::submitted_number() const {
    return core_->submitted_number();
}
bool Journal::wants_snapshot() const {
    return core_->wants_snapshot();
}
u64 Journal::record_bytes_max() const {
    return core_->record_bytes_max();
}
u64 Journal::state_bytes_max() const {
    return core_->state_bytes_max();
}

}  // namespace corelet
