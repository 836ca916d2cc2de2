#include "stream/replica_core.h"

namespace corelet {

Result<void> ReplicaCore::check_writer(Epoch epoch, CoreletId owner) const {
    if (epoch < epoch_ || (epoch == epoch_ && owner != owner_) || fenced_ || released_)
        return fail(Code::kFenced,
                    "segment " + to_string(segment_) + " is fenced at epoch " + std::to_string(epoch_.v), epoch_.v);
    if (epoch > epoch_)
        return fail(Code::kInvalid, "segment " + to_string(segment_) + " was opened by another epoch");
    return {};
}

bool ReplicaCore::fits(const RecordHeader& header) const {
    if (header.segment != segment_ || header.offset != end_ || header.previous_crc != last_crc_) return false;
    return end_ == 0 || header.number == last_.next();
}

void ReplicaCore::take(const RecordHeader& header) {
    end_ += header.size_bytes();
    last_ = header.number;
    last_crc_ = header.crc;
}

Result<void> ReplicaCore::admit(const RecordHeader& header) {
    TRY_VOID(check_writer(header.epoch, owner_));
    if (!fits(header))
        return fail(Code::kInvalid, "record " + std::to_string(header.number.v) + " at " +
                                        std::to_string(header.offset) + " does not follow record " +
                                        std::to_string(last_.v) + " ending at " + std::to_string(end_));
    take(header);
    return {};
}

bool ReplicaCore::restore(const RecordHeader& header) {
    if (!fits(header)) return false;
    take(header);
    return true;
}

Result<void> ReplicaCore::release(Epoch epoch, CoreletId owner) {
    TRY_VOID(check_writer(epoch, owner));
    released_ = true;
    promised_until_ = Instant{};
    return {};
}

Result<void> ReplicaCore::fence(Epoch epoch, CoreletId owner) {
    if (epoch < epoch_ || (epoch == epoch_ && owner != owner_))
        return fail(Code::kFenced, "segment " + to_string(segment_) + " knows epoch " + std::to_string(epoch_.v),
                    epoch_.v);
    if (epoch == epoch_ && !fenced_) return fail(Code::kInvalid, "an owner does not fence its own segment");
    epoch_ = epoch;
    owner_ = owner;
    fenced_ = true;
    return {};
}

}  // namespace corelet
