#include "stream/segment_scan.h"

#include <algorithm>

#include "stream/record.h"

namespace corelet {

namespace {
constexpr u64 k_scan_bytes = k_mib;
}  // namespace

Task<Result<void>> scan_segment(Store* store, SegmentInfo info, ReplicaCore* core, IoClass io) {
    u64 const limit = info.sealed ? info.end : info.capacity_bytes;
    u64 want = k_scan_bytes;
    for (u64 offset = 0; offset < limit;) {
        CO_TRY(BufferChain chain,
               co_await store->read_segment(info.id, offset, std::min(want, limit - offset), io));
        Buffer const bytes = chain.flatten();
        u64 at = 0;
        bool ended = false;
        while (at < bytes.size()) {
            auto const record = decode_record(bytes.slice(at), info.id, info.salt, offset + at);
            if (!record && record.error().code == Code::kInvalid && record.error().detail <= limit - offset - at) {
                want = std::max(k_scan_bytes, record.error().detail);
                ended = at == 0 && record.error().detail <= bytes.size();
                break;
            }
            if (!record || !core->restore(record->header)) {
                ended = true;
                break;
            }
            at += record->header.size_bytes();
        }
        offset += at;
        if (ended) break;
    }
    co_return {};
}

}  // namespace corelet
