#include "base/checksum.h"
#include "chunk/chunk.pb.h"
#include "chunk/fragment_server.h"
#include "chunk/mesh_chunks.h"
#include "rt/combine.h"
#include "wire/message.h"

namespace corelet {

namespace {
constexpr int k_table_retries = 4;
}  // namespace

Result<ec::Codec*> MeshChunks::codec(mesh::Redundancy redundancy) {
    auto& slot = codecs_[{redundancy.k, redundancy.m}];
    if (!slot) {
        TRY(ec::Codec made, ec::Codec::make(redundancy.k, redundancy.m));
        slot = std::make_unique<ec::Codec>(std::move(made));
    }
    return slot.get();
}

bool MeshChunks::can_put(PoolId pool_id) const {
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(pool_id);
    if (!pool) return false;
    for (u32 slot = 0; slot < pool->current().slots(); ++slot)
        if (map->members_in_service(*pool, slot) >= pool->spec.put_min()) return true;
    return false;
}

Task<Result<ChunkPutResult>> MeshChunks::put(PoolId pool, ChunkId chunk, BufferChain data, std::vector<u32> crcs, TrafficClass traffic) {
    CORELET_ASSERT(data.size() % k_block_bytes == 0 && crcs.size() == data.size() / k_block_bytes);
    Buffer const whole = data.flatten();
    Error last{Code::kUnavailable, false, 0, {}};
    for (int attempt = 0; attempt < k_table_retries; ++attempt) {
        auto result = co_await put_once(pool, chunk, whole, crcs, traffic);
        if (result || result.error().code != Code::kStaleMap) co_return result;
        last = result.error();
        maps_.heard_of(MapEpoch(last.detail));
        co_await env_.clock.sleep(50_ms * (attempt + 1));
    }
    co_return std::unexpected(last);
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
    // Packing and healing make room or safety: both may use the reserve.
    message.set_system(true);
    message.set_rebuilt(put.rebuilt);
    message.mutable_block_crcs()->Assign(put.crcs.begin(), put.crcs.end());
    CallOptions options;
    options.deadline = env_.clock.now() + options_.fragment_timeout * 2;
    options.traffic = put.traffic;
    auto const reply = co_await rpc_.call(at, chunk_method::k_put, encode_message(message), BufferChain(put.data), options);
    if (!reply) co_return std::unexpected(reply.error());
    co_return {};
}

Task<Result<ChunkPutResult>> MeshChunks::put_once(PoolId pool_id, ChunkId chunk, Buffer data, std::vector<u32> crcs, TrafficClass traffic) {
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(pool_id);
    if (!pool) co_return fail(Code::kUnavailable, "pool " + std::to_string(pool_id.v) + " is not in the map here");
    mesh::TablePtr const table = pool->tables.front();
    mesh::Redundancy const redundancy = pool->spec.redundancy;
    unsigned const put_min = pool->spec.put_min();
    u32 const slot = pool->slot(chunk);
    if (map->members_in_service(*pool, slot) < put_min)
        co_return fail(Code::kUnavailable, "slot " + std::to_string(slot) + " has fewer than " + std::to_string(put_min) + " members in service");
    CO_TRY(auto geometry, ec::ChunkGeometry::make(data.size(), redundancy.k));
    CO_TRY(ec::Codec* const coder, codec(redundancy));

    std::vector<Buffer> fragments = geometry.split(data);
    if (!redundancy.is_replicated()) {
        std::vector<Bytes> sources(fragments.begin(), fragments.end());
        std::vector<MutableBytes> parity;
        for (unsigned i = 0; i < redundancy.m; ++i) {
            fragments.push_back(Buffer::allocate(geometry.fragment_bytes()));
            parity.push_back(fragments.back().mutable_bytes());
        }
        coder->encode(sources, parity);
    }
    u64 const fragment_blocks = geometry.fragment_bytes() / k_block_bytes;
    auto const fragment_crcs = [&](unsigned position) {
        if (redundancy.is_replicated()) return crcs;
        if (position >= redundancy.k) return block_crcs(BufferChain(fragments[position]));
        // Data fragments carry the checksums that came with the data; padding is zeros.
        std::vector<u32> out(fragment_blocks, crc32c_zero_block());
        for (u64 i = 0; i < fragment_blocks; ++i)
            if (u64 const block = position * fragment_blocks + i; block < crcs.size()) out[i] = crcs[block];
        return out;
    };
    std::vector<Task<Result<void>>> puts;
    unsigned wanted = 0;
    for (unsigned position = 0; position < redundancy.width(); ++position) {
        CoreletId const member = table->at(slot, position);
        if (member.is_zero()) continue;
        ++wanted;
        if (!map->is_up(member)) continue;
        FragmentPut put;
        put.pool = pool_id;
        put.fragment = FragmentId{chunk, static_cast<u8>(position)};
        put.table = table;
        put.redundancy = redundancy;
        put.chunk_bytes = data.size();
        put.data = redundancy.is_replicated() ? data : fragments[position];
        put.crcs = fragment_crcs(position);
        put.traffic = traffic;
        puts.push_back(put_fragment(member, std::move(put)));
    }
    auto const results = co_await join_all<Result<void>>(std::move(puts));
    ChunkPutResult out;
    out.map_epoch = map->epoch;
    Error last{Code::kUnavailable, false, 0, {}};
    for (const auto& result : results) {
        if (result) {
            ++out.fragments_durable;
        } else if (result.error().code == Code::kStaleMap || result.error().code == Code::kExists || last.code != Code::kStaleMap) {
            last = result.error();
        }
    }
    out.complete = out.fragments_durable == redundancy.width() && wanted == redundancy.width();
    if (out.fragments_durable < put_min || last.code == Code::kExists) co_return std::unexpected(with_context(last, "chunk " + to_string(chunk)));
    ++stats_.puts;
    stats_.put_bytes += data.size();
    co_return out;
}

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
    std::map<CoreletId, pb::RemoveChunks> messages;
    for (ChunkId chunk : chunks)
        for (const mesh::TablePtr& table : pool->tables)
            for (CoreletId member : table->row(mesh::slot_of(chunk, pool->spec.locality, table->slots()))) {
                if (member.is_zero()) continue;
                pb::RemoveChunks& message = messages[member];
                message.set_space(chunk.space.v);
                message.set_epoch(epoch.v);
                message.set_pool(pool_id.v);
                if (message.seqs_size() == 0 || message.seqs(message.seqs_size() - 1) != chunk.seq) message.add_seqs(chunk.seq);
            }
    std::vector<Task<Result<void>>> removals;
    for (auto const& [member, message] : messages)
        if (map->is_up(member)) removals.push_back(remove_at(member, encode_message(message)));
    for (const auto& result : co_await join_all<Result<void>>(std::move(removals)))
        if (!result) co_return result;
    co_return {};
}

}  // namespace corelet
