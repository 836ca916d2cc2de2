// What somebody orders, or wants to know at once: what lies here by slot, what is here of some chunks, and repairs
// and moves that go before those of the rounds.
#include "device/fragment_index.h"
#include "heal/healer.h"
#include "wire/message.h"

namespace corelet {

namespace {

constexpr int k_chunks_an_order = 1024;
constexpr Duration k_verify_at_most = 2_s;  // for one answer

struct SlotSum {
    u64 fragments = 0, bytes = 0, room = 0;
};

Buffer encode_loads(const std::map<u32, SlotSum>& sums, u64 bytes_per_second) {
    pb::SlotLoads out;
    for (auto const& [slot, sum] : sums) {
        out.add_slot(slot);
        out.add_fragments(sum.fragments);
        out.add_bytes(sum.bytes);
        out.add_room(sum.room);
    }
    out.set_bytes_per_second(bytes_per_second);
    return encode_message(out);
}

// Rounds stand back while one lives.
struct Order {
    usize& count;
    Notify& done;
    Order(usize& the_count, Notify& the_done) : count(the_count), done(the_done) { ++count; }
    Order(const Order&) = delete;
    Order& operator=(const Order&) = delete;
    ~Order() {
        if (--count == 0) done.notify_all();
    }
};

}  // namespace

// Of what this corelet holds at its places by the current table; what lies elsewhere is on its way already.
Task<Result<Reply>> Healer::on_loads(Request request) {
    CO_TRY(auto const question, decode_message<pb::AskLoads>(request.body));
    auto const map = maps_.current();
    PoolId const pool_id(question.pool());
    const mesh::Pool* const pool = map->find(pool_id);
    if (!pool) co_return fail(Code::kStaleMap, "the pool is not in the map here", map->epoch.v);
    u32 const slots = question.slots();
    if (slots == 0 || slots > mesh::k_slots_max || slots % pool->current().slots() != 0)
        co_return fail(Code::kInvalid, "slots cannot be counted so: " + std::to_string(slots));
    co_await inventory_.bring_up(map, &spaces_);
    std::map<u32, SlotSum> sums;
    for (auto const& [slot, position] : pool->current().places_of(rpc_.id())) {
        if (const SlotHoldings* const holdings = inventory_.find(pool_id, slot))
            for (ChunkId chunk : holdings->chunks) {
                auto const info = store_.fragment_info(FragmentId{chunk, position});
                if (!info) continue;
                SlotSum& sum = sums[mesh::slot_of(chunk, pool->spec.locality, slots)];
                ++sum.fragments;
                sum.bytes += info->bytes;
                sum.room += fragment_units(info->bytes / k_block_bytes) * k_unit_bytes;
            }
        co_await yield();
    }
    co_return Reply{encode_loads(sums, status_.measured_bytes_per_second), {}};
}

Task<void> Healer::look_at(ChunkId chunk, bool verifying, pb::ChunkLook* look) {
    u32 positions = positions_held(store_, chunk, mesh::k_width_max), damaged_here = 0;
    for (u8 p = 0; p < mesh::k_width_max; ++p) {
        FragmentId const id{chunk, p};
        if (((positions >> p) & 1U) == 0) continue;
        if (verifying) (void)co_await verify(id, IoClass::kHeal, FoundBy::kScrub);
        auto const info = store_.fragment_info(id);
        // What is on its way out is not to be counted on.
        if (!info || removing_.contains(id)) {
            positions &= ~(1U << p);
            continue;
        }
        look->set_blocks(static_cast<u32>(info->bytes / k_block_bytes));
        if (damaged_.contains(id)) damaged_here |= 1U << p;
    }
    look->set_positions(positions);
    look->set_damaged(damaged_here);
    look->set_segment(store_.segment_info(chunk).has_value());
}

Task<Result<Reply>> Healer::on_look(Request request) {
    CO_TRY(auto const question, decode_message<pb::LookAtChunks>(request.body));
    Instant const until = env_.clock.now() + k_verify_at_most;
    pb::LookAtChunksReply reply;
    for (int i = 0; i < std::min(question.seqs_size(), k_chunks_an_order); ++i) {
        if (i != 0 && env_.clock.now() >= until) break;
        co_await look_at(ChunkId{SpaceId(question.space()), question.seqs(i)}, question.verify(),
                         reply.add_looks());
    }
    co_return Reply{encode_message(reply), {}};
}

Task<void> Healer::mend(PoolId pool, mesh::TablePtr table, Missing missing, pb::MendChunksReply* reply, int index) {
    Permit const permit = co_await acquire_permit(slots_, 1);
    Permit const room = co_await acquire_permit(memory_, std::min(missing.bytes(), memory_.total()));
    auto const rebuilt = co_await rebuild_one(pool, table, missing);
    auto* const mended = reply->mutable_mended(index);
    if (rebuilt)
        mended->set_outcome(1);
    else
        mended->set_why(rebuilt.error().to_string());
}

// By the map as it is known here: who is no member of the slot says so, and the asker asks whoever is. As in a
// round, the owner of the space is asked first, so that nothing dead is made again.
Task<Result<Reply>> Healer::on_mend(Request request) {
    CO_TRY(auto const question, decode_message<pb::MendChunks>(request.body));
    int const count = question.seqs_size();
    if (count > k_chunks_an_order || question.blocks_size() != count)
        co_return fail(Code::kInvalid, "at most 1024 chunks at once, each with the length of its fragments");
    auto const map = maps_.current();
    PoolId const pool_id(question.pool());
    const mesh::Pool* const pool = map->find(pool_id);
    if (!pool) co_return fail(Code::kStaleMap, "the pool is not in the map here", map->epoch.v);
    if (store_.is_failing() || store_.has_forgotten())
        co_return fail(Code::kUnavailable, "this device takes nothing any more");
    mesh::TablePtr const table = pool->tables.front();
    Order const order(ordered_, orders_done_);
    pb::MendChunksReply reply;
    std::vector<Missing> wanted;
    std::map<ChunkId, int> index_of;
    for (int i = 0; i < count; ++i) {
        ChunkId const chunk{SpaceId(question.space()), question.seqs(i)};
        auto* const mended = reply.add_mended();
        auto const position = table->position_of(pool->slot(chunk), rpc_.id());
        FragmentId const id{chunk, position.value_or(0)};
        u64 const bytes = u64{question.blocks(i)} * k_block_bytes;
        if (!position) {
            mended->set_why("it has no place for it, by the map that it knows");
        } else if (store_.fragment_info(id) && !damaged_.contains(id)) {
            mended->set_outcome(2);
        } else if (bytes == 0 || bytes > k_fragment_bytes_max) {
            mended->set_why("nobody knows how long it is");
        } else {
            mended->set_outcome(3);  // unless the owner leaves it in the list
            wanted.push_back(Missing{id, question.blocks(i), 0, 1, {}});
            index_of[chunk] = i;
        }
    }
    wanted = co_await without_dead(std::move(wanted));
    if (!wanted.empty()) rate_.begin(env_.clock.now());
    Scope mends(env_.executor);
    for (const Missing& each : wanted) {
        int const index = index_of.at(each.fragment.chunk);
        reply.mutable_mended(index)->set_outcome(0);
        mends.spawn(mend(pool_id, table, each, &reply, index));
    }
    co_await mends.join();
    co_return Reply{encode_message(reply), {}};
}

// As in a round: a fragment goes only when the member of its place has just read the same bytes.
Task<Result<Reply>> Healer::on_hand_on(Request request) {
    CO_TRY(auto const question, decode_message<pb::HandOnFragments>(request.body));
    if (question.fragments_size() > k_chunks_an_order)
        co_return fail(Code::kInvalid, "at most 1024 fragments at once");
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(PoolId(question.pool()));
    if (!pool) co_return fail(Code::kStaleMap, "the pool is not in the map here", map->epoch.v);
    std::vector<FragmentId> all;
    std::map<CoreletId, std::vector<FragmentId>> strays;
    for (const pb::HeldFragment& held : question.fragments()) {
        FragmentId const id{ChunkId{SpaceId(held.space()), held.seq()}, static_cast<u8>(held.position())};
        if (held.position() >= pool->current().width())
            co_return fail(Code::kInvalid, "fragment position out of bounds");
        all.push_back(id);
        CoreletId const member = pool->current().at(pool->slot(id.chunk), id.position);
        bool const is_stray = !member.is_zero() && member != rpc_.id() && map->is_up(member);
        if (is_stray && store_.fragment_info(id)) strays[member].push_back(id);
    }
    for (auto& [member, to_member] : strays) co_await hand_to(map, pool->id, member, std::move(to_member));
    pb::HandOnFragmentsReply reply;
    for (usize i = 0; i < all.size(); ++i)
        if (store_.fragment_info(all[i])) reply.add_kept(static_cast<u32>(i));
    co_return Reply{encode_message(reply), {}};
}

}  // namespace corelet
