// volume/checkpoint_format.h: the root that the catalog keeps and the table in a chunk. What decodes encodes to the
// same bytes again.
#include "volume/checkpoint_format.h"

#include "base/assert.h"
#include "base/checksum.h"

using namespace corelet;

namespace {

void check_root(std::string_view bytes) {
    auto const root = decode_root(bytes);
    if (!root) return;
    std::string const encoded = encode_root(*root);
    auto const again = decode_root(encoded);
    CORELET_ASSERT(again && encode_root(*again) == encoded);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
    Bytes const bytes(data, size);
    check_root(as_text(bytes));
    if (size >= 8) {
        std::string mended("VROT\x01\0", 6);
        mended += as_text(bytes.subspan(6));
        u32 const crc = crc32c(as_bytes(mended));
        mended.append(reinterpret_cast<const char*>(&crc), sizeof crc);
        check_root(mended);
    }
    if (auto const table = decode_table(bytes)) {
        std::vector<u8> const encoded = encode_table(*table);
        auto const again = decode_table(encoded);
        CORELET_ASSERT(again && encode_table(*again) == encoded);
        CORELET_ASSERT(encoded.size() == encoded_table_bytes(*table, 0));
    }
    return 0;
}
