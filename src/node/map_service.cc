#include "node/map_service.h"

#include "catalog/limits.h"
#include "catalog/state.h"
#include "node/node.pb.h"
#include "node/node_methods.h"
#include "wire/message.h"

namespace corelet {

namespace {
constexpr const char* k_note = "map";
constexpr Duration k_catalog_first = 100_ms;
// One value of the catalog, and one note of the device.
constexpr usize k_map_bytes_max = 768 * k_kib;
static_assert(k_map_bytes_max < k_catalog_transaction_bytes_max);
}  // namespace

MapService::MapService(Env& env, Catalog& catalog, Store& store, RpcNode& rpc)
    : env_(env),
      catalog_(catalog),
      store_(store),
      rpc_(rpc),
      current_(std::make_shared<mesh::Map>()),
      scope_(env.executor) {
    if (auto const note = store_.note(k_note)) {
        if (auto const offered = offer(*note); !offered)
            log_warning(env_.log, "map.note_unreadable", offered.error().to_string());
    }
    scope_.spawn(follow());
    scope_.spawn(fetch());
    scope_.spawn(remember());
}

Result<mesh::Map> MapService::decode(std::string_view bytes) const {
    return mesh::decode_map(as_bytes(bytes), [&](MapEpoch epoch, u64 hash) -> mesh::TablePtr {
        for (const mesh::Pool& pool : current_->pools)
            if (mesh::TablePtr table = pool.table(epoch); table && table->hash() == hash) return table;
        return nullptr;
    });
}

std::string MapService::encoded() const {
    auto const bytes = mesh::encode_map(*current_);
    return std::string(bytes.begin(), bytes.end());
}

Result<void> MapService::offer(Bytes encoded) {
    TRY(mesh::Map map, decode(as_text(encoded)));
    if (map.epoch > current_->epoch) take(std::move(map));
    return {};
}

void MapService::heard_of(MapEpoch epoch, CoreletId from) {
    if (epoch <= heard_ || from == rpc_.id()) return;
    heard_ = epoch;
    heard_from_ = from;
    if (heard_ > current_->epoch) fetch_wanted_.notify_one();
}

Task<Result<void>> MapService::fetch_from(CoreletId peer) {
    CallOptions options;
    options.deadline = env_.clock.now() + 1_s;
    options.traffic = TrafficClass::kControl;
    CO_TRY(Reply reply, co_await rpc_.call(peer, node_method::k_introduce, {}, {}, options));
    CO_TRY(auto answer, decode_message<pb::IntroduceReply>(reply.body));
    if (answer.map().empty()) co_return fail(Code::kUnknown, "it has no map");
    co_return offer(as_bytes(answer.map()));
}

// The catalog tells of a new map by itself. Where it does not come through (this corelet cannot reach the catalog,
// or the catalog has no quorum), whoever spoke of it has it; and if that one is gone by now, somebody else may.
Task<void> MapService::fetch() {
    for (usize attempt = 0;;) {
        if (heard_ <= current_->epoch) {
            attempt = 0;
            co_await fetch_wanted_.wait();
            // Mostly the catalog's own word is on its way.
            co_await env_.clock.sleep(k_catalog_first);
            continue;
        }
        std::vector<CoreletId> peers;
        for (const mesh::Corelet& corelet : current_->corelets)
            if (corelet.is_up() && corelet.id != rpc_.id()) peers.push_back(corelet.id);
        CoreletId const peer =
            attempt % 2 == 0 || peers.empty() ? heard_from_ : peers[env_.random.below(peers.size())];
        auto const fetched = co_await fetch_from(peer);
        if (!fetched)
            log_info(env_.log, "map.not_fetched",
                     [&] { return to_string(peer) + ": " + fetched.error().to_string(); });
        ++attempt;
        if (heard_ > current_->epoch) co_await env_.clock.sleep(std::min(50_ms * static_cast<i64>(attempt), 1_s));
    }
}

void MapService::take(mesh::Map map) {
    CORELET_ASSERT(map.epoch > current_->epoch, "the map never goes back");
    current_ = std::make_shared<const mesh::Map>(std::move(map));
    rpc_.set_map_epoch(current_->epoch);
    for (const mesh::Corelet& corelet : current_->corelets) {
        std::vector<Address> addresses;
        for (const std::string& text : corelet.addresses)
            if (auto parsed = Address::parse(text)) addresses.push_back(*std::move(parsed));
        if (corelet.id != rpc_.id()) rpc_.set_addresses(corelet.id, std::move(addresses));
    }
    dirty_ = true;
    remember_wanted_.notify_one();
    for (const auto& listener : listeners_) listener();
}

// The catalog's word reaches everybody by watches; what was missed is read again.
Task<void> MapService::follow() {
    for (;;) {
        auto watch = catalog_.watch(k_key, {});
        if (const KeyValue* const item = catalog_.local().find(k_key))
            if (auto map = decode(item->value); map && map->epoch > current_->epoch) take(*std::move(map));
        for (;;) {
            auto const batch = co_await watch->next();
            if (!batch) break;
            for (const WatchEvent& event : batch->events) {
                if (event.deleted || event.item.key != k_key) continue;
                auto map = decode(event.item.value);
                if (!map) {
                    log_error(env_.log, "map.unreadable", map.error().to_string());
                } else if (map->epoch > current_->epoch) {
                    take(*std::move(map));
                }
            }
        }
    }
}

// The last map is on the device too, for a start without anybody else (protocols 1.2).
Task<void> MapService::remember() {
    for (;;) {
        while (!dirty_) co_await remember_wanted_.wait();
        dirty_ = false;
        std::string const bytes = encoded();
        auto const written = co_await store_.put_note(k_note, std::vector<u8>(bytes.begin(), bytes.end()));
        if (!written) log_warning(env_.log, "map.not_remembered", written.error().to_string());
        co_await env_.clock.sleep(200_ms);
    }
}

Task<Result<void>> MapService::create(MeshId mesh, Instant deadline) {
    auto const bytes = mesh::encode_map(mesh::first_map(mesh));
    Transaction transaction;
    transaction.require_missing(k_key).put(k_key, std::string(bytes.begin(), bytes.end()));
    CO_TRY(auto result, co_await catalog_.commit(std::move(transaction), deadline));
    if (!result.succeeded) co_return fail(Code::kExists, "the mesh has a map");
    co_return {};
}

Task<Result<void>> MapService::change(mesh::MapEvent event, Instant deadline) {
    for (;;) {
        CO_TRY(auto item, co_await catalog_.get(k_key, deadline));
        if (!item) co_return fail(Code::kUnavailable, "the mesh has no map yet");
        CO_TRY(mesh::Map map, decode(item->value));
        CO_TRY(mesh::Map next, mesh::apply_event(map, event));
        if (next.epoch == map.epoch) {
            if (map.epoch > current_->epoch) take(std::move(map));
            co_return {};
        }
        auto const bytes = mesh::encode_map(next);
        if (bytes.size() > k_map_bytes_max)
            co_return fail(Code::kNoSpace,
                           "the map would have " + std::to_string(bytes.size()) + " bytes, of " +
                               std::to_string(k_map_bytes_max) +
                               ": too many corelets or pools for one mesh, or tables not settled yet");
        Transaction transaction;
        transaction.require_revision(k_key, item->mod_revision).put(k_key, std::string(bytes.begin(), bytes.end()));
        CO_TRY(auto result, co_await catalog_.commit(std::move(transaction), deadline));
        if (!result.succeeded) continue;
        if (next.epoch > current_->epoch) take(std::move(next));
        co_return {};
    }
}

}  // namespace corelet
