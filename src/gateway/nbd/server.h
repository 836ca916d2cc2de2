// An NBD server: block devices under names, on TCP and unix sockets, to stock clients (fixed newstyle; doc/proto.md
// of NetworkBlockDevice/nbd). Its parts: negotiation.h (handshake), transmission.h (requests and replies),
// session.h (one connection), export.h (one device and its memory).
//
// Memory: at most 64 MiB for all connections of an export, whatever its clients do. A client that holds memory
// without reading or sending on is closed once it has done so for stall_timeout while others wait for memory; while
// none waits it may sleep as long as it likes.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "gateway/nbd/export.h"
#include "rt/env.h"

namespace corelet {

struct NbdServerOptions {
    u32 connections_max = 1024;  // of all exports, and handshakes; one more is closed at once
    u32 handshakes_max = 256;    // of these
    Duration handshake_timeout = 10_s;
    Duration stall_timeout = 15_s;
};

class NbdServer final : private nbd::ExportDirectory {
  public:
    explicit NbdServer(Env& env, NbdServerOptions options = {});
    ~NbdServer() override;
    NbdServer(const NbdServer&) = delete;
    NbdServer& operator=(const NbdServer&) = delete;

    // A client that asks for the empty name gets the only export, if there is just one. kExists; kInvalid (a name
    // or description over 4,096 bytes, a size that is no multiple of 512).
    Result<void> add_export(std::string name, std::shared_ptr<BlockDevice> device, NbdExportOptions options = {});
    // Forgets the export, whose device is served elsewhere now: what its clients asked is answered ESHUTDOWN
    // without waiting for the device, and they are closed, at the latest a second from now. Harmless if there is
    // none.
    void close_export(std::string_view name);
    // The orderly way: no new clients and requests; those in flight are answered until the deadline.
    [[nodiscard]] Task<void> drain_export(std::string name, Instant deadline);

    // Returns the address with the port in use. With `replace`, a unix path that exists is taken over. Errors as
    // Network::listen.
    Result<Address> listen(const Address& address, bool replace = true);
    void stop_listening(const Address& address);
    // False once the unix path leads elsewhere: another process serves there now.
    [[nodiscard]] bool has_address(const Address& address) const;
    // Stops listening and drains every export.
    [[nodiscard]] Task<void> drain(Instant deadline);

    [[nodiscard]] usize connection_count() const { return connections_; }
    [[nodiscard]] std::optional<NbdExportStats> export_stats(std::string_view name) const;

  private:
    struct Handshake;
    struct Listening;

    [[nodiscard]] const nbd::ExportInfo* find_export(std::string_view name) const override;
    [[nodiscard]] std::vector<std::string> export_names() const override;
    Task<void> accept_clients(Listener* listener);
    Task<void> serve_client(std::unique_ptr<Connection> connection);
    Task<void> watch_for_stalls();
    void abort_stalled(nbd::Export& exported);
    [[nodiscard]] std::shared_ptr<nbd::Export> take_export(std::string_view name);

    Env& env_;
    NbdServerOptions options_;
    std::map<std::string, std::shared_ptr<nbd::Export>, std::less<>> exports_;
    std::vector<std::unique_ptr<Listening>> listening_;
    IntrusiveList<Handshake> handshakes_;
    usize handshaking_ = 0;
    usize connections_ = 0;
    bool draining_ = false;
    bool watching_ = false;
    Scope clients_;
};

}  // namespace corelet
