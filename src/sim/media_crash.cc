// What crashes and decay leave of a file.
#include <cstring>

#include "sim/media.h"

namespace corelet::sim {

MediaFile::Fate MediaFile::fate_of(u64 write, std::map<u64, Fate>& fates) {
    auto const [it, is_new] = fates.try_emplace(write, Fate::kLost);
    if (is_new) {
        it->second = static_cast<Fate>(random_.below(4));
        if (it->second == Fate::kLost) engine_.stats.count_fault(FaultKind::kLostWrite);
        if (it->second >= Fate::kPages) engine_.stats.count_fault(FaultKind::kTornWrite);
    }
    return it->second;
}

void MediaFile::settle_page(u64 page, std::vector<Version>& versions, std::map<u64, Fate>& fates) {
    random_.shuffle(versions);  // any order, those of one place included
    for (const Version& version : versions) {
        if (version.doomed) continue;
        u64 sectors = 0;
        switch (fate_of(version.write, fates)) {
            case Fate::kLost:
                break;
            case Fate::kWhole:
                sectors = 0xFF;
                break;
            case Fate::kPages:
                sectors = random_.chance(1, 2) ? 0xFF : 0;
                break;
            case Fate::kSectors:
                sectors = random_.below(256);
                break;
        }
        if (sectors == 0) continue;
        PageBytes& durable = edit_durable(page);
        for (usize sector = 0; sector < k_sectors; ++sector) {
            if (((sectors >> sector) & 1) == 0) continue;
            std::memcpy(durable.data() + sector * k_sector_bytes, version.bytes->data() + sector * k_sector_bytes,
                        k_sector_bytes);
        }
        unreadable_.erase(page);
    }
}

void MediaFile::lose_power() {
    std::map<u64, Fate> fates;
    for (auto& [page, versions] : pending_) settle_page(page, versions, fates);
    pending_.clear();
}

void MediaFile::lose_process() {
    // What the kernel had been handed, it completes or drops as a whole; all of it stays in the page cache.
    std::map<u64, bool> completes;
    for (auto it = pending_.begin(); it != pending_.end();) {
        auto& versions = it->second;
        for (Version& version : versions) {
            if (version.completed != 0) continue;
            auto const [fate, is_new] = completes.try_emplace(version.write, false);
            if (is_new) fate->second = random_.chance(1, 2);
            if (fate->second) version.completed = ++completions_;
        }
        std::erase_if(versions, [](const Version& v) { return v.completed == 0; });
        std::ranges::stable_sort(versions, {}, &Version::completed);
        it = versions.empty() ? pending_.erase(it) : std::next(it);
    }
}

void MediaFile::flip_bit(u64 offset, u32 bit) {
    CORELET_ASSERT(offset < size_bytes_ && bit < 8);
    u8& byte = edit_durable(offset / k_block_bytes)[offset % k_block_bytes];
    byte = static_cast<u8>(byte ^ (1U << bit));
}

void MediaFile::put_at_rest(u64 offset, Bytes page) {
    CORELET_ASSERT(page.size() == k_block_bytes);
    check_range(offset, page.size());
    std::memcpy(edit_durable(offset / k_block_bytes).data(), page.data(), page.size());
    put_at_rest_.insert(offset / k_block_bytes);
}

void MediaFile::make_unreadable(u64 offset, u64 size) {
    u64 const end = std::min(offset + size, size_bytes_);
    for (u64 at = round_down(offset, k_sector_bytes); at < end; at += k_sector_bytes) {
        u8& sectors = unreadable_[at / k_block_bytes];
        sectors = static_cast<u8>(sectors | (1U << (at % k_block_bytes / k_sector_bytes)));
    }
}

void MediaFile::roll_back(PageMap snapshot) {
    CORELET_ASSERT(snapshot.has_size_of(durable_), "a snapshot of another file");
    durable_ = std::move(snapshot);
    pending_.clear();
    unreadable_.clear();
    put_at_rest_.clear();
}

void MediaFile::fill_with_garbage(u64 garbage_seed) {
    garbage_seed_ = garbage_seed;
}

}  // namespace corelet::sim
