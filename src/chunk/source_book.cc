#include "chunk/source_book.h"

#include <algorithm>

namespace corelet {

void SourceBook::told(CoreletId source, u32 strain, Instant now) {
    if (told_.size() >= k_sources_max && !told_.contains(source))
        std::erase_if(told_, [&](const auto& item) { return now - item.second.at >= k_holds; });
    if (told_.size() >= k_sources_max) return;
    told_[source] = Told{strain, now};
}

u32 SourceBook::load(CoreletId source, Instant now) const {
    constexpr u32 k_usual = 1000, k_a_read = 250, k_most = 64;
    u32 load = 0;
    if (auto const reads = under_way_.find(source); reads != under_way_.end()) load = reads->second;
    if (auto const said = told_.find(source); said != told_.end() && now - said->second.at < k_holds)
        load += std::min((std::max(said->second.strain, k_usual) - k_usual) / k_a_read, k_most);
    return load;
}

}  // namespace corelet
