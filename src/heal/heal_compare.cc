// Inventories between the members of a slot: digests first, then the chunks of those that differ.
#include "heal/heal.pb.h"
#include "heal/healer.h"
#include "rt/combine.h"
#include "wire/message.h"

namespace corelet {

namespace {
constexpr int k_slots_a_question = 4096;
constexpr int k_pages_max = 4096;  // of one answer; a bound against a peer that never ends

// As versions before the columns understand it.
pb::CompareInventory spelled_out(pb::CompareInventory question) {
    for (int i = 0; i < question.slot_size(); ++i) {
        pb::SlotDigest* const digest = question.add_digests();
        digest->set_slot(question.slot(i));
        digest->set_count(question.count(i));
        digest->set_sum(question.sum(i));
    }
    question.clear_slot();
    question.clear_count();
    question.clear_sum();
    return question;
}

void gather_columns(pb::CompareInventory& question) {
    for (const pb::SlotDigest& digest : question.digests()) {
        question.add_slot(digest.slot());
        question.add_count(digest.count());
        question.add_sum(digest.sum());
    }
}

void drop_slots(pb::CompareInventory& question, int count) {
    question.mutable_slot()->ExtractSubrange(0, count, nullptr);
    question.mutable_count()->ExtractSubrange(0, count, nullptr);
    question.mutable_sum()->ExtractSubrange(0, count, nullptr);
}

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
            if (to_member.empty() || to_member.back().slot_size() >= k_slots_a_question) to_member.emplace_back();
            to_member.back().add_slot(slot);
            to_member.back().add_count(own.count);
            to_member.back().add_sum(own.sum);
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
    bool spelled = false;
    for (int page = 0; page < k_pages_max && question.slot_size() != 0; ++page) {
        CallOptions options;
        options.deadline = env_.clock.now() + 5_s;
        options.traffic = TrafficClass::kHeal;
        Buffer body = encode_message(spelled ? spelled_out(question) : question);
        auto const reply = co_await rpc_.call(peer, heal_method::k_compare, std::move(body), {}, options);
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
        int const answered = std::min(static_cast<int>(answer->answered()), question.slot_size());
        if (answered == 0 && answer->chunks().empty()) {
            if (spelled) break;  // gets nowhere
            spelled = true;
        }
        drop_slots(question, answered);
    }
    if (question.slot_size() != 0) known->complete = known->all_up = false;
}

// Lists what this corelet holds in the slots where it has something that the asker may not have. Who answers moves
// to the asker's map first: under an older one it might still admit puts that the asker would not hear of
// (protocols 9.1).
Task<Result<Reply>> Healer::on_compare(Request request) {
    CO_TRY(pb::CompareInventory question, decode_message<pb::CompareInventory>(request.body));
    if (question.slot_size() == 0) gather_columns(question);
    if (question.count_size() != question.slot_size() || question.sum_size() != question.slot_size())
        co_return fail(Code::kInvalid, "digests are cut short");
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
    for (int asked = 0; asked < question.slot_size(); ++asked) {
        u32 const slot = question.slot(asked);
        const SlotHoldings* const holdings = inventory_.find(pool->id, slot);
        bool const same = !holdings || holdings->held == ChunkDigest{question.count(asked), question.sum(asked)};
        for (usize i = 0; !same && i < holdings->chunks.size(); ++i) {
            ChunkId const chunk = holdings->chunks[i];
            if (after && pool->slot(*after) == slot && chunk <= *after) continue;
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
