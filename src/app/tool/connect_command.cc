// connect: a volume at a client's side, which follows its owner. No device and no identity: it keeps nothing.
#include <fmt/format.h>
#include <unistd.h>  // host: the uid whose connections are taken

#include <CLI/CLI.hpp>
#include <cstdio>

#include "app/tool/context.h"
#include "app/tool/corelet_directory.h"
#include "gateway/nbd/server.h"
#include "node/export_place.h"
#include "node/followed_volume.h"
#include "os/signals.h"
#include "os/world.h"

namespace corelet::app {

namespace {

constexpr Duration k_find_owner{20'000'000'000};
constexpr Duration k_take_leave{1'000'000'000};  // of what is in flight when it is told to end

struct ConnectArguments {
    std::string name;
    std::string nbd;
};

Result<Address> client_address(const std::string& text) {
    TRY(Address address, Address::parse(text));
    if (address.kind == Address::Kind::kUnix) {
        address.host = absolute_path(address.host);
        TRY_VOID(check_socket_path(address.host));
    } else if (!address.is_local()) {
        return fail(Code::kDenied,
                    "an export at " + address.to_string() +
                        " could be read and written from other hosts, without encryption or password; use "
                        "127.0.0.1 or a unix socket, and run `corelet connect` on the host of the client");
    }
    return address;
}

// Its number, above that of every door before it; and an owner, if there was none.
Task<Result<u64>> take_door(ControlClient* client, std::string name) {
    CO_TRY(Json const given, co_await client->command("volume.door", Json{{"name", name}}, k_command_limit, true));
    if (!given.value("attached", false))
        CO_TRY_VOID(co_await client->command("volume.attach", Json{{"name", name}}, k_attach_limit, true));
    co_return given.value("door", u64{0});
}

Task<void> await_signal(os::Signals* signals, Event* over) {
    (void)co_await signals->next();
    over->set();
}

Task<void> await_end(FollowedVolume* volume, Event* over) {
    co_await volume->ended().wait();
    over->set();
}

Task<Result<void>> follow_volume(os::Host* host, const Context* context, Reach reach, std::string name,
                                 Address address) {
    Env& env = host->env();
    CO_TRY(auto signals, os::Signals::create(host->loop(), {SIGTERM, SIGINT}));
    ToolPolicy policy;
    RpcOptions rpc_options;
    rpc_options.own_uid = ::geteuid();
    rpc_options.insecure = true;  // the corelet decides what it takes
    RpcNode rpc(env, policy, rpc_options);
    FollowOptions options;
    options.volume = name;
    options.key = reach.key;
    options.places = reach.targets;
    ControlClient client(env, std::move(reach));
    CO_TRY(options.door, co_await take_door(&client, name));
    auto const volume = std::make_shared<FollowedVolume>(env, rpc, std::move(options));
    auto const begun = co_await volume->start(env.clock.now() + k_find_owner);
    if (!begun && begun.error().code == Code::kTimeout)
        co_return fail(Code::kUnavailable, "nobody serves volume '" + name + "' now; `corelet volume info " + name +
                                               "` says what it waits for");
    if (!begun) co_return begun;
    NbdServer nbd(env);
    CO_TRY_VOID(nbd.add_export(name, volume));
    CO_TRY(Address const actual, nbd.listen(address));
    std::string const uri = export_uri(actual, name, {});
    print_answer(*context, Json{{"name", name}, {"uri", uri}}, uri);
    std::fflush(stdout);
    Event over;
    Scope waits(env.executor);
    waits.spawn(await_signal(signals.get(), &over));
    waits.spawn(await_end(volume.get(), &over));
    co_await over.wait();
    co_await nbd.drain(env.clock.now() + k_take_leave);
    if (volume->ended().is_set()) co_return std::unexpected(volume->end_reason());
    co_return Result<void>{};
}

Result<void> connect(const Context& context, const ConnectArguments& arguments) {
    TRY(Address address, client_address(arguments.nbd));
    TRY(Reach reach, context.reach());
    TRY(auto host, os::Host::create());
    return host->run_until_done(
        follow_volume(host.get(), &context, std::move(reach), arguments.name, std::move(address)));
}

}  // namespace

void add_connect_command(CLI::App& app, Context& context) {
    auto const arguments = std::make_shared<ConnectArguments>();
    CLI::App* const command = app.add_subcommand(
        "connect",
        "serve a volume on this host, in the foreground, and follow its owner; prints its NBD URI. A later one of "
        "the same volume takes its place");
    command->add_option("name", arguments->name, "the volume; it is attached if it is not")
        ->required()
        ->type_name("NAME");
    command->add_option("--nbd", arguments->nbd, "unix:PATH or HOST:PORT, for clients of this host")
        ->required()
        ->type_name("ADDRESS");
    command->callback(
        [&context, arguments] { context.action = [&context, arguments] { return connect(context, *arguments); }; });
}

}  // namespace corelet::app
