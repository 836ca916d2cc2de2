// Inventories between the members of a slot: digests first, then the chunks of those that differ.
#include "heal/heal.pb.h"
#include "heal/healer.h"
#include "rt/combine.h"
#include "wire/message.h"

namespace corelet {

namespace {
constexpr int k_digests_a_question = 4096;
constexpr int k_pages_max = 4096;  // of one answer; a bound against a peer that never ends
}  // namespace

// Current and former members, in the slots that are served here. Those that are out are not waited for
// (protocols 9.2).
Task<void> Healer::ask_members(MapPtr map, PoolId pool_id, std::shared_ptr<Known> known) {
    const mesh::Pool& pool = *map->find(pool_id);
    mesh::TablePtr const table = pool.tables.front();
    std::map<u32, std::vector<ChunkId>> damaged;
    for (const FragmentId& id : damaged_)
        if (spaces_.pool_of(id.chunk.space) == pool_id && id.position < table->width() &&
            table->at(pool.slot(id.chunk), id.position) == rpc_.id())
            damaged[pool.slot(id.chunk)].push_back(id.chunk);
    std::map<CoreletId, std::vector<pb::CompareInventory>> questions;
    std::vector<CoreletId> members;
    for (auto const& [slot, position] : table->places_of(rpc_.id())) {
        // What this corelet has where it should, and sound: whoever has more has something that is missing here.
        const SlotHoldings* const holdings = inventory_.find(pool_id, slot);
        ChunkDigest own = holdings ? holdings->at_home : ChunkDigest{};
        if (auto const found = damaged.find(slot); found != damaged.end())
            for (ChunkId chunk : found->second) own.take(chunk);
        members.clear();
        for (const mesh::TablePtr& each : pool.tables)
            for (unsigned i = 0; i < each->width(); ++i)
                if (CoreletId const member = each->at(slot % each->slots(), i);
                    !member.is_zero() && member != rpc_.id() && std::ranges::find(members, member) == members.end())
                    members.push_back(member);
        for (CoreletId member : members) {
            auto& to_member = questions[member];
            if (to_member.empty() || to_member.back().digests_size() >= k_digests_a_question)
                to_member.emplace_back();
            pb::SlotDigest* const digest = to_member.back().add_digests();
            digest->set_slot(slot);
            digest->set_count(own.count);
            digest->set_sum(own.sum);
        }
    }
    std::vector<Task<void>> asks;
    for (auto& [member, to_member] : questions) {
        if (!map->is_up(member)) {
            const mesh::Corelet* const corelet = map->find(member);
            bool const given_up = !corelet || corelet->presence == mesh::Presence::kOut;
            known->complete = known->complete && given_up;
            continue;
        }
        for (pb::CompareInventory& question : to_member) {
            question.set_pool(pool_id.v);
            question.set_map_epoch(map->epoch.v);
            question.set_slots(table->slots());
            asks.push_back(ask(member, std::move(question), map, pool_id, known));
        }
    }
    Scope scope(env_.executor);
    for (Task<void>& each : asks) scope.spawn(std::move(each));
    co_await scope.join();
}

// Asks on while the answer is cut short.
Task<void> Healer::ask(CoreletId peer, pb::CompareInventory question, MapPtr map, PoolId pool_id,
                       std::shared_ptr<Known> known) {
    const mesh::Pool& pool = *map->find(pool_id);
    for (int page = 0; page < k_pages_max && question.digests_size() != 0; ++page) {
        CallOptions options;
        options.deadline = env_.clock.now() + 5_s;
        options.traffic = TrafficClass::kHeal;
        auto const reply = co_await rpc_.call(peer, heal_method::k_compare, encode_message(question), {}, options);
        auto const answer = reply ? decode_message<pb::CompareInventoryReply>(reply->body)
                                  : Result<pb::CompareInventoryReply>(std::unexpected(reply.error()));
        if (!answer) {
            if (answer.error().code == Code::kStaleMap) maps_.heard_of(MapEpoch(answer.error().detail), peer);
            break;
        }
        if (answer->unsettled()) known->complete = known->all_up = false;
        for (const pb::HeldChunk& held : answer->chunks()) {
            ChunkId const chunk{SpaceId(held.space()), held.seq()};
            question.set_after_space(held.space());
            question.set_after_seq(held.seq());
            if (known->chunks.size() >= options_.chunks_a_round && !known->chunks.contains(chunk)) {
                known->complete = known->all_up = false;
                continue;
            }
            Seen& seen = known->chunks[chunk];
            for (u32 fresh = held.positions() & ~seen.anywhere; fresh != 0; fresh &= fresh - 1)
                seen.holders.push_back(peer);
            seen.anywhere |= held.positions();
            seen.blocks = std::max(seen.blocks, held.blocks());
            if (auto const home = pool.current().position_of(pool.slot(chunk), peer))
                seen.at_home |= held.positions() & (1U << *home);
        }
        int const answered = std::min(static_cast<int>(answer->answered()), question.digests_size());
        if (answered == 0 && answer->chunks().empty()) break;  // gets nowhere
        question.mutable_digests()->DeleteSubrange(0, answered);
    }
    if (question.digests_size() != 0) known->complete = known->all_up = false;
}

// Lists what this corelet holds in the slots where it has something that the asker may not have. Who answers moves
// to the asker's map first: under an older one it might still admit puts that the asker would not hear of
// (protocols 9.1).
Task<Result<Reply>> Healer::on_compare(Request request) {
    google::protobuf::Arena arena;  // thousands of digests, and gone with the answer
    CO_TRY(pb::CompareInventory* const asked, decode_message<pb::CompareInventory>(arena, request.body));
    const pb::CompareInventory& question = *asked;
    auto const map = maps_.current();
    if (question.map_epoch() > map->epoch.v) {
        maps_.heard_of(MapEpoch(question.map_epoch()), request.from->corelet);
        co_return fail(Code::kStaleMap, "the map here is older", map->epoch.v);
    }
    const mesh::Pool* const pool = map->find(PoolId(question.pool()));
    if (!pool || question.slots() != pool->current().slots())
        co_return fail(Code::kStaleMap, "slots are numbered otherwise here", map->epoch.v);
    co_await inventory_.bring_up(map, &spaces_);
    pb::CompareInventoryReply reply;
    reply.set_map_epoch(map->epoch.v);
    reply.set_unsettled(fragments_.puts_before(pool->current().epoch()) != 0);
    std::optional<ChunkId> after = ChunkId{SpaceId(question.after_space()), question.after_seq()};
    u32 answered = 0;
    for (const pb::SlotDigest& digest : question.digests()) {
        const SlotHoldings* const holdings = inventory_.find(pool->id, digest.slot());
        bool const same = !holdings || holdings->held == ChunkDigest{digest.count(), digest.sum()};
        for (usize i = 0; !same && i < holdings->chunks.size(); ++i) {
            ChunkId const chunk = holdings->chunks[i];
            if (after && pool->slot(*after) == digest.slot() && chunk <= *after) continue;
            if (static_cast<usize>(reply.chunks_size()) >= options_.chunks_a_reply) {
                reply.set_answered(answered);
                co_return Reply{encode_message(reply), {}};
            }
            u32 const positions = positions_held(store_, chunk, pool->current().width());
            if (positions == 0) continue;
            auto const info = store_.fragment_info(FragmentId{chunk, static_cast<u8>(std::countr_zero(positions))});
            pb::HeldChunk* const held = reply.add_chunks();
            held->set_space(chunk.space.v);
            held->set_seq(chunk.seq);
            held->set_positions(positions);
            held->set_blocks(static_cast<u32>(info->bytes / k_block_bytes));
        }
        after.reset();
        ++answered;
    }
    reply.set_answered(answered);
    co_return Reply{encode_message(reply), {}};
}

}  // namespace corelet
