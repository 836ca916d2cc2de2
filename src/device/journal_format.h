// The bytes of a journal: half headers, batches, identifiers. Pure; docs/format/journal.md describes them.
#pragma once

#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace corelet {

inline constexpr usize k_batch_header_bytes = 72;
inline constexpr u64 k_batch_bytes_max = 2 * k_mib;
inline constexpr usize k_journal_memo_bytes_max = 128;

struct BatchHeader {
    u64 batch = 0;         // number of the batch, from 1
    u64 first_record = 0;  // number of its first record
    u32 records = 0;
    u32 payload_bytes = 0;
    u64 chain = 0;    // checksum of the batch before it
    u64 key = 0;      // of the journal
    u64 session = 0;  // drawn at each mount: the same number in another session is another batch
    [[nodiscard]] u64 last_record() const { return first_record + records - 1; }
    [[nodiscard]] u64 total_bytes() const { return round_up(k_batch_header_bytes + payload_bytes, k_block_bytes); }
};

struct EncodedBatch {
    Buffer bytes;  // whole blocks
    u64 checksum = 0;
};
[[nodiscard]] EncodedBatch encode_batch(BatchHeader header, std::span<const std::vector<u8>> records);
// What a record adds to a batch.
[[nodiscard]] inline u64 record_cost(u64 record_bytes) {
    return 4 + record_bytes;
}

// From the first bytes of a batch. Only its form is checked: nothing if this is no batch of the journal.
[[nodiscard]] std::optional<BatchHeader> peek_batch(Bytes first_block, u64 key);
// Checks all of it. kCorrupt.
[[nodiscard]] Result<u64> verify_batch(const BatchHeader& header, Bytes all);
// The records of a verified batch, in order.
template <class F>
void for_each_record(const BatchHeader& header, Bytes all, F&& f);

// What was promised: a batch of this number and checksum is durable.
struct BatchIdentifier {
    u64 batch = 0;
    u64 checksum = 0;
    u64 last_record = 0;
    u64 key = 0;
    std::vector<u8> memo;  // the owner's, at most k_journal_memo_bytes_max
    friend bool operator==(const BatchIdentifier&, const BatchIdentifier&) = default;
};
[[nodiscard]] Buffer encode_identifier(const BatchIdentifier& identifier);
[[nodiscard]] std::optional<BatchIdentifier> decode_identifier(Bytes block, u64 key);

// First block of a half.
struct HalfHeader {
    u64 generation = 0;  // the half with the higher one counts
    u64 through = 0;     // records up to this one are in the state
    u64 next_batch = 0;  // number of the first batch after the state
    u64 chain = 0;       // checksum of the batch before that
    u64 state_bytes = 0;
    u64 state_checksum = 0;
    u64 key = 0;
    [[nodiscard]] u64 log_offset() const { return k_block_bytes + round_up(state_bytes, k_block_bytes); }
    friend bool operator==(const HalfHeader&, const HalfHeader&) = default;
};
[[nodiscard]] Buffer encode_half_header(const HalfHeader& header);
[[nodiscard]] std::optional<HalfHeader> decode_half_header(Bytes block, u64 key);
[[nodiscard]] u64 state_checksum(Bytes state, u64 key);

template <class F>
void for_each_record(const BatchHeader& header, Bytes all, F&& f) {
    Bytes at = all.subspan(k_batch_header_bytes, header.payload_bytes);
    for (u64 number = header.first_record; number <= header.last_record(); ++number) {
        u32 size = 0;
        CORELET_ASSERT(at.size() >= sizeof size);
        std::memcpy(&size, at.data(), sizeof size);
        CORELET_ASSERT(at.size() - sizeof size >= size);
        f(number, at.subspan(sizeof size, size));
        at = at.subspan(sizeof size + size);
    }
}

}  // namespace corelet
