#include "node/corelet.h"

namespace corelet {

namespace {

// A killed process's lock outlives it until its last requests have ended: whoever starts a corelet again right away
// must not find it refused.
constexpr Duration k_busy_limit = 5_s;
constexpr Duration k_busy_step = 20_ms;

Task<Result<std::unique_ptr<File>>> open_device(Env& env, std::string path) {
    Instant const deadline = env.clock.now() + k_busy_limit;
    for (bool told = false;; told = true) {
        auto file = co_await env.disk.open(path, OpenOptions{});
        bool const busy = !file && file.error().code == Code::kConflict;
        if (!busy || env.clock.now() >= deadline) co_return file;
        if (!told) log_info(env.log, "device.busy", file.error().message + "; waiting for it to let go");
        co_await env.clock.sleep(k_busy_step);
    }
}

}  // namespace

Task<Result<std::unique_ptr<CoreletNode>>> CoreletNode::start(Env& env, NodeConfig config) {
    auto file = co_await open_device(env, config.device_path);
    if (!file) co_return std::unexpected(with_context(file.error(), "device " + config.device_path));
    auto store = co_await Store::mount(*std::move(file), StoreEnv::of(env), StoreOptions{});
    if (!store) co_return std::unexpected(with_context(store.error(), "device " + config.device_path));
    if ((*store)->label().mesh != config.mesh)
        co_return fail(Code::kDenied, "device " + config.device_path + " belongs to mesh " +
                                          hex64((*store)->label().mesh.v) + ", this directory to " +
                                          hex64(config.mesh.v));
    if ((*store)->has_forgotten()) {
        // Somebody else from now on; what it still holds are strays (protocols 1.3).
        CoreletId const fresh(env.random.next() | 1);
        log_warning(env.log, "node.new_identity", [&] {
            return to_string((*store)->identity()) + " has forgotten promises (" + (*store)->forgotten_reason() +
                   "); this is " + to_string(fresh) + " now";
        });
        CO_TRY_VOID(co_await (*store)->take_identity(fresh));
        config.bootstrap = false;
    }
    auto node = std::unique_ptr<CoreletNode>(new CoreletNode);
    node->services_ = std::make_unique<NodeServices>(env, std::move(config), *std::move(store));
    CO_TRY_VOID(co_await node->services_->start());
    co_return node;
}

CoreletNode::~CoreletNode() = default;

CoreletId CoreletNode::id() const {
    return services_->store->identity();
}

Task<void> CoreletNode::shut_down(Duration limit) {
    return services_->shut_down(limit);
}

Task<Result<std::string>> CoreletNode::command(std::string name, std::string arguments) {
    return run_command(*services_, std::move(name), std::move(arguments));
}

}  // namespace corelet
