#include "mesh/envelope.h"

#include "base/checksum.h"
#include "base/codec.h"

namespace corelet::mesh {

std::vector<u8> seal(const EnvelopeKind& kind, const std::string& payload) {
    Writer out;
    out.put(kind.magic).put(kind.version).put(static_cast<u32>(payload.size())).put(crc32c(as_bytes(payload)));
    out.put_raw(as_bytes(payload));
    return std::move(out.mutable_data());
}

Result<Bytes> unseal(const EnvelopeKind& kind, Bytes bytes) {
    Reader in(bytes);
    u32 const magic = in.get<u32>(), version = in.get<u32>(), length = in.get<u32>(), crc = in.get<u32>();
    std::string const name = kind.name;
    if (in.failed() || magic != kind.magic) return fail(Code::kCorrupt, name + ": no such bytes");
    if (version != kind.version) return fail(Code::kUnsupported, name + ": written by a newer version", version);
    if (in.remaining() != length || crc32c(in.rest()) != crc) return fail(Code::kCorrupt, name + ": checksum");
    return in.rest();
}

u32 magic_of(Bytes bytes) {
    return Reader(bytes).get<u32>();
}

}  // namespace corelet::mesh
