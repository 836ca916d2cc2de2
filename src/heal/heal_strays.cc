// What this corelet holds outside its places: handed on, and let go of when the place's member has it.
#include "base/fault_point.h"
#include "chunk/chunk.pb.h"
#include "heal/heal.pb.h"
#include "heal/healer.h"
#include "wire/message.h"

namespace corelet {

namespace {
constexpr usize k_strays_a_round = 2048;
constexpr usize k_confirmed_at_once = 16;  // each is read whole by its member
constexpr usize k_offers_a_round = 64;     // to one member
constexpr Duration k_confirm_timeout = 30_s;
constexpr Duration k_late = 3_s;  // at a fault point
}  // namespace

Task<void> Healer::hand_on(MapPtr map, PoolId pool_id) {
    const mesh::Pool& pool = *map->find(pool_id);
    std::map<CoreletId, std::vector<FragmentId>> strays;
    usize found = 0;
    for (u32 slot = 0; slot < pool.current().slots() && inventory_.strays(pool_id) != 0 && found < k_strays_a_round;
         ++slot) {
        const SlotHoldings* const holdings = inventory_.find(pool_id, slot);
        if (!holdings || holdings->strays() == 0) continue;
        for (ChunkId chunk : holdings->chunks) {
            u32 const positions = positions_held(store_, chunk, pool.current().width());
            for (u8 p = 0; p < pool.current().width(); ++p) {
                CoreletId const member = pool.current().at(slot, p);
                if (((positions >> p) & 1U) == 0 || member == rpc_.id() || member.is_zero() || !map->is_up(member))
                    continue;
                strays[member].push_back(FragmentId{chunk, p});
                ++found;
            }
        }
    }
    for (auto& [member, to_member] : strays) co_await hand_to(map, pool_id, member, std::move(to_member));
}

// A stray goes only when the member of its place, under the same map epoch, has just read and verified the same
// bytes, and holds no deletion of its own that rests on an older epoch (protocols 8.5). What the member has not is
// offered to it: by tables that are still kept it would find it by itself.
Task<void> Healer::hand_to(MapPtr map, PoolId pool_id, CoreletId member, std::vector<FragmentId> strays) {
    usize offered = 0;
    for (usize at = 0; at < strays.size(); at += k_confirmed_at_once) {
        if (maps_.current()->epoch != map->epoch) co_return;
        std::vector<FragmentId> const batch(
            strays.begin() + static_cast<std::ptrdiff_t>(at),
            strays.begin() + static_cast<std::ptrdiff_t>(std::min(strays.size(), at + k_confirmed_at_once)));
        auto const confirmed = co_await confirmed_by(map, pool_id, member, &batch);
        if (!confirmed) co_return;
        auto const kept = co_await kept_for_the_log(&batch, &*confirmed);
        if (FAULT_POINT("heal.hand_over_late")) co_await env_.clock.sleep(k_late);
        for (usize i = 0; i < batch.size(); ++i) {
            // Asked before each: a new map may make this corelet a member again.
            if (maps_.current()->epoch != map->epoch) co_return;
            if (confirmed->contains(i)) {
                if (kept.contains(i)) continue;
                co_await remove(batch[i]);
                ++status_.strays_dropped;
                continue;
            }
            auto const holders = map->find(pool_id)->holders(batch[i].chunk, batch[i].position);
            bool const is_asked = std::find(holders.begin(), holders.end(), rpc_.id()) != holders.end();
            if (is_asked || offered >= k_offers_a_round) continue;
            ++offered;
            auto const done = co_await offer(map, pool_id, member, batch[i]);
            if (!done)
                log_info(env_.log, "heal.stray_not_taken",
                         [&] { return to_string(batch[i].chunk) + ": " + done.error().to_string(); });
        }
    }
}

// Indexes of those that stay: segments of the log that became chunks where they lie: until the stream lists them no
// more, who replays the log reads them at those who took it, and so does whoever counts what may be lost (protocols
// 5).
Task<std::set<usize>> Healer::kept_for_the_log(const std::vector<FragmentId>* strays,
                                               const std::set<usize>* confirmed) {
    std::set<usize> kept;
    std::map<SpaceId, Result<std::set<u64>>> listed;
    for (usize i : *confirmed) {
        ChunkId const chunk = (*strays)[i].chunk;
        auto const info = store_.fragment_info((*strays)[i]);
        if (!info || !info->adopted) continue;
        if (!listed.contains(chunk.space)) listed.emplace(chunk.space, co_await port_.listed_segments(chunk.space));
        auto const& known = listed.at(chunk.space);
        if (!known || known->contains(chunk.seq)) kept.insert(i);
    }
    co_return kept;
}

// Indexes of those that may go.
Task<Result<std::set<usize>>> Healer::confirmed_by(MapPtr map, PoolId pool_id, CoreletId member,
                                                   const std::vector<FragmentId>* strays) {
    pb::ConfirmFragments question;
    question.set_pool(pool_id.v);
    question.set_map_epoch(map->epoch.v);
    for (const FragmentId& id : *strays) {
        pb::HeldFragment* const held = question.add_fragments();
        held->set_space(id.chunk.space.v);
        held->set_seq(id.chunk.seq);
        held->set_position(id.position);
    }
    CallOptions options;
    options.deadline = env_.clock.now() + k_confirm_timeout;
    options.traffic = TrafficClass::kHeal;
    CO_TRY(Reply reply, co_await rpc_.call(member, heal_method::k_confirm, encode_message(question), {}, options));
    CO_TRY(auto answer, decode_message<pb::ConfirmFragmentsReply>(reply.body));
    std::set<usize> confirmed;
    if (answer.map_epoch() != map->epoch.v) co_return confirmed;
    for (const auto& each : answer.confirmed()) {
        if (each.index() >= strays->size()) continue;
        auto const info = store_.fragment_info((*strays)[each.index()]);
        if (!info) continue;
        if (info->content_tag == each.content_tag()) {
            confirmed.insert(each.index());
        } else {
            log_error(env_.log, "heal.two_contents", [&] {
                return to_string((*strays)[each.index()].chunk) + " has other bytes on " + to_string(member);
            });
        }
    }
    co_return confirmed;
}

Task<Result<void>> Healer::offer(MapPtr map, PoolId pool_id, CoreletId member, FragmentId stray) {
    CO_TRY(FragmentHeader header, co_await store_.read_fragment_header(stray, IoClass::kHeal));
    auto const info = store_.fragment_info(stray);
    if (!info) co_return fail(Code::kUnknown, "it is gone");
    co_await keep_pace(info->bytes);
    ReadOptions read;
    read.io = IoClass::kHeal;
    CO_TRY(FragmentData data, co_await store_.read_fragment(stray, 0, info->bytes, read));
    MeshChunks::FragmentPut put;
    put.pool = pool_id;
    put.fragment = stray;
    put.table = map->find(pool_id)->tables.front();
    put.redundancy = mesh::Redundancy{header.k, header.m};
    put.chunk_bytes = header.chunk_data_bytes;
    put.data = data.data.flatten();
    put.crcs = std::move(data.block_crcs);
    put.traffic = TrafficClass::kHeal;
    put.rebuilt = true;
    co_return co_await chunks_.put_fragment(member, std::move(put));
}

// Under the asker's epoch, or not at all.
Task<Result<Reply>> Healer::on_confirm(Request request) {
    CO_TRY(auto question, decode_message<pb::ConfirmFragments>(request.body));
    auto const map = maps_.current();
    if (question.map_epoch() > map->epoch.v) maps_.heard_of(MapEpoch(question.map_epoch()), request.from->corelet);
    const mesh::Pool* const pool = map->find(PoolId(question.pool()));
    if (question.map_epoch() != map->epoch.v || !pool)
        co_return fail(Code::kStaleMap, "another map is current here", map->epoch.v);
    pb::ConfirmFragmentsReply reply;
    reply.set_map_epoch(map->epoch.v);
    usize const asked = std::min<usize>(static_cast<usize>(question.fragments_size()), k_confirmed_at_once);
    for (usize i = 0; i < asked; ++i) {
        const pb::HeldFragment& name = question.fragments(static_cast<int>(i));
        FragmentId const id{ChunkId{SpaceId(name.space()), name.seq()}, static_cast<u8>(name.position())};
        if (name.position() >= pool->current().width() ||
            pool->current().at(pool->slot(id.chunk), id.position) != rpc_.id())
            continue;
        if (!store_.fragment_info(id)) continue;
        auto const verified = co_await verify(id, IoClass::kHeal, FoundBy::kRebuild);
        auto const info = store_.fragment_info(id);
        if (!verified || !info || damaged_.contains(id) || removing_.contains(id)) continue;
        auto* const confirmed = reply.add_confirmed();
        confirmed->set_index(static_cast<u32>(i));
        confirmed->set_content_tag(info->content_tag);
    }
    // What was begun under this epoch may be over by now; and what is on its way out is not here.
    if (maps_.current()->epoch != map->epoch)
        co_return fail(Code::kStaleMap, "the map changed meanwhile", maps_.current()->epoch.v);
    co_return Reply{encode_message(reply), {}};
}

}  // namespace corelet
