#include <stdlib.h>

#include <filesystem>

#include "os/world.h"
#include "platform.h"

namespace corelet::parity {

namespace {

class OsPlatform final : public Platform {
  public:
    explicit OsPlatform(std::unique_ptr<os::Loop> loop) : loop_(std::move(loop)) {
        std::string pattern = std::filesystem::temp_directory_path() / "parity.XXXXXX";
        directory_ = ::mkdtemp(pattern.data());
        os::LogOptions quiet;
        quiet.level = LogLevel::kError;
        log_ = *os::make_log(quiet);
        world_ = std::make_unique<os::World>(*loop_, *log_, 1);
    }
    ~OsPlatform() override {
        world_.reset();
        std::filesystem::remove_all(directory_);
    }
    Env& env() override { return world_->env(); }
    void run(Task<void> task) override { loop_->run_until_done(env().executor, std::move(task)); }
    Address tcp_any() const override { return Address::tcp("127.0.0.1", 0); }
    std::string path(std::string name) const override { return directory_ + "/" + name; }

  private:
    std::unique_ptr<os::Loop> loop_;
    std::string directory_;
    std::unique_ptr<Log> log_;
    std::unique_ptr<os::World> world_;
};

std::unique_ptr<Platform> make(os::Engine engine) {
    os::LoopOptions options;
    options.engine = engine;
    auto loop = os::Loop::create(options);
    if (!loop) return nullptr;
    return std::make_unique<OsPlatform>(*std::move(loop));
}

}  // namespace

std::unique_ptr<Platform> make_uring() {
    return make(os::Engine::kUring);
}
std::unique_ptr<Platform> make_epoll() {
    return make(os::Engine::kEpoll);
}

}  // namespace corelet::parity
