#include "app/tool/discover.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "app/tool/tool_world.h"
#include "os/multicast.h"
#include "os/random.h"
#include "rt/combine.h"

namespace corelet::app {

namespace {

constexpr u32 k_times_asked = 3;  // a datagram may be lost
constexpr usize k_found_max = 256;
constexpr Duration k_join_every = 60_s;

void add_answer(std::vector<FoundMesh>& found, const DiscoveryAnswer& answer) {
    auto at = std::ranges::find_if(found, [&](const FoundMesh& mesh) {
        return mesh.mesh == answer.mesh && mesh.fingerprint == answer.fingerprint;
    });
    if (at == found.end()) {
        if (found.size() >= k_found_max) return;
        at = found.insert(found.end(), FoundMesh{answer.mesh, answer.fingerprint, 0, {}});
    }
    at->corelets = std::max(at->corelets, answer.corelets);
    for (const Address& address : answer.addresses)
        if (at->addresses.size() < k_found_max && std::ranges::find(at->addresses, address) == at->addresses.end())
            at->addresses.push_back(address);
}

Task<Result<std::vector<FoundMesh>>> ask_group(Env* env, os::MulticastSender* sender, MeshId wanted,
                                               Duration wait) {
    std::vector<FoundMesh> found;
    std::vector<u64> nonces;
    Instant const end = env->clock.now() + wait;
    for (u32 turn = 0; turn < k_times_asked; ++turn) {
        // Of a nonce of its own each, or the ones who did answer would be asked in vain.
        nonces.push_back(os::os_random_seed() | 1);
        sender->send_to_group(encode_discovery(DiscoveryQuestion{nonces.back(), wanted}));
        Instant const next =
            turn + 1 == k_times_asked ? end : std::min(end, env->clock.now() + wait / k_times_asked);
        for (;;) {
            auto datagram = co_await with_deadline<Datagram>(env->clock, next, sender->socket().receive());
            if (!datagram && datagram.error().code == Code::kTimeout) break;
            if (!datagram) co_return std::unexpected(datagram.error());
            auto const answer = decode_discovery_answer(datagram->data.bytes());
            bool const asked = answer && std::ranges::find(nonces, answer->nonce) != nonces.end();
            if (asked && (wanted.is_zero() || answer->mesh == wanted)) add_answer(found, *answer);
        }
    }
    std::ranges::sort(found, {}, [](const FoundMesh& mesh) { return std::pair(mesh.mesh, mesh.fingerprint); });
    co_return found;
}

u32 corelets_up(const mesh::Map& map) {
    return static_cast<u32>(
        std::ranges::count_if(map.corelets, [](const mesh::Corelet& corelet) { return corelet.is_up(); }));
}

Task<void> join_again(Env* env, os::MulticastListener* listener) {
    for (;;) {
        co_await env->clock.sleep(k_join_every);
        (void)listener->join_interfaces();
    }
}

// All that one answer takes, apart from the wait before it.
struct Answering {
    Env* env;
    CoreletNode* node;
    os::MulticastListener* listener;
    DiscoveryAnswer plain;  // but for nonce and addresses
};

Task<void> send_answer(Answering* from, Address to, DiscoveryAnswer answer, Duration after) {
    co_await from->env->clock.sleep(after);
    from->listener->socket().send(to, Buffer::copy_of(encode_discovery(answer)));
}

Task<void> answer_questions(Answering* from, Scope* answers) {
    DiscoveryResponder responder(from->plain.mesh);
    for (;;) {
        auto const datagram = co_await from->listener->socket().receive();
        if (!datagram) {
            log_warning(from->env->log, "discovery.socket_failed", datagram.error().to_string());
            co_return;
        }
        auto const question = decode_discovery_question(datagram->data.bytes());
        if (!question) continue;
        auto const& config = from->node->services().config;
        auto addresses = discoverable_addresses(config.listen, os::is_own_host(datagram->from));
        if (addresses.empty()) continue;
        u32 const corelets = corelets_up(*from->node->services().maps->current());
        auto const after = responder.step(*question, corelets, from->env->clock.now(), from->env->random);
        if (!after) continue;
        DiscoveryAnswer answer = from->plain;
        answer.nonce = question->nonce;
        answer.corelets = corelets;
        answer.addresses = std::move(addresses);
        answers->spawn(send_answer(from, datagram->from, std::move(answer), *after));
    }
}

}  // namespace

Result<std::optional<Address>> DiscoveryChoice::group() const {
    if (off) return std::nullopt;
    TRY(Address group, os::parse_multicast_group(named.empty() ? k_discovery_group : named));
    return group;
}

void add_discovery_options(CLI::App& command, DiscoveryChoice& choice) {
    auto* const named = command
                            .add_option("--discovery", choice.named,
                                        std::string("the multicast group by which meshes are found (default ") +
                                            k_discovery_group + ")")
                            ->type_name("GROUP:PORT");
    command.add_flag("--no-discovery", choice.off, "neither ask nor answer there")->excludes(named);
}

Result<std::vector<FoundMesh>> discover(const Address& group, MeshId wanted, Duration wait) {
    TRY(auto world, make_tool_world());
    TRY(auto sender, os::make_multicast_sender(world->loop(), group));
    return world->run_until_done(ask_group(&world->env(), sender.get(), wanted, wait));
}

Task<void> answer_discovery(Env* env, os::Loop* loop, CoreletNode* node, Address group) {
    // At sockets of this machine only, it has nothing to tell anybody.
    if (discoverable_addresses(node->services().config.listen, true).empty()) co_return;
    auto const listener = os::listen_multicast(*loop, group);
    if (!listener) {
        log_info(env->log, "discovery.off", [&] {
            return "nobody finds this corelet by " + group.to_string() + ": " + listener.error().to_string();
        });
        co_return;
    }
    const NodeConfig& config = node->services().config;
    Answering from{env, node, listener->get(), {}};
    from.plain.mesh = config.mesh;
    from.plain.corelet = node->id();
    from.plain.fingerprint = mesh_fingerprint(config.mesh, config.admin_key);
    Scope beside(env->executor);
    beside.spawn(join_again(env, listener->get()));
    co_await answer_questions(&from, &beside);
}

}  // namespace corelet::app
