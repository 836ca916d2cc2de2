#include "node/followed_volume.h"

#include <algorithm>

#include "node/door.pb.h"
#include "node/door_keeper.h"
#include "node/door_status.h"
#include "rt/combine.h"
#include "wire/message.h"

namespace corelet {

namespace {

constexpr u64 k_room_bytes = 64 * k_mib;
constexpr u64 k_request_cost_min = 4 * k_kib;  // what a request counts for, however small
constexpr Duration k_answer_limit = 5_min;     // of one sending: an owner that waits for copies is waited for
constexpr Duration k_open_limit = 1_s;
constexpr Duration k_look_limit = 700_ms;
constexpr Duration k_look_again = 100_ms;
constexpr Duration k_send_again = 20_ms;
constexpr usize k_asked_at_once = 6;
constexpr usize k_places_max = 64;

// What the volume itself says, wherever it is served. A corelet that stops knows no method any more: that is none.
bool is_answer(Code code) {
    switch (code) {
        case Code::kCorrupt:
        case Code::kLost:
        case Code::kNoSpace:
        case Code::kIo:
        case Code::kInvalid:
            return true;
        default:
            return false;
    }
}

bool changes(DoorKind kind) {
    return kind == DoorKind::kWrite || kind == DoorKind::kTrim || kind == DoorKind::kZeroes;
}

pb::DoorRequest door_request(DoorKind kind, u64 offset, u64 length) {
    pb::DoorRequest out;
    out.set_kind(static_cast<u32>(kind));
    out.set_offset(offset);
    out.set_length(length);
    return out;
}

Extent door_extent(u64 offset, u64 length) {
    u64 const first = offset / k_block_bytes;
    return {first, static_cast<u32>(div_ceil(offset + length, k_block_bytes) - first)};
}

}  // namespace

struct FollowedVolume::Sent {
    pb::DoorRequest message;
    BufferChain payload;
    Completion<Result<Reply>> done;
};

FollowedVolume::FollowedVolume(Env& env, RpcNode& rpc, FollowOptions options)
    : env_(env),
      rpc_(rpc),
      options_(std::move(options)),
      places_(options_.places),
      room_(k_room_bytes),
      scope_(env.executor) {}

FollowedVolume::~FollowedVolume() = default;

Task<Result<void>> FollowedVolume::start(Instant deadline) {
    CO_TRY_VOID(co_await with_deadline<std::shared_ptr<Way>>(env_.clock, deadline, way()));
    co_return Result<void>{};
}

Task<Result<BufferChain>> FollowedVolume::read(u64 offset, u32 length) {
    std::vector<Task<Result<Reply>>> pieces;
    for (u64 at = 0; at < length; at += k_door_piece_max) {
        u64 const bytes = std::min<u64>(length - at, k_door_piece_max);
        pieces.push_back(ask(door_request(DoorKind::kRead, offset + at, bytes), {}));
    }
    BufferChain out;
    auto replies = co_await join_all<Result<Reply>>(std::move(pieces));
    for (auto& reply : replies) {
        if (!reply) co_return std::unexpected(reply.error());
        for (const Buffer& part : reply->payload.parts()) out.append(part);
    }
    if (out.size() != length)
        co_return fail(Code::kIo, "the owner sent another number of bytes than was asked for");
    co_return out;
}

Task<Result<void>> FollowedVolume::write(u64 offset, BufferChain data, bool fua) {
    std::vector<Task<Result<Reply>>> pieces;
    for (u64 at = 0; at < data.size(); at += k_door_piece_max) {
        u64 const length = std::min<u64>(data.size() - at, k_door_piece_max);
        pb::DoorRequest message = door_request(DoorKind::kWrite, offset + at, length);
        message.set_fua(fua);
        pieces.push_back(ask(std::move(message), data.slice(at, length)));
    }
    auto const replies = co_await join_all<Result<Reply>>(std::move(pieces));
    for (const auto& reply : replies)
        if (!reply) co_return std::unexpected(reply.error());
    co_return Result<void>{};
}

Task<Result<void>> FollowedVolume::flush() {
    CO_TRY_VOID(co_await ask(door_request(DoorKind::kFlush, 0, 0), {}));
    co_return Result<void>{};
}

Task<Result<void>> FollowedVolume::trim(u64 offset, u64 length, bool fua) {
    if (length == 0) co_return Result<void>{};
    pb::DoorRequest message = door_request(DoorKind::kTrim, offset, length);
    message.set_fua(fua);
    CO_TRY_VOID(co_await ask(std::move(message), {}));
    co_return Result<void>{};
}

Task<Result<void>> FollowedVolume::write_zeroes(u64 offset, u64 length, bool may_trim, bool fua) {
    if (length == 0) co_return Result<void>{};
    pb::DoorRequest message = door_request(DoorKind::kZeroes, offset, length);
    message.set_may_trim(may_trim);
    message.set_fua(fua);
    CO_TRY_VOID(co_await ask(std::move(message), {}));
    co_return Result<void>{};
}

Task<Result<std::vector<BlockStatusExtent>>> FollowedVolume::block_status(u64 offset, u64 length) {
    CO_TRY(Reply const reply, co_await ask(door_request(DoorKind::kStatus, offset, length), {}));
    co_return parse_door_status(reply, length);
}

// What was sent is seen to its end, whoever still waits for it: only then may something that overlaps it be sent.
Task<Result<Reply>> FollowedVolume::ask(pb::DoorRequest message, BufferChain payload) {
    if (ended_.is_set()) co_return fail(Code::kShutdown, end_reason_.message);
    auto const sent = std::make_shared<Sent>();
    sent->message = std::move(message);
    sent->payload = std::move(payload);
    ++stats_.requests;
    scope_.spawn(see_to_end(this, sent));
    co_return co_await sent->done.wait();
}

Task<void> FollowedVolume::see_to_end(FollowedVolume* self, std::shared_ptr<Sent> sent) {
    auto const kind = static_cast<DoorKind>(sent->message.kind());
    RangeLocks::Held lock;
    bool const moves = changes(kind) || kind == DoorKind::kRead;
    if (moves) co_await self->locks_.lock(lock, door_extent(sent->message.offset(), sent->message.length()));
    u64 const cost = kind == DoorKind::kRead || kind == DoorKind::kWrite ? sent->message.length() : 0;
    Permit const room = co_await acquire_permit(self->room_, std::max(cost, k_request_cost_min));
    if (self->waiting_++ == 0) self->stirred_.notify_all();
    auto reply = co_await self->carry(sent.get());
    --self->waiting_;
    lock.release();
    sent->done.complete(std::move(reply));
}

Task<Result<Reply>> FollowedVolume::carry(Sent* sent) {
    for (bool again = false;; again = true) {
        auto const found = co_await way();
        if (!found) co_return std::unexpected(found.error());
        if (again) ++stats_.repeated;
        auto reply = co_await send_once(*found, sent);
        if (reply || is_answer(reply.error().code)) co_return reply;
        lose(*found, reply.error());
        co_await env_.clock.sleep(k_send_again);
    }
}

// Until it is answered, or the owner is taken for gone.
Task<Result<Reply>> FollowedVolume::send_once(std::shared_ptr<Way> way, Sent* sent) {
    pb::DoorRequest& message = sent->message;
    message.set_volume(options_.volume);
    message.set_epoch(way->epoch.v);
    message.set_ticket(way->ticket);
    CallOptions options;
    options.deadline = env_.clock.now() + k_answer_limit;
    options.lane = message.length() > 128 * k_kib ? Lane::kBulk : Lane::kPrompt;
    if (static_cast<DoorKind>(message.kind()) == DoorKind::kRead)
        options.reply_bytes_expected = static_cast<u32>(message.length());
    std::optional<Result<Reply>> reply;
    Notify over;
    auto const call = [](RpcNode* rpc, std::shared_ptr<Way> to, Buffer body, BufferChain payload, CallOptions how,
                         std::optional<Result<Reply>>* out, Notify* done) -> Task<void> {
        out->emplace(
            co_await rpc->call(to->owner, door_method::k_request, std::move(body), std::move(payload), how));
        done->notify_all();
    };
    auto const give_up = [](std::shared_ptr<Way> to, Notify* done) -> Task<void> {
        co_await to->lost.wait();
        done->notify_all();
    };
    Scope both(env_.executor);
    both.spawn(call(&rpc_, way, encode_message(message), sent->payload, options, &reply, &over));
    both.spawn(give_up(way, &over));
    while (!reply && !way->lost.is_set()) co_await over.wait();
    if (reply) co_return *std::move(reply);
    co_return fail(Code::kReset, "the owner is taken for gone");
}

// The way to the owner; found anew if there is none, by one for all who wait.
Task<Result<std::shared_ptr<FollowedVolume::Way>>> FollowedVolume::way() {
    if (way_) co_return way_;
    Permit const alone = co_await seeking_.lock();
    while (!way_ && !ended_.is_set()) {
        auto const found = co_await seek();
        if (!found) {
            co_await env_.clock.sleep(k_look_again);
            continue;
        }
        ++stats_.owners;
        way_ = found;
        scope_.spawn(watch(found));
        log_info(env_.log, "door.opened", [&] {
            return options_.volume + " at " + to_string(found->owner) + ", epoch " + std::to_string(found->epoch.v);
        });
    }
    if (ended_.is_set()) co_return fail(Code::kShutdown, end_reason_.message);
    co_return way_;
}

// One round: some are asked who owns the volume, and who is named is tried, in the order of the answers.
Task<std::shared_ptr<FollowedVolume::Way>> FollowedVolume::seek() {
    auto const found = std::make_shared<Channel<Place>>(k_asked_at_once + 1);
    Instant const until = env_.clock.now() + k_look_limit;
    Scope lookers(env_.executor);
    usize const asked = std::min(places_.size(), k_asked_at_once);
    for (usize i = 0; i < asked; ++i) lookers.spawn(look(places_[i], found));
    // Others are asked in the next round.
    std::rotate(places_.begin(), places_.begin() + static_cast<i64>(asked), places_.end());
    Epoch tried;
    for (usize heard = 0; heard < asked && env_.clock.now() < until && !ended_.is_set(); ++heard) {
        auto const place = co_await found->recv();
        if (!place || place->owner.is_zero() || place->epoch <= tried) continue;
        tried = place->epoch;
        auto way = co_await open(*place);
        if (way) co_return *way;
        // A corelet that is no part of the mesh any more denies too.
        bool const never = way.error().code == Code::kDenied && stats_.owners == 0;
        if (way.error().code == Code::kConflict || never) end(way.error());
    }
    co_return nullptr;
}

Task<void> FollowedVolume::look(Address place, std::shared_ptr<Channel<Place>> found) {
    pb::DoorFind message;
    message.set_volume(options_.volume);
    CallOptions options;
    options.deadline = env_.clock.now() + k_look_limit;
    options.traffic = TrafficClass::kControl;
    auto const reply = co_await rpc_.call(place, door_method::k_find, encode_message(message), {}, options);
    Place out;
    auto const answer =
        reply ? decode_message<pb::DoorPlace>(reply->body) : Result<pb::DoorPlace>(std::unexpected(reply.error()));
    if (answer) {
        out.owner = CoreletId(answer->owner());
        out.epoch = Epoch(answer->epoch());
        for (const std::string& text : answer->addresses())
            if (auto address = Address::parse(text)) out.addresses.push_back(*std::move(address));
        std::vector<Address> others = {place};
        for (const std::string& text : answer->others())
            if (auto address = Address::parse(text)) others.push_back(*std::move(address));
        remember(std::move(others));
    }
    (void)found->try_send(std::move(out));
}

Task<Result<std::shared_ptr<FollowedVolume::Way>>> FollowedVolume::open(Place place) {
    rpc_.set_addresses(place.owner, place.addresses);
    pb::DoorOpen message;
    message.set_volume(options_.volume);
    message.set_door(options_.door);
    message.set_key(options_.key);
    CallOptions options;
    options.deadline = env_.clock.now() + k_open_limit;
    options.traffic = TrafficClass::kControl;
    CO_TRY(Reply const reply,
           co_await rpc_.call(place.owner, door_method::k_open, encode_message(message), {}, options));
    CO_TRY(auto const answer, decode_message<pb::DoorOpened>(reply.body));
    auto const way = std::make_shared<Way>();
    way->owner = place.owner;
    way->epoch = Epoch(answer.epoch());
    way->ticket = answer.ticket();
    size_bytes_ = answer.size_bytes();
    volatile_cache_ = answer.volatile_cache();
    co_return way;
}

// While requests wait the owner is asked whether it is there, and others whether it still is the owner. It costs an
// idle client nothing.
Task<void> FollowedVolume::watch(std::shared_ptr<Way> way) {
    pb::DoorRequest message;
    message.set_volume(options_.volume);
    message.set_epoch(way->epoch.v);
    message.set_ticket(way->ticket);
    while (!way->lost.is_set()) {
        if (waiting_ == 0) {
            co_await stirred_.wait();
            continue;
        }
        co_await way->lost.wait_until(env_.clock, env_.clock.now() + options_.alive_every);
        if (way->lost.is_set() || waiting_ == 0) continue;
        CallOptions options;
        options.deadline = env_.clock.now() + options_.silence - options_.alive_every;
        options.traffic = TrafficClass::kControl;
        auto const reply =
            co_await rpc_.call(way->owner, door_method::k_request, encode_message(message), {}, options);
        if (!reply) {
            lose(way, reply.error());
        } else if (co_await is_elsewhere(way->epoch)) {
            lose(way, Error{Code::kFenced, false, 0, "another corelet owns the volume by now"});
        }
    }
}

// Whether one of the others knows a later owner.
Task<bool> FollowedVolume::is_elsewhere(Epoch epoch) {
    if (places_.empty()) co_return false;
    auto const found = std::make_shared<Channel<Place>>(1);
    std::rotate(places_.begin(), places_.begin() + 1, places_.end());
    co_await look(places_.front(), found);
    auto const place = found->try_recv();
    co_return place && !place->owner.is_zero() && place->epoch > epoch;
}

void FollowedVolume::lose(const std::shared_ptr<Way>& way, const Error& why) {
    if (way->lost.is_set()) return;
    log_info(env_.log, "door.lost",
             [&] { return options_.volume + " at " + to_string(way->owner) + ": " + why.to_string(); });
    way->lost.set();
    stirred_.notify_all();
    if (way_ == way) way_ = nullptr;
    // Whoever is silent may come to itself later: then it finds nobody on the line.
    if (why.code == Code::kTimeout) rpc_.disconnect(way->owner, "it does not answer");
}

// Those just named first; the ones that were named to begin with stay.
void FollowedVolume::remember(std::vector<Address> places) {
    for (const std::vector<Address>* known : {&places_, &options_.places})
        for (const Address& address : *known)
            if (std::ranges::find(places, address) == places.end() && places.size() < k_places_max)
                places.push_back(address);
    places_ = std::move(places);
}

void FollowedVolume::end(Error reason) {
    if (ended_.is_set()) return;
    log_warning(env_.log, "door.ended", reason.to_string());
    end_reason_ = std::move(reason);
    ended_.set();
    if (way_) lose(way_, end_reason_);
}

}  // namespace corelet
