#include "volume/volume_model_testing.h"

#include "base/hash.h"

namespace corelet {

namespace {
constexpr u64 k_sector = 512;
constexpr u64 k_open = UINT64_MAX;

// The stamp that the sector was made of, or that it is none.
bool read_stamp(Bytes sector, u64& stamp) {
    std::memcpy(&stamp, sector.data(), 8);
    if (stamp == 0) return is_all_zero(sector);
    for (u64 at = 8; at < k_sector; at += 8) {
        u64 word = 0;
        std::memcpy(&word, sector.data() + at, 8);
        if (word != hash64(stamp, at)) return false;
    }
    return true;
}
}  // namespace

std::vector<SectorModel::Version>& SectorModel::versions(u64 sector) {
    auto& all = sectors_[sector];
    if (all.empty()) all.push_back({});
    return all;
}

SectorModel::Write SectorModel::begin_write(u64 offset, u64 length, u64 stamp) {
    Write const write{offset, length, next_number_++};
    u64 const begun = tick();
    for (u64 at = offset; at < offset + length; at += k_sector)
        versions(at / k_sector).push_back({stamp, write.number, begun, k_open, false});
    return write;
}

void SectorModel::end_write(const Write& write, bool certain) {
    u64 const ended = tick();
    for (u64 at = write.offset; at < write.offset + write.length; at += k_sector) {
        for (Version& version : versions(at / k_sector)) {
            if (version.number != write.number) continue;
            version.ended = ended;
            version.certain = certain;
        }
    }
}

void SectorModel::crash() {
    u64 const ended = tick();
    for (auto& [sector, all] : sectors_)
        for (Version& version : all) version.ended = std::min(version.ended, ended);
}

std::string SectorModel::check(u64 offset, Bytes bytes, u64 begun, bool settle) {
    u64 const ended = tick();
    for (u64 at = 0; at < bytes.size(); at += k_sector) {
        u64 const sector = (offset + at) / k_sector;
        u64 stamp = 0;
        if (!read_stamp(bytes.subspan(at, k_sector), stamp))
            return "sector " + std::to_string(sector) + " is of no write";
        auto& all = versions(sector);
        const Version* found = nullptr;
        bool stale = false;
        for (const Version& version : all) {
            if (version.stamp != stamp || version.begun >= ended) continue;
            bool superseded = false;
            for (const Version& later : all)
                superseded = superseded || (later.certain && later.begun > version.ended && later.ended < begun);
            stale = stale || superseded;
            if (!superseded) found = &version;
        }
        if (!found) {
            std::string text = "sector " + std::to_string(sector) + " holds " + std::to_string(stamp) +
                               (stale ? ", stale" : ", never written") + ":";
            for (const Version& version : all)
                text += " [" + std::to_string(version.stamp) + " " + std::to_string(version.begun) + "-" +
                        (version.ended == k_open ? "?" : std::to_string(version.ended)) +
                        (version.certain ? "!" : "") + "]";
            return text + " read " + std::to_string(begun) + "-" + std::to_string(ended);
        }
        if (settle) {
            Version const kept{stamp, found->number, found->begun, found->ended, true};
            all.assign(1, kept);
        }
    }
    return {};
}

}  // namespace corelet
