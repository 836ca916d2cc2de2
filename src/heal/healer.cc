#include "heal/healer.h"

#include "wire/message.h"

namespace corelet {

namespace {
constexpr usize k_damaged_max = 4096;  // beyond, they are found again
constexpr u64 k_guessed_rate = 64 * k_mib;
constexpr Duration k_gather = 200_ms;
constexpr u32 k_word_holds_max_ms = 600'000;
}  // namespace

Healer::Healer(Env& env, Store& store, RpcNode& rpc, mesh::MapSource& maps, MeshChunks& chunks,
               FragmentServer& fragments, const SpaceDirectory& spaces, HealPort& port, Options options)
    : env_(env),
      store_(store),
      rpc_(rpc),
      maps_(maps),
      chunks_(chunks),
      fragments_(fragments),
      spaces_(spaces),
      port_(port),
      options_(options),
      inventory_(store),
      slots_(options.rebuilds_at_once),
      memory_(options.rebuild_memory),
      pace_(options.pace),
      scrub_({options.scrub_pass, options.scrub_bytes_per_second}, store.note(ScrubSchedule::k_note),
             env.clock.wall_now()),
      scope_(env.executor) {
    pace_.limit({options.bytes_per_second, 0});
    store_.on_fragment_change([this](const FragmentId& id, bool here) { fragment_changed(id, here); });
    fragments_.on_damaged([this](FragmentId id, IoClass io) {
        damaged(id, io == IoClass::kClient ? FoundBy::kRead
                    : io == IoClass::kHeal ? FoundBy::kRebuild
                                           : FoundBy::kAudit);
    });
    chunks_.on_strain(
        [this](CoreletId source, u32 permille) { words_.strained(source, permille, env_.clock.now()); });
    rpc_.register_handler(heal_method::k_compare, [this](Request r) { return on_compare(std::move(r)); });
    rpc_.register_handler(heal_method::k_confirm, [this](Request r) { return on_confirm(std::move(r)); });
    rpc_.register_handler(heal_method::k_word, [this](Request r) { return on_word(std::move(r)); });
    rpc_.register_handler(heal_method::k_audit, [this](Request r) { return on_audit(std::move(r)); });
    HandlerOptions const whole{.detached = true};
    rpc_.register_handler(heal_method::k_loads, [this](Request r) { return on_loads(std::move(r)); });
    rpc_.register_handler(heal_method::k_look, [this](Request r) { return on_look(std::move(r)); });
    rpc_.register_handler(heal_method::k_mend, [this](Request r) { return on_mend(std::move(r)); }, whole);
    rpc_.register_handler(heal_method::k_hand_on, [this](Request r) { return on_hand_on(std::move(r)); }, whole);
    scope_.spawn(run());
    scope_.spawn(scrub_on());
    if (options_.audit_every.ns != 0) scope_.spawn(audit_on());
}

Healer::~Healer() {
    for (Method method : {heal_method::k_compare, heal_method::k_confirm, heal_method::k_word, heal_method::k_audit,
                          heal_method::k_loads, heal_method::k_look, heal_method::k_mend, heal_method::k_hand_on})
        rpc_.unregister_handler(method);
    chunks_.on_strain({});
    fragments_.on_damaged({});
    store_.on_fragment_change({});
}

void Healer::pause(bool paused) {
    status_.paused = paused;
    wake();
}

void Healer::fragment_changed(const FragmentId& id, bool here) {
    inventory_.changed(id, here);
    if (!here) damaged_.erase(id);
}

void Healer::damaged(const FragmentId& id, FoundBy found_by) {
    if (damaged_.size() >= k_damaged_max || !store_.fragment_info(id) || !damaged_.insert(id).second) return;
    ++status_.found_damaged[static_cast<usize>(found_by)];
    log_warning(env_.log, "heal.damaged",
                [&] { return to_string(id.chunk) + "." + std::to_string(id.position) + " does not verify here"; });
    wake();
}

Task<Result<void>> Healer::verify(FragmentId id, IoClass io, FoundBy found_by) {
    auto const verified = co_await store_.verify_fragment(id, io);
    if (!verified && tells_of_damage(verified.error())) damaged(id, found_by);
    co_return verified;
}

// What a peer says of itself. From outside: how long it holds is bounded.
Task<Result<Reply>> Healer::on_word(Request request) {
    CO_TRY(auto const word, decode_message<pb::HealWord>(request.body));
    if (!maps_.current()->find(request.from->corelet)) co_return Reply{};
    Instant const now = env_.clock.now();
    Duration const holds{static_cast<i64>(std::min<u32>(word.holds_ms(), k_word_holds_max_ms)) * 1'000'000};
    words_.rebuilding(request.from->corelet, word.bytes_left(), holds, now);
    if (word.strain() != 0) words_.strained(request.from->corelet, word.strain(), now);
    co_return Reply{};
}

u64 Healer::bytes_left() const {
    u64 left = 0;
    for (auto const& [pool, of_pool] : left_) left += of_pool.bytes;
    return left;
}

HealStatus Healer::status() const {
    HealStatus status = status_;
    for (auto const& [pool, left] : left_) {
        status.chunk_shares += left.shares;
        status.fragments_missing += left.fragments;
    }
    status.bytes_left = bytes_left();
    status.full = room_.is_full() && status.bytes_left != 0;
    status.damaged = damaged_.size();
    u64 const held = store_.space().used_bytes;
    status.scrub_bytes_per_second = scrub_.bytes_per_second(held, env_.clock.wall_now());
    status.scrub_permille = scrub_.permille(held);
    status.scrub_last_ended = scrub_.last_ended();
    status.bytes_per_second = rate_.bytes_per_second(env_.clock.now());
    status.allowed_bytes_per_second = pace_.rate();
    status.pace_reason = pace_.reason();
    status.pace_of = pace_.whose();
    Duration const guess{static_cast<i64>(status.bytes_left * 1'000'000'000 / k_guessed_rate)};
    status.eta = rate_.time_for(status.bytes_left, env_.clock.now()).value_or(guess);
    const auto map = maps_.current();
    for (const mesh::Pool& pool : map->pools) status.strays += inventory_.strays(pool.id);
    return status;
}

std::vector<DegradedChunks> Healer::degraded(usize limit) const {
    std::vector<DegradedChunks> out;
    for (auto const& [pool, rows] : degraded_)
        for (auto const& [holders, chunks] : rows) out.push_back(DegradedChunks{pool, holders, chunks});
    return fewest_holders_first(std::move(out), limit);
}

Task<void> Healer::run() {
    for (;;) {
        bool const clean = status_.paused || co_await round();
        // Nothing comes of hurrying where there is no room.
        Duration const pause = clean || room_.is_full() ? options_.round_every : 1_s;
        Duration const jitter{static_cast<i64>(env_.random.below(static_cast<u64>(pause.ns / 4)))};
        bool const woken = co_await wanted_.wait_until(env_.clock, env_.clock.now() + pause + jitter);
        // What woke this one woke all of the mesh, and more of the kind is on its way.
        if (woken)
            co_await env_.clock.sleep(Duration{static_cast<i64>(env_.random.below(static_cast<u64>(k_gather.ns)))});
    }
}

Task<bool> Healer::round() {
    auto const map = maps_.current();
    bool clean = true;
    for (const mesh::Pool& pool : map->pools) clean = co_await heal_pool(maps_.current(), pool.id) && clean;
    std::erase_if(degraded_, [&](const auto& rows) { return maps_.current()->find(rows.first) == nullptr; });
    std::erase_if(left_, [&](const auto& left) { return maps_.current()->find(left.first) == nullptr; });
    co_await drop_deleted_spaces();
    co_await drop_dead();
    co_return clean;
}

Task<bool> Healer::heal_pool(MapPtr map, PoolId pool_id) {
    const mesh::Pool* const pool = map->find(pool_id);
    if (!pool) co_return true;
    mesh::TablePtr const table = pool->tables.front();
    co_await inventory_.bring_up(map, &spaces_);
    auto const known = std::make_shared<Known>();
    co_await ask_members(map, pool_id, known);
    auto missing = co_await without_dead(find_missing(*map, *pool, *known));
    auto& degraded = degraded_[pool_id] = {};
    for (const Missing& each : missing) ++degraded[each.holders];
    if (known->all_up) port_.compared(pool_id, map->epoch);
    bool const rebuilt = co_await rebuild_all(pool_id, table, std::move(missing));
    co_await hand_on(map, pool_id);
    bool const clean =
        known->complete && rebuilt && still_wanted(pool_id, *table) && fragments_.puts_before(table->epoch()) == 0;
    if (clean) co_await report_clean(map, pool_id);
    co_return clean;
}

// Everybody whom any of the pool's tables names reports, also who has no place in the current one: former tables
// are kept until then.
Task<void> Healer::report_clean(MapPtr map, PoolId pool_id) {
    const mesh::Pool& pool = *map->find(pool_id);
    const mesh::SlotTable& table = pool.current();
    bool const named = std::any_of(pool.tables.begin(), pool.tables.end(),
                                   [&](const mesh::TablePtr& each) { return each->has(rpc_.id()); });
    if (!named || pool.tables.size() == 1 || pool.clean_epoch(rpc_.id()) >= table.epoch()) co_return;
    auto const reported = co_await port_.report_clean(pool_id, table.epoch(), table.hash());
    if (!reported) log_info(env_.log, "heal.clean_not_reported", reported.error().to_string());
}

}  // namespace corelet
