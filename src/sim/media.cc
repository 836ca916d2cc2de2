#include "sim/media.h"

#include <cstring>

#include "base/hash.h"

namespace corelet::sim {

MediaFile::MediaFile(Engine& engine, Prng random, u64 size_bytes)
    : engine_(engine), random_(random), size_bytes_(size_bytes), durable_(div_ceil(size_bytes, k_block_bytes)) {
    CORELET_ASSERT(size_bytes % k_block_bytes == 0);
}

void MediaFile::check_range(u64 offset, u64 size) const {
    CORELET_ASSERT(offset % k_block_bytes == 0 && size % k_block_bytes == 0,
                   "disk operations are in units of 4 KiB");
    CORELET_ASSERT(offset <= size_bytes_ && size <= size_bytes_ - offset);
}

u64 MediaFile::begin_write(u64 offset, const BufferChain& data) {
    check_range(offset, data.size());
    u64 const write = next_write_++;
    u64 page = offset / k_block_bytes;
    usize filled = 0;
    std::shared_ptr<PageBytes> bytes;
    for (const Buffer& part : data.parts()) {
        for (usize at = 0; at < part.size();) {
            if (filled == 0 && part.size() - at >= k_block_bytes &&
                is_all_zero(part.bytes().subspan(at, k_block_bytes))) {
                pending_[page++].push_back({write, 0, false, zeros_});
                at += k_block_bytes;
                continue;
            }
            if (filled == 0) bytes = std::make_shared_for_overwrite<PageBytes>();
            usize const size = std::min(k_block_bytes - filled, part.size() - at);
            std::memcpy(bytes->data() + filled, part.data() + at, size);
            at += size;
            filled += size;
            if (filled < k_block_bytes) continue;
            pending_[page++].push_back({write, 0, false, std::move(bytes)});
            filled = 0;
        }
    }
    CORELET_ASSERT(filled == 0);
    return write;
}

void MediaFile::complete_buffered(u64 write, u64 offset, usize size) {
    u64 const order = ++completions_;
    u64 const end = (offset + size) / k_block_bytes;
    for (auto it = pending_.lower_bound(offset / k_block_bytes); it != pending_.end() && it->first < end; ++it) {
        auto& versions = it->second;
        auto const mine = std::ranges::find(versions, write, &Version::write);
        CORELET_ASSERT(mine != versions.end());
        mine->completed = order;
        // The last to complete is what a read sees.
        std::rotate(mine, mine + 1, versions.end());
    }
}

void MediaFile::complete_durable(u64 write, u64 offset, usize size) {
    if (faults.lying_syncs) return complete_buffered(write, offset, size);
    ++completions_;
    u64 const end = (offset + size) / k_block_bytes;
    for (auto it = pending_.lower_bound(offset / k_block_bytes); it != pending_.end() && it->first < end;) {
        auto& versions = it->second;
        auto const mine = std::ranges::find(versions, write, &Version::write);
        CORELET_ASSERT(mine != versions.end());
        write_durable(it->first, std::exchange(mine->bytes, nullptr));
        // What completed before it lies under it; what is in flight may still come after.
        std::erase_if(versions, [&](const Version& v) { return v.completed != 0 || v.write == write; });
        it = versions.empty() ? pending_.erase(it) : std::next(it);
    }
}

void MediaFile::write_durable(u64 page, std::shared_ptr<PageBytes> bytes) {
    durable_.put(page, std::move(bytes));
    if (!unreadable_.empty()) unreadable_.erase(page);
    if (!put_at_rest_.empty()) put_at_rest_.erase(page);
}

void MediaFile::drop_in_flight(u64 write, u64 offset, usize size) {
    u64 const end = (offset + size) / k_block_bytes;
    for (auto it = pending_.lower_bound(offset / k_block_bytes); it != pending_.end() && it->first < end;) {
        std::erase_if(it->second, [&](const Version& v) { return v.write == write; });
        it = it->second.empty() ? pending_.erase(it) : std::next(it);
    }
}

void MediaFile::fail_write(u64 write, u64 offset, usize size) {
    u64 const end = (offset + size) / k_block_bytes;
    for (u64 page = offset / k_block_bytes; page < end; ++page) {
        auto const found = pending_.find(page);
        if (found == pending_.end()) continue;
        auto const mine = std::ranges::find(found->second, write, &Version::write);
        if (mine == found->second.end()) continue;
        u64 const kept = random_.below(256);
        for (usize sector = 0; sector < k_sectors; ++sector) {
            if (((kept >> sector) & 1) == 0) continue;
            std::memcpy(edit_durable(page).data() + sector * k_sector_bytes,
                        mine->bytes->data() + sector * k_sector_bytes, k_sector_bytes);
        }
    }
    drop_in_flight(write, offset, size);
}

void MediaFile::complete_flush(u64 begun_at) {
    if (faults.lying_syncs) return;
    auto const covered = [&](const Version& v) { return v.completed != 0 && v.completed <= begun_at && !v.doomed; };
    for (auto it = pending_.begin(); it != pending_.end();) {
        auto& versions = it->second;
        // Completed ones stand in order of completion, so the last covered one is what the flush saves.
        for (auto v = versions.rbegin(); v != versions.rend(); ++v) {
            if (!covered(*v)) continue;
            write_durable(it->first, v->bytes);
            break;
        }
        std::erase_if(versions, covered);
        it = versions.empty() ? pending_.erase(it) : std::next(it);
    }
}

void MediaFile::fail_flush() {
    for (auto& [page, versions] : pending_) {
        for (Version& version : versions) {
            if (version.completed == 0) continue;
            if (random_.chance(1, 2)) {
                write_durable(page, version.bytes);
            } else {
                version.doomed = true;
            }
        }
    }
}

void MediaFile::read_page(u64 page, u8* out) const {
    auto const found = pending_.empty() ? pending_.end() : pending_.find(page);
    if (found != pending_.end()) {
        for (auto v = found->second.rbegin(); v != found->second.rend(); ++v) {
            if (v->completed == 0) continue;
            std::memcpy(out, v->bytes->data(), k_block_bytes);
            return;
        }
    }
    read_durable_page(page, out);
}

void MediaFile::read_durable_page(u64 page, u8* out) const {
    if (const PageBytes* bytes = durable_.find(page)) {
        std::memcpy(out, bytes->data(), k_block_bytes);
        return;
    }
    std::memset(out, 0, k_block_bytes);
    if (!garbage_seed_) return;
    Prng garbage(hash64(*garbage_seed_, page));
    for (usize at = 0; at < k_block_bytes; at += sizeof(u64)) {
        u64 const word = garbage.next();
        std::memcpy(out + at, &word, sizeof(word));
    }
}

PageBytes& MediaFile::edit_durable(u64 page) {
    bool const is_new = durable_.find(page) == nullptr;
    PageBytes& bytes = durable_.edit(page);
    if (is_new && garbage_seed_) {
        durable_.clear(page);
        auto filled = std::make_shared<PageBytes>();
        read_durable_page(page, filled->data());
        durable_.put(page, std::move(filled));
        return durable_.edit(page);
    }
    return bytes;
}

Result<Buffer> MediaFile::read(u64 offset, usize size) const {
    check_range(offset, size);
    u64 const first = offset / k_block_bytes, end = (offset + size) / k_block_bytes;
    auto const bad = unreadable_.lower_bound(first);
    if (bad != unreadable_.end() && bad->first < end) {
        auto error = fail(Code::kIo, "unreadable sector at " + std::to_string(bad->first * k_block_bytes));
        error.error().injected = true;
        return error;
    }
    Buffer out = Buffer::allocate(size);
    for (u64 page = first; page < end; ++page) {
        read_page(page, out.mutable_data() + (page - first) * k_block_bytes);
    }
    return out;
}

void MediaFile::discard(u64 offset, u64 size) {
    check_range(offset, size);
    ++completions_;
    // Mostly the space is given back and reads as zeros; a device may as well do nothing.
    if (random_.chance(1, 8)) return;
    for (u64 page = offset / k_block_bytes; page < (offset + size) / k_block_bytes; ++page) {
        auto const found = pending_.find(page);
        if (found != pending_.end()) {
            std::erase_if(found->second, [](const Version& v) { return v.completed != 0; });
            if (found->second.empty()) pending_.erase(found);
        }
        durable_.clear(page);
    }
}

Buffer MediaFile::read_durable(u64 offset, usize size) const {
    check_range(offset, size);
    Buffer out = Buffer::allocate(size);
    for (usize at = 0; at < size; at += k_block_bytes) {
        read_durable_page((offset + at) / k_block_bytes, out.mutable_data() + at);
    }
    return out;
}

bool MediaFile::is_clean(u64 offset, usize size) const {
    check_range(offset, size);
    auto const next = pending_.lower_bound(offset / k_block_bytes);
    return next == pending_.end() || next->first >= (offset + size) / k_block_bytes;
}

}  // namespace corelet::sim
