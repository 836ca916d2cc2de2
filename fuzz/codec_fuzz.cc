// base/codec.h: a script of reads drawn from the input, over the rest of the input. The reader never leaves its
// bytes, never gets them back once failed, and what it read encodes to the same bytes again.
#include "base/codec.h"

#include "base/assert.h"

using namespace corelet;

namespace {

struct Step {
    u8 kind;
    u8 size;
};

void read_one(Step step, Reader& reader, Writer& echo) {
    usize const before = reader.remaining();
    bool const failed_before = reader.failed();
    switch (step.kind % 7) {
        case 0:
            echo.put(reader.get<u8>());
            break;
        case 1:
            echo.put(reader.get<u16>());
            break;
        case 2:
            echo.put(reader.get<u32>());
            break;
        case 3:
            echo.put(reader.get<u64>());
            break;
        case 4:
            echo.put(reader.get_chunk_id());
            break;
        case 5:
            echo.put_raw(reader.get_raw(step.size));
            break;
        default:
            echo.put_text(reader.get_text());
            break;
    }
    CORELET_ASSERT(reader.remaining() <= before);
    CORELET_ASSERT(!failed_before || reader.failed());
    CORELET_ASSERT(!reader.failed() || reader.remaining() == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
    Reader input(Bytes(data, size));
    usize const steps = input.get<u8>() % 32;
    Bytes const script = input.get_raw(2 * steps);
    Bytes const body = input.rest();
    Reader reader(body);
    Writer echo;
    for (usize i = 0; i + 1 < script.size(); i += 2) {
        read_one(Step{script[i], script[i + 1]}, reader, echo);
        if (reader.failed()) return 0;
    }
    usize const used = body.size() - reader.remaining();
    CORELET_ASSERT(echo.size() == used);
    CORELET_ASSERT(std::equal(echo.data().begin(), echo.data().end(), body.begin()));
    return 0;
}
