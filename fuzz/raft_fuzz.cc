// raft/codec.h: messages between voters and records of the journal. What decodes encodes to something that decodes
// to the same bytes.
#include "raft/codec.h"

#include "base/assert.h"

using namespace corelet;
using namespace corelet::raft;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
    Bytes const bytes(data, size);
    if (auto const message = decode_message(bytes)) {
        std::string const encoded = encode(*message);
        auto const again = decode_message(as_bytes(encoded));
        CORELET_ASSERT(again && encode(*again) == encoded);
    }
    if (auto const batch = decode_persist(bytes)) {
        std::string const encoded = encode(*batch);
        auto const again = decode_persist(as_bytes(encoded));
        CORELET_ASSERT(again && encode(*again) == encoded);
        for (usize i = 1; i < batch->entries.size(); ++i)
            CORELET_ASSERT(batch->entries[i].at.index == batch->entries[i - 1].at.index + 1);
    }
    if (auto const configuration = decode_configuration(Payload(std::string(as_text(bytes)))))
        CORELET_ASSERT(configuration->well_formed());
    return 0;
}
