#include "node/map_service.h"

#include "base/codec.h"
#include "base/fault_point.h"
#include "catalog/state.h"
#include "node/node.pb.h"
#include "node/node_methods.h"
#include "wire/message.h"

namespace corelet {

namespace {
constexpr Duration k_catalog_first = 100_ms;
constexpr usize k_introduced_bytes_max = 512 * k_kib;  // of an answer's body, which has a mebibyte
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
    rpc_.register_handler(node_method::k_fetch_map, [this](Request r) { return on_fetch(std::move(r)); });
    scope_.spawn(follow());
    scope_.spawn(fetch());
    scope_.spawn(remember());
}

MapService::~MapService() {
    rpc_.unregister_handler(node_method::k_fetch_map);
}

std::string MapService::introduction() const {
    auto const bytes = mesh::encode_map(*current_);
    if (bytes.size() > k_introduced_bytes_max || FAULT_POINT("map.parted")) return {};
    return std::string(bytes.begin(), bytes.end());
}

Result<void> MapService::offer(Bytes encoded) {
    if (mesh::is_map_delta(encoded)) return offer_deltas({encoded});
    TRY(MapRecord record, decode_map_record(as_text(encoded), *current_));
    auto* const map = std::get_if<mesh::Map>(&record);
    if (!map) return fail(Code::kInvalid, "the head of a map is none");
    if (map->epoch > current_->epoch) take(std::move(*map));
    return {};
}

// They follow one another, and the last may lead beyond the present map. kStaleMap: the first that is news leads
// from another one. What fitted before is taken.
Result<void> MapService::offer_deltas(const std::vector<Bytes>& deltas) {
    for (Bytes const delta : deltas) {
        TRY(mesh::DeltaSpan const span, mesh::delta_span(delta));
        if (span.to <= current_->epoch) continue;
        bool const whole = span.from.is_zero();
        TRY(mesh::Map map, mesh::apply_delta(whole ? mesh::Map{} : *current_, delta));
        take(std::move(map), whole ? std::vector<u8>{} : std::vector<u8>(delta.begin(), delta.end()));
    }
    return {};
}

void MapService::hear_news(MapEpoch epoch, CoreletId from, const std::vector<Bytes>& deltas) {
    MapEpoch const before = current_->epoch;
    auto const taken = offer_deltas(deltas);
    if (!taken && taken.error().code != Code::kStaleMap)
        log_warning(env_.log, "map.news_refused",
                    [&] { return "from " + to_string(from) + ": " + taken.error().to_string(); });
    maps_heard_ += current_->epoch > before;
    heard_of(epoch, from);
}

void MapService::heard_of(MapEpoch epoch, CoreletId from) {
    if (epoch <= heard_ || from == rpc_.id()) return;
    heard_ = epoch;
    heard_from_ = from;
    if (heard_ > current_->epoch) fetch_wanted_.notify_one();
}

// What changed where that is less than the map, else the map.
std::vector<Bytes> MapService::beyond(MapEpoch epoch) {
    if (epoch >= current_->epoch) return {};
    if (whole_.empty()) whole_ = mesh::make_delta(mesh::Map{}, *current_);
    std::vector<Bytes> steps;
    usize bytes = 0;
    for (const mesh::MapStep* step : history_.since(epoch)) {
        steps.emplace_back(step->delta);
        bytes += step->delta.size();
    }
    if (steps.empty() || bytes >= whole_.size() || FAULT_POINT("map.delta_withheld")) return {Bytes(whole_)};
    return steps;
}

Task<Result<Reply>> MapService::on_fetch(Request request) {
    CO_TRY(auto const question, decode_message<pb::FetchMap>(request.body));
    pb::FetchMapReply reply;
    reply.set_epoch(current_->epoch.v);
    Writer payload;
    for (Bytes const delta : beyond(MapEpoch(question.epoch()))) {
        reply.add_delta_bytes(static_cast<u32>(delta.size()));
        payload.put_raw(delta);
    }
    Reply out{encode_message(reply), {}};
    if (payload.size() != 0) out.payload = Buffer::copy_of(payload.bytes());
    co_return out;
}

Task<Result<void>> MapService::fetch_beyond(Target peer, MapEpoch known) {
    CallOptions options;
    options.deadline = env_.clock.now() + 1_s;
    options.traffic = TrafficClass::kControl;
    pb::FetchMap question;
    question.set_epoch(known.v);
    CO_TRY(Reply reply, co_await rpc_.call(peer, node_method::k_fetch_map, encode_message(question), {}, options));
    CO_TRY(auto const answer, decode_message<pb::FetchMapReply>(reply.body));
    if (answer.delta_bytes().empty()) co_return fail(Code::kUnknown, "it has no later map");
    Buffer const payload = reply.payload.flatten();
    Reader in(payload);
    std::vector<Bytes> deltas;
    for (u32 bytes : answer.delta_bytes()) deltas.push_back(in.get_raw(bytes));
    if (!in.complete()) co_return fail(Code::kCorrupt, "its map has another length than it says");
    co_return offer_deltas(deltas);
}

// Whose map came about another way than is known there, gets the whole.
Task<Result<void>> MapService::fetch_from(Target peer) {
    auto fetched = co_await fetch_beyond(peer, current_->epoch);
    bool const misfit =
        !fetched && (fetched.error().code == Code::kStaleMap || fetched.error().code == Code::kInvalid);
    if (misfit) fetched = co_await fetch_beyond(peer, MapEpoch{});
    if (!fetched && fetched.error().code == Code::kUnsupported) fetched = co_await fetch_introduction(peer);
    co_return fetched;
}

// The version before this one knows no deltas.
Task<Result<void>> MapService::fetch_introduction(Target peer) {
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
        MapEpoch const before = current_->epoch, wanted = heard_;
        auto const fetched = co_await fetch_from(peer);
        maps_fetched_ += fetched && current_->epoch > before;
        // It does not have what it spoke of: nobody is asked for that.
        bool const in_vain = !fetched && fetched.error().code == Code::kUnknown && peer == heard_from_;
        if (in_vain && heard_ == wanted) heard_ = current_->epoch;
        if (!fetched)
            log_info(env_.log, "map.not_fetched",
                     [&] { return to_string(peer) + ": " + fetched.error().to_string(); });
        ++attempt;
        if (heard_ > current_->epoch) co_await env_.clock.sleep(std::min(50_ms * static_cast<i64>(attempt), 1_s));
    }
}

void MapService::take(mesh::Map map, std::vector<u8> delta) {
    CORELET_ASSERT(map.epoch > current_->epoch, "the map never goes back");
    history_.advance(*current_, map, std::move(delta));
    whole_.clear();
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

// Head and pieces are of one revision: what the local state names it has.
void MapService::look_at_catalog() {
    const CatalogState& local = catalog_.local();
    const KeyValue* const item = local.find(k_map_key);
    if (!item) return;
    auto const find = [&](const std::string& key) -> const std::string* {
        const KeyValue* const piece = local.find(key);
        return piece ? &piece->value : nullptr;
    };
    auto map = read_map_record(item->value, *current_, find);
    if (!map)
        log_error(env_.log, "map.unreadable", map.error().to_string());
    else if (map->epoch > current_->epoch)
        take(*std::move(map));
}

// The catalog's word reaches everybody by watches; what was missed is read again.
Task<void> MapService::follow() {
    for (;;) {
        auto watch = catalog_.watch(k_map_key, {});
        look_at_catalog();
        for (;;) {
            auto const batch = co_await watch->next();
            if (!batch) break;
            bool const changed = std::ranges::any_of(batch->events, [](const WatchEvent& event) {
                return !event.deleted && event.item.key == k_map_key;
            });
            if (changed) look_at_catalog();
        }
    }
}

// The last map is on the device too, for a start without anybody else (protocols 1.2).
Task<void> MapService::remember() {
    for (;;) {
        while (!dirty_) co_await remember_wanted_.wait();
        dirty_ = false;
        auto bytes = mesh::encode_map(*current_);
        if (bytes.size() > k_map_whole_bytes_max) bytes = mesh::make_delta(mesh::Map{}, *current_);
        auto const written = co_await store_.put_note(k_note, std::move(bytes));
        if (!written) log_warning(env_.log, "map.not_remembered", written.error().to_string());
        co_await env_.clock.sleep(200_ms);
    }
}

}  // namespace corelet
