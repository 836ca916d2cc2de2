#include "catalog/etcd/client.h"

#include "rt/combine.h"

namespace corelet::etcd {

namespace {
constexpr Duration k_try = 2_s;
constexpr Duration k_pause = 100_ms;
constexpr usize k_idle_max = 8;
constexpr usize k_endpoints_max = 16;

Error unavailable(const Address& endpoint, const Error& error) {
    return Error{Code::kUnavailable, error.injected, 0,
                 "etcd at " + endpoint.to_string() + ": " + error.to_string()};
}

Task<Result<std::unique_ptr<HttpConnection>>> open_connection(Network* network, Address endpoint) {
    CO_TRY(std::unique_ptr<Connection> stream, co_await network->connect(std::move(endpoint)));
    co_return std::make_unique<HttpConnection>(std::move(stream));
}
}  // namespace

Result<std::vector<Address>> parse_endpoints(std::string_view text) {
    std::vector<Address> out;
    while (true) {
        usize const comma = text.find(',');
        TRY(Address endpoint, Address::parse(text.substr(0, comma)));
        if (endpoint.kind != Address::Kind::kTcp || endpoint.port == 0)
            return fail(Code::kInvalid, "'" + std::string(text.substr(0, comma)) +
                                            "' is no client address of etcd; write HOST:PORT");
        out.push_back(std::move(endpoint));
        if (comma == std::string_view::npos) break;
        text.remove_prefix(comma + 1);
    }
    if (out.size() > k_endpoints_max)
        return fail(Code::kInvalid, "more than " + std::to_string(k_endpoints_max) + " endpoints of one etcd");
    return out;
}

Client::Client(Env& env, std::vector<Address> endpoints) : env_(env), endpoints_(std::move(endpoints)) {
    CORELET_ASSERT(!endpoints_.empty());
}

void Client::give_up_endpoint() {
    ++turn_;
    idle_.clear();
}

Task<void> Client::pause() {
    co_await env_.clock.sleep(k_pause);
}

Task<Result<std::unique_ptr<HttpConnection>>> Client::connect(Instant deadline) {
    Address const endpoint = endpoints_[turn_ % endpoints_.size()];
    u64 const turn = turn_;
    Instant const until = std::min(deadline, env_.clock.now() + k_try);
    auto connection = co_await with_deadline<std::unique_ptr<HttpConnection>>(
        env_.clock, until, open_connection(&env_.network, endpoint));
    if (connection) co_return connection;
    if (turn == turn_) give_up_endpoint();
    co_return std::unexpected(unavailable(endpoint, connection.error()));
}

Task<Result<std::unique_ptr<HttpConnection>>> Client::take(Instant deadline) {
    if (idle_.empty()) co_return co_await connect(deadline);
    auto connection = std::move(idle_.back());
    idle_.pop_back();
    co_return connection;
}

void Client::give_back(std::unique_ptr<HttpConnection> connection, u64 turn) {
    if (turn == turn_ && connection->is_free() && idle_.size() < k_idle_max) idle_.push_back(std::move(connection));
}

Task<Result<HttpAnswer>> Client::post(HttpConnection* connection, std::string path, std::string body,
                                      Instant deadline) {
    Address const endpoint = endpoints_[turn_ % endpoints_.size()];
    u64 const turn = turn_;
    Instant const until = std::min(deadline, env_.clock.now() + k_try);
    auto answer =
        co_await with_deadline<HttpAnswer>(env_.clock, until, connection->post(std::move(path), std::move(body)));
    // 503, 504 and the like: a member without a leader, or one that waited for it in vain.
    bool const helpless = answer && answer->status >= 500;
    if ((!answer || helpless) && turn == turn_) give_up_endpoint();
    if (!answer) co_return std::unexpected(unavailable(endpoint, answer.error()));
    co_return answer;
}

Task<Client::Try> Client::try_once(std::string path, std::string body, Instant deadline) {
    u64 const turn = turn_;
    auto connection = co_await take(deadline);
    if (!connection) co_return Try{std::unexpected(connection.error()), false};
    auto answer = co_await post(connection->get(), std::move(path), std::move(body), deadline);
    if (answer) give_back(*std::move(connection), turn);
    co_return Try{std::move(answer), true};
}

}  // namespace corelet::etcd
