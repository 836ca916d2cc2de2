// HealthService: what observers ask those whom they observe, and what becomes of a device that is slow.
//
// The observers of a corelet hold its device's word against those of the others whom they observe, and against its
// own past. Whoever finds it slow writes so into the catalog, where everybody reads it; whoever finds it as fast as
// ever takes that back. Nothing depends on it but taste: where new segments and chunks go, and whom readers ask
// first.
#include "mesh/slow_devices.h"
#include "node/health_service.h"
#include "node/node_services.h"
#include "wire/message.h"

namespace corelet {

namespace {

constexpr Duration k_answer_within = 1_s;
constexpr Duration k_word_good = 12_s;
constexpr usize k_slow_share = 3;  // of the mesh at most one in so many is called slow

void encode_cost(const UnitCost& cost, pb::DeviceSpeed& out) {
    out.set_least(cost.least);
    out.set_most(cost.most);
    out.set_usual(cost.usual);
}
UnitCost decode_cost(const pb::DeviceSpeed& in) {
    // From outside: what is beyond any sense is cut, so that sums and products of it hold.
    constexpr u64 k_cost_most = u64{1} << 50;
    return {std::min(in.least(), k_cost_most), std::min(in.most(), k_cost_most), std::min(in.usual(), k_cost_most)};
}

}  // namespace

std::string slow_device_key(CoreletId id) {
    return "slow/" + to_string(id);
}

// --- asking
// -----------------------------------------------------------------------------------------------------------

Task<Result<Reply>> HealthService::on_ask(Request request) {
    CO_TRY(auto message, decode_message<pb::AskHealth>(request.body));
    if (message.write_something()) write_something();
    pb::HealthWord word;
    encode_cost(reads_.cost(), *word.mutable_reads());
    encode_cost(writes_.cost(), *word.mutable_writes());
    word.set_device_class(node_.config.device_class);
    co_return Reply{encode_message(word), {}};
}

void HealthService::ask_peers() {
    for (CoreletId peer : subjects_)
        if (node_.maps->current()->is_up(peer)) scope_.spawn(ask(peer, false));
}

Task<void> HealthService::ask(CoreletId peer, bool write) {
    if (!node_.own_trouble.empty() || !asking_.insert(peer).second) co_return;
    pb::AskHealth message;
    message.set_write_something(write);
    CallOptions options;
    options.deadline = env_.clock.now() + k_answer_within;
    options.traffic = TrafficClass::kControl;
    WatchedRequest watched(&requests_, peer, RequestNeed::kLoop, env_.clock.now());
    auto const reply = co_await node_.rpc->call(peer, node_method::k_health, encode_message(message), {}, options);
    watched.ended(request_end(reply), env_.clock.now());
    asking_.erase(peer);
    if (!reply) co_return;
    auto const word = decode_message<pb::HealthWord>(reply->body);
    bool const subject = std::find(subjects_.begin(), subjects_.end(), peer) != subjects_.end();
    if (word && subject)
        words_[peer] =
            Word{env_.clock.now(), {decode_cost(word->reads()), decode_cost(word->writes())}, word->device_class()};
}

// --- slow devices
// -----------------------------------------------------------------------------------------------------------

void HealthService::look_at_marks() {
    std::map<CoreletId, SlowMark> slow;
    for (auto const& [key, item] : node_.catalog->local().items("slow/")) {
        const pb::SlowDevice* const mark = marks_.parse(item);
        auto const id = parse_corelet_id(std::string_view(key).substr(5));
        if (mark && id) slow[*id] = SlowMark{CoreletId(mark->found_by()), mark->reason()};
    }
    marks_.forget_others();
    slow_ = std::move(slow);
}

void HealthService::judge_peers() {
    if (!node_.catalog->is_available() || !node_.own_trouble.empty()) return;
    Instant const now = env_.clock.now();
    for (auto const& [id, word] : words_) {
        if (now - word.at > k_word_good || marking_.contains(id)) continue;
        std::vector<DeviceSpeed> others;
        if (word.device_class == node_.config.device_class && !slow_.contains(self_)) others.push_back(speed());
        for (auto const& [other, said] : words_)
            if (other != id && said.device_class == word.device_class && now - said.at <= k_word_good &&
                !slow_.contains(other))
                others.push_back(said.speed);
        bool const was = slow_.contains(id);
        SpeedVerdict verdict = judge_speed(word.speed, others, was);
        bool const news = verdict.slow ? !was && !others.empty() && may_mark() : was;
        if (!news) continue;
        marking_.insert(id);
        scope_.spawn(verdict.slow ? mark(id, std::move(verdict.reason)) : unmark(id));
    }
}

// More of them at once is a host, a network or a workload.
bool HealthService::may_mark() const {
    auto const map = node_.maps->current();
    auto const up = static_cast<usize>(std::count_if(map->corelets.begin(), map->corelets.end(),
                                                     [](const mesh::Corelet& corelet) { return corelet.is_up(); }));
    return (slow_.size() + marking_.size() + 1) * k_slow_share <= std::max(up, k_slow_share);
}

Task<void> HealthService::mark(CoreletId device, std::string reason) {
    pb::SlowDevice record;
    record.set_found_by(self_.v);
    record.set_unix_ns(env_.clock.wall_now().unix_ns);
    record.set_reason(reason);
    Transaction transaction;
    transaction.require_missing(slow_device_key(device)).put(slow_device_key(device), record.SerializeAsString());
    auto const marked = co_await node_.catalog->commit(std::move(transaction), env_.clock.now() + 2_s);
    if (marked && marked->succeeded)
        log_warning(env_.log, "health.slow_device", [&] { return to_string(device) + ": " + reason; });
    marking_.erase(device);
}

Task<void> HealthService::unmark(CoreletId device) {
    Transaction transaction;
    transaction.require_exists(slow_device_key(device)).remove(slow_device_key(device));
    auto const removed = co_await node_.catalog->commit(std::move(transaction), env_.clock.now() + 2_s);
    if (removed && removed->succeeded) log_info(env_.log, "health.device_is_fast_again", to_string(device));
    marking_.erase(device);
}

// Of corelets that are no part of the mesh any more: their observers are gone with them.
void HealthService::sweep_marks() {
    if (!node_.keeper->has_its_turn()) return;
    for (auto const& [id, mark] : slow_)
        if (!is_member(id) && marking_.insert(id).second) scope_.spawn(unmark(id));
}

void HealthService::go_round_slow_devices() {
    std::set<CoreletId> slow, absent;
    for (auto const& [id, mark] : slow_) slow.insert(id);
    auto const map = node_.maps->current();
    if (!slow.empty())
        for (const mesh::Corelet& corelet : map->corelets)
            if (corelet.id != self_ && node_.gossip->membership().health(corelet.id) != mesh::PeerHealth::kReached)
                absent.insert(corelet.id);
    node_.placement->set_avoided(mesh::devices_to_avoid(*map, slow, absent));
    node_.chunks->set_slow(std::move(slow));
}

}  // namespace corelet
