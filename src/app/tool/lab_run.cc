#include "app/tool/lab_run.h"

#include <fmt/format.h>
#include <signal.h>  // host: a lab is made of processes

#include <set>

#include "app/tool/context.h"
#include "app/tool/lab_bays.h"
#include "app/tool/lab_network.h"
#include "app/tool/report.h"
#include "app/tool/tool_world.h"

namespace corelet::app {

namespace {

constexpr Duration k_lab_look_every = 50_ms;
constexpr Duration k_terminate = 4_s;
constexpr Duration k_kill = 5_s;
constexpr usize k_log_lines = 8;

// True when `holds` did in time.
Task<bool> wait_for(Env* env, Duration limit, std::function<bool()> holds) {
    Instant const deadline = env->clock.now() + limit;
    while (!holds()) {
        if (env->clock.now() >= deadline) co_return false;
        co_await env->clock.sleep(k_lab_look_every);
    }
    co_return true;
}

Result<bool> wait_here(Duration limit, std::function<bool()> holds) {
    TRY(auto world, make_tool_world());
    return world->run_until_done(wait_for(&world->env(), limit, std::move(holds)));
}

Result<void> check_alive(const Lab& lab, const std::vector<u32>& indexes) {
    auto const running = find_corelets();
    for (u32 const index : indexes) {
        const LabMember& member = *lab.find(index);
        if (running.contains(member.directory) || member.in_bay) continue;
        std::string const log = member.directory + "/" + k_log_file;
        return fail(Code::kUnavailable, fmt::format("corelet {} has ended; its log {} closes with:\n{}", index, log,
                                                    last_lines(log, k_log_lines)));
    }
    return {};
}

std::vector<u32> indexes_with_device(const Lab& lab) {
    std::vector<u32> out;
    for (const LabMember& member : lab.members)
        if (has_device(lab, member)) out.push_back(member.index);
    return out;
}

// The first corelet is a whole mesh by itself until the others have joined.
bool is_whole(const Json& status, const std::vector<u32>& members) {
    std::set<u32> up;
    for (const Json& corelet : status.at("corelets"))
        if (corelet.value("state", "") == "up") up.insert(corelet.value("index", 0U));
    if (!std::ranges::all_of(members, [&](u32 index) { return up.contains(index); })) return false;
    return status.value("health", "") == "ok" && status.at("catalog").value("available", false);
}

Task<Result<Json>> wait_until_whole(Env* env, Lab lab, Duration limit) {
    ControlClient client(*env, lab_reach(lab));
    Instant const deadline = env->clock.now() + limit;
    Result<Json> seen = fail(Code::kUnavailable, "no corelet answers yet");
    for (;;) {
        // Of a new one in a bay the identity is known only when it is made.
        if (auto now = load_lab(lab.directory)) lab = *std::move(now);
        auto const expected = indexes_with_device(lab);
        CO_TRY_VOID(check_alive(lab, expected));
        auto status = co_await client.command("status", Json::object(), 3_s, true);
        if (status) order_corelets(*status, lab);
        if (status || !seen) seen = std::move(status);
        if (seen && is_whole(*seen, expected)) co_return seen;
        if (env->clock.now() >= deadline) break;
        co_await env->clock.sleep(k_lab_look_every);
    }
    co_return fail(
        Code::kTimeout,
        fmt::format("the lab runs, but is not whole after {} s:\n{}look again with: corelet status --dir {}",
                    limit.ms() / 1000, seen ? report(*seen) : seen.error().to_string() + "\n", lab.directory));
}

Task<Result<void>> wait_for_answer(Env* env, Lab lab, u32 index, Duration limit) {
    ControlClient client(*env, lab_reach(lab));
    Instant const deadline = env->clock.now() + limit;
    Address const address = control_address(lab.find(index)->directory);
    for (;;) {
        CO_TRY_VOID(check_alive(lab, {index}));
        auto const answer = co_await client.introduce(address, std::min(deadline, env->clock.now() + 1_s));
        if (answer) co_return Result<void>{};
        if (env->clock.now() >= deadline)
            co_return std::unexpected(
                with_context(answer.error(), fmt::format("corelet {} does not answer", index)));
        co_await env->clock.sleep(k_lab_look_every);
    }
}

}  // namespace

Result<void> start_members(const Lab& lab, const std::vector<u32>& indexes) {
    auto const running = find_corelets();
    for (u32 const index : indexes) {
        const LabMember& member = *lab.find(index);
        if (running.contains(member.directory) || member.in_bay || !has_device(lab, member)) continue;
        TRY(int const pid, start_corelet(member.directory, lab.tcp ? namespace_of(lab, member) : std::string()));
        (void)pid;
    }
    return start_lab_keeper(lab);
}

Result<Json> wait_until_ok(const Lab& lab, Duration limit) {
    TRY(auto world, make_tool_world());
    return world->run_until_done(wait_until_whole(&world->env(), lab, limit));
}

Result<void> wait_until_answering(const Lab& lab, u32 index, Duration limit) {
    TRY(auto world, make_tool_world());
    return world->run_until_done(wait_for_answer(&world->env(), lab, index, limit));
}

Result<void> wait_until_gone(const std::string& directory, Duration limit) {
    TRY(bool const gone, wait_here(limit, [&] { return !find_corelet(directory); }));
    if (gone) return {};
    return fail(Code::kTimeout,
                fmt::format("the corelet of '{}' still runs after {} s", directory, limit.ms() / 1000));
}

Result<void> wait_until_keeper_gone(const std::string& directory, Duration limit) {
    TRY(bool const gone, wait_here(limit, [&] { return !find_keeper(directory); }));
    if (gone) return {};
    return fail(Code::kTimeout,
                fmt::format("the keeper of the bays in '{}' still runs after {} s", directory, limit.ms() / 1000));
}

Result<void> wait_until_stopped(const std::string& directory, Duration limit) {
    auto const is_stopped = [&] {
        auto const found = find_corelet(directory);
        return !found || found->stopped;
    };
    TRY(bool const stopped, wait_here(limit, is_stopped));
    if (stopped) return {};
    return fail(Code::kTimeout,
                fmt::format("the corelet of '{}' has not stopped after {} s", directory, limit.ms() / 1000));
}

Result<void> stop_corelets(const std::string& lab_directory,
                           const std::function<bool(const std::string&)>& chosen) {
    auto const running = [&] {
        std::vector<RunningCorelet> out;
        for (auto const& [directory, corelet] : find_corelets())
            if (chosen(directory)) out.push_back(corelet);
        return out;
    };
    auto const signal_all = [&](int signal) {
        for (const RunningCorelet& corelet : running()) {
            (void)send_signal(corelet.pid, signal);
            if (corelet.stopped) (void)send_signal(corelet.pid, SIGCONT);
        }
    };
    auto const none_left = [&] { return running().empty(); };
    if (none_left()) return {};
    signal_all(SIGTERM);
    TRY(bool const ended, wait_here(k_terminate, none_left));
    if (ended) return {};
    signal_all(SIGKILL);
    TRY(bool const killed, wait_here(k_kill, none_left));
    if (killed) return {};
    return fail(Code::kTimeout,
                "some processes of the lab do not end even when killed; look for them: pgrep -af " + lab_directory);
}

Result<void> stop_members(const Lab& lab) {
    TRY_VOID(stop_lab_keeper(lab));
    return stop_corelets(lab.directory, [&](const std::string& directory) {
        return std::any_of(lab.members.begin(), lab.members.end(),
                           [&](const LabMember& member) { return member.directory == directory; });
    });
}

}  // namespace corelet::app
