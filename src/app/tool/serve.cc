#include "app/tool/serve.h"

#include <fmt/format.h>
#include <sys/resource.h>  // host: connections and clients take descriptors
#include <unistd.h>        // host: the uid whose connections are taken, the pid

#include "app/tool/context.h"
#include "node/corelet.h"
#include "os/signals.h"
#include "os/world.h"
#include "rt/combine.h"

namespace corelet::app {

namespace {

constexpr Duration k_hand_over = 1_s;
constexpr Duration k_hand_over_slack = 300_ms;

void raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

// The first map exists: a device that is lost from now on must not begin the mesh anew.
Task<void> forget_bootstrap(Env* env, CoreletNode* node, ServeOptions options, CoreletConfig config) {
    while (node->services().maps->current()->epoch.is_zero()) co_await env->clock.sleep(100_ms);
    config.bootstrap = false;
    auto const saved = save_config(options.directory, config);
    if (!saved) log_warning(env->log, "serve.config_not_saved", saved.error().to_string());
}

Task<Result<void>> shut_down(CoreletNode* node) {
    co_await node->shut_down(k_hand_over);
    co_return {};
}

Task<Result<void>> run(os::Host* host, ServeOptions options, CoreletConfig config) {
    Env& env = host->env();
    CO_TRY(auto signals, os::Signals::create(host->loop(), {SIGTERM, SIGINT}));
    NodeConfig node_config = config.to_node_config(options.directory);
    node_config.own_uid = ::geteuid();
    CO_TRY(auto node, co_await CoreletNode::start(env, std::move(node_config)));
    // Where peers reach it elsewhere, tools still find it here.
    if (!config.listen.empty())
        CO_TRY_VOID(
            node->services().rpc->listen(control_address(options.directory), ListenOptions{.replace = true}));
    log_info(env.log, "serve.ready",
             [&] { return to_string(node->id()) + " on " + std::string(host->loop().engine_name()); });
    Scope beside(env.executor);
    if (config.bootstrap) beside.spawn(forget_bootstrap(&env, node.get(), options, config));
    int const signal = co_await signals->next();
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
    TRY_VOID(replace_file(pid_path, std::to_string(::getpid()) + "\n"));  // host: for whoever wants to signal it
    auto const served = host->run_until_done(run(host.get(), options, config));
    remove_file(pid_path);
    return served;
}

}  // namespace corelet::app
