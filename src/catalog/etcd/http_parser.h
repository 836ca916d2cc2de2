// An HTTP/1.1 answer, parsed as its bytes come in. No I/O here: whoever reads the connection feeds it.
#pragma once

#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/result.h"

namespace corelet::etcd {

class HttpParser {
  public:
    // `body_bytes_max`: how much of the body it holds at most until it is taken.
    explicit HttpParser(usize body_bytes_max);
    ~HttpParser();
    HttpParser(const HttpParser&) = delete;
    HttpParser& operator=(const HttpParser&) = delete;

    // kCorrupt: this is not HTTP. kOverloaded: more of a body than it may hold.
    [[nodiscard]] Result<void> feed(Bytes bytes);
    // The connection has ended: so has a body without a length. kClosed: in the middle of the answer.
    [[nodiscard]] Result<void> end();

    [[nodiscard]] bool has_header() const;
    [[nodiscard]] u32 status() const;  // once it has the header
    // What has come of the body and was not taken yet.
    [[nodiscard]] std::string& body();
    [[nodiscard]] bool is_done() const;
    // Another request may follow on the connection; once it is done.
    [[nodiscard]] bool keeps_alive() const;

  private:
    class Sink;
    usize body_bytes_max_;
    std::unique_ptr<Sink> sink_;
    std::string pending_;  // what came and cannot be parsed before more comes
};

}  // namespace corelet::etcd
