#include "chunk/behind_book.h"

#include <algorithm>

namespace corelet {

BehindBook::Chunk* BehindBook::add(PoolId pool, ChunkId chunk, Instant now) {
    if (chunks_.size() >= options_.chunks_max && !chunks_.contains(chunk)) return nullptr;
    auto const [entry, fresh] = chunks_.try_emplace(chunk);
    if (!fresh) return &entry->second;
    entry->second.pool = pool;
    entry->second.number = next_++;
    entry->second.settle_by = now + options_.settle;
    entry->second.watch_until = now + options_.watch;
    entry->second.ask_at = now;
    return &entry->second;
}

bool BehindBook::begin(PoolId pool, ChunkId chunk, Instant now) {
    Chunk* const entry = add(pool, chunk, now);
    if (!entry) return false;
    entry->tail = entry->known = true;
    return true;
}

void BehindBook::end_tail(ChunkId chunk) {
    if (auto const found = chunks_.find(chunk); found != chunks_.end()) found->second.tail = false;
}

// There are no more of these than of chunks since the last checkpoint; beyond the bound healing finds them.
void BehindBook::watch(PoolId pool, ChunkId chunk, Instant now) {
    (void)add(pool, chunk, now);
}

void BehindBook::learn(ChunkId chunk, CoreletId holder, u32 positions) {
    auto const found = chunks_.find(chunk);
    if (found == chunks_.end()) return;
    // Asked while it was being put, it may have said so before it had it.
    if (positions == 0) {
        if (!found->second.tail) found->second.holders.erase(holder);
    } else {
        found->second.holders[holder] |= positions;
    }
}

void BehindBook::asked(ChunkId chunk, bool all) {
    auto const found = chunks_.find(chunk);
    if (found == chunks_.end()) return;
    found->second.known = true;
    // Deleted meanwhile.
    if (all && !found->second.tail && found->second.holders.empty()) chunks_.erase(found);
}

bool BehindBook::is_whole(const mesh::Map& map, ChunkId id, const Chunk& chunk) {
    const mesh::Pool* const pool = map.find(chunk.pool);
    if (!pool) return true;
    auto const row = pool->current().row(pool->slot(id));
    for (usize position = 0; position < row.size(); ++position) {
        if (row[position].is_zero() || !map.is_up(row[position])) continue;
        auto const holder = chunk.holders.find(row[position]);
        if (holder == chunk.holders.end() || ((holder->second >> position) & 1U) == 0) return false;
    }
    return true;
}

void BehindBook::look(const mesh::Map& map, Instant now) {
    std::erase_if(chunks_, [&](const auto& each) {
        return !each.second.tail && (now >= each.second.watch_until || is_whole(map, each.first, each.second));
    });
}

std::vector<ChunkId> BehindBook::to_ask(Instant now) {
    std::vector<ChunkId> out;
    for (auto& [id, chunk] : chunks_) {
        if (chunk.tail || chunk.ask_at > now || out.size() >= options_.asked_at_once) continue;
        chunk.ask_at = now + options_.ask_every;
        out.push_back(id);
    }
    return out;
}

std::optional<PoolId> BehindBook::pool_of(ChunkId chunk) const {
    auto const found = chunks_.find(chunk);
    return found == chunks_.end() ? std::nullopt : std::optional(found->second.pool);
}

bool BehindBook::has_tail(ChunkId chunk) const {
    auto const found = chunks_.find(chunk);
    return found != chunks_.end() && found->second.tail;
}

bool BehindBook::is_asking() const {
    return std::any_of(chunks_.begin(), chunks_.end(), [](const auto& each) { return !each.second.tail; });
}

bool BehindBook::is_settled(SpaceId space, u64 mark, Instant now) const {
    return std::none_of(chunks_.begin(), chunks_.end(), [&](const auto& each) {
        return each.first.space == space && each.second.number < mark && now < each.second.settle_by;
    });
}

// As many as a put takes, those that are down first: of which fragments there are nothing is known yet. That it can
// be read was seen when its entry was replayed.
std::vector<CoreletId> BehindBook::worst_holders(const mesh::Map& map, ChunkId id, const Chunk& chunk) {
    const mesh::Pool& pool = *map.find(chunk.pool);
    std::vector<CoreletId> up, out;
    for (CoreletId member : pool.current().row(pool.slot(id)))
        if (!member.is_zero()) (map.is_up(member) ? up : out).push_back(member);
    usize const least = pool.put_least(), down = std::min(out.size(), least);
    usize const taken = std::min<usize>(up.size(), std::max<usize>(least - down, pool.spec.redundancy.k));
    out.insert(out.end(), up.begin(), up.begin() + static_cast<std::ptrdiff_t>(taken));
    return out;
}

std::vector<DegradedChunks> BehindBook::rows(const mesh::Map& map, usize limit) const {
    std::map<std::pair<PoolId, std::vector<CoreletId>>, u64> counts;
    for (auto const& [id, chunk] : chunks_) {
        if (!map.find(chunk.pool)) continue;
        std::vector<CoreletId> holders;
        if (!chunk.known) holders = worst_holders(map, id, chunk);
        if (chunk.known)
            for (auto const& [holder, positions] : chunk.holders) holders.push_back(holder);
        std::sort(holders.begin(), holders.end());
        ++counts[{chunk.pool, std::move(holders)}];
    }
    std::vector<DegradedChunks> out;
    for (auto const& [row, chunks] : counts) out.push_back({row.first, row.second, chunks});
    return fewest_holders_first(std::move(out), limit);
}

}  // namespace corelet
