#include "catalog/etcd/http_parser.h"

#include <boost/beast/http/basic_parser.hpp>

namespace corelet::etcd {

namespace {
namespace beast = boost::beast;
namespace http = boost::beast::http;
}  // namespace

class HttpParser::Sink final : public http::basic_parser<false> {
  public:
    Sink() {
        eager(true);
        body_limit(UINT64_MAX);  // a watch never ends; what is held is bounded by the parser around this
    }
    std::string body;
    u32 status = 0;

  private:
    using Text = beast::string_view;
    using Fault = beast::error_code;
    void on_request_impl(http::verb, Text, Text, int, Fault&) override {}
    void on_response_impl(int code, Text, int, Fault&) override { status = static_cast<u32>(code); }
    void on_field_impl(http::field, Text, Text, Fault&) override {}
    void on_header_impl(Fault&) override {}
    void on_body_init_impl(const boost::optional<std::uint64_t>&, Fault&) override {}
    std::size_t on_body_impl(Text part, Fault&) override { return keep(part); }
    void on_chunk_header_impl(std::uint64_t, Text, Fault&) override {}
    std::size_t on_chunk_body_impl(std::uint64_t, Text part, Fault&) override { return keep(part); }
    void on_finish_impl(Fault&) override {}
    std::size_t keep(Text part) {
        body.append(part.data(), part.size());
        return part.size();
    }
};

HttpParser::HttpParser(usize body_bytes_max) : body_bytes_max_(body_bytes_max), sink_(std::make_unique<Sink>()) {}

HttpParser::~HttpParser() = default;

Result<void> HttpParser::feed(Bytes bytes) {
    pending_.append(as_text(bytes));
    usize at = 0;
    while (at < pending_.size() && !sink_->is_done()) {
        beast::error_code error;
        usize const taken =
            sink_->put(boost::asio::const_buffer(pending_.data() + at, pending_.size() - at), error);
        at += taken;
        if (error == http::error::need_more) break;
        if (error) return fail(Code::kCorrupt, "the answer is not HTTP: " + error.message());
        if (taken == 0) break;
    }
    pending_.erase(0, at);
    if (sink_->body.size() > body_bytes_max_)
        return fail(Code::kOverloaded, "an answer of more than " + std::to_string(body_bytes_max_) + " bytes",
                    sink_->body.size());
    return {};
}

Result<void> HttpParser::end() {
    if (sink_->is_done()) return {};
    beast::error_code error;
    if (sink_->is_header_done()) sink_->put_eof(error);
    if (sink_->is_done() && !error) return {};
    return fail(Code::kClosed, "the connection ended in the middle of an answer");
}

bool HttpParser::has_header() const {
    return sink_->is_header_done();
}
u32 HttpParser::status() const {
    return sink_->status;
}
std::string& HttpParser::body() {
    return sink_->body;
}
bool HttpParser::is_done() const {
    return sink_->is_done();
}
bool HttpParser::keeps_alive() const {
    return sink_->is_done() && sink_->keep_alive() && pending_.empty();
}

}  // namespace corelet::etcd
