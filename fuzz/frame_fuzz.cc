// wire/frame.h: the input's first byte draws how the rest is cut into reads. The parser stays within its bounds,
// never yields what its limits forbid, and gives the same frames whatever the cuts.
#include "wire/frame.h"

#include "base/assert.h"
#include "base/checksum.h"
#include "base/prng.h"

using namespace corelet;

namespace {

struct Outcome {
    std::vector<u32> frames;  // checksum of each frame's parts
    bool refused = false;
};

constexpr FrameLimits k_limits{.header_bytes = 4096, .payload_bytes = 32768, .staging_bytes = 8192};

void note(const Frame& frame, Outcome& outcome) {
    CORELET_ASSERT(frame.body.size() <= k_limits.header_bytes && frame.payload.size() <= k_limits.payload_bytes);
    u32 crc = crc32c(frame.body, static_cast<u32>(frame.correlation));
    crc = crc32c(frame.payload, crc);
    outcome.frames.push_back(crc);
    if (frame.header.kind == FrameKind::kHello) (void)decode_hello(frame.body);
}

Outcome parse(Bytes bytes, Prng& rng, usize piece_max) {
    Outcome outcome;
    FrameParser parser(k_limits);
    for (;;) {
        auto frame = parser.next();
        if (!frame) {
            outcome.refused = true;
            return outcome;
        }
        if (*frame) {
            note(**frame, outcome);
            continue;
        }
        if (bytes.empty()) return outcome;
        auto space = parser.space();
        CORELET_ASSERT(space.at_least >= 1 && space.at_least <= space.target.size() - space.offset);
        usize const piece = std::min({bytes.size(), space.target.size() - space.offset, 1 + rng.below(piece_max)});
        std::memcpy(space.target.mutable_data() + space.offset, bytes.data(), piece);
        parser.filled(piece);
        bytes = bytes.subspan(piece);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
    if (size == 0) return 0;
    Prng rng(data[0]);
    Bytes const stream(data + 1, size - 1);
    Outcome const at_once = parse(stream, rng, 1 << 20);
    Outcome const in_pieces = parse(stream, rng, 1 + data[0] * 16U);
    CORELET_ASSERT(at_once.frames == in_pieces.frames && at_once.refused == in_pieces.refused);
    // With its checksum made right, what the first preamble announces gets past the first gate too.
    if (stream.size() < k_preamble_bytes) return 0;
    std::vector<u8> mended(stream.begin(), stream.end());
    auto const preamble = decode_preamble(mended);
    if (!preamble) return 0;
    u64 const end = u64{k_preamble_bytes} + preamble->header_bytes + preamble->body_bytes;
    if (end > mended.size()) return 0;
    Bytes const all(mended.data(), static_cast<usize>(end));
    u32 const crc = crc32c(all.subspan(k_preamble_bytes), crc32c(all.first(28)));
    std::memcpy(mended.data() + 28, &crc, 4);
    (void)parse(mended, rng, 64);
    return 0;
}
