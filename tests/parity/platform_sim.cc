#include "platform.h"
#include "sim/world.h"

namespace corelet::parity {

namespace {

Task<void> idle(Env* env) {
    while (true) co_await env->clock.sleep(1_s);
}

class SimPlatform final : public Platform {
  public:
    SimPlatform() : world_(1), node_(world_.add_node("here")) {
        node_.start([](Env& env) { return idle(&env); });
    }
    Env& env() override { return node_.env(); }
    void run(Task<void> task) override {
        bool const ended = world_.run(node_, std::move(task));
        EXPECT_TRUE(ended) << world_.failure() << world_.backtraces();
    }
    Address tcp_any() const override { return Address::tcp("127.0.0.1", 0); }
    std::string path(std::string name) const override { return "/" + name; }

  private:
    sim::World world_;
    sim::Node& node_;
};

}  // namespace

std::unique_ptr<Platform> make_sim() {
    return std::make_unique<SimPlatform>();
}

}  // namespace corelet::parity
