// An NBD server over memory, for stock clients to try it out on. Says `listening ADDRESS` for each address, then
// serves until SIGTERM, drains for a second at most and prints what it counted. SIGUSR1 makes the device stop
// answering, and answer again.
#include <malloc.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstring>

#include "base/json.h"
#include "gateway/nbd/memory_block_device_testing.h"
#include "gateway/nbd/server.h"
#include "os/signals.h"
#include "os/world.h"

namespace corelet {
namespace {

struct Arguments {
    std::vector<std::string> listen;
    u64 size_bytes = 256 * k_mib;
    u64 blocks_max = UINT64_MAX;
    u32 connections_max = 256;
    u64 stall_timeout_ms = 15'000;
    bool read_only = false;
    bool prefault = false;
    bool quiet = false;
};

Arguments parse(int count, char** values) {
    Arguments arguments;
    CLI::App app{"NBD server over memory"};
    app.add_option("--listen", arguments.listen, "unix:PATH or tcp:HOST:PORT")->required();
    app.add_option("--size", arguments.size_bytes, "bytes");
    app.add_option("--blocks-max", arguments.blocks_max, "4 KiB blocks that fit before the device is full");
    app.add_option("--connections-max", arguments.connections_max);
    app.add_option("--stall-timeout-ms", arguments.stall_timeout_ms);
    app.add_flag("--read-only", arguments.read_only);
    app.add_flag("--prefault", arguments.prefault, "touch the device's memory first");
    app.add_flag("--quiet", arguments.quiet, "log warnings only");
    try {
        app.parse(count, values);
    } catch (const CLI::ParseError& error) {
        std::exit(app.exit(error));
    }
    return arguments;
}

void print_stats(const NbdExportStats& stats) {
    Json out;
    out["requests"] = stats.requests;
    out["bytes_read"] = stats.bytes_read;
    out["bytes_written"] = stats.bytes_written;
    out["errors"] = stats.errors;
    out["connections"] = stats.connections_total;
    out["held_bytes"] = stats.held_bytes;
    out["latency"] = stats.latency;
    std::printf("%s\n", out.dump().c_str());
}

Task<int> serve(Env* env, os::Signals* signals, Arguments arguments) {
    auto device = std::make_shared<nbd::MemoryBlockDevice>(arguments.size_bytes);
    device->blocks_max = arguments.blocks_max;
    if (arguments.prefault) std::memset(device->bytes(), 0, arguments.size_bytes);
    NbdServerOptions options;
    options.stall_timeout = Duration{static_cast<i64>(arguments.stall_timeout_ms) * 1'000'000};
    NbdServer server(*env, options);
    NbdExportOptions exported;
    exported.description = "bytes in memory";
    exported.read_only = arguments.read_only;
    exported.connections_max = arguments.connections_max;
    Result<void> const added = server.add_export("memory", device, exported);
    CORELET_ASSERT(added.has_value());
    for (const std::string& text : arguments.listen) {
        Result<Address> address = Address::parse(text);
        if (address) address = server.listen(*address);
        if (!address) {
            std::fprintf(stderr, "cannot listen on %s: %s\n", text.c_str(), address.error().to_string().c_str());
            co_return 1;
        }
        std::printf("listening %s\n", address->to_string().c_str());
    }
    std::fflush(stdout);
    bool held = false;
    while (true) {
        int const which = co_await signals->next();
        if (which != SIGUSR1) break;
        held = !held;
        held ? device->hold() : device->release();
    }
    NbdExportStats const stats = *server.export_stats("memory");
    co_await server.drain(env->clock.now() + 1_s);
    print_stats(stats);
    co_return 0;
}

}  // namespace
}  // namespace corelet

int main(int count, char** values) {
    using namespace corelet;
    // As the daemon does, so that what is measured here holds there.
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
    mallopt(M_TOP_PAD, 16 << 20);
    Arguments arguments = parse(count, values);
    os::HostOptions options;
    options.log.level = arguments.quiet ? LogLevel::kError : LogLevel::kInfo;
    auto host = os::Host::create(options);
    if (!host) {
        std::fprintf(stderr, "%s\n", host.error().to_string().c_str());
        return 1;
    }
    auto signals = os::Signals::create((*host)->loop(), {SIGTERM, SIGINT, SIGUSR1});
    if (!signals) {
        std::fprintf(stderr, "%s\n", signals.error().to_string().c_str());
        return 1;
    }
    return (*host)->run_until_done(serve(&(*host)->env(), signals->get(), std::move(arguments)));
}
