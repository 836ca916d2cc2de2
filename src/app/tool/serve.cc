#include "app/tool/serve.h"

#include <fmt/format.h>
#include <sys/resource.h>  // host: connections and clients take descriptors
#include <unistd.h>        // host: the uid whose connections are taken, the pid

#include "app/tool/context.h"
#include "app/tool/discover.h"
#include "app/tool/disk_faults.h"
#include "node/corelet.h"
#include "os/signals.h"
#include "os/world.h"
#include "rt/combine.h"

namespace corelet::app {

namespace {

constexpr Duration k_hand_over = 1_s;
constexpr Duration k_hand_over_slack = 300_ms;
constexpr Duration k_look_at_map = 500_ms;
constexpr usize k_seeds_max = 16;

void raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

// Where the others are, best address each; what was known before if the map names nobody else.
std::vector<Address> seeds_of(const mesh::Map& map, CoreletId self, std::vector<Address> before) {
    std::vector<Address> seeds;
    for (const mesh::Corelet& corelet : map.corelets) {
        if (corelet.id == self || corelet.presence == mesh::Presence::kOut || corelet.addresses.empty()) continue;
        auto address = Address::parse(corelet.addresses.front());
        if (address && seeds.size() < k_seeds_max) seeds.push_back(*std::move(address));
    }
    return seeds.empty() ? before : seeds;
}

// What the directory must know later: that the mesh has begun, so that a lost device never begins it anew; and
// where the others are, for commands while this corelet does not run.
Task<void> keep_config(Env* env, CoreletNode* node, ServeOptions options, CoreletConfig config) {
    for (;; co_await env->clock.sleep(k_look_at_map)) {
        auto const map = node->services().maps->current();
        if (map->epoch.is_zero()) continue;
        std::vector<Address> seeds = seeds_of(*map, node->id(), config.seeds);
        if (!config.bootstrap && seeds == config.seeds) continue;
        config.bootstrap = false;
        config.seeds = std::move(seeds);
        auto const saved = save_config(options.directory, config);
        if (!saved) log_warning(env->log, "serve.config_not_saved", saved.error().to_string());
    }
}

Task<Result<void>> shut_down(CoreletNode* node) {
    co_await node->shut_down(k_hand_over);
    co_return {};
}

// What hangs, and on what: every live task with the chain of places where it waits.
void write_tasks(Env& env, const std::string& directory) {
    std::string const path = directory + "/" + k_tasks_file;
    auto const written = replace_file(path, env.executor.backtrace());
    if (written) {
        log_info(env.log, "serve.tasks_written",
                 [&] { return std::to_string(env.executor.live_tasks()) + " to " + path; });
    } else {
        log_warning(env.log, "serve.tasks_not_written", written.error().to_string());
    }
}

// Only in tests: see app/tool/disk_faults.h.
std::unique_ptr<FaultyDisk> make_faulty_disk(Env& env, const std::string& directory) {
    auto const named = environment("CORELET_DISK_FAULTS");
    if (!named || named->empty()) return nullptr;
    std::string const path = named->starts_with('/') ? *named : directory + "/" + *named;
    log_error(env.log, "disk_faults.on",
              [&] { return "THIS IS A TEST: faults are injected into the disk as '" + path + "' says"; });
    return std::make_unique<FaultyDisk>(env.disk, env.clock, env.log, env.random.fork("disk faults"), path);
}

Task<Result<void>> run(os::Host* host, ServeOptions options, CoreletConfig config) {
    Env& real = host->env();
    auto const faulty = make_faulty_disk(real, options.directory);
    Env env{real.executor, real.clock, real.network, faulty ? static_cast<Disk&>(*faulty) : real.disk,
            real.random,   real.spawn, real.log};
    CO_TRY(auto signals, os::Signals::create(host->loop(), {SIGTERM, SIGINT, SIGUSR1}));
    NodeConfig node_config = config.to_node_config(options.directory);
    node_config.own_uid = ::geteuid();
    node_config.io_engine = host->loop().engine_name();
    if (faulty) node_config.disk_faults = [disk = faulty.get()] { return disk->describe(); };
    node_config.admin_key = read_key(options.directory);
    if (node_config.admin_key.empty())
        co_return fail(
            Code::kNotFound,
            fmt::format("'{}/{}' is missing or empty: it is the mesh's secret, without which no corelet hears "
                        "this one; copy it from another corelet's directory",
                        options.directory, k_key_file));
    CO_TRY(auto node, co_await CoreletNode::start(env, std::move(node_config)));
    // Where peers reach it elsewhere, tools still find it here.
    if (!config.listen.empty())
        CO_TRY_VOID(
            node->services().rpc->listen(control_address(options.directory), ListenOptions{.replace = true}));
    log_info(env.log, "serve.ready",
             [&] { return to_string(node->id()) + " on " + std::string(host->loop().engine_name()); });
    Scope beside(env.executor);
    beside.spawn(keep_config(&env, node.get(), options, config));
    beside.spawn(answer_discovery(&env, &host->loop(), node.get(), options.discovery));
    int signal = co_await signals->next();
    for (; signal == SIGUSR1; signal = co_await signals->next()) write_tasks(env, options.directory);
    log_info(env.log, "serve.stopping", signal == SIGTERM ? "terminated" : "interrupted");
    // The last word is in time even if a volume's is not.
    (void)co_await with_timeout<void>(env.clock, k_hand_over + k_hand_over_slack, shut_down(node.get()));
    beside.cancel();
    co_return {};
}

}  // namespace

Result<void> serve(const ServeOptions& options) {
    TRY(CoreletConfig const config, load_config(options.directory));
    raise_descriptor_limit();
    os::HostOptions host_options;
    host_options.log.level = options.log_level;
    if (options.log_to_file) host_options.log.path = options.directory + "/" + k_log_file;
    TRY(auto host, os::Host::create(host_options));
    std::string const pid_path = options.directory + "/" + k_pid_file;
    // Worth a warning only: a host whose disk is full must still serve what it holds.
    auto const told =
        replace_file(pid_path, std::to_string(::getpid()) + "\n");  // host: for who wants to signal it
    if (!told) log_warning(host->env().log, "serve.no_pid_file", told.error().to_string());
    auto const served = host->run_until_done(run(host.get(), options, config));
    remove_file(pid_path);
    return served;
}

}  // namespace corelet::app
