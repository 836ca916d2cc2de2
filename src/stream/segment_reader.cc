#include "stream/segment_reader.h"

namespace corelet {

Task<Result<Buffer>> SegmentReader::read_or_nothing(SegmentId segment, CoreletId replica, u64 offset, u64 length) {
    auto bytes = co_await replicas_.read(replica, segment, offset, length);
    if (bytes) co_return bytes;
    Code const code = bytes.error().code;
    if (code == Code::kIo || code == Code::kCorrupt || code == Code::kUnknown) co_return Buffer{};
    co_return std::unexpected(
        with_context(bytes.error(), "reading segment " + to_string(segment) + " on " + to_string(replica)));
}

Task<Result<DecodedRecord>> SegmentReader::read_record(LogSegment segment, std::vector<CoreletId> from,
                                                       u64 offset) {
    if (window_.segment == segment.id && offset >= window_.offset && offset - window_.offset < window_.bytes.size())
        if (auto decoded =
                decode_record(window_.bytes.slice(offset - window_.offset), segment.id, segment.salt, offset))
            co_return decoded;
    Error last{Code::kUnknown, false, 0, "segment " + to_string(segment.id) + ": no replica to read from"};
    for (CoreletId replica : from) {
        u64 want = k_read_bytes;
        for (int attempt = 0; attempt < 4; ++attempt) {
            auto bytes = co_await replicas_.read(replica, segment.id, offset, want);
            if (!bytes) {
                last = bytes.error();
                // One bad sector spoils a long read: what lies before it is there all the same.
                bool const spoiled = last.code == Code::kIo || last.code == Code::kCorrupt;
                if (!spoiled || want <= k_block_bytes) break;
                want = std::max<u64>(want / 16, k_block_bytes);
                continue;
            }
            auto decoded = decode_record(*bytes, segment.id, segment.salt, offset);
            if (decoded) {
                window_ = {segment.id, offset, *std::move(bytes)};
                co_return decoded;
            }
            last = decoded.error();
            if (last.code != Code::kInvalid || last.detail <= bytes->size()) break;
            want = last.detail;
        }
    }
    co_return std::unexpected(last);
}

}  // namespace corelet
