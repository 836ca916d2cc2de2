#include "gateway/nbd/server.h"

#include <fmt/format.h>

#include "gateway/nbd/session.h"
#include "rt/combine.h"

namespace corelet {

using namespace nbd;

struct NbdServer::Handshake : ListNode {
    Connection* connection = nullptr;
};

struct NbdServer::Listening {
    Listening(Executor& executor, std::unique_ptr<Listener> accepting)
        : listener(std::move(accepting)), scope(executor) {}
    std::unique_ptr<Listener> listener;
    Scope scope;
};

namespace {

constexpr Duration k_accept_retry = 100_ms;

struct Agreement {
    Terms terms;
    Buffer early;  // what the client sent behind the handshake
};

class Counted {
  public:
    explicit Counted(usize& count) : count_(count) { ++count_; }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    ~Counted() { --count_; }

  private:
    usize& count_;
};

// Carries a Negotiation out. kClosed with the reason (empty: the client left in order) when it comes to nothing.
Task<Result<Agreement>> negotiate(Connection* connection, const ExportDirectory* exports) {
    Negotiation negotiation(*exports);
    std::vector<u8> output;
    negotiation.greet(output);
    Buffer input = Buffer::allocate(1 * k_kib);
    usize begin = 0;
    usize end = 0;
    while (true) {
        if (!output.empty()) {
            Result<void> const sent = co_await connection->write(Buffer::copy_of(output));
            if (!sent) co_return std::unexpected(sent.error());
            output.clear();
        }
        if (negotiation.state() == Negotiation::State::kClosed)
            co_return fail(Code::kClosed, negotiation.close_reason());
        Bytes const here(input.data() + begin, end - begin);
        if (negotiation.state() == Negotiation::State::kTransmission) {
            co_return Agreement{negotiation.terms(), Buffer::copy_of(here)};
        }
        usize const taken = negotiation.step(here, output);
        begin += taken;
        if (taken != 0) continue;
        usize const wanted = negotiation.message_bytes(here);
        Buffer room = wanted > input.size() ? Buffer::allocate(wanted) : input;
        std::memmove(room.mutable_data(), here.data(), here.size());
        input = std::move(room);
        end -= begin;
        begin = 0;
        Result<usize> const got = co_await connection->read(input, end, wanted - end);
        if (!got) co_return std::unexpected(got.error());
        end += *got;
    }
}

}  // namespace

NbdServer::NbdServer(Env& env, NbdServerOptions options) : env_(env), options_(options), clients_(env.executor) {
    CORELET_ASSERT(options.connections_max > 0);
}

NbdServer::~NbdServer() = default;

Result<void> NbdServer::add_export(std::string name, std::shared_ptr<BlockDevice> device,
                                   NbdExportOptions options) {
    CORELET_ASSERT(device != nullptr);
    if (name.size() > k_string_bytes_max || options.description.size() > k_string_bytes_max) {
        return fail(Code::kInvalid, "an export's name and description have at most 4096 bytes");
    }
    u64 const size = device->size_bytes();
    if (size % k_block_minimum != 0) return fail(Code::kInvalid, "an export's size is a multiple of 512");
    if (exports_.contains(name)) return fail(Code::kExists, fmt::format("there is an export '{}' already", name));
    ExportInfo info{name, std::move(options.description), size, options.read_only, options.fast_zero};
    auto exported = std::make_shared<Export>(std::move(info), std::move(device));
    exported->connections_max = options.connections_max;
    exports_.emplace(std::move(name), std::move(exported));
    return {};
}

std::shared_ptr<Export> NbdServer::take_export(std::string_view name) {
    auto const it = exports_.find(name);
    if (it == exports_.end()) return nullptr;
    std::shared_ptr<Export> taken = std::move(it->second);
    exports_.erase(it);
    return taken;
}

void NbdServer::close_export(std::string_view name) {
    std::shared_ptr<Export> const taken = take_export(name);
    if (taken) taken->sessions.for_each([](Session& session) { session.shut_down("the export was closed"); });
}

Task<void> NbdServer::drain_export(std::string name, Instant deadline) {
    std::shared_ptr<Export> const taken = take_export(name);
    if (!taken) co_return;
    taken->sessions.for_each([deadline](Session& session) { session.stop(deadline); });
    bool in_time = true;
    while (!taken->sessions.empty()) {
        if (in_time) {
            in_time = co_await taken->session_left.wait_until(env_.clock, deadline);
            if (in_time) continue;
            taken->sessions.for_each([](Session& session) { session.abort("the export moved away"); });
        }
        co_await yield();
    }
}

Result<Address> NbdServer::listen(const Address& address, bool replace) {
    TRY(std::unique_ptr<Listener> listener, env_.network.listen(address, ListenOptions{replace}));
    Address const bound = listener->local_address();
    listening_.push_back(std::make_unique<Listening>(env_.executor, std::move(listener)));
    Listening& listening = *listening_.back();
    listening.scope.spawn(accept_clients(listening.listener.get()));
    log_info(env_.log, "nbd.listening", [&] { return bound.to_string(); });
    return bound;
}

void NbdServer::stop_listening(const Address& address) {
    std::erase_if(listening_, [&](const std::unique_ptr<Listening>& listening) {
        if (listening->listener->local_address() != address) return false;
        listening->listener->close();
        return true;
    });
}

bool NbdServer::has_address(const Address& address) const {
    return std::any_of(listening_.begin(), listening_.end(), [&](const std::unique_ptr<Listening>& listening) {
        return listening->listener->local_address() == address && listening->listener->has_its_address();
    });
}

Task<void> NbdServer::drain(Instant deadline) {
    draining_ = true;
    for (const auto& listening : listening_) listening->listener->close();
    listening_.clear();
    handshakes_.for_each([](Handshake& handshake) { handshake.connection->close(); });
    Scope draining(env_.executor);
    for (const std::string& name : export_names()) draining.spawn(drain_export(name, deadline));
    co_await draining.join();
}

std::optional<NbdExportStats> NbdServer::export_stats(std::string_view name) const {
    auto const it = exports_.find(name);
    if (it == exports_.end()) return std::nullopt;
    NbdExportStats stats = it->second->stats;
    stats.held_bytes = it->second->budget.held_bytes();
    return stats;
}

const ExportInfo* NbdServer::find_export(std::string_view name) const {
    if (name.empty() && exports_.size() == 1) return &exports_.begin()->second->info;
    auto const it = exports_.find(name);
    return it == exports_.end() ? nullptr : &it->second->info;
}

std::vector<std::string> NbdServer::export_names() const {
    std::vector<std::string> names;
    for (const auto& [name, exported] : exports_) names.push_back(name);
    return names;
}

Task<void> NbdServer::accept_clients(Listener* listener) {
    while (true) {
        Result<std::unique_ptr<Connection>> accepted = co_await listener->accept();
        if (!accepted) {
            if (accepted.error().code == Code::kClosed) co_return;
            log_warning(env_.log, "nbd.accept_failed", [&] { return accepted.error().to_string(); });
            co_await env_.clock.sleep(k_accept_retry);
            continue;
        }
        if (connections_ >= options_.connections_max || handshaking_ >= options_.handshakes_max) {
            log_warning(env_.log, "nbd.refused", [&] {
                return fmt::format("{} connections are open already, {} of them in their handshake", connections_,
                                   handshaking_);
            });
            continue;
        }
        clients_.spawn(serve_client(*std::move(accepted)));
    }
}

Task<void> NbdServer::serve_client(std::unique_ptr<Connection> connection) {
    Counted const counted(connections_);
    std::string const peer = connection->remote_address().to_string();
    Result<Agreement> agreed = fail(Code::kClosed);
    {
        Counted const handshaking(handshaking_);
        Handshake handshake;
        handshake.connection = connection.get();
        handshakes_.push_back(handshake);
        agreed = co_await with_timeout(env_.clock, options_.handshake_timeout, negotiate(connection.get(), this));
    }
    if (!agreed) {
        if (!agreed.error().message.empty()) {
            log_warning(env_.log, "nbd.handshake_failed", [&] { return peer + ": " + agreed.error().to_string(); });
        }
        co_return;
    }
    auto const found = exports_.find(agreed->terms.export_name);
    if (found == exports_.end()) co_return;  // closed since it was agreed on
    std::string const name = found->first;
    if (found->second->stats.connections >= found->second->connections_max) {
        log_warning(env_.log, "nbd.refused", [&] {
            return fmt::format("'{}' has {} clients already", name, found->second->connections_max);
        });
        co_return;
    }
    log_info(env_.log, "nbd.attached", [&] { return fmt::format("{} to '{}'", peer, name); });
    if (!std::exchange(watching_, true)) clients_.spawn(watch_for_stalls());
    Session session(env_, found->second, std::move(agreed->terms), std::move(connection), std::move(agreed->early));
    co_await session.run();
    log_info(env_.log, "nbd.detached",
             [&] { return fmt::format("{} from '{}': {}", peer, name, session.end_reason()); });
}

Task<void> NbdServer::watch_for_stalls() {
    while (connections_ > 0) {
        co_await env_.clock.sleep(options_.stall_timeout / 4);
        for (const auto& [name, exported] : exports_) {
            abort_stalled(*exported);
        }
    }
    watching_ = false;
}

void NbdServer::abort_stalled(Export& exported) {
    Instant const limit = env_.clock.now() - options_.stall_timeout;
    auto const is_stalled = [limit](const Session& session) {
        std::optional<Instant> const since = session.stalled_since();
        return since && *since <= limit;
    };
    // Who waits for what its own client could free does not count.
    bool needed = false;
    exported.sessions.for_each(
        [&](Session& session) { needed |= session.waits_for_memory() && !is_stalled(session); });
    if (!needed) return;
    exported.sessions.for_each([&](Session& session) {
        if (is_stalled(session)) session.abort("it held memory and took nothing while others waited for memory");
    });
}

}  // namespace corelet
