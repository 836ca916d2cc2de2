#include "raft/promise.h"

#include "base/codec.h"

namespace corelet::raft {
namespace {

void keep_up_to(std::vector<Entry>& entries, Index last) {
    while (!entries.empty() && entries.back().at.index > last) entries.pop_back();
}

Position end_of(const Restored& restored) {
    Position const floor = restored.snapshot ? restored.snapshot->last : Position{};
    if (restored.entries.empty() || restored.entries.back().at.index < floor.index) return floor;
    return restored.entries.back().at;
}

bool holds(const Restored& restored, Position at) {
    if (restored.snapshot && restored.snapshot->last == at) return true;
    for (const Entry& entry : restored.entries)
        if (entry.at == at) return true;
    return false;
}

}  // namespace

std::vector<u8> encode_promise(const Promise& promise) {
    Writer w;
    w.put(promise.term).put(promise.vote).put(promise.last.index).put(promise.last.term);
    w.put(promise.repairing.index).put(promise.repairing.term).put(promise.voided_from);
    Bytes const bytes = w.bytes();
    return {bytes.begin(), bytes.end()};
}

std::optional<Promise> decode_promise(Bytes bytes) {
    Reader r(bytes);
    Promise promise;
    promise.term = r.get<Term>();
    promise.vote = r.get<CoreletId>();
    promise.last.index = r.get<u64>();
    promise.last.term = r.get<Term>();
    promise.repairing.index = r.get<u64>();
    promise.repairing.term = r.get<Term>();
    promise.voided_from = r.get<u64>();
    bool const sane = !r.failed() && r.remaining() == 0 && promise.last.term <= promise.term;
    return sane ? std::optional(promise) : std::nullopt;
}

Result<Restored> restored_from_rot(Restored readable, const Promise& promise, u64 missing) {
    CORELET_ASSERT(missing > 0);
    if (readable.hard_state.term > promise.term) return fail(Code::kForgotten, "the log is newer than its promise");
    Index const floor = readable.snapshot ? readable.snapshot->last.index : 0;
    Index const certain = std::max(floor, std::min(readable.hard_state.commit, end_of(readable).index));
    if (holds(readable, promise.last)) {
        // The same entry at the same place has the same ones before it; and after it there was none.
        keep_up_to(readable.entries, promise.last.index);
    } else {
        // Of one missing batch it is known what it voided. Several may have voided, and written anew, anything that
        // was not committed.
        Index keep = certain;
        if (missing == 1) keep = promise.voided_from > 0 ? promise.voided_from - 1 : end_of(readable).index;
        keep = std::min(keep, promise.last.index - (promise.last.index > 0 ? 1 : 0));
        if (keep < certain) return fail(Code::kForgotten, "what is committed lies beyond what was promised");
        keep_up_to(readable.entries, keep);
        readable.rotten = promise.last;
    }
    readable.hard_state.term = promise.term;
    readable.hard_state.vote = promise.vote;
    readable.hard_state.repairing = promise.repairing;
    readable.applied = 0;
    return readable;
}

}  // namespace corelet::raft
