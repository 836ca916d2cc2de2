#include "app/tool/bay_keeper.h"

#include <fcntl.h>  // host: one keeper a directory
#include <fmt/format.h>
#include <signal.h>    // host: corelets are processes
#include <sys/file.h>  // host: as above
#include <unistd.h>    // host: the machine's name, the pid

#include "app/tool/bay_device.h"
#include "app/tool/bay_survey.h"
#include "app/tool/process.h"
#include "base/json.h"
#include "os/descriptor.h"
#include "os/errors.h"
#include "os/signals.h"
#include "os/world.h"
#include "rt/sync.h"

namespace corelet::app {

namespace {

// Also links whose ends come and go, and devices whose nodes do, which no watch of a folder tells of.
constexpr Duration k_survey_every = 250_ms;
constexpr Duration k_look_while_ending = 20_ms;

class Keeper {
  public:
    Keeper(Env& env, KeeperOptions options, BayConfig config)
        : env_(env),
          options_(std::move(options)),
          config_(std::move(config)),
          host_(host_name()),
          scope_(env.executor) {}

    // Until its corelets have ended, after a signal.
    [[nodiscard]] Task<void> run(os::Signals* signals);

  private:
    [[nodiscard]] Task<void> wait_for_signal(os::Signals* signals);
    [[nodiscard]] Task<void> look(std::string bay);
    [[nodiscard]] Task<void> make(std::string bay);
    [[nodiscard]] Task<void> start(std::string bay);
    void apply(BayEvent event);
    void carry_out(const BayEffect& effect);
    void tell(const TellOfBay& effect);
    void look_for_ended();
    void write_state();
    // As bays.json has it now: places may have been added.
    [[nodiscard]] BayPlace place_of(const std::string& bay);

    Env& env_;
    KeeperOptions options_;
    BayConfig config_;
    std::string host_;
    BayCore core_;
    bool stopping_ = false;
    std::string written_;  // state
    Mutex making_;         // one after the other: each takes ports that none has yet
    Scope scope_;
};

Task<void> Keeper::run(os::Signals* signals) {
    scope_.spawn(wait_for_signal(signals));
    while (!core_.is_done()) {
        apply(BaysSurveyed{survey_bays(config_.bays)});
        look_for_ended();
        write_state();
        co_await env_.clock.sleep(stopping_ ? k_look_while_ending : k_survey_every);
    }
    scope_.cancel();
}

Task<void> Keeper::wait_for_signal(os::Signals* signals) {
    int const signal = co_await signals->next();
    log_info(env_.log, "bays.stopping", signal == SIGTERM ? "terminated" : "interrupted");
    stopping_ = true;
    apply(KeeperStops{});
}

void Keeper::apply(BayEvent event) {
    for (const BayEffect& effect : core_.step(std::move(event), env_.clock.now())) carry_out(effect);
}

void Keeper::carry_out(const BayEffect& effect) {
    if (auto const* const told = std::get_if<TellOfBay>(&effect)) return tell(*told);
    if (auto const* const looked = std::get_if<LookAtBay>(&effect)) return scope_.spawn(look(looked->bay));
    if (auto const* const made = std::get_if<MakeBay>(&effect)) return scope_.spawn(make(made->bay));
    if (auto const* const started = std::get_if<StartBay>(&effect)) return scope_.spawn(start(started->bay));
    const EndBay& ended = std::get<EndBay>(effect);
    // One that has ended meanwhile is seen so at the next look.
    (void)send_signal(ended.pid, ended.at_once ? SIGKILL : SIGTERM);
}

void Keeper::tell(const TellOfBay& effect) {
    log_event(env_.log, effect.is_trouble ? LogLevel::kWarning : LogLevel::kInfo, effect.event,
              [&] { return "bay " + effect.bay + ": " + effect.words; });
}

BayPlace Keeper::place_of(const std::string& bay) {
    if (auto fresh = load_bay_config(options_.directory)) {
        fresh->bays = config_.bays;
        config_ = *std::move(fresh);
    } else {
        log_warning(env_.log, "bays.config_not_read", fresh.error().to_string());
    }
    return {options_.directory, bay, host_, config_};
}

Task<void> Keeper::look(std::string bay) {
    BayFinding finding = co_await look_at_bay(&env_, place_of(bay));
    apply(BayLookedAt{bay, std::move(finding)});
}

Task<void> Keeper::make(std::string bay) {
    auto const turn = co_await making_.lock();
    auto const made = co_await make_bay(&env_, place_of(bay));
    apply(BayMade{bay, made ? std::string() : made.error().to_string()});
}

Task<void> Keeper::start(std::string bay) {
    auto const pid = start_corelet(options_.directory + "/" + bay, {}, options_.serve_options);
    apply(BayStarted{bay, pid ? *pid : 0, pid ? std::string() : pid.error().to_string()});
    co_return;
}

void Keeper::look_for_ended() {
    std::vector<BayEnded> ended;
    for (auto const& [name, bay] : core_.bays())
        if (bay.pid != 0 && process_ended(bay.pid)) ended.push_back({name, bay.pid});
    for (BayEnded& each : ended) apply(std::move(each));
}

void Keeper::write_state() {
    Json bays = Json::array();
    for (auto const& [name, bay] : core_.bays())
        bays.push_back(
            Json{{"bay", name}, {"state", bay_state_name(bay.state)}, {"words", bay.words}, {"pid", bay.pid}});
    std::string text = Json{{"version", 1}, {"bays", std::move(bays)}}.dump(2) + "\n";
    if (text == written_) return;
    auto const written = replace_file(options_.directory + "/" + k_bays_state_file, text);
    if (!written) log_warning(env_.log, "bays.state_not_written", written.error().to_string());
    written_ = std::move(text);
}

// Held for as long as the keeper runs.
Result<os::Descriptor> lock_keeper(const std::string& directory) {
    std::string const path = directory + "/" + k_keeper_pid_file;
    os::Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!file.valid()) return os::fail_errno(errno, "opening '" + path + "'");
    if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0)
        return fail(Code::kConflict, "another keeper of bays runs in '" + directory + "'");
    std::string const text = std::to_string(::getpid()) + "\n";  // host: for who wants to signal it
    bool const told = ::ftruncate(file.get(), 0) == 0 &&
                      ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
    if (!told) return os::fail_errno(errno, "writing '" + path + "'");
    return file;
}

Task<Result<void>> keep(os::Host* host, KeeperOptions options, BayConfig config) {
    Env& env = host->env();
    CO_TRY(auto signals, os::Signals::create(host->loop(), {SIGTERM, SIGINT}));
    log_info(env.log, "bays.watching",
             [&] { return "'" + config.bays + "' for mesh " + hex64(config.mesh.v) + ", " + config.location; });
    Keeper keeper(env, std::move(options), std::move(config));
    co_await keeper.run(signals.get());
    co_return Result<void>{};
}

}  // namespace

std::string host_name() {
    std::string name(256, '\0');
    if (::gethostname(name.data(), name.size() - 1) != 0) return "host";
    name = name.substr(0, std::min(name.find('\0'), name.find('.')));
    return is_bay_name(name) ? name : "host";
}

bool keeper_runs(const std::string& directory) {
    os::Descriptor const file(::open((directory + "/" + k_keeper_pid_file).c_str(), O_RDONLY | O_CLOEXEC));
    return file.valid() && ::flock(file.get(), LOCK_SH | LOCK_NB) != 0;
}

Result<void> keep_bays(const KeeperOptions& options) {
    TRY(BayConfig const config, load_bay_config(options.directory));
    TRY(os::Descriptor const lock, lock_keeper(options.directory));
    os::HostOptions host_options;
    host_options.loop.engine = os::Engine::kEpoll;  // it looks at devices now and then
    host_options.log.level = options.log_level;
    if (options.log_to_file) host_options.log.path = options.directory + "/" + k_keeper_log_file;
    TRY(auto host, os::Host::create(host_options));
    return host->run_until_done(keep(host.get(), options, config));
}

}  // namespace corelet::app
