#include "base/checksum.h"
#include "chunk/chunk.pb.h"
#include "chunk/fragment_server.h"
#include "chunk/mesh_chunks.h"
#include "rt/combine.h"
#include "wire/message.h"

namespace corelet {

namespace {
constexpr Duration k_round_least = 20_ms;
constexpr Duration k_round_most = 500_ms;
constexpr usize k_encode_bytes = 32 * k_kib;  // of each fragment at once: what was read stays near

// The first bytes of each chain, of one length, that are contiguous in all of them; the chains are consumed by it.
class Stripe {
  public:
    explicit Stripe(const std::vector<BufferChain>& chains)
        : chains_(chains), part_(chains.size()), offset_(chains.size()) {}
    [[nodiscard]] std::vector<Bytes> next(usize most) {
        usize length = most;
        for (usize i = 0; i < chains_.size(); ++i)
            length = std::min(length, chains_[i].parts()[part_[i]].size() - offset_[i]);
        std::vector<Bytes> out;
        for (usize i = 0; i < chains_.size(); ++i) {
            const Buffer& part = chains_[i].parts()[part_[i]];
            out.push_back(part.bytes().subspan(offset_[i], length));
            offset_[i] += length;
            if (offset_[i] < part.size()) continue;
            ++part_[i];
            offset_[i] = 0;
        }
        return out;
    }

  private:
    const std::vector<BufferChain>& chains_;
    std::vector<usize> part_, offset_;
};

std::vector<Buffer> encode_parity(const ec::Codec& coder, const std::vector<BufferChain>& data) {
    usize const bytes = data.front().size();
    std::vector<Buffer> parity;
    for (unsigned i = 0; i < coder.m(); ++i) parity.push_back(Buffer::allocate(bytes));
    Stripe stripe(data);
    for (usize at = 0; at < bytes;) {
        std::vector<Bytes> const sources = stripe.next(std::min(k_encode_bytes, bytes - at));
        std::vector<MutableBytes> out;
        for (Buffer& buffer : parity) out.push_back(buffer.mutable_bytes().subspan(at, sources.front().size()));
        coder.encode(sources, out);
        at += sources.front().size();
    }
    return parity;
}
}  // namespace

bool MeshChunks::can_put(PoolId pool_id) const {
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(pool_id);
    if (!pool) return false;
    for (u32 slot = 0; slot < pool->current().slots(); ++slot)
        if (map->members_in_service(*pool, slot) >= pool->spec.put_min()) return true;
    return false;
}

Result<std::shared_ptr<MeshChunks::Spread>> MeshChunks::cut_up(const mesh::Pool& pool, ChunkId chunk,
                                                               BufferChain data, std::vector<u32> crcs) {
    auto spread = std::make_shared<Spread>();
    spread->pool = pool.id;
    spread->chunk = chunk;
    spread->redundancy = pool.spec.redundancy;
    spread->chunk_bytes = data.size();
    if (spread->redundancy.is_replicated()) {
        spread->fragments.push_back(std::move(data));
        spread->crcs.push_back(std::move(crcs));
        return spread;
    }
    TRY(auto geometry, ec::ChunkGeometry::make(data.size(), spread->redundancy.k));
    TRY(ec::Codec* const coder, codec(spread->redundancy));
    spread->fragments = geometry.split(data);
    for (Buffer& parity : encode_parity(*coder, spread->fragments))
        spread->fragments.emplace_back(std::move(parity));
    // Data fragments carry the checksums that came with the data (padding is zeros); parity gets its own here.
    u64 const blocks = geometry.fragment_bytes() / k_block_bytes;
    for (unsigned position = 0; position < spread->redundancy.k; ++position) {
        std::vector<u32>& own = spread->crcs.emplace_back(blocks, crc32c_zero_block());
        for (u64 i = 0; i < blocks && position * blocks + i < crcs.size(); ++i)
            own[i] = crcs[position * blocks + i];
    }
    for (unsigned position = spread->redundancy.k; position < spread->redundancy.width(); ++position)
        spread->crcs.push_back(block_crcs(spread->fragments[position]));
    return spread;
}

MeshChunks::Standing MeshChunks::standing_of(const Spread& spread) const {
    auto const map = maps_.current();
    Standing standing;
    standing.epoch = map->epoch;
    const mesh::Pool* const pool = map->find(spread.pool);
    if (!pool) return standing;
    standing.least = pool->spec.put_min();
    u32 const slot = pool->slot(spread.chunk);
    standing.in_service = map->members_in_service(*pool, slot) >= standing.least;
    for (u8 position = 0; position < pool->current().width(); ++position) {
        CoreletId const member = pool->current().at(slot, position);
        if (member.is_zero()) continue;
        if (spread.durable.contains({position, member})) {
            ++standing.durable;
        } else if (map->is_up(member) && !spread.refused.contains({position, member})) {
            ++standing.waited_for;
        }
    }
    return standing;
}

// The quorum that a pool names, or everybody in service and at least min(k + 1, k + m).
Task<Result<ChunkPutResult>> MeshChunks::put(PoolId pool_id, ChunkId chunk, BufferChain data, std::vector<u32> crcs,
                                             ChunkPutOptions options) {
    CORELET_ASSERT(data.size() % k_block_bytes == 0 && crcs.size() == data.size() / k_block_bytes);
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(pool_id);
    if (!pool) co_return fail(Code::kUnavailable, "pool " + std::to_string(pool_id.v) + " is not in the map here");
    CO_TRY(std::shared_ptr<Spread> const spread, cut_up(*pool, chunk, std::move(data), std::move(crcs)));
    spread->options = options;
    spread->patience = env_.clock.now() + options_.put_patience;
    auto put = may_put_behind(*pool, *spread) ? co_await put_ahead(spread) : co_await put_to_all(spread);
    if (put) {
        put->by_quorum = pool->spec.puts_behind();
        ++stats_.puts;
        stats_.put_bytes += spread->chunk_bytes;
    }
    co_return put;
}

// Whoever is in service and does not answer is asked again until it does, or the map has it as down: data are let
// go from the log only when that much is durable.
Task<Result<ChunkPutResult>> MeshChunks::put_to_all(std::shared_ptr<Spread> spread) {
    for (Duration pause = k_round_least;; pause = std::min(pause * 2, k_round_most)) {
        if (!standing_of(*spread).in_service)
            co_return fail(Code::kUnavailable, "chunk " + to_string(spread->chunk) +
                                                   ": its slot has fewer members in service than a put needs");
        CO_TRY_VOID(co_await put_round(spread));
        Standing const standing = standing_of(*spread);
        bool const waits = standing.waited_for != 0 && env_.clock.now() < spread->patience && !spread->abandoned;
        if (!waits && !standing.is_enough())
            co_return std::unexpected(with_context(spread->last, "chunk " + to_string(spread->chunk)));
        if (!waits)
            co_return ChunkPutResult{standing.epoch, standing.durable,
                                     standing.durable == spread->redundancy.width()};
        co_await env_.clock.sleep(pause);
    }
}

// Asks everybody in service who has it not yet, once. An error: this will not succeed at any later time.
Task<Result<void>> MeshChunks::put_round(std::shared_ptr<Spread> spread) {
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(spread->pool);
    if (!pool) co_return fail(Code::kUnavailable, "the pool is gone");
    mesh::TablePtr const table = pool->tables.front();
    u32 const slot = pool->slot(spread->chunk);
    std::vector<std::pair<u8, CoreletId>> asked;
    std::vector<Task<Result<void>>> puts;
    for (u8 position = 0; position < table->width(); ++position) {
        CoreletId const member = table->at(slot, position);
        if (member.is_zero() || !map->is_up(member)) continue;
        if (spread->durable.contains({position, member}) || spread->refused.contains({position, member})) continue;
        asked.emplace_back(position, member);
        puts.push_back(put_one(spread, position, member, table));
    }
    auto const results = co_await join_all<Result<void>>(std::move(puts));
    for (usize i = 0; i < results.size(); ++i) {
        if (results[i]) continue;
        const Error& error = results[i].error();
        spread->last = error;
        if (error.code == Code::kExists || error.code == Code::kInvalid)
            co_return std::unexpected(with_context(error, "chunk " + to_string(spread->chunk)));
        if (error.code == Code::kStaleMap) maps_.heard_of(MapEpoch(error.detail), asked[i].second);
        bool const cannot =
            error.code == Code::kNoSpace || error.code == Code::kIo || error.code == Code::kForgotten;
        if (cannot) spread->refused.insert(asked[i]);
    }
    co_return {};
}

// Counts as soon as it is durable: who waits for a quorum does not wait for the round.
Task<Result<void>> MeshChunks::put_one(std::shared_ptr<Spread> spread, u8 position, CoreletId member,
                                       mesh::TablePtr table) {
    usize const piece = spread->piece(position);
    FragmentPut put{spread->pool,         FragmentId{spread->chunk, position},
                    std::move(table),     spread->redundancy,
                    spread->chunk_bytes,  spread->fragments[piece],
                    spread->crcs[piece],  spread->options.traffic,
                    spread->options.room, false};
    auto const done = co_await put_fragment(member, std::move(put));
    if (done) {
        spread->durable.insert({position, member});
        behind_.learn(spread->chunk, member, 1U << position);
        spread->changed.notify_all();
    }
    co_return done;
}

Task<Result<void>> MeshChunks::put_fragment(CoreletId at, FragmentPut put) {
    pb::PutFragment message;
    message.set_space(put.fragment.chunk.space.v);
    message.set_seq(put.fragment.chunk.seq);
    message.set_position(put.fragment.position);
    message.set_pool(put.pool.v);
    message.set_k(put.redundancy.k);
    message.set_m(put.redundancy.m);
    message.set_chunk_bytes(put.chunk_bytes);
    message.set_table_epoch(put.table->epoch().v);
    message.set_table_hash(put.table->hash());
    message.set_system(put.room != SpaceClass::kClient);
    message.set_checkpoint(put.room == SpaceClass::kCheckpoint);
    message.set_rebuilt(put.rebuilt);
    message.mutable_block_crcs()->Assign(put.crcs.begin(), put.crcs.end());
    CallOptions options;
    options.deadline = env_.clock.now() + options_.fragment_timeout * 2;
    options.traffic = put.traffic;
    options.payload_crc = crc32c_of_blocks(put.crcs);
    auto const reply =
        co_await rpc_.call(at, chunk_method::k_put, encode_message(message), std::move(put.data), options);
    if (!reply) co_return std::unexpected(reply.error());
    co_return {};
}

// --- delete
// ----------------------------------------------------------------------------------------------------------

Task<Result<void>> MeshChunks::remove_at(CoreletId at, Buffer body) {
    CallOptions options;
    options.deadline = env_.clock.now() + options_.fragment_timeout;
    options.traffic = TrafficClass::kHeal;
    auto const reply = co_await rpc_.call(at, chunk_method::k_remove, std::move(body), {}, options);
    if (!reply) co_return std::unexpected(reply.error());
    co_return {};
}

Task<Result<void>> MeshChunks::remove(PoolId pool_id, std::vector<ChunkId> chunks, Epoch epoch) {
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(pool_id);
    if (!pool) co_return fail(Code::kUnavailable, "the pool is not in the map here");
    for (ChunkId chunk : chunks) behind_.forget(chunk);
    std::map<CoreletId, pb::RemoveChunks> messages;
    for (ChunkId chunk : chunks)
        for (const mesh::TablePtr& table : pool->tables)
            for (CoreletId member : table->row(mesh::slot_of(chunk, pool->spec.locality, table->slots()))) {
                if (member.is_zero()) continue;
                pb::RemoveChunks& message = messages[member];
                message.set_space(chunk.space.v);
                message.set_epoch(epoch.v);
                message.set_pool(pool_id.v);
                if (message.seqs_size() == 0 || message.seqs(message.seqs_size() - 1) != chunk.seq)
                    message.add_seqs(chunk.seq);
            }
    std::vector<Task<Result<void>>> removals;
    for (auto const& [member, message] : messages)
        if (map->is_up(member)) removals.push_back(remove_at(member, encode_message(message)));
    for (const auto& result : co_await join_all<Result<void>>(std::move(removals)))
        if (!result) co_return result;
    co_return {};
}

}  // namespace corelet
