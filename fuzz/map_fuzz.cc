// mesh/map_codec.h: maps and slot tables from peers, the catalog and disks. What decodes is a sound map, and
// encodes to one that decodes to the same. The envelope's length and checksum are made right too, so that the
// message itself is reached.
#include "mesh/map_codec.h"

#include "base/assert.h"
#include "base/checksum.h"
#include "base/codec.h"
#include "mesh/survival.h"

using namespace corelet;
using namespace corelet::mesh;

namespace {

std::vector<u8> sealed(Bytes payload) {
    Writer out;
    out.put(u32{0x504D4C43})
        .put(u32{1})
        .put(static_cast<u32>(payload.size()))
        .put(crc32c(payload))
        .put_raw(payload);
    return std::move(out.mutable_data());
}

void check(Bytes bytes) {
    if (auto const map = decode_map(bytes)) {
        std::vector<u8> const encoded = encode_map(*map);
        auto const again = decode_map(encoded);
        CORELET_ASSERT(again && encode_map(*again) == encoded);
        (void)encode_outline(*map);
        for (const Pool& pool : map->pools) (void)survival(*map, pool);
    }
    if (auto const table = decode_table(bytes)) {
        auto const again = decode_table(encode_table(**table));
        CORELET_ASSERT(again && (*again)->slots() == (*table)->slots() && (*again)->width() == (*table)->width());
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
    Bytes const bytes(data, size);
    check(bytes);
    check(sealed(bytes));
    if (size > 16) check(sealed(bytes.subspan(16)));
    return 0;
}
