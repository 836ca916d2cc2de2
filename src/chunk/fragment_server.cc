#include "chunk/fragment_server.h"

#include "chunk/chunk.pb.h"
#include "wire/message.h"

namespace corelet {

IoClass io_class(TrafficClass traffic) {
    switch (traffic) {
        case TrafficClass::kHeal: return IoClass::kHeal;
        case TrafficClass::kScrub: return IoClass::kScrub;
        default: return IoClass::kClient;
    }
}

FragmentServer::FragmentServer(Store& store, RpcNode& rpc, mesh::MapSource& maps)
    : store_(store), rpc_(rpc), maps_(maps) {
    HandlerOptions const whole{.detached = true};
    // The store compares the payload with the block checksums before it writes.
    HandlerOptions const put_options{.detached = true, .checks_payload = true};
    rpc_.register_handler(chunk_method::k_put, [this](Request r) { return put(std::move(r)); }, put_options);
    rpc_.register_handler(chunk_method::k_read, [this](Request r) { return read(std::move(r)); });
    rpc_.register_handler(chunk_method::k_stat, [this](Request r) { return stat(std::move(r)); });
    rpc_.register_handler(chunk_method::k_remove, [this](Request r) { return remove(std::move(r)); }, whole);
}

FragmentServer::~FragmentServer() {
    for (Method method : {chunk_method::k_put, chunk_method::k_read, chunk_method::k_stat, chunk_method::k_remove})
        rpc_.unregister_handler(method);
}

usize FragmentServer::puts_before(MapEpoch epoch) const {
    usize count = 0;
    for (auto const& [table_epoch, puts] : puts_under_way_)
        if (table_epoch < epoch) count += puts;
    return count;
}

// A put names the table it was placed by; if ours differs for the slot, the writer goes by ours (protocols 9.1).
Result<void> FragmentServer::check_place(PoolId pool_id, FragmentId fragment, MapEpoch table_epoch, u64 table_hash) const {
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(pool_id);
    if (!pool) return fail(Code::kStaleMap, "pool " + std::to_string(pool_id.v) + " is not in the map here", map->epoch.v);
    const mesh::SlotTable& table = pool->current();
    if (table.epoch() == table_epoch && table.hash() == table_hash) return {};
    if (fragment.position < table.width() && table.at(pool->slot(fragment.chunk), fragment.position) == store_.identity()) return {};
    return fail(Code::kStaleMap, "the slot's table here is of epoch " + std::to_string(table.epoch().v), map->epoch.v);
}

Task<Result<Reply>> FragmentServer::put(Request request) {
    CO_TRY(auto message, decode_message<pb::PutFragment>(request.body));
    if (message.position() >= mesh::k_width_max || message.k() == 0 || message.k() > 16 || message.m() > 8)
        co_return fail(Code::kInvalid, "fragment geometry out of bounds");
    FragmentId const id{ChunkId{SpaceId(message.space()), message.seq()}, static_cast<u8>(message.position())};
    MapEpoch const table_epoch(message.table_epoch());
    if (auto const placed = check_place(PoolId(message.pool()), id, table_epoch, message.table_hash()); !placed) {
        maps_.heard_of(request.map_epoch);
        co_return std::unexpected(placed.error());
    }
    FragmentHeader header;
    header.k = static_cast<u8>(message.k());
    header.m = static_cast<u8>(message.m());
    header.chunk_data_bytes = message.chunk_bytes();
    header.map_epoch = table_epoch;
    PutOptions options;
    options.space = message.system() ? SpaceClass::kSystem : SpaceClass::kClient;
    options.io = io_class(request.traffic);
    options.repair = message.rebuilt();
    std::vector<u32> crcs(message.block_crcs().begin(), message.block_crcs().end());
    // Counted in a guard, so that a dropped handler does not stay counted.
    struct UnderWay {
        std::map<MapEpoch, usize>& counts;
        MapEpoch epoch;
        ~UnderWay() {
            if (--counts[epoch] == 0) counts.erase(epoch);
        }
    };
    ++puts_under_way_[table_epoch];
    UnderWay const guard{puts_under_way_, table_epoch};
    CO_TRY_VOID(co_await store_.put_fragment(id, std::move(header), std::move(request.payload), std::move(crcs), options));
    co_return Reply{};
}

Task<Result<Reply>> FragmentServer::read(Request request) {
    CO_TRY(auto message, decode_message<pb::ReadFragment>(request.body));
    if (message.offset() % k_block_bytes != 0 || message.length() % k_block_bytes != 0 || message.length() > 64 * k_mib)
        co_return fail(Code::kInvalid, "offset and length are multiples of 4096, the length at most 64 MiB");
    FragmentId const id{ChunkId{SpaceId(message.space()), message.seq()}, static_cast<u8>(message.position())};
    ReadOptions options;
    options.verify = !message.unverified();
    options.io = io_class(request.traffic);
    CO_TRY(FragmentData data, co_await store_.read_fragment(id, message.offset(), message.length(), options));
    pb::ReadFragmentReply reply;
    for (u32 crc : data.block_crcs) reply.add_block_crcs(crc);
    co_return Reply{encode_message(reply), std::move(data.data)};
}

Task<Result<Reply>> FragmentServer::stat(Request request) {
    CO_TRY(auto message, decode_message<pb::StatFragments>(request.body));
    ChunkId const chunk{SpaceId(message.space()), message.seq()};
    pb::StatFragmentsReply reply;
    for (u32 position = 0; position < mesh::k_width_max; ++position) {
        FragmentId const id{chunk, static_cast<u8>(position)};
        auto const info = store_.fragment_info(id);
        if (!info) continue;
        auto const header = co_await store_.read_fragment_header(id, io_class(request.traffic));
        if (!header) continue;
        auto* const out = reply.add_fragments();
        out->set_position(position);
        out->set_bytes(info->bytes);
        out->set_chunk_bytes(header->chunk_data_bytes);
        out->set_k(header->k);
        out->set_m(header->m);
    }
    co_return Reply{encode_message(reply), {}};
}

Task<Result<Reply>> FragmentServer::remove(Request request) {
    CO_TRY(auto message, decode_message<pb::RemoveChunks>(request.body));
    for (u64 seq : message.seqs()) {
        ChunkId const chunk{SpaceId(message.space()), seq};
        for (u32 position = 0; position < mesh::k_width_max; ++position) {
            FragmentId const id{chunk, static_cast<u8>(position)};
            if (!store_.fragment_info(id)) continue;
            CO_TRY_VOID(co_await store_.remove_fragment(id));
        }
    }
    co_return Reply{};
}

}  // namespace corelet
