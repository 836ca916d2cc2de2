#include "stream/chain_reader.h"

#include <algorithm>

namespace corelet {

namespace {
constexpr u64 k_first_read_bytes = 64 * k_kib;
constexpr u64 k_beyond_bytes = 9 * k_mib;  // more than the longest record: behind a rotten one the next is found
}  // namespace

// Reads from this replica where the chain ends; true if it grew.
Task<Result<bool>> ChainReader::extend(SegmentChain* chain, CoreletId replica) {
    bool grew = false;
    const LogSegment segment = chain->spec();
    // Most of the listed segments are standbys that were never written.
    for (u64 most = k_first_read_bytes;; most = std::min(4 * most, SegmentReader::k_read_bytes)) {
        u64 const from = chain->end_bytes();
        // One bad sector spoils a long read: what lies before it is there all the same.
        Buffer bytes;
        for (u64 length = most; bytes.empty() && length >= k_block_bytes; length /= 16) {
            CO_TRY(bytes, co_await reader_.read_or_nothing(segment.id, replica, from, length));
        }
        if (bytes.empty()) co_return grew;
        u64 at = 0;
        while (at < bytes.size()) {
            auto decoded = decode_record(bytes.slice(at), segment.id, segment.salt, from + at);
            // Cut by the read's end: read it whole. The header says how long it is, once that is whole itself.
            for (int attempt = 0; attempt < 2 && !decoded && decoded.error().code == Code::kInvalid &&
                                  decoded.error().detail > bytes.size() - at;
                 ++attempt) {
                CO_TRY(auto whole,
                       co_await reader_.read_or_nothing(segment.id, replica, from + at, decoded.error().detail));
                if (whole.size() < decoded.error().detail) co_return grew;
                decoded = decode_record(whole, segment.id, segment.salt, from + at);
                if (decoded || decoded.error().detail <= whole.size()) break;
            }
            if (!decoded || !chain->offer(decoded->header)) {
                // All of them may have been started again since, and then know of no more either.
                note_headers(chain, bytes.slice(at), from + at);
                co_return grew;
            }
            at += decoded->header.size_bytes();
            grew = true;
        }
        if (at == 0) co_return grew;
    }
}

// The longest chain over the fenced replicas, each record from whichever has it.
Task<Result<void>> ChainReader::read(SegmentChain* chain, const std::vector<CoreletId>* fenced, u64 written) {
    bool grew = true;
    while (grew) {
        grew = false;
        for (CoreletId replica : *fenced) {
            CO_TRY(bool const extended, co_await extend(chain, replica));
            grew = grew || extended;
        }
        if (fenced->size() < 2) break;
    }
    // With all replicas read, as far as they have written, nothing is missing. Else what ends here may have rotted,
    // and those behind know better.
    bool const all = fenced->size() == chain->spec().replicas.size();
    if (!all || written > chain->end_bytes())
        for (CoreletId replica : *fenced) CO_TRY_VOID(co_await look_beyond(chain, replica));
    co_return {};
}

// Whatever is read behind the end of the chain: what its headers know of acknowledgements.
void ChainReader::note_headers(SegmentChain* chain, const Buffer& bytes, u64 offset) {
    const LogSegment& segment = chain->spec();
    for (u64 at = 0; at < bytes.size(); at += k_block_bytes)
        if (auto const header = decode_header(bytes.bytes().subspan(at), segment.id, segment.salt, offset + at))
            chain->note_beyond(*header);
}

Task<Result<void>> ChainReader::look_beyond(SegmentChain* chain, CoreletId replica) {
    const LogSegment segment = chain->spec();
    u64 const begin = chain->end_bytes();
    for (u64 offset = begin; offset < begin + k_beyond_bytes;) {
        CO_TRY(Buffer const bytes,
               co_await reader_.read_or_nothing(segment.id, replica, offset, SegmentReader::k_read_bytes));
        note_headers(chain, bytes, offset);
        if (bytes.size() < SegmentReader::k_read_bytes && !bytes.empty()) break;
        offset += SegmentReader::k_read_bytes;
    }
    co_return {};
}

}  // namespace corelet
