// What the owner of a volume does about segments of its log of which copies are gone.
#include <algorithm>

#include "node/volume_host.h"
#include "node/volume_serving.h"

namespace corelet {

namespace {
constexpr Duration k_mend_patience = 30_s;
constexpr Duration k_mend_pause = 300_ms;
}  // namespace

// Packed, what they hold is as redundant as the pool promises, and a checkpoint releases them: the same as when a
// replica is out for good (secure), at somebody's word.
Task<Result<void>> VolumeHost::mend_log(std::string name, std::vector<u64> segments) {
    const Serving* const serving = served(name);
    if (!serving) co_return fail(Code::kNotOwner, "volume '" + name + "' is not served here now");
    auto const mounted = serving->mounted;
    std::erase_if(segments, [&](u64 seq) { return !mounted->stream->lists(seq); });
    if (std::ranges::find(segments, mounted->stream->status().open_seq) != segments.end())
        mounted->stream->request_roll();
    mounted->stream->replace_standbys(segments);
    Instant const until = env_.clock.now() + k_mend_patience;
    auto const is_left = [&](u64 seq) { return mounted->stream->lists(seq); };
    while (std::ranges::any_of(segments, is_left) && !mounted->stream->stopped().is_set()) {
        if (env_.clock.now() >= until)
            co_return fail(Code::kTimeout, "the log could not let go of all of them within 30 s");
        co_await env_.clock.sleep(k_mend_pause);
        CO_TRY_VOID(co_await mounted->volume->checkpoint());
    }
    co_return {};
}

}  // namespace corelet
