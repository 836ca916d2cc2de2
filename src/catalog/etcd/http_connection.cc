#include "catalog/etcd/http_connection.h"

namespace corelet::etcd {

namespace {
constexpr usize k_read_bytes = 64 * k_kib;
// The whole catalog in JSON, with some room: 3.5 MiB of keys and values become 4.7 MiB in base64, and each item has
// some 150 bytes of numbers and names around it.
constexpr usize k_body_bytes_max = 24 * k_mib;

std::string host_of(const Address& address) {
    if (address.kind == Address::Kind::kUnix) return "localhost";
    bool const v6 = address.host.find(':') != std::string::npos;
    return (v6 ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}
}  // namespace

HttpConnection::HttpConnection(std::unique_ptr<Connection> stream)
    : stream_(std::move(stream)),
      host_(host_of(stream_->remote_address())),
      room_(Buffer::allocate(k_read_bytes)) {}

Task<Result<void>> HttpConnection::send(std::string path, std::string body) {
    free_ = false;
    parser_ = std::make_unique<HttpParser>(k_body_bytes_max);
    // Without a leader a member would keep a watch open and say nothing.
    std::string const head = "POST " + path + " HTTP/1.1\r\nHost: " + host_ +
                             "\r\nContent-Type: application/json\r\nGrpc-Metadata-hasleader: true"
                             "\r\nContent-Length: " +
                             std::to_string(body.size()) + "\r\n\r\n";
    BufferChain request;
    request.append(Buffer::copy_of(as_bytes(head)));
    request.append(Buffer::copy_of(as_bytes(body)));
    co_return co_await stream_->write(std::move(request));
}

Task<Result<void>> HttpConnection::read_more() {
    auto const came = co_await stream_->read(room_, 0, 1);
    if (!came && came.error().code == Code::kClosed) co_return parser_->end();
    if (!came) co_return std::unexpected(came.error());
    co_return parser_->feed(room_.bytes().first(*came));
}

Task<Result<HttpAnswer>> HttpConnection::post(std::string path, std::string body) {
    CO_TRY_VOID(co_await send(std::move(path), std::move(body)));
    while (!parser_->is_done()) CO_TRY_VOID(co_await read_more());
    free_ = parser_->keeps_alive();
    co_return HttpAnswer{parser_->status(), std::move(parser_->body())};
}

Task<Result<u32>> HttpConnection::open(std::string path, std::string body) {
    CO_TRY_VOID(co_await send(std::move(path), std::move(body)));
    while (!parser_->has_header()) CO_TRY_VOID(co_await read_more());
    co_return parser_->status();
}

Task<Result<std::string>> HttpConnection::next_line() {
    for (;;) {
        std::string& body = parser_->body();
        usize const end = body.find('\n');
        if (end != std::string::npos) {
            std::string line = body.substr(0, end);
            body.erase(0, end + 1);
            co_return line;
        }
        if (parser_->is_done()) {
            if (body.empty()) co_return fail(Code::kClosed, "the stream of answers has ended");
            co_return std::exchange(body, {});
        }
        CO_TRY_VOID(co_await read_more());
    }
}

void HttpConnection::close() {
    free_ = false;
    stream_->close();
}

}  // namespace corelet::etcd
