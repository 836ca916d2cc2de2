// Requests to whichever member of an etcd answers: connections that are kept, and the next endpoint when one fails.
#pragma once

#include "catalog/etcd/http_connection.h"
#include "rt/env.h"

namespace corelet::etcd {

// `HOST:PORT[,HOST:PORT...]`: kInvalid says what is wrong with it.
[[nodiscard]] Result<std::vector<Address>> parse_endpoints(std::string_view text);

class Client {
  public:
    Client(Env& env, std::vector<Address> endpoints);

    // One request at the endpoint that answered last, for some 2 s at most. Any error but a refusal by etcd is
    // kUnavailable with `sent` telling whether it may have been received; then the next endpoint has its turn.
    struct Try {
        Result<HttpAnswer> answer;
        bool sent = false;
    };
    [[nodiscard]] Task<Try> try_once(std::string path, std::string body, Instant deadline);
    // A connection of one's own to the endpoint whose turn it is. kUnavailable.
    [[nodiscard]] Task<Result<std::unique_ptr<HttpConnection>>> connect(Instant deadline);
    // One request on a connection of one's own: as try_once().
    [[nodiscard]] Task<Result<HttpAnswer>> post(HttpConnection* connection, std::string path, std::string body,
                                                Instant deadline);
    // The endpoint does not answer, or says that it cannot: the next one has its turn.
    void give_up_endpoint();
    // Grows whenever another endpoint has its turn, also if it is the only one.
    [[nodiscard]] u64 turn() const { return turn_; }
    [[nodiscard]] const std::vector<Address>& endpoints() const { return endpoints_; }
    // For a moment, before another try; all endpoints have had their turn.
    [[nodiscard]] Task<void> pause();

  private:
    [[nodiscard]] Task<Result<std::unique_ptr<HttpConnection>>> take(Instant deadline);
    void give_back(std::unique_ptr<HttpConnection> connection, u64 turn);
    Env& env_;
    std::vector<Address> endpoints_;
    u64 turn_ = 0;
    std::vector<std::unique_ptr<HttpConnection>> idle_;  // to the present endpoint
};

}  // namespace corelet::etcd
