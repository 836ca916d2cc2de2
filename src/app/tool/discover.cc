#include "app/tool/discover.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

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

// One search by all groups. The nonces are the same in all of them, so that nobody answers twice.
struct Search {
    Env* env;
    MeshId wanted;
    std::vector<std::unique_ptr<os::MulticastSender>> senders;
    std::vector<u64> nonces;
    std::vector<FoundMesh> found;
};

Task<Result<void>> gather_answers(Search* search, DatagramSocket* socket, Instant end) {
    for (;;) {
        auto datagram = co_await with_deadline<Datagram>(search->env->clock, end, socket->receive());
        if (!datagram && datagram.error().code == Code::kTimeout) co_return Result<void>{};
        if (!datagram) co_return std::unexpected(datagram.error());
        auto const answer = decode_discovery_answer(datagram->data.bytes());
        bool const asked = answer && std::ranges::find(search->nonces, answer->nonce) != search->nonces.end();
        if (asked && (search->wanted.is_zero() || answer->mesh == search->wanted))
            add_answer(search->found, *answer);
    }
}

Task<Result<void>> ask_groups(Search* search, Duration between) {
    for (u32 turn = 0; turn < k_times_asked; ++turn) {
        if (turn > 0) co_await search->env->clock.sleep(between);
        // Of a nonce of its own each, or the ones who did answer would be asked in vain.
        search->nonces.push_back(os::os_random_seed() | 1);
        auto const question = encode_discovery(DiscoveryQuestion{search->nonces.back(), search->wanted});
        for (auto const& sender : search->senders) sender->send_to_group(question);
    }
    co_return Result<void>{};
}

Task<Result<std::vector<FoundMesh>>> search_network(Search* search, Duration wait) {
    Instant const end = search->env->clock.now() + wait;
    std::vector<Task<Result<void>>> tasks;
    tasks.push_back(ask_groups(search, wait / k_times_asked));
    for (auto const& sender : search->senders) tasks.push_back(gather_answers(search, &sender->socket(), end));
    auto const ended = co_await join_all<Result<void>>(std::move(tasks));
    for (auto const& each : ended)
        if (!each) co_return std::unexpected(each.error());
    std::ranges::sort(search->found, {},
                      [](const FoundMesh& mesh) { return std::pair(mesh.mesh, mesh.fingerprint); });
    co_return std::move(search->found);
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

// All that answering takes, at whichever of the groups.
struct Answering {
    Env* env;
    CoreletNode* node;
    DiscoveryResponder responder;
    DiscoveryAnswer plain;  // but for nonce and addresses
};

Task<void> send_answer(Answering* from, DatagramSocket* socket, Address to, DiscoveryAnswer answer,
                       Duration after) {
    co_await from->env->clock.sleep(after);
    socket->send(to, Buffer::copy_of(encode_discovery(answer)));
}

Task<void> answer_questions(Answering* from, std::unique_ptr<os::MulticastListener> listener) {
    Scope beside(from->env->executor);
    beside.spawn(join_again(from->env, listener.get()));
    for (;;) {
        auto const datagram = co_await listener->socket().receive();
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
        auto const after = from->responder.step(*question, corelets, from->env->clock.now(), from->env->random);
        if (!after) continue;
        DiscoveryAnswer answer = from->plain;
        answer.nonce = question->nonce;
        answer.corelets = corelets;
        answer.addresses = std::move(addresses);
        beside.spawn(send_answer(from, &listener->socket(), datagram->from, std::move(answer), *after));
    }
}

}  // namespace

Result<std::vector<Address>> DiscoveryChoice::groups() const {
    std::vector<std::string> texts = named;
    if (texts.empty()) texts.assign(k_discovery_groups.begin(), k_discovery_groups.end());
    if (off) texts.clear();
    std::vector<Address> out;
    for (const std::string& text : texts) {
        TRY(Address group, os::parse_multicast_group(text));
        out.push_back(std::move(group));
    }
    return out;
}

void add_discovery_options(CLI::App& command, DiscoveryChoice& choice) {
    auto* const named =
        command
            .add_option(
                "--discovery", choice.named,
                fmt::format("a multicast group by which meshes are found; may come several times (default {} "
                            "and {})",
                            k_discovery_groups[0], k_discovery_groups[1]))
            ->type_name("GROUP:PORT")
            ->allow_extra_args(false);
    command.add_flag("--no-discovery", choice.off, "neither ask nor answer there")->excludes(named);
}

Result<std::vector<FoundMesh>> discover(std::vector<Address> groups, MeshId wanted, Duration wait) {
    TRY(auto world, make_tool_world());
    Search search{&world->env(), wanted, {}, {}, {}};
    Error why{Code::kInvalid, false, 0, "no multicast group to ask"};
    for (const Address& group : groups) {
        auto sender = os::make_multicast_sender(world->loop(), group);
        if (sender)
            search.senders.push_back(*std::move(sender));
        else
            why = sender.error();
    }
    if (search.senders.empty()) return std::unexpected(std::move(why));
    return world->run_until_done(search_network(&search, wait));
}

Task<void> answer_discovery(Env* env, os::Loop* loop, CoreletNode* node, std::vector<Address> groups) {
    const NodeConfig& config = node->services().config;
    // At sockets of this machine only, it has nothing to tell anybody.
    if (discoverable_addresses(config.listen, true).empty()) co_return;
    Answering from{env, node, DiscoveryResponder(config.mesh), {}};
    from.plain.mesh = config.mesh;
    from.plain.corelet = node->id();
    from.plain.fingerprint = mesh_fingerprint(config.mesh, config.admin_key);
    Scope at_groups(env->executor);
    for (const Address& group : groups) {
        auto listener = os::listen_multicast(*loop, group);
        if (listener)
            at_groups.spawn(answer_questions(&from, *std::move(listener)));
        else
            log_info(env->log, "discovery.off", [&] {
                return "nobody finds this corelet by " + group.to_string() + ": " + listener.error().to_string();
            });
    }
    co_await at_groups.join();
}

}  // namespace corelet::app
