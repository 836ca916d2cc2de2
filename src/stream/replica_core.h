// A replica's side of one segment: who may write, in which order, what was promised (protocols 3.3, 4.1, 6). Pure;
// what must be durable (records, fences) the shell makes durable before it answers.
#pragma once

#include <algorithm>

#include "stream/record.h"
#include "stream/segment.h"

namespace corelet {

class ReplicaCore {
  public:
    // As prepared, or as found on the device at mount: then nothing is remembered of promises, so no fence is
    // answered until they must have run out (protocols 6.3).
    ReplicaCore(SegmentId segment, Epoch epoch, CoreletId owner, StreamTimes times, Instant mounted)
        : segment_(segment), epoch_(epoch), owner_(owner), times_(times), mounted_(mounted) {}

    // Whether (epoch, owner) may append or ask for promises: kFenced if a newer epoch or another owner of the same
    // one is stored; nobody appends to a segment that another epoch opened.
    [[nodiscard]] Result<void> check_writer(Epoch epoch, CoreletId owner) const;
    // The next record, in order: right offset, number, and checksum of the one before. kInvalid otherwise. On
    // success it is taken as written: the shell writes it and answers in order. After a failed write nothing may be
    // admitted any more (the device is failing).
    [[nodiscard]] Result<void> admit(const RecordHeader& header);
    // What a scan at mount found, record by record; stops counting at the first that does not fit. Returns whether
    // it fits.
    bool restore(const RecordHeader& header);

    // No newer epoch is accepted until now + T.
    void promise(Instant now) { promised_until_ = std::max(promised_until_, now + times_.lease); }
    // The owner's last word at its epoch: its promises end, and it gets no more.
    [[nodiscard]] Result<void> release(Epoch epoch, CoreletId owner);

    // A newer epoch's fence. kFenced: a newer one, or another owner's equal one, is stored. On success the shell
    // makes (epoch, owner) durable, refuses the old one from this moment on, and answers at fence_answer_at(), not
    // before.
    [[nodiscard]] Result<void> fence(Epoch epoch, CoreletId owner);
    [[nodiscard]] Instant fence_answer_at() const { return std::max(promised_until_, mounted_ + times_.lease); }

    [[nodiscard]] Epoch epoch() const { return epoch_; }
    [[nodiscard]] CoreletId owner() const { return owner_; }
    [[nodiscard]] u64 end_bytes() const { return end_; }
    [[nodiscard]] RecordNumber last_record() const { return last_; }
    [[nodiscard]] bool is_fenced() const { return fenced_; }

  private:
    [[nodiscard]] bool fits(const RecordHeader& header) const;
    void take(const RecordHeader& header);

    SegmentId segment_;
    Epoch epoch_;
    CoreletId owner_;
    StreamTimes times_;
    Instant mounted_;
    Instant promised_until_{};
    u64 end_ = 0;
    RecordNumber last_;
    u32 last_crc_ = 0;
    bool fenced_ = false;  // by another epoch than the one that opened it
    bool released_ = false;
};

}  // namespace corelet
