#include "stream/replica_server.h"

#include "base/fault_point.h"
#include "stream/segment_scan.h"
#include "stream/stream.pb.h"
#include "wire/message.h"

namespace corelet {

namespace {

constexpr u64 k_read_bytes_max = 16 * k_mib;
constexpr usize k_verified_blocks_max = 64 * k_mib / k_block_bytes;  // what is longer is not adopted
constexpr usize k_verified_segments_max = 64;
constexpr u8 k_adopted_positions = 9;  // copies of a replicated chunk, at most

template <class M>
SegmentId id_of(const M& message) {
    return SegmentId{SpaceId(message.space()), message.seq()};
}

Reply empty_reply() {
    return Reply{};
}

}  // namespace

// Appends are admitted in the order of arrival, written beside each other, and answered in order: each waits for
// those before.
struct ReplicaServer::Replica {
    Replica(SegmentId segment, u64 the_salt, ReplicaCore the_core)
        : id(segment), salt(the_salt), core(std::move(the_core)) {}
    SegmentId id;
    u64 salt;
    ReplicaCore core;
    bool scanned = false;
    bool broken = false;   // a write failed: nothing after it may count
    Code why = Code::kIo;  // it failed
    Mutex scanning;
    u64 durable_end = 0;          // all before it is on media
    std::vector<u32> block_crcs;  // plain, of what was verified on arrival and is on media, from the start on; ends
                                  // short after a restart
    Notify progress;
    u64 capacity = 0;
    Mutex growing;
};

struct ReplicaServer::Preparing {
    Preparing(ReplicaServer& its, SegmentId segment) : server(its), id(segment) { server.preparing_.insert(id); }
    ~Preparing() {
        server.preparing_.erase(server.preparing_.find(id));
        server.prepared_.notify_all();
    }
    Preparing(const Preparing&) = delete;
    Preparing& operator=(const Preparing&) = delete;
    ReplicaServer& server;
    SegmentId id;
};

ReplicaServer::ReplicaServer(Env& env, Store& store, RpcNode& rpc, StreamTimes times)
    : env_(env), store_(store), rpc_(rpc), times_(times), mounted_(env.clock.now()) {
    // What changes the device runs to its end, whoever waits for it.
    HandlerOptions const whole{.detached = true};
    HandlerOptions const append_options{.detached = true, .checks_payload = true};
    rpc_.register_handler(stream_method::k_prepare, [this](Request r) { return prepare(std::move(r)); }, whole);
    rpc_.register_handler(
        stream_method::k_append, [this](Request r) { return append(std::move(r)); }, append_options);
    rpc_.register_handler(stream_method::k_heartbeat, [this](Request r) { return heartbeat(std::move(r)); });
    rpc_.register_handler(stream_method::k_release, [this](Request r) { return release(std::move(r)); }, whole);
    rpc_.register_handler(stream_method::k_fence, [this](Request r) { return fence(std::move(r)); }, whole);
    rpc_.register_handler(stream_method::k_read, [this](Request r) { return read(std::move(r)); });
    rpc_.register_handler(stream_method::k_seal, [this](Request r) { return seal(std::move(r)); }, whole);
    rpc_.register_handler(stream_method::k_adopt, [this](Request r) { return adopt(std::move(r)); }, whole);
    rpc_.register_handler(stream_method::k_drop, [this](Request r) { return drop(std::move(r)); }, whole);
    rpc_.register_handler(stream_method::k_look, [this](Request r) { return look(std::move(r)); });
}

ReplicaServer::~ReplicaServer() {
    for (Method method :
         {stream_method::k_prepare, stream_method::k_append, stream_method::k_heartbeat, stream_method::k_release,
          stream_method::k_fence, stream_method::k_read, stream_method::k_seal, stream_method::k_drop,
          stream_method::k_adopt, stream_method::k_look})
        rpc_.unregister_handler(method);
}

Task<Result<ReplicaServer::ReplicaPtr>> ReplicaServer::open(SegmentId segment) {
    CO_TRY_VOID(gate_());
    ReplicaPtr replica;
    if (auto const found = replicas_.find(segment); found != replicas_.end()) {
        replica = found->second;
    } else {
        CO_TRY(SegmentInfo info, store_.segment_info(segment));
        replica = std::make_shared<Replica>(segment, info.salt,
                                            ReplicaCore(segment, info.opened_epoch, info.owner, times_, mounted_));
        if (info.epoch > info.opened_epoch) CO_TRY_VOID(replica->core.fence(info.epoch, info.owner));
        replica->capacity = info.capacity_bytes;
        replicas_.emplace(segment, replica);
    }
    if (!replica->scanned) CO_TRY_VOID(co_await scan(replica));
    co_return replica;
}

// Finds the end of what was written before the last mount.
Task<Result<void>> ReplicaServer::scan(ReplicaPtr replica) {
    Permit const lock = co_await replica->scanning.lock();
    if (replica->scanned) co_return {};
    CO_TRY(SegmentInfo info, store_.segment_info(replica->id));
    CO_TRY_VOID(co_await scan_segment(&store_, std::move(info), &replica->core, IoClass::kClient));
    replica->durable_end = replica->core.end_bytes();
    replica->scanned = true;
    co_return {};
}

std::optional<u64> ReplicaServer::durable_end(SegmentId segment) const {
    auto const found = replicas_.find(segment);
    if (found == replicas_.end() || !found->second->scanned) return std::nullopt;
    return found->second->durable_end;
}

Task<Result<Reply>> ReplicaServer::prepare(Request request) {
    CO_TRY_VOID(gate_());
    CO_TRY(auto message, decode_message<pb::PrepareSegment>(request.body));
    CoreletId const owner = request.from->corelet;
    SegmentSpec spec;
    spec.salt = message.salt();
    spec.epoch = Epoch(message.epoch());
    spec.owner = owner;
    spec.initial_bytes = message.initial_bytes();
    spec.packed_reservation_bytes = message.reserve_bytes();
    spec.space = message.system() ? SpaceClass::kLog : SpaceClass::kClient;
    SegmentId const id = id_of(message);
    Preparing const held(*this, id);
    CO_TRY_VOID(co_await store_.prepare_segment(id, spec));
    auto replica = std::make_shared<Replica>(id, spec.salt, ReplicaCore(id, spec.epoch, owner, times_, mounted_));
    replica->scanned = true;  // nothing of this salt can be there
    if (auto const info = store_.segment_info(id)) replica->capacity = info->capacity_bytes;
    replicas_.emplace(id, std::move(replica));
    co_return empty_reply();
}

Task<Result<Reply>> ReplicaServer::append(Request request) {
    CO_TRY(auto message, decode_message<pb::AppendRecord>(request.body));
    SegmentId const id = id_of(message);
    CO_TRY(ReplicaPtr replica, co_await open(id));
    CO_TRY(VerifiedRecord verified,
           verify_record(request.payload, id, replica->salt, message.offset(), !request.is_local));
    RecordHeader const& header = verified.header;
    CoreletId const owner = request.from->corelet;
    CO_TRY_VOID(replica->core.check_writer(header.epoch, owner));
    if (replica->broken) co_return fail(replica->why, "an earlier record of this segment could not be written");
    CO_TRY_VOID(replica->core.admit(header));
    replica->core.promise(env_.clock.now());
    u64 const end = header.offset + header.size_bytes();
    Result<void> written;
    if (end > replica->capacity) {
        Permit const lock = co_await replica->growing.lock();
        if (end > replica->capacity) {
            u64 const more = std::max(end - replica->capacity, std::min(replica->capacity, 16 * k_mib));
            auto const grown = co_await store_.grow_segment(
                id, header.epoch, owner, more, header.client_data ? SpaceClass::kClient : SpaceClass::kLog);
            if (grown) replica->capacity = grown->capacity_bytes;
            if (!grown) written = std::unexpected(grown.error());
        }
    }
    if (written) written = co_await store_.write_segment(id, header.epoch, owner, header.offset, request.payload);
    if (!written) {
        replica->broken = true;
        replica->why = written.error().code == Code::kNoSpace ? Code::kNoSpace : Code::kIo;
        replica->progress.notify_all();
        co_return std::unexpected(written.error());
    }
    while (replica->durable_end < header.offset && !replica->broken) co_await replica->progress.wait();
    if (replica->broken) co_return fail(replica->why, "an earlier record of this segment could not be written");
    CORELET_ASSERT(replica->durable_end == header.offset);
    replica->durable_end = end;
    note_verified(*replica, header.offset, verified.block_crcs);
    replica->progress.notify_all();
    co_return empty_reply();
}

Task<Result<Reply>> ReplicaServer::heartbeat(Request request) {
    CO_TRY(auto message, decode_message<pb::Heartbeat>(request.body));
    CO_TRY(ReplicaPtr replica, co_await open(id_of(message)));
    if (store_.is_failing()) co_return fail(Code::kIo, "the device has failed");
    CO_TRY_VOID(replica->core.check_writer(Epoch(message.epoch()), request.from->corelet));
    replica->core.promise(env_.clock.now());
    co_return empty_reply();
}

Task<Result<Reply>> ReplicaServer::release(Request request) {
    CO_TRY(auto message, decode_message<pb::Heartbeat>(request.body));
    CO_TRY(ReplicaPtr replica, co_await open(id_of(message)));
    CO_TRY_VOID(replica->core.release(Epoch(message.epoch()), request.from->corelet));
    co_return empty_reply();
}

// Stores the new epoch at once, refuses the old one from then on, and answers when the promise has run out
// (protocols 6.1).
Task<Result<Reply>> ReplicaServer::fence(Request request) {
    CO_TRY(auto message, decode_message<pb::FenceSegment>(request.body));
    SegmentId const id = id_of(message);
    if (store_.is_failing()) co_return fail(Code::kIo, "the device has failed");
    if (FAULT_POINT("stream.segment_unknown"))
        co_return fail(Code::kUnknown, "segment " + to_string(id) + " is not here, for now");
    CO_TRY(ReplicaPtr replica, co_await open(id));
    Epoch const epoch(message.epoch());
    CO_TRY_VOID(replica->core.fence(epoch, request.from->corelet));
    CO_TRY_VOID(co_await store_.fence_segment(id, epoch, request.from->corelet));
    Instant const answer_at = replica->core.fence_answer_at();
    if (answer_at > env_.clock.now()) co_await env_.clock.sleep_until(answer_at);
    CO_TRY_VOID(gate_());  // meanwhile somebody may have told that this identity has forgotten
    pb::FenceReply reply;
    // What was taken in and had to grow first is not written, and no longer will be.
    reply.set_end_bytes(replica->durable_end);
    reply.set_incarnation(store_.incarnation().v);
    reply.set_durable_seq(store_.durable_seq());
    co_return Reply{encode_message(reply), {}};
}

Task<Result<Reply>> ReplicaServer::read(Request request) {
    CO_TRY(auto message, decode_message<pb::ReadSegment>(request.body));
    SegmentId const id = id_of(message);
    auto const found = store_.segment_info(id);
    if (!found) co_return co_await read_adopted(id, message.offset(), message.length());
    const SegmentInfo& info = *found;
    u64 const limit = info.sealed ? std::min(info.end, info.capacity_bytes) : info.capacity_bytes;
    if (message.offset() % k_block_bytes != 0 || message.length() % k_block_bytes != 0)
        co_return fail(Code::kInvalid, "offset and length are multiples of 4096");
    u64 const length =
        message.offset() >= limit ? 0 : std::min({message.length(), limit - message.offset(), k_read_bytes_max});
    if (length == 0) co_return Reply{};
    CO_TRY(BufferChain chain, co_await store_.read_segment(id, message.offset(), length, IoClass::kClient));
    co_return Reply{{}, std::move(chain)};
}

// What was a segment may be a fragment of the chunk of the same name by now.
Task<Result<Reply>> ReplicaServer::read_adopted(SegmentId segment, u64 offset, u64 length) {
    for (u8 position = 0; position < k_adopted_positions; ++position) {
        auto const info = store_.fragment_info(FragmentId{segment, position});
        if (!info) continue;
        u64 const take = offset >= info->bytes ? 0 : std::min({length, info->bytes - offset, k_read_bytes_max});
        if (take == 0) co_return Reply{};
        ReadOptions options;
        options.verify = false;
        CO_TRY(FragmentData data, co_await store_.read_fragment(info->id, offset, take, options));
        co_return Reply{{}, std::move(data.data)};
    }
    co_return fail(Code::kUnknown, "segment " + to_string(segment) + " is not here");
}

void ReplicaServer::note_verified(Replica& replica, u64 offset, const std::vector<u32>& block_crcs) {
    std::vector<u32>& known = replica.block_crcs;
    bool const follows = known.size() == offset / k_block_bytes;
    if (follows && known.size() + block_crcs.size() <= k_verified_blocks_max)
        known.insert(known.end(), block_crcs.begin(), block_crcs.end());
}

// From its sealing to its adoption, which is soon or never.
void ReplicaServer::keep_verified(SegmentId segment, u64 end_bytes) {
    auto const found = replicas_.find(segment);
    if (found == replicas_.end() || found->second->block_crcs.size() < end_bytes / k_block_bytes) return;
    if (verified_.size() >= k_verified_segments_max) verified_.erase(verified_.begin());
    std::vector<u32>& crcs = found->second->block_crcs;
    crcs.resize(end_bytes / k_block_bytes);
    verified_[segment] = std::move(crcs);
}

// Empty: not all of it was verified in this mount.
std::vector<u32> ReplicaServer::take_verified(SegmentId segment, u64 end_bytes) {
    keep_verified(segment, end_bytes);  // its sealing may come later
    auto const found = verified_.find(segment);
    if (found == verified_.end()) return {};
    std::vector<u32> crcs = std::move(found->second);
    verified_.erase(found);
    if (crcs.size() != end_bytes / k_block_bytes) return {};
    return crcs;
}

Task<Result<Reply>> ReplicaServer::adopt(Request request) {
    CO_TRY(auto message, decode_message<pb::AdoptSegment>(request.body));
    SegmentId const id = id_of(message);
    if (message.position() >= k_adopted_positions || message.m() > 8)
        co_return fail(Code::kInvalid, "position out of bounds");
    FragmentId const fragment{id, static_cast<u8>(message.position())};
    if (store_.fragment_info(fragment)) co_return empty_reply();  // asked again
    // Verified when it came, and on media since: as good as any chunk that was put. After a restart it is read.
    std::vector<u32> crcs = take_verified(id, message.end_bytes());
    bool const known = !crcs.empty();
    if (!known) CO_TRY_VOID(co_await verify_to(id, message.end_bytes()));
    CO_TRY_VOID(co_await store_.seal_segment(id, message.end_bytes()));
    FragmentHeader header;
    header.k = 1;
    header.m = static_cast<u8>(message.m());
    header.chunk_data_bytes = message.end_bytes();
    header.map_epoch = request.map_epoch;
    CO_TRY_VOID(co_await store_.adopt_segment(id, fragment, std::move(header), std::move(crcs), known));
    replicas_.erase(id);
    co_return empty_reply();
}

Task<Result<Reply>> ReplicaServer::seal(Request request) {
    CO_TRY(auto message, decode_message<pb::SealSegment>(request.body));
    CO_TRY(SegmentInfo info, co_await store_.seal_segment(id_of(message), message.end_bytes()));
    keep_verified(info.id, message.end_bytes());
    replicas_.erase(info.id);  // no more appends; scanned anew if ever asked
    co_return empty_reply();
}

Task<Result<Reply>> ReplicaServer::drop(Request request) {
    CO_TRY(auto message, decode_message<pb::DropSegment>(request.body));
    SegmentId const id = id_of(message);
    // Who waits no longer for what is being prepared drops it, while the device is at it.
    while (preparing_.contains(id)) co_await prepared_.wait();
    CO_TRY(SegmentInfo info, store_.segment_info(id));
    if (Epoch(message.epoch()) < info.epoch)
        co_return fail(Code::kFenced, "the segment knows a newer epoch", info.epoch.v);
    CO_TRY_VOID(co_await drop_dead(id));
    co_return empty_reply();
}

Task<Result<void>> ReplicaServer::drop_dead(SegmentId segment) {
    replicas_.erase(segment);
    verified_.erase(segment);
    co_return co_await store_.drop_segment(segment);
}

Task<Result<void>> ReplicaServer::verify_to(SegmentId segment, u64 end_bytes) {
    replicas_.erase(segment);
    CO_TRY(ReplicaPtr replica, co_await open(segment));
    if (replica->core.end_bytes() < end_bytes)
        co_return fail(Code::kCorrupt, "segment " + to_string(segment) + " verifies here only to " +
                                           std::to_string(replica->core.end_bytes()));
    co_return {};
}

// --- the asking side
// ----------------------------------------------------------------------------------------------------

Task<Result<void>> RpcReplicaPort::simple(CoreletId replica, Method method, Buffer body, Duration timeout) {
    CallOptions options;
    options.deadline = clock_.now() + timeout;
    options.lane = Lane::kPrompt;
    auto const reply = co_await rpc_.call(replica, method, std::move(body), {}, options);
    if (!reply) co_return std::unexpected(reply.error());
    co_return {};
}

Task<Result<void>> RpcReplicaPort::prepare(CoreletId replica, PrepareRequest request) {
    pb::PrepareSegment message;
    message.set_space(request.segment.id.space.v);
    message.set_seq(request.segment.id.seq);
    message.set_salt(request.segment.salt);
    message.set_epoch(request.epoch.v);
    message.set_initial_bytes(request.initial_bytes);
    message.set_reserve_bytes(request.reserve_bytes);
    message.set_system(request.system);
    // Writes may be waiting for it, and others can be asked instead.
    return simple(replica, stream_method::k_prepare, encode_message(message), 2_s);
}

namespace {
Task<Result<void>> await_append(Task<Result<Reply>> call) {
    auto const reply = co_await std::move(call);
    if (!reply) co_return std::unexpected(reply.error());
    co_return {};
}
}  // namespace

Task<Result<void>> RpcReplicaPort::watched(WatchedRequest request, Task<Result<void>> call) {
    auto const answer = co_await std::move(call);
    request.ended(request_end(answer), clock_.now());
    co_return answer;
}

// All appends of a segment travel in one lane, and a call takes its place in it now, so that they arrive in order.
// The record carries its own checksums.
Task<Result<void>> RpcReplicaPort::append(CoreletId replica, SegmentId segment, u64 offset, BufferChain record,
                                          u32 record_crc) {
    pb::AppendRecord message;
    message.set_space(segment.space.v);
    message.set_seq(segment.seq);
    message.set_offset(offset);
    CallOptions options;
    options.deadline = clock_.now() + 10_s;
    options.lane = Lane::kPrompt;
    options.payload_crc = record_crc;
    return watched(WatchedRequest(observer_, replica, RequestNeed::kDevice, clock_.now()),
                   await_append(rpc_.call(replica, stream_method::k_append, encode_message(message),
                                          std::move(record), options)));
}

Task<Result<void>> RpcReplicaPort::heartbeat(CoreletId replica, SegmentId segment, Epoch epoch) {
    pb::Heartbeat message;
    message.set_space(segment.space.v);
    message.set_seq(segment.seq);
    message.set_epoch(epoch.v);
    return watched(WatchedRequest(observer_, replica, RequestNeed::kLoop, clock_.now()),
                   simple(replica, stream_method::k_heartbeat, encode_message(message), 2_s));
}

Task<Result<void>> RpcReplicaPort::release(CoreletId replica, SegmentId segment, Epoch epoch) {
    pb::Heartbeat message;
    message.set_space(segment.space.v);
    message.set_seq(segment.seq);
    message.set_epoch(epoch.v);
    return simple(replica, stream_method::k_release, encode_message(message), 1_s);
}

Task<Result<FenceAnswer>> RpcReplicaPort::fence(CoreletId replica, SegmentId segment, Epoch epoch,
                                                Instant deadline) {
    pb::FenceSegment message;
    message.set_space(segment.space.v);
    message.set_seq(segment.seq);
    message.set_epoch(epoch.v);
    CallOptions options;
    options.deadline = deadline;
    options.lane = Lane::kPrompt;
    CO_TRY(Reply reply, co_await rpc_.call(replica, stream_method::k_fence, encode_message(message), {}, options));
    CO_TRY(auto answer, decode_message<pb::FenceReply>(reply.body));
    co_return FenceAnswer{answer.end_bytes(), Incarnation(answer.incarnation()), answer.durable_seq()};
}

Task<Result<Buffer>> RpcReplicaPort::read(CoreletId replica, SegmentId segment, u64 offset, u64 length) {
    pb::ReadSegment message;
    message.set_space(segment.space.v);
    message.set_seq(segment.seq);
    message.set_offset(offset);
    message.set_length(length);
    CallOptions options;
    options.deadline = clock_.now() + 2_s;
    options.reply_bytes_expected = static_cast<u32>(length);
    options.checks_payload = true;  // by the records' and the page entries' checksums
    WatchedRequest watched(observer_, replica, RequestNeed::kDevice, clock_.now());
    auto reply = co_await rpc_.call(replica, stream_method::k_read, encode_message(message), {}, options);
    watched.ended(request_end(reply), clock_.now());
    if (!reply) co_return std::unexpected(reply.error());
    co_return reply->payload.empty() ? Buffer{} : reply->payload.flatten();
}

Task<Result<void>> RpcReplicaPort::seal(CoreletId replica, SegmentId segment, u64 end_bytes) {
    pb::SealSegment message;
    message.set_space(segment.space.v);
    message.set_seq(segment.seq);
    message.set_end_bytes(end_bytes);
    return simple(replica, stream_method::k_seal, encode_message(message), 5_s);
}

Task<Result<void>> RpcReplicaPort::adopt(CoreletId replica, SegmentId segment, u64 end_bytes, u8 position,
                                         u8 copies) {
    pb::AdoptSegment message;
    message.set_space(segment.space.v);
    message.set_seq(segment.seq);
    message.set_end_bytes(end_bytes);
    message.set_position(position);
    message.set_m(copies - 1U);
    return simple(replica, stream_method::k_adopt, encode_message(message), 10_s);
}

Task<Result<void>> RpcReplicaPort::drop(CoreletId replica, SegmentId segment, Epoch epoch) {
    pb::DropSegment message;
    message.set_space(segment.space.v);
    message.set_seq(segment.seq);
    message.set_epoch(epoch.v);
    return simple(replica, stream_method::k_drop, encode_message(message), 5_s);
}

}  // namespace corelet
