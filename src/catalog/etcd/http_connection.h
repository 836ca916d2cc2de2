// One HTTP/1.1 connection: requests one after the other, or one whose answer comes line by line without an end.
#pragma once

#include "catalog/etcd/http_parser.h"
#include "rt/network.h"

namespace corelet::etcd {

struct HttpAnswer {
    u32 status = 0;
    std::string body;
};

class HttpConnection {
  public:
    explicit HttpConnection(std::unique_ptr<Connection> stream);

    // Sends the request and waits for the whole answer. kReset, kClosed, kCorrupt: there is none; whether the
    // request took effect is not known. If it is dropped meanwhile, the connection is of no use any more.
    [[nodiscard]] Task<Result<HttpAnswer>> post(std::string path, std::string body);
    // Sends it, and waits for the head of the answer; its lines follow by next_line(). An answer that is no success
    // comes as a whole by the first next_line().
    [[nodiscard]] Task<Result<u32>> open(std::string path, std::string body);
    [[nodiscard]] Task<Result<std::string>> next_line();
    // Pending reads fail with kClosed.
    void close();
    // Nothing is under way, and another request may follow.
    [[nodiscard]] bool is_free() const { return free_; }

  private:
    [[nodiscard]] Task<Result<void>> send(std::string path, std::string body);
    [[nodiscard]] Task<Result<void>> read_more();
    std::unique_ptr<Connection> stream_;
    std::string host_;
    std::unique_ptr<HttpParser> parser_;
    Buffer room_;
    bool free_ = true;
};

}  // namespace corelet::etcd
