#include "heal/healer.h"

#include "base/hash.h"
#include "chunk/chunk.pb.h"
#include "heal/heal.pb.h"
#include "rt/combine.h"
#include "wire/message.h"

namespace corelet {

Healer::Healer(Env& env, Store& store, RpcNode& rpc, mesh::MapSource& maps, MeshChunks& chunks, FragmentServer& fragments,
               const SpaceDirectory& spaces, HealPort& port, Options options)
    : env_(env),
      store_(store),
      rpc_(rpc),
      maps_(maps),
      chunks_(chunks),
      fragments_(fragments),
      spaces_(spaces),
      port_(port),
      options_(options),
      slots_(options.rebuilds_at_once),
      scope_(env.executor) {
    rpc_.register_handler(heal_method::k_compare, [this](Request r) { return on_compare(std::move(r)); });
    scope_.spawn(run());
}

Healer::~Healer() { rpc_.unregister_handler(heal_method::k_compare); }

void Healer::pause(bool paused) {
    status_.paused = paused;
    wake();
}

HealStatus Healer::status() const {
    HealStatus status = status_;
    status.chunks_degraded = 0;
    status.bytes_left = 0;
    for (auto const& [pool, left] : left_) {
        status.chunks_degraded += left.first;
        status.bytes_left += left.second;
    }
    Duration const spent = env_.clock.now() - rate_from_;
    u64 const done = status_.bytes_done - rate_bytes_;
    if (status.bytes_left != 0 && done != 0 && spent.ns > 0)
        status.eta = Duration{static_cast<i64>(static_cast<u128>(status.bytes_left) * static_cast<u64>(spent.ns) / done)};
    return status;
}

Task<void> Healer::run() {
    for (;;) {
        bool const clean = status_.paused || co_await round();
        Duration const pause = clean ? options_.round_every : 1_s;
        Duration const jitter{static_cast<i64>(env_.random.below(static_cast<u64>(pause.ns / 4)))};
        co_await wanted_.wait_until(env_.clock, env_.clock.now() + pause + jitter);
    }
}

Task<bool> Healer::round() {
    auto const map = maps_.current();
    auto const inventory = take_inventory(store_, *map, spaces_);
    bool clean = true;
    for (const mesh::Pool& pool : map->pools) {
        auto const own = inventory.find(pool.id);
        clean = co_await heal_pool(pool.id, own == inventory.end() ? nullptr : &own->second) && clean;
    }
    for (auto& [space, seqs] : std::exchange(suspects_, {})) co_await port_.report_suspects(space, std::move(seqs));
    co_await drop_deleted_spaces();
    co_return clean;
}

Task<bool> Healer::ask_members(std::shared_ptr<const mesh::Map> map, PoolId pool_id, const PoolInventory* own, Known* known) {
    const mesh::Pool& pool = *map->find(pool_id);
    mesh::TablePtr const table = pool.tables.front();
    std::map<CoreletId, pb::CompareInventory> questions;
    for (auto const& [slot, position] : table->places_of(rpc_.id())) {
        pb::SlotDigest digest;
        digest.set_slot(slot);
        if (own)
            if (auto const found = own->find(slot); found != own->end()) {
                digest.set_count(found->second.count);
                digest.set_sum(found->second.sum);
            }
        std::set<CoreletId> asked;
        for (const mesh::TablePtr& each : pool.tables)
            for (CoreletId member : each->row(slot % each->slots()))
                if (!member.is_zero() && member != rpc_.id()) asked.insert(member);
        for (CoreletId member : asked) *questions[member].add_digests() = digest;
    }
    bool everybody = true;
    std::vector<Task<bool>> asks;
    for (auto& [member, question] : questions) {
        if (!map->is_up(member)) {
            // Those that are out are not waited for (protocols 9.2).
            const mesh::Corelet* const corelet = map->find(member);
            everybody = everybody && (!corelet || corelet->presence == mesh::Presence::kOut);
            continue;
        }
        question.set_pool(pool_id.v);
        question.set_map_epoch(map->epoch.v);
        question.set_slots(table->slots());
        asks.push_back(ask(member, encode_message(question), known));
    }
    for (bool answered : co_await join_all<bool>(std::move(asks))) everybody = everybody && answered;
    co_return everybody;
}

// Fewest surviving fragments first.
std::vector<Healer::Missing> Healer::find_missing(const mesh::Pool& pool, const Known& known) {
    std::vector<Missing> missing;
    auto& left = left_[pool.id];
    left = {};
    for (auto const& [chunk, seen] : known) {
        auto const position = pool.current().position_of(pool.slot(chunk), rpc_.id());
        if (!position || store_.fragment_info(FragmentId{chunk, *position}) || spaces_.seems_deleted(chunk.space)) continue;
        missing.push_back(Missing{pool.id, FragmentId{chunk, *position}, seen.second, static_cast<unsigned>(std::popcount(seen.first))});
        ++left.first;
        if (auto const geometry = ec::ChunkGeometry::make(seen.second, pool.spec.redundancy.k)) left.second += geometry->fragment_bytes();
    }
    std::stable_sort(missing.begin(), missing.end(), [](const Missing& a, const Missing& b) { return a.survivors < b.survivors; });
    return missing;
}

// Returns how many could not be rebuilt now.
Task<usize> Healer::rebuild_all(std::vector<Missing> missing, MapEpoch epoch) {
    if (missing.empty()) co_return 0;
    log_info(env_.log, "heal.round", [&] { return std::to_string(missing.size()) + " fragments are missing here"; });
    rate_from_ = env_.clock.now();
    rate_bytes_ = status_.bytes_done;
    usize failed = 0;
    Scope rebuilds(env_.executor);
    for (const Missing& each : missing) {
        co_await slots_.acquire(1);
        if (maps_.current()->epoch != epoch || status_.paused) {
            slots_.release(1);
            ++failed;
            break;
        }
        rebuilds.spawn(rebuild(each, &failed));
    }
    co_await rebuilds.join();
    co_return failed;
}

std::vector<Healer::Stray> Healer::find_strays(const mesh::Pool& pool, const PoolInventory* own) const {
    std::vector<Stray> strays;
    if (!own) return strays;
    const mesh::SlotTable& table = pool.current();
    for (auto const& [slot, holdings] : *own)
        for (auto const& [chunk, holding] : holdings.chunks)
            for (unsigned p = 0; p < mesh::k_width_max; ++p) {
                bool const held = (holding.positions >> p) & 1U;
                bool const at_home = p < table.width() && table.at(slot, p) == rpc_.id();
                if (held && !at_home) strays.push_back(Stray{pool.id, FragmentId{chunk, static_cast<u8>(p)}});
            }
    return strays;
}

Task<bool> Healer::heal_pool(PoolId pool_id, const PoolInventory* own) {
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(pool_id);
    if (!pool) co_return true;
    mesh::TablePtr const table = pool->tables.front();
    Known known;
    bool const everybody = co_await ask_members(map, pool_id, own, &known);
    usize const failed = co_await rebuild_all(find_missing(*pool, known), map->epoch);
    auto strays = find_strays(*pool, own);
    status_.strays = strays.size();
    if (!strays.empty()) co_await hand_on(std::move(strays));

    bool const clean = everybody && failed == 0 && maps_.current()->epoch == map->epoch && fragments_.puts_before(table->epoch()) == 0;
    bool const wanted = table->has(rpc_.id()) && pool->clean_epoch(rpc_.id()) < table->epoch();
    if (clean && wanted && reported_clean_[pool_id] < table->epoch()) {
        auto const reported = co_await port_.report_clean(pool_id, table->epoch(), table->hash());
        if (reported) reported_clean_[pool_id] = table->epoch();
    }
    co_return clean;
}

Task<bool> Healer::ask(CoreletId peer, Buffer body, Known* known) {
    CallOptions options;
    options.deadline = env_.clock.now() + 5_s;
    options.traffic = TrafficClass::kHeal;
    auto const reply = co_await rpc_.call(peer, heal_method::k_compare, std::move(body), {}, options);
    if (!reply) co_return false;
    auto const answer = decode_message<pb::CompareInventoryReply>(reply->body);
    if (!answer) co_return false;
    for (const pb::HeldChunk& held : answer->chunks()) {
        auto& entry = (*known)[ChunkId{SpaceId(held.space()), held.seq()}];
        entry.first |= held.positions();
        entry.second = held.chunk_bytes();
    }
    co_return true;
}

// Lists what this corelet holds in the slots whose digests differ from the asker's.
Task<Result<Reply>> Healer::on_compare(Request request) {
    CO_TRY(auto question, decode_message<pb::CompareInventory>(request.body));
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(PoolId(question.pool()));
    if (!pool) co_return fail(Code::kStaleMap, "the pool is not in the map here", map->epoch.v);
    if (question.map_epoch() > map->epoch.v) maps_.heard_of(MapEpoch(question.map_epoch()));
    if (question.slots() != pool->current().slots()) co_return fail(Code::kStaleMap, "slots are numbered otherwise here", map->epoch.v);
    auto const inventory = take_inventory(store_, *map, spaces_);
    auto const own = inventory.find(pool->id);
    pb::CompareInventoryReply reply;
    reply.set_map_epoch(map->epoch.v);
    for (const pb::SlotDigest& digest : question.digests()) {
        if (own == inventory.end()) break;
        auto const slot = own->second.find(digest.slot());
        if (slot == own->second.end() || (slot->second.count == digest.count() && slot->second.sum == digest.sum())) continue;
        for (auto const& [chunk, holding] : slot->second.chunks) {
            auto const position = static_cast<u8>(std::countr_zero(holding.positions));
            auto const header = co_await store_.read_fragment_header(FragmentId{chunk, position}, IoClass::kHeal);
            if (!header) continue;
            auto* const held = reply.add_chunks();
            held->set_space(chunk.space.v);
            held->set_seq(chunk.seq);
            held->set_chunk_bytes(header->chunk_data_bytes);
            held->set_positions(holding.positions);
        }
    }
    co_return Reply{encode_message(reply), {}};
}

Task<void> Healer::rebuild(Missing missing, usize* failed) {
    Permit const permit(slots_, 1);  // taken by the round
    auto const rebuilt = co_await rebuild_one(missing);
    if (!rebuilt) {
        ++*failed;
        bool const too_few = rebuilt.error().code == Code::kUnknown || rebuilt.error().code == Code::kUnavailable;
        if (too_few) suspects_[missing.fragment.chunk.space].push_back(missing.fragment.chunk.seq);
        log_info(env_.log, "heal.not_rebuilt", [&] { return to_string(missing.fragment.chunk) + ": " + rebuilt.error().to_string(); });
    }
}

// Copies the fragment if a holder of it is alive, else decodes it; counts only after a verified read-back.
Task<Result<void>> Healer::rebuild_one(Missing missing) {
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(missing.pool);
    if (!pool) co_return fail(Code::kUnavailable, "the pool is gone");
    mesh::Redundancy const redundancy = pool->spec.redundancy;
    mesh::TablePtr const table = pool->tables.front();
    CO_TRY(auto geometry, ec::ChunkGeometry::make(missing.chunk_bytes, redundancy.k));
    u64 const bytes = geometry.fragment_bytes();
    if (options_.bytes_per_second != 0)
        co_await env_.clock.sleep(Duration{static_cast<i64>(bytes * 1'000'000'000 / options_.bytes_per_second)});
    CO_TRY(auto piece, co_await chunks_.read_piece(missing.pool, missing.fragment, 0, bytes, {}, TrafficClass::kHeal, rpc_.id()));
    FragmentHeader header;
    header.k = redundancy.k;
    header.m = redundancy.m;
    header.chunk_data_bytes = missing.chunk_bytes;
    header.map_epoch = table->epoch();
    PutOptions options;
    options.space = SpaceClass::kSystem;
    options.io = IoClass::kHeal;
    options.repair = true;
    CO_TRY_VOID(co_await store_.put_fragment(missing.fragment, header, BufferChain(piece.bytes), piece.crcs, options));
    CO_TRY_VOID(co_await store_.verify_fragment(missing.fragment, IoClass::kHeal));
    status_.bytes_done += bytes;
    ++status_.fragments_rebuilt;
    auto& left = left_[missing.pool];
    left.first -= std::min<u64>(left.first, 1);
    left.second -= std::min(left.second, bytes);
    co_return {};
}

// A stray goes only when the current member of its place confirms, under the same map epoch, that it has it (protocols 8.5, 9.3).
Task<void> Healer::hand_on(std::vector<Stray> strays) {
    auto const map = maps_.current();
    for (const Stray& stray : strays) {
        if (maps_.current()->epoch != map->epoch) co_return;
        const mesh::Pool* const pool = map->find(stray.pool);
        if (!pool || stray.fragment.position >= pool->current().width()) continue;
        CoreletId const member = pool->current().at(pool->slot(stray.fragment.chunk), stray.fragment.position);
        if (member.is_zero() || !map->is_up(member)) continue;
        auto const confirmed = co_await confirmed_elsewhere(stray, member);
        if (!confirmed || !*confirmed || maps_.current()->epoch != map->epoch) continue;
        (void)co_await store_.remove_fragment(stray.fragment);
    }
}

Task<Result<bool>> Healer::confirmed_elsewhere(Stray stray, CoreletId member) {
    pb::StatFragments message;
    message.set_space(stray.fragment.chunk.space.v);
    message.set_seq(stray.fragment.chunk.seq);
    CallOptions options;
    options.deadline = env_.clock.now() + 3_s;
    options.traffic = TrafficClass::kHeal;
    auto const map = maps_.current();
    CO_TRY(Reply reply, co_await rpc_.call(member, chunk_method::k_stat, encode_message(message), {}, options));
    CO_TRY(auto answer, decode_message<pb::StatFragmentsReply>(reply.body));
    for (const auto& fragment : answer.fragments())
        if (fragment.position() == stray.fragment.position) co_return reply.map_epoch == map->epoch;
    // It has not: offer it.
    CO_TRY(FragmentHeader header, co_await store_.read_fragment_header(stray.fragment, IoClass::kHeal));
    auto const info = store_.fragment_info(stray.fragment);
    const mesh::Pool* const pool = map->find(stray.pool);
    if (!info || !pool) co_return false;
    ReadOptions read;
    read.io = IoClass::kHeal;
    CO_TRY(FragmentData data, co_await store_.read_fragment(stray.fragment, 0, info->bytes, read));
    MeshChunks::FragmentPut put;
    put.pool = stray.pool;
    put.fragment = stray.fragment;
    put.table = pool->tables.front();
    put.redundancy = mesh::Redundancy{header.k, header.m};
    put.chunk_bytes = header.chunk_data_bytes;
    put.data = data.data.flatten();
    put.crcs = std::move(data.block_crcs);
    put.traffic = TrafficClass::kHeal;
    put.rebuilt = true;
    CO_TRY_VOID(co_await chunks_.put_fragment(member, std::move(put)));
    co_return false;  // confirmed in a later round
}

// What belongs to a space that is proven deleted is dropped; the catalog's record is the mark (protocols 8.3, 8.4).
Task<void> Healer::drop_deleted_spaces() {
    std::map<SpaceId, bool> deleted;
    std::vector<FragmentId> doomed;
    std::optional<FragmentId> after;
    for (;;) {
        auto const batch = store_.list_fragments(after, 1024);
        for (const FragmentInfo& info : batch)
            if (spaces_.seems_deleted(info.id.chunk.space)) doomed.push_back(info.id);
        if (batch.size() < 1024) break;
        after = batch.back().id;
    }
    for (FragmentId id : doomed) {
        auto const space = id.chunk.space;
        if (!deleted.contains(space)) {
            auto const proof = co_await port_.is_space_deleted(space);
            deleted[space] = proof && *proof;
        }
        if (deleted[space]) (void)co_await store_.remove_fragment(id);
    }
    for (const SegmentInfo& segment : store_.list_segments()) {
        auto const space = segment.id.space;
        if (!spaces_.seems_deleted(space)) continue;
        if (!deleted.contains(space)) {
            auto const proof = co_await port_.is_space_deleted(space);
            deleted[space] = proof && *proof;
        }
        if (deleted[space]) (void)co_await store_.drop_segment(segment.id);
    }
}

}  // namespace corelet
