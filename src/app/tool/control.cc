#include "app/tool/control.h"

#include <fmt/format.h>
#include <unistd.h>  // host: the uid that sockets of this user's corelets expect

#include "app/tool/tool_world.h"
#include "node/node.pb.h"
#include "node/node_services.h"
#include "wire/message.h"

namespace corelet::app {

namespace {

constexpr Duration k_prefer_first{1'000'000'000};

RpcOptions tool_options() {
    RpcOptions options;
    options.own_uid = ::geteuid();
    options.insecure = true;  // the corelet decides what it takes
    return options;
}

std::string lowest(const Address& address, const Error& error) {
    return fmt::format("{} ({})", address.to_string(), error.to_string());
}

Result<std::string> encode(const Json& arguments) {
    try {
        return arguments.dump();
    } catch (const Json::exception&) {
        return fail(Code::kInvalid, "names and paths are given as UTF-8 text");
    }
}

}  // namespace

struct ControlClient::Probe {
    std::vector<std::optional<Result<bool>>> answers;  // whether it reaches the catalog
    Notify changed;
};

ControlClient::ControlClient(Env& env, Reach reach)
    : env_(env), reach_(std::move(reach)), rpc_(env, policy_, tool_options()) {}

Task<void> ControlClient::probe(usize index, std::shared_ptr<Probe> probe, Instant deadline) {
    Address const address = reach_.targets[index];
    auto const answer = co_await introduce(address, deadline);
    probe->answers[index] = answer ? Result<bool>(answer->catalog_available) : std::unexpected(answer.error());
    probe->changed.notify_all();
}

// Everybody is asked at once, so that the second spent on one that hangs is spent once.
Task<Result<usize>> ControlClient::choose(std::vector<bool> excluded, Instant deadline) {
    auto const state = std::make_shared<Probe>();
    usize const count = reach_.targets.size();
    state->answers.resize(count);
    Instant const prefer_until = env_.clock.now() + k_prefer_first;
    Scope probes(env_.executor);
    for (usize i = 0; i < count; ++i) {
        if (!excluded[i]) probes.spawn(probe(i, state, deadline));
    }
    for (;;) {
        bool const patient = env_.clock.now() < prefer_until;
        bool waiting = false;
        std::optional<usize> without_catalog;
        for (usize i = 0; i < count; ++i) {
            if (excluded[i]) continue;
            if (!state->answers[i]) {
                waiting = true;
                if (patient) break;
            } else if (*state->answers[i]) {
                if (**state->answers[i]) co_return i;
                if (!without_catalog) without_catalog = i;
            }
        }
        if (without_catalog && (!waiting || !patient)) co_return *without_catalog;
        if (!waiting || env_.clock.now() >= deadline) break;
        co_await state->changed.wait_until(env_.clock, patient ? std::min(prefer_until, deadline) : deadline);
    }
    std::string tried;
    for (usize i = 0; i < count && tried.size() < 400; ++i) {
        Error const silent{Code::kTimeout, false, 0, "no answer"};
        tried += (tried.empty() ? "" : ", ") + lowest(reach_.targets[i], state->answers[i] && !*state->answers[i]
                                                                             ? state->answers[i]->error()
                                                                             : silent);
    }
    co_return fail(Code::kUnavailable,
                   fmt::format("no corelet of this mesh answers: {}{}", tried,
                               reach_.start_hint.empty() ? "" : "; start it: " + reach_.start_hint));
}

Task<Result<Json>> ControlClient::command(std::string name, Json arguments, Duration limit, bool repeatable) {
    Instant const deadline = env_.clock.now() + limit;
    std::vector<bool> excluded(reach_.targets.size(), false);
    for (;;) {
        CO_TRY(usize const index, co_await choose(excluded, deadline));
        auto answer = co_await command_at(reach_.targets[index], name, arguments, deadline);
        if (answer) co_return answer;
        bool const broke = answer.error().code == Code::kReset || answer.error().code == Code::kShutdown ||
                           answer.error().code == Code::kClosed;
        if (broke && repeatable && env_.clock.now() < deadline) {
            excluded[index] = true;
            continue;
        }
        if (broke)
            co_return fail(answer.error().code,
                           fmt::format("corelet at {} stopped while it worked on this, so it may or may not "
                                       "have happened; look with: corelet status",
                                       reach_.targets[index].to_string()));
        if (answer.error().code == Code::kTimeout && answer.error().message.empty())
            co_return fail(Code::kTimeout,
                           fmt::format("no answer within {} s; the catalog may have no quorum, see: corelet status",
                                       limit.ms() / 1000));
        co_return answer;
    }
}

Task<Result<Json>> ControlClient::command_at(Address address, std::string name, Json arguments, Instant deadline) {
    pb::AdminRequest message;
    message.set_command(std::move(name));
    CO_TRY(std::string encoded, encode(arguments));
    message.set_arguments(std::move(encoded));
    if (address.kind == Address::Kind::kTcp) message.set_key(reach_.key);  // elsewhere the kernel says who asks
    CallOptions options;
    options.deadline = deadline;
    options.traffic = TrafficClass::kControl;
    CO_TRY(Reply const reply,
           co_await rpc_.call(address, node_method::k_admin, encode_message(message), {}, options));
    Buffer const bytes = reply.payload.empty() ? reply.body : reply.payload.flatten();
    CO_TRY(auto const answer, decode_message<pb::AdminReply>(bytes));
    Json parsed = Json::parse(answer.result(), nullptr, false);
    if (parsed.is_discarded())
        co_return fail(Code::kCorrupt, "the answer of " + address.to_string() + " does not parse");
    co_return parsed;
}

Task<Result<std::string>> ControlClient::redeem(Address address, JoinToken token, Instant deadline) {
    MacTag const verifier = token_verifier(token.mesh, token.id, token.secret);
    TokenNonce client{}, server{};
    for (u8& byte : client) byte = static_cast<u8>(env_.random.below(256));
    pb::RedeemToken message;
    message.set_mesh(token.mesh.v);
    message.set_token(token.id);
    message.set_nonce(std::string(as_text(client)));
    message.set_proof(std::string(as_text(token_proof(verifier, client))));
    CallOptions options;
    options.deadline = deadline;
    options.traffic = TrafficClass::kControl;
    CO_TRY(Reply const reply,
           co_await rpc_.call(address, node_method::k_redeem, encode_message(message), {}, options));
    CO_TRY(auto const answer, decode_message<pb::RedeemTokenReply>(reply.body));
    SealedKey sealed{answer.sealed(), {}};
    if (answer.nonce().size() != server.size() || answer.check().size() != sealed.check.size())
        co_return fail(Code::kCorrupt, "the answer of " + address.to_string() + " does not parse");
    std::ranges::copy(as_bytes(answer.nonce()), server.begin());
    std::ranges::copy(as_bytes(answer.check()), sealed.check.begin());
    co_return open_key(verifier, client, server, sealed);
}

Task<Result<Introduction>> ControlClient::introduce(Address address, Instant deadline) {
    CallOptions options;
    options.deadline = deadline;
    options.traffic = TrafficClass::kControl;
    CO_TRY(Reply const reply, co_await rpc_.call(address, node_method::k_introduce, {}, {}, options));
    CO_TRY(auto const answer, decode_message<pb::IntroduceReply>(reply.body));
    Introduction out;
    out.mesh = MeshId(answer.mesh());
    for (u64 const voter : answer.voters()) out.voters.push_back(CoreletId(voter));
    out.catalog_available = answer.catalog_available();
    out.catalog = answer.catalog();
    co_return out;
}

Result<Json> run_command(const Reach& reach, std::string name, Json arguments, Duration limit, bool repeatable) {
    TRY(auto world, make_tool_world());
    ControlClient client(world->env(), reach);
    return world->run_until_done(client.command(std::move(name), std::move(arguments), limit, repeatable));
}

}  // namespace corelet::app
