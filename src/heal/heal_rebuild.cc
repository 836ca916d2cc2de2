// What is missing here, and making it again.
#include <algorithm>
#include <bit>

#include "heal/healer.h"

namespace corelet {

namespace {
constexpr u64 k_slice =
    512 * k_kib;  // of a fragment, read and decoded at a time: what a client may find before its own on a link
constexpr usize k_fates_at_once = 4096;
constexpr usize k_failures_told = 3;           // a round
constexpr u64 k_rate_bytes_least = 1 * k_mib;  // less says nothing of how fast it goes
}  // namespace

void Healer::Left::take(const Missing& missing) {
    shares -= std::min(shares, HealStatus::k_whole_chunk / missing.holes);
    fragments -= std::min<u64>(fragments, 1);
    bytes -= std::min(bytes, missing.bytes());
}

std::vector<Healer::Missing> Healer::find_missing(const mesh::Map& map, const mesh::Pool& pool,
                                                  const Known& known) const {
    std::vector<Missing> missing;
    std::map<SpaceId, bool> deleted;
    auto const seems_deleted = [&](SpaceId space) {
        auto const [entry, fresh] = deleted.try_emplace(space);
        if (fresh) entry->second = spaces_.seems_deleted(space);
        return entry->second;
    };
    auto const look_at = [&](ChunkId chunk, const Seen& seen) {
        u32 const slot = pool.slot(chunk);
        auto const position = pool.current().position_of(slot, rpc_.id());
        if (!position || seems_deleted(chunk.space)) return;
        FragmentId const id{chunk, *position};
        bool const sound = store_.fragment_info(id) && !damaged_.contains(id);
        if (sound || seen.blocks == 0) return;
        unsigned holes = 0;
        for (u8 p = 0; p < pool.current().width(); ++p) {
            CoreletId const member = pool.current().at(slot, p);
            bool const lacks = member == rpc_.id() || ((seen.at_home >> p) & 1U) == 0;
            holes += !member.is_zero() && map.is_up(member) && lacks ? 1U : 0U;
        }
        missing.push_back(Missing{id, seen.blocks, static_cast<u8>(std::popcount(seen.anywhere)),
                                  static_cast<u8>(std::clamp(holes, 1U, 24U)), seen.holders});
        std::sort(missing.back().holders.begin(), missing.back().holders.end());
    };
    for (auto const& [chunk, seen] : known.chunks) look_at(chunk, seen);
    for (const FragmentId& id : damaged_) {
        if (known.chunks.contains(id.chunk) || spaces_.pool_of(id.chunk.space) != pool.id) continue;
        if (auto const info = store_.fragment_info(id))
            look_at(id.chunk, Seen{0, 0, static_cast<u32>(info->bytes / k_block_bytes), {}});
    }
    std::stable_sort(missing.begin(), missing.end(),
                     [](const Missing& a, const Missing& b) { return a.survivors < b.survivors; });
    return missing;
}

// Garbage is not resurrected, and what is on its way is left alone: the owners are asked first. No answer counts as
// live (protocols 8.3).
Task<std::vector<Healer::Missing>> Healer::without_dead(std::vector<Missing> missing) {
    std::map<SpaceId, std::vector<u64>> seqs;
    for (const Missing& each : missing) seqs[each.fragment.chunk.space].push_back(each.fragment.chunk.seq);
    std::set<ChunkId> left_alone;
    for (auto const& [space, all] : seqs)
        for (usize at = 0; at < all.size(); at += k_fates_at_once) {
            auto const end = all.begin() + static_cast<std::ptrdiff_t>(std::min(all.size(), at + k_fates_at_once));
            auto const fates = co_await port_.fates(space, {all.begin() + static_cast<std::ptrdiff_t>(at), end});
            if (!fates) break;
            for (u64 seq : fates->dead) left_alone.insert(ChunkId{space, seq});
            for (u64 seq : fates->pending) left_alone.insert(ChunkId{space, seq});
        }
    std::erase_if(missing, [&](const Missing& each) { return left_alone.contains(each.fragment.chunk); });
    co_return missing;
}

// Other pools' tables, and states of corelets, may change meanwhile; a new table of this pool begins a new round.
bool Healer::still_wanted(PoolId pool_id, const mesh::SlotTable& table) const {
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(pool_id);
    return pool && pool->current().epoch() == table.epoch() && pool->current().hash() == table.hash();
}

// True: all of it was rebuilt that can be had anywhere.
Task<bool> Healer::rebuild_all(PoolId pool, mesh::TablePtr table, std::vector<Missing> missing) {
    Left& left = left_[pool] = {};
    for (const Missing& each : missing) {
        left.shares += HealStatus::k_whole_chunk / each.holes;
        left.fragments += 1;
        left.bytes += each.bytes();
    }
    if (missing.empty()) {
        if (std::all_of(left_.begin(), left_.end(), [](const auto& each) { return each.second.fragments == 0; }))
            rate_.end();
        co_return true;
    }
    if (room_.waits(free_bytes(), env_.clock.now())) co_return false;
    log_info(env_.log, "heal.round",
             [&] { return std::to_string(missing.size()) + " fragments are missing here"; });
    rate_.begin(env_.clock.now());
    usize failed = 0;
    bool hopeless = store_.is_failing() || store_.has_forgotten();
    Scope rebuilds(env_.executor);
    for (const Missing& each : missing) {
        while (ordered_ != 0) co_await orders_done_.wait();
        co_await slots_.acquire(1);
        u64 const memory = std::min(each.bytes(), memory_.total());
        co_await memory_.acquire(memory);
        if (hopeless || !still_wanted(pool, *table) || status_.paused) {
            slots_.release(1);
            memory_.release(memory);
            ++failed;
            break;
        }
        rebuilds.spawn(rebuild(pool, table, each, memory, &failed, &hopeless));
    }
    co_await rebuilds.join();
    co_return failed == 0;
}

Task<void> Healer::rebuild(PoolId pool, mesh::TablePtr table, Missing missing, u64 memory, usize* failed,
                           bool* hopeless) {
    Permit const permit(slots_, 1);  // both taken by the round
    Permit const room(memory_, memory);
    auto const rebuilt = co_await rebuild_one(pool, table, missing);
    if (rebuilt) {
        room_.took();
        co_return;
    }
    // A full or failing device takes none of the others either: what they are made of is not read for nothing.
    Code const code = rebuilt.error().code;
    *hopeless = *hopeless || code == Code::kNoSpace || (code == Code::kIo && store_.is_failing());
    if (code == Code::kNoSpace) room_.refused(missing.bytes(), free_bytes(), env_.clock.now());
    // Denied by everybody, strays included: former tables lead to nothing more, so it keeps nobody from being
    // clean.
    if (code == Code::kUnknown) co_return;
    if (++*failed <= k_failures_told)
        log_info(env_.log, "heal.not_rebuilt",
                 [&] { return to_string(missing.fragment.chunk) + ": " + rebuilt.error().to_string(); });
}

// What is made again is put as packed data is.
u64 Healer::free_bytes() const {
    return store_.available_bytes(SpaceClass::kPacking);
}

Task<void> Healer::keep_pace(u64 bytes) {
    for (Duration wait = pace_.take(bytes, env_.clock.now()); wait.ns != 0;
         wait = pace_.take(bytes, env_.clock.now()))
        co_await env_.clock.sleep(wait);
}

Task<Result<Healer::Made>> Healer::make_fragment(PoolId pool, FragmentId fragment, u64 bytes, CoreletId except) {
    Made made;
    bool const here = except == rpc_.id();
    for (u64 at = 0; at < bytes; at += k_slice) {
        u64 const length = std::min(k_slice, bytes - at);
        co_await keep_pace(length);
        MeshChunks::Wanted const wanted{pool, fragment.chunk, at, length, TrafficClass::kHeal, except, !here};
        CO_TRY(auto piece, co_await chunks_.read_piece(wanted, fragment.position, {}));
        made.data.append(std::move(piece.bytes));
        made.crcs.insert(made.crcs.end(), piece.crcs.begin(), piece.crcs.end());
        made.chunk_bytes = std::max(made.chunk_bytes, piece.chunk_bytes);
    }
    co_return made;
}

// Copies the fragment if a holder of it is alive, else decodes it, slice by slice; it counts only after a verified
// read-back (protocols 9.5).
Task<Result<void>> Healer::rebuild_one(PoolId pool_id, mesh::TablePtr table, Missing missing) {
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(pool_id);
    if (!pool) co_return fail(Code::kUnavailable, "the pool is gone");
    mesh::Redundancy const redundancy = pool->spec.redundancy;
    u64 const bytes = missing.bytes();
    CO_TRY(Made made, co_await make_fragment(pool_id, missing.fragment, bytes, rpc_.id()));
    FragmentHeader header;
    header.chunk_data_bytes = made.chunk_bytes;
    CO_TRY(auto const geometry, ec::ChunkGeometry::make(header.chunk_data_bytes, redundancy.k));
    if (geometry.fragment_bytes() != bytes)
        co_return fail(Code::kCorrupt, "survivors of the chunk are not of one size");
    header.k = redundancy.k;
    header.m = redundancy.m;
    header.map_epoch = table->epoch();
    PutOptions options;
    options.space = SpaceClass::kPacking;
    options.io = IoClass::kHeal;
    options.repair = true;
    CO_TRY_VOID(co_await store_.put_fragment(missing.fragment, header, std::move(made.data), std::move(made.crcs),
                                             options));
    CO_TRY_VOID(co_await store_.verify_fragment(missing.fragment, IoClass::kHeal));
    status_.repaired += damaged_.erase(missing.fragment);
    status_.bytes_done += bytes;
    ++status_.fragments_rebuilt;
    rate_.done(bytes, env_.clock.now());
    u64 const rate = rate_.bytes_per_second(env_.clock.now());
    if (rate != 0 && status_.bytes_done >= k_rate_bytes_least) status_.measured_bytes_per_second = rate;
    left_[pool_id].take(missing);
    auto& rows = degraded_[pool_id];
    if (auto const row = rows.find(missing.holders); row != rows.end() && --row->second == 0) rows.erase(row);
    co_return {};
}

}  // namespace corelet
