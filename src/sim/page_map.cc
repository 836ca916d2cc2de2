#include <cstring>

#include "sim/media.h"

namespace corelet::sim {

std::shared_ptr<PageBytes>& PageMap::slot(u64 page) {
    CORELET_ASSERT(page / k_leaf_pages < leaves_.size());
    auto& leaf = leaves_[page / k_leaf_pages];
    if (!leaf) leaf = std::make_shared<Leaf>();
    // A leaf is shared with snapshots until one side changes it.
    if (leaf.use_count() > 1) leaf = std::make_shared<Leaf>(*leaf);
    return (*leaf)[page % k_leaf_pages];
}

const PageBytes* PageMap::find(u64 page) const {
    CORELET_ASSERT(page / k_leaf_pages < leaves_.size());
    auto const& leaf = leaves_[page / k_leaf_pages];
    return leaf ? (*leaf)[page % k_leaf_pages].get() : nullptr;
}

PageBytes& PageMap::edit(u64 page) {
    auto& bytes = slot(page);
    if (!bytes) {
        bytes = std::make_shared<PageBytes>();
        ++in_use_;
    } else if (bytes.use_count() > 1) {
        bytes = std::make_shared<PageBytes>(*bytes);
    }
    return *bytes;
}

void PageMap::put(u64 page, std::shared_ptr<PageBytes> bytes) {
    CORELET_ASSERT(bytes != nullptr);
    auto& place = slot(page);
    if (!place) ++in_use_;
    // Copied where the place is its own: the memory that a write just filled is warm and is used again for the
    // next.
    if (place && place.use_count() == 1 && bytes.use_count() == 1) {
        *place = *bytes;
    } else {
        place = std::move(bytes);
    }
}

void PageMap::clear(u64 page) {
    if (!find(page)) return;
    slot(page) = nullptr;
    --in_use_;
}

std::optional<u64> PageMap::random_page(Prng& random) const {
    if (in_use_ == 0) return std::nullopt;
    u64 const total = leaves_.size() * k_leaf_pages;
    u64 page = random.below(total);
    for (u64 seen = 0; seen <= total;) {
        if (!leaves_[page / k_leaf_pages]) {
            u64 const next = round_up(page + 1, k_leaf_pages);
            seen += next - page;
            page = next % total;
            continue;
        }
        if (find(page)) return page;
        ++seen;
        page = (page + 1) % total;
    }
    CORELET_UNREACHABLE("a page in use was not found");
}

}  // namespace corelet::sim
