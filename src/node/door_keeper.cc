#include "node/door_keeper.h"

#include "catalog/state.h"
#include "node/door_status.h"
#include "node/node_services.h"
#include "stream/stream_record.h"
#include "wire/message.h"

namespace corelet {

namespace {

// A volume's record, as the catalog is known here; nothing if there is none.
std::optional<pb::Volume> local_volume(const Catalog& catalog, const std::string& name) {
    const KeyValue* const item = catalog.local().find(volume_key(name));
    pb::Volume volume;
    if (!item || !volume.ParseFromString(item->value)) return std::nullopt;
    return volume;
}

Result<void> admit_door(const NodeConfig& config, const Request& request, const pb::DoorOpen& message) {
    if (request.vouched_for || is_admin_key(config, message.key())) return {};
    return fail(Code::kDenied,
                "a volume is reached over TCP with the mesh's admin key; name a directory that holds it "
                "(admin.key): corelet --dir DIR connect ...");
}

// Gateways keep within the volume; who does not is no gateway of ours.
Result<void> check_range(const BlockDevice& device, const pb::DoorRequest& message, const BufferChain& payload) {
    auto const kind = static_cast<DoorKind>(message.kind());
    if (kind == DoorKind::kAlive || kind == DoorKind::kFlush) return {};
    u64 const size = device.size_bytes(), offset = message.offset(), length = message.length();
    bool const whole = offset % 512 == 0 && length % 512 == 0;
    if (!whole || length == 0 || offset > size || length > size - offset)
        return fail(Code::kInvalid, "a request of " + std::to_string(length) + " bytes at " +
                                        std::to_string(offset) + " is not within the volume, or not of 512 bytes");
    bool const moves = kind == DoorKind::kRead || kind == DoorKind::kWrite;
    if (moves && length > k_door_piece_max) return fail(Code::kInvalid, "a request is larger than 1 MiB");
    if (kind == DoorKind::kWrite && payload.size() != length)
        return fail(Code::kInvalid, "a write comes with another number of bytes than it says");
    return {};
}

Task<Result<Reply>> run_on(std::shared_ptr<BlockDevice> device, pb::DoorRequest message, BufferChain payload) {
    u64 const offset = message.offset(), length = message.length();
    Reply reply;
    switch (static_cast<DoorKind>(message.kind())) {
        case DoorKind::kAlive:
            break;
        case DoorKind::kRead: {
            CO_TRY(reply.payload, co_await device->read(offset, static_cast<u32>(length)));
            break;
        }
        case DoorKind::kWrite:
            CO_TRY_VOID(co_await device->write(offset, std::move(payload), message.fua()));
            break;
        case DoorKind::kFlush:
            CO_TRY_VOID(co_await device->flush());
            break;
        case DoorKind::kTrim:
            CO_TRY_VOID(co_await device->trim(offset, length, message.fua()));
            break;
        case DoorKind::kZeroes:
            CO_TRY_VOID(co_await device->write_zeroes(offset, length, message.may_trim(), message.fua()));
            break;
        case DoorKind::kStatus: {
            CO_TRY(auto const extents, co_await device->block_status(offset, length));
            reply = door_status_reply(extents);
            break;
        }
        default:
            co_return fail(Code::kUnsupported,
                           "a door asks for what this version does not know: " + std::to_string(message.kind()));
    }
    co_return reply;
}

}  // namespace

DoorKeeper::DoorKeeper(Env& env, const NodeConfig& config, RpcNode& rpc, const Catalog& catalog,
                       const MapService& maps, VolumeHost* host)
    : env_(env),
      config_(config),
      rpc_(rpc),
      catalog_(catalog),
      maps_(maps),
      host_(host),
      tickets_(env.random.fork("door tickets")) {
    rpc_.register_handler(door_method::k_find, [this](Request r) { return find(std::move(r)); });
    rpc_.register_handler(door_method::k_open, [this](Request r) { return open(std::move(r)); });
    // Whoever opens the door next waits for what runs: so what was begun is seen to its end here.
    rpc_.register_handler(
        door_method::k_request, [this](Request r) { return carry_out(std::move(r)); },
        HandlerOptions{.detached = true});
}

DoorKeeper::~DoorKeeper() {
    for (Method method : {door_method::k_find, door_method::k_open, door_method::k_request})
        rpc_.unregister_handler(method);
}

Task<Result<Reply>> DoorKeeper::find(Request request) {
    CO_TRY(auto const asked, decode_message<pb::DoorFind>(request.body));
    pb::DoorPlace place;
    auto const map = maps_.current();
    if (auto const volume = local_volume(catalog_, asked.volume())) {
        place.set_known(true);
        place.set_attached(volume->attached_to() != 0);
        const KeyValue* const record = catalog_.local().find(stream_key(SpaceId(volume->space())));
        pb::Stream stream;
        if (record && stream.ParseFromString(record->value)) {
            place.set_owner(stream.owner());
            place.set_epoch(stream.epoch());
        }
    }
    if (const mesh::Corelet* const owner = map->find(CoreletId(place.owner())))
        for (const std::string& address : owner->addresses) place.add_addresses(address);
    for (const mesh::Corelet& corelet : map->corelets)
        if (corelet.is_up() && !corelet.addresses.empty() &&
            place.others_size() < static_cast<int>(k_door_others_max))
            place.add_others(corelet.addresses.front());
    co_return Reply{encode_message(place), {}};
}

Result<DoorKeeper::Served> DoorKeeper::served(const std::string& volume) const {
    auto device = host_ ? host_->device(volume) : nullptr;
    auto const stream = host_ ? host_->stream_of(volume) : std::nullopt;
    if (!device || !stream) return fail(Code::kNotOwner, "volume '" + volume + "' is not served here");
    return Served{std::move(device), stream->epoch};
}

u64 DoorKeeper::known_door(const std::string& volume) const {
    auto const record = local_volume(catalog_, volume);
    return record ? record->door() : 0;
}

Task<Result<Reply>> DoorKeeper::open(Request request) {
    CO_TRY(auto const asked, decode_message<pb::DoorOpen>(request.body));
    CO_TRY_VOID(admit_door(config_, request, asked));
    std::string const& volume = asked.volume();
    CO_TRY(Served const here, served(volume));
    book_.forget_others([this](const std::string& name) { return host_->device(name) != nullptr; });
    u64 const ticket = tickets_.next() | 1;
    CO_TRY(auto const door, book_.open(volume, here.epoch, asked.door(), known_door(volume), ticket));
    while (door->running != 0) {
        bool const in_time = co_await door->ended.wait_until(env_.clock, request.deadline);
        if (!in_time) co_return fail(Code::kUnavailable, "what was asked before has not ended yet; try again");
    }
    if (door->ticket != ticket) co_return fail(Code::kUnavailable, "the door was opened again meanwhile");
    pb::DoorOpened opened;
    opened.set_epoch(here.epoch.v);
    opened.set_ticket(ticket);
    opened.set_size_bytes(here.device->size_bytes());
    opened.set_volatile_cache(here.device->has_volatile_cache());
    co_return Reply{encode_message(opened), {}};
}

Task<Result<Reply>> DoorKeeper::carry_out(Request request) {
    CO_TRY(auto const message, decode_message<pb::DoorRequest>(request.body));
    CO_TRY(auto const pass, book_.admit(message.volume(), Epoch(message.epoch()), message.ticket()));
    CO_TRY(Served here, served(message.volume()));
    if (here.epoch != Epoch(message.epoch()))
        co_return fail(Code::kFenced, "volume '" + message.volume() + "' was taken anew here");
    CO_TRY_VOID(check_range(*here.device, message, request.payload));
    co_return co_await run_on(std::move(here.device), message, std::move(request.payload));
}

}  // namespace corelet
