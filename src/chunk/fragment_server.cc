#include "chunk/fragment_server.h"

#include "base/checksum.h"
#include "chunk/chunk.pb.h"
#include "ec/geometry.h"
#include "wire/message.h"

namespace corelet {

IoClass io_class(TrafficClass traffic) {
    switch (traffic) {
        case TrafficClass::kHeal:
            return IoClass::kHeal;
        case TrafficClass::kScrub:
            return IoClass::kScrub;
        default:
            return IoClass::kClient;
    }
}

FragmentServer::FragmentServer(Store& store, RpcNode& rpc, mesh::MapSource& maps, DeleteAuthority* authority)
    : store_(store), rpc_(rpc), maps_(maps), authority_(authority) {
    HandlerOptions const whole{.detached = true};
    // The store compares the payload with the block checksums before it writes.
    HandlerOptions const put_options{.detached = true, .checks_payload = true};
    rpc_.register_handler(chunk_method::k_put, [this](Request r) { return put(std::move(r)); }, put_options);
    rpc_.register_handler(chunk_method::k_read, [this](Request r) { return read(std::move(r)); });
    rpc_.register_handler(chunk_method::k_stat, [this](Request r) { return stat(std::move(r)); });
    rpc_.register_handler(chunk_method::k_remove, [this](Request r) { return remove(std::move(r)); }, whole);
    rpc_.register_handler(chunk_method::k_report, [this](Request r) { return report(std::move(r)); });
}

FragmentServer::~FragmentServer() {
    for (Method method : {chunk_method::k_put, chunk_method::k_read, chunk_method::k_stat, chunk_method::k_remove,
                          chunk_method::k_report})
        rpc_.unregister_handler(method);
}

usize FragmentServer::puts_before(MapEpoch epoch) const {
    usize count = 0;
    for (auto const& [table_epoch, puts] : puts_under_way_)
        if (table_epoch < epoch) count += puts;
    return count;
}

// A put names the table it was placed by. If the slot's row differs here, or that table is not known here, the
// writer goes by ours (protocols 9.1): that this corelet keeps its own place is not enough, for another one of the
// row may have reported the slot clean.
Result<void> FragmentServer::check_place(PoolId pool_id, FragmentId fragment, MapEpoch table_epoch,
                                         u64 table_hash) const {
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(pool_id);
    if (!pool)
        return fail(Code::kStaleMap, "pool " + std::to_string(pool_id.v) + " is not in the map here", map->epoch.v);
    const mesh::SlotTable& table = pool->current();
    u32 const slot = pool->slot(fragment.chunk);
    mesh::TablePtr const named = pool->table(table_epoch);
    bool same = named && named->hash() == table_hash;
    if (same && named.get() != &table)
        same = named->row(mesh::slot_of(fragment.chunk, pool->spec.locality, named->slots())) == table.row(slot);
    if (!same)
        return fail(Code::kStaleMap, "the slot's table here is of epoch " + std::to_string(table.epoch().v),
                    map->epoch.v);
    if (fragment.position >= table.width() || table.at(slot, fragment.position) != store_.identity())
        return fail(Code::kInvalid,
                    "position " + std::to_string(fragment.position) + " of the slot is another corelet's");
    return {};
}

Task<Result<Reply>> FragmentServer::put(Request request) {
    CO_TRY(auto message, decode_message<pb::PutFragment>(request.body));
    if (message.position() >= mesh::k_width_max || message.k() == 0 || message.k() > 16 || message.m() > 8)
        co_return fail(Code::kInvalid, "fragment geometry out of bounds");
    FragmentId const id{ChunkId{SpaceId(message.space()), message.seq()}, static_cast<u8>(message.position())};
    MapEpoch const table_epoch(message.table_epoch());
    if (auto const placed = check_place(PoolId(message.pool()), id, table_epoch, message.table_hash()); !placed) {
        if (placed.error().code == Code::kStaleMap)
            maps_.heard_of(std::max(request.map_epoch, table_epoch), request.from->corelet);
        co_return std::unexpected(placed.error());
    }
    CO_TRY(auto const geometry, ec::ChunkGeometry::make(message.chunk_bytes(), message.k()));
    if (geometry.fragment_bytes() != request.payload.size())
        co_return fail(Code::kInvalid, "a fragment of " + std::to_string(request.payload.size()) +
                                           " bytes for a chunk of " + std::to_string(message.chunk_bytes()));
    FragmentHeader header;
    header.k = static_cast<u8>(message.k());
    header.m = static_cast<u8>(message.m());
    header.chunk_data_bytes = message.chunk_bytes();
    header.map_epoch = table_epoch;
    PutOptions options;
    options.space = !message.system()      ? SpaceClass::kClient
                    : message.checkpoint() ? SpaceClass::kCheckpoint
                                           : SpaceClass::kPacking;
    options.io = io_class(request.traffic);
    options.repair = message.rebuilt();
    // What comes from this process is the memory that its checksums were just made of.
    options.verified = request.is_local;
    std::vector<u32> crcs(message.block_crcs().begin(), message.block_crcs().end());
    // Counted in a guard, so that a dropped handler does not stay counted.
    struct UnderWay {
        std::map<MapEpoch, usize>& counts;
        MapEpoch epoch;
        ~UnderWay() {
            if (--counts[epoch] == 0) counts.erase(epoch);
        }
    };
    // Where the slot's row is the same, a put by a former table is as good as one by the current one.
    MapEpoch const admitted = maps_.current()->find(PoolId(message.pool()))->current().epoch();
    ++puts_under_way_[admitted];
    UnderWay const guard{puts_under_way_, admitted};
    auto const stored =
        co_await store_.put_fragment(id, std::move(header), std::move(request.payload), std::move(crcs), options);
    if (stored) co_return Reply{};
    // Either what came is bad, or what is here: then it is rebuilt.
    if (stored.error().code == Code::kCorrupt && store_.fragment_info(id))
        if (auto const here = co_await store_.verify_fragment(id, options.io); !here)
            note_damage(id, here.error(), options.io);
    co_return std::unexpected(stored.error());
}

Task<Result<Reply>> FragmentServer::read(Request request) {
    CO_TRY(auto message, decode_message<pb::ReadFragment>(request.body));
    if (message.offset() % k_block_bytes != 0 || message.length() % k_block_bytes != 0 ||
        message.length() > 64 * k_mib)
        co_return fail(Code::kInvalid, "offset and length are multiples of 4096, the length at most 64 MiB");
    FragmentId const id{ChunkId{SpaceId(message.space()), message.seq()}, static_cast<u8>(message.position())};
    ReadOptions options;
    options.verify = !message.unverified();
    options.io = io_class(request.traffic);
    auto data = co_await store_.read_fragment(id, message.offset(), message.length(), options);
    if (!data) {
        note_damage(id, data.error(), options.io);
        co_return std::unexpected(data.error());
    }
    bytes_read_ += data->data.size();
    pb::ReadFragmentReply reply;
    if (options.io == IoClass::kHeal) {
        ++heal_reads_;
        reply.set_strain(strain_);
    }
    // Unverified: whoever reads has the checksums of the blocks and compares, here and on the way alike.
    u32 payload_crc = 0;
    if (options.verify) {
        for (u32 crc : data->block_crcs) reply.add_block_crcs(crc);
        CO_TRY(FragmentHeader const header, co_await store_.read_fragment_header(id, options.io));
        reply.set_chunk_bytes(header.chunk_data_bytes);
        payload_crc = crc32c_of_blocks(data->block_crcs);
    }
    co_return Reply{encode_message(reply), std::move(data->data), payload_crc};
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
        if (!header) {
            note_damage(id, header.error(), io_class(request.traffic));
            continue;
        }
        auto* const out = reply.add_fragments();
        out->set_position(position);
        out->set_bytes(info->bytes);
        out->set_chunk_bytes(header->chunk_data_bytes);
        out->set_k(header->k);
        out->set_m(header->m);
    }
    co_return Reply{encode_message(reply), {}};
}

// Dead is what the owner of the space has proven dead; that the asker is that owner is looked up, not believed.
Task<Result<Reply>> FragmentServer::remove(Request request) {
    CO_TRY(auto message, decode_message<pb::RemoveChunks>(request.body));
    SpaceId const space(message.space());
    if (!authority_) co_return fail(Code::kDenied, "nothing is removed here");
    CO_TRY_VOID(co_await authority_->may_delete(space, Epoch(message.epoch()), request.from->corelet,
                                                PoolId(message.pool())));
    for (u64 seq : message.seqs()) {
        ChunkId const chunk{space, seq};
        for (u32 position = 0; position < mesh::k_width_max; ++position) {
            FragmentId const id{chunk, static_cast<u8>(position)};
            if (!store_.fragment_info(id)) continue;
            auto const removed = co_await store_.remove_fragment(id);
            // Somebody else may have been faster.
            if (!removed && removed.error().code != Code::kUnknown) co_return std::unexpected(removed.error());
        }
    }
    co_return Reply{};
}

// A reader's word is a reason to look, nothing more.
Task<Result<Reply>> FragmentServer::report(Request request) {
    CO_TRY(auto name, decode_message<pb::FragmentName>(request.body));
    if (name.position() >= mesh::k_width_max) co_return fail(Code::kInvalid, "fragment position out of bounds");
    FragmentId const id{ChunkId{SpaceId(name.space()), name.seq()}, static_cast<u8>(name.position())};
    auto const verified = co_await store_.verify_fragment(id, io_class(request.traffic));
    // Only readers of clients report.
    if (!verified) note_damage(id, verified.error(), IoClass::kClient);
    co_return Reply{};
}

void FragmentServer::note_damage(FragmentId id, const Error& error, IoClass io) const {
    if (damaged_ && tells_of_damage(error)) damaged_(id, io);
}

}  // namespace corelet
