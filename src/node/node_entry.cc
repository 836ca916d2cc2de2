// NodeServices: how a corelet comes into its mesh, and comes back to it when all it knew have gone.
#include "base/codec.h"
#include "node/catalog_keys.h"
#include "node/node.pb.h"
#include "node/node_services.h"
#include "wire/message.h"

namespace corelet {

namespace {
constexpr Duration k_lost_after = 5_s;
}  // namespace

Task<Result<void>> NodeServices::ask_seed(Address seed) {
    CallOptions options;
    options.deadline = env.clock.now() + 2_s;
    options.traffic = TrafficClass::kControl;
    auto reply = co_await rpc->call(seed, node_method::k_introduce, {}, {}, options);
    if (!reply) {
        // One that knows nobody else hears only here that its promises are void, or its life is over.
        peer_unreachable({}, reply.error());
        co_return std::unexpected(reply.error());
    }
    CO_TRY(auto answer, decode_message<pb::IntroduceReply>(reply->body));
    if (!answer.map().empty())
        CO_TRY_VOID(maps->offer(as_bytes(answer.map())));
    else
        (void)co_await maps->fetch_from(seed);
    std::vector<CoreletId> voters;
    for (u64 voter : answer.voters()) voters.push_back(CoreletId(voter));
    // What one that is out of touch itself has heard is better than nothing, and than nothing else.
    if (!voters.empty() && (answer.catalog_available() || catalog->voters().empty()))
        hint_voters(std::move(voters));
    co_return {};
}

// Not those whom the catalog asks in any case: a second connection to one of them would break the first, and what
// is under way on it.
std::optional<Address> NodeServices::next_seed(usize& turn) const {
    auto const map = maps->current();
    auto const is_known = [&](const Address& seed) {
        return std::any_of(map->corelets.begin(), map->corelets.end(), [&](const mesh::Corelet& corelet) {
            return (corelet.id == store->identity() || rpc->is_connected(corelet.id)) &&
                   std::find(corelet.addresses.begin(), corelet.addresses.end(), seed.to_string()) !=
                       corelet.addresses.end();
        });
    };
    for (usize tried = 0; tried < config.seeds.size(); ++tried) {
        const Address& seed = config.seeds[turn++ % config.seeds.size()];
        if (!is_known(seed)) return seed;
    }
    return std::nullopt;
}

Task<void> NodeServices::enter_mesh() {
    if (config.bootstrap) {
        for (;;) {
            auto const created = co_await maps->create(config.mesh, env.clock.now() + 5_s);
            if (created || created.error().code == Code::kExists) break;
            co_await env.clock.sleep(100_ms);
        }
    }
    usize next = 0;
    // Until the map names somebody who can be asked: an early one may still be empty.
    auto const knows_a_voter = [&] {
        auto const known = catalog->voters();
        auto const map = maps->current();
        return std::any_of(known.begin(), known.end(), [&](CoreletId id) {
            const mesh::Corelet* const corelet = map->find(id);
            return corelet && !corelet->addresses.empty();
        });
    };
    while (raft && !raft->is_member() && !knows_a_voter() && !config.seeds.empty() && own_trouble.empty()) {
        auto const asked = co_await ask_seed(config.seeds[next++ % config.seeds.size()]);
        if (!asked) {
            log_info(env.log, "node.seed_not_reached", asked.error().to_string());
        }
        if (!knows_a_voter()) co_await env.clock.sleep(100_ms);
    }
    co_await session->first_session().wait();
    for (;;) {
        auto const entered = co_await introduce_self();
        if (entered || !own_trouble.empty()) break;
        log_info(env.log, "node.not_entered", entered.error().to_string());
        co_await env.clock.sleep(300_ms);
    }
}

// Removed by an operator, it does not come back as itself: what it holds is needed by nobody, and what it had
// promised is not asked for any more.
Task<void> NodeServices::look_whether_removed() {
    auto const mark = co_await catalog->get(removed_key(store->identity()), env.clock.now() + 5_s);
    if (!mark || !*mark || !own_trouble.empty()) co_return;
    own_trouble =
        "this corelet was removed from the mesh; stop it, or let its device join anew: corelet join ... --force";
    log_warning(env.log, "node.removed", own_trouble);
    if (raft) raft->step_down();
    if (volumes) co_await volumes->retire();
    co_await session->end();
}

// The map has this corelet, at this incarnation and these addresses, as up.
Task<Result<void>> NodeServices::introduce_self() {
    Instant const deadline = env.clock.now() + 5_s;
    CO_TRY_VOID(co_await maps->refresh(deadline));
    std::vector<std::string> addresses;
    for (const Address& address : listening) addresses.push_back(address.to_string());
    if (!own_trouble.empty()) co_return fail(Code::kDenied, own_trouble);
    const mesh::Corelet* const known = maps->current()->find(store->identity());
    if (!known || known->presence == mesh::Presence::kOut) {
        mesh::Corelet self;
        self.id = store->identity();
        self.incarnation = store->incarnation();
        self.addresses = addresses;
        self.location = config.location;
        self.role = config.role;
        self.device_class = config.device_class;
        self.capacity_bytes = store->space().capacity_bytes;
        // A new identity at the location of a lost one takes its place and fills (hot swap).
        const mesh::Corelet* lost = nullptr;
        auto const map = maps->current();
        for (const mesh::Corelet& other : map->corelets) {
            bool const gone = other.presence == mesh::Presence::kDown || other.presence == mesh::Presence::kOut;
            if (gone && other.location == self.location && other.role == self.role && other.id != self.id)
                lost = &other;
        }
        if (!known && lost) {
            auto const replaced = co_await maps->change(mesh::CoreletReplaced{lost->id, self}, deadline);
            if (replaced) co_return {};
        }
        auto const joined = co_await maps->change(mesh::CoreletJoined{self}, deadline);
        if (!joined && joined.error().code == Code::kFenced) {
            co_await look_whether_removed();
            if (!own_trouble.empty()) co_return fail(Code::kDenied, own_trouble);
        }
        if (!joined && joined.error().code != Code::kExists) co_return joined;
    }
    co_return co_await maps->change(mesh::CoreletUp{store->identity(), store->incarnation(), addresses}, deadline);
}

Task<void> NodeServices::remember_voters() {
    std::vector<CoreletId> remembered;
    Instant in_touch = env.clock.now();
    bool was_in_map = false;
    for (usize turn = 0;;) {
        auto const voters = catalog->voters();
        if (voters != remembered && !voters.empty()) {
            Writer w;
            for (CoreletId voter : voters) w.put(voter);
            if (co_await store->put_note(k_voters_note, w.data())) remembered = voters;
        }
        co_await env.clock.sleep(1_s);
        if (catalog->is_available() || !own_trouble.empty()) in_touch = env.clock.now();
        // All whom this device remembers may have been replaced by now: a seed knows more.
        if (env.clock.now() - in_touch >= k_lost_after)
            if (auto const seed = next_seed(turn)) (void)co_await ask_seed(*seed);
        // A corelet that the map has as down although it runs says so.
        const auto map = maps->current();
        const mesh::Corelet* const self = map->find(store->identity());
        was_in_map = was_in_map || self;
        if (!self && was_in_map && own_trouble.empty()) co_await look_whether_removed();
        if (self && self->presence != mesh::Presence::kUp && own_trouble.empty() && !renewing_ &&
            session->first_session().is_set()) {
            if (self->presence == mesh::Presence::kOut && self->incarnation >= store->incarnation()) {
                life_is_over("the map has this corelet as out");
            } else {
                (void)co_await introduce_self();
            }
        }
    }
}

}  // namespace corelet
