// catalog/state.h: a script of commands as the log might hold them, and snapshots. The state never breaks, a repeat
// changes nothing, and a snapshot restores to the same.
#include "catalog/state.h"

#include "base/assert.h"
#include "base/codec.h"

using namespace corelet;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
    Bytes const input(data, size);
    {
        CatalogState restored;
        std::string const before = restored.encode_snapshot();
        if (restored.restore_snapshot(input)) {
            std::string const once = restored.encode_snapshot();
            CatalogState again;
            CORELET_ASSERT(again.restore_snapshot(as_bytes(once)).has_value());
            CORELET_ASSERT(again.encode_snapshot() == once);
            (void)again.range("");
        } else {
            CORELET_ASSERT(restored.encode_snapshot() == before, "a refused snapshot changed the state");
        }
    }
    CatalogState state;
    Reader script(input);
    for (int i = 0; i < 64 && !script.failed() && script.remaining() > 0; ++i) {
        Bytes const command = script.get_raw(script.get<u8>());
        Revision const before = state.revision();
        (void)state.apply(command);
        CORELET_ASSERT(state.revision() >= before);
        pb::CatalogCommand parsed;
        if (!parsed.ParseFromArray(command.data(), static_cast<int>(command.size())) || !parsed.has_request())
            continue;
        std::string const once = state.encode_snapshot();
        (void)state.apply(command);
        CORELET_ASSERT(state.encode_snapshot() == once, "a repeated request applied twice");
    }
    CatalogState copy;
    std::string const snapshot = state.encode_snapshot();
    CORELET_ASSERT(copy.restore_snapshot(as_bytes(snapshot)).has_value());
    CORELET_ASSERT(copy.encode_snapshot() == snapshot);
    return 0;
}
