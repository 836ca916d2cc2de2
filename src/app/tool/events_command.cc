// events: what changed in the mesh's health, and when.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "app/tool/context.h"
#include "app/tool/report.h"
#include "app/tool/tool_world.h"
#include "app/tool/units.h"

namespace corelet::app {

namespace {

constexpr Duration k_poll_every{1'000'000'000};
constexpr Duration k_since_default{3'600'000'000'000};

struct EventsArguments {
    std::string since;
    bool follow = false;
};

// "corelet 3" in a lab, else its id.
std::string label(const std::optional<Lab>& lab, const std::string& id) {
    if (lab)
        for (const LabMember& member : lab->members)
            if (to_string(member.corelet) == id) return std::to_string(member.index);
    return id;
}

std::string line_of(const std::optional<Lab>& lab, const Json& event) {
    i64 const ms = event.value("time_ms", i64{0});
    std::string const kind = event.value("subject", std::string());
    std::string name = event.value("name", std::string());
    if (kind == "corelet" || kind == "device") name = label(lab, name);
    return fmt::format(
        "{:%Y-%m-%d %H:%M:%S}.{:03}  seen by {:<3} {:<10} {} {}: {} -> {}{}",
        fmt::gmtime(static_cast<std::time_t>(ms / 1000)), ms % 1000,
        label(lab, event.value("corelet", std::string())), event.value("level", std::string()), kind, name,
        event.value("from", std::string()), event.value("to", std::string()),
        event.value("reason", std::string()).empty() ? "" : ", " + event.value("reason", std::string()));
}

std::string lines_of(const std::optional<Lab>& lab, const Json& answer) {
    std::string out;
    for (const Json& event : answer.value("events", Json::array())) out += line_of(lab, event) + "\n";
    return out;
}

// Nothing is kept for a follower: it asks again with the numbers up to which it has been told. Each corelet's ring
// is the bound, and a gap in its numbers shows what was lost.
Task<Result<void>> follow(Env& env, Reach reach, const Context* context, std::optional<Lab> lab, Json question) {
    ControlClient client(env, std::move(reach));
    for (;;) {
        auto const answer = co_await client.command("events", question, k_command_limit, true);
        // Whoever watches a mesh that comes and goes wants to see it come back.
        if (!answer && !question.contains("after")) co_return std::unexpected(answer.error());
        if (answer) {
            for (const Json& event : answer->value("events", Json::array()))
                print_answer(*context, event, [&] { return line_of(lab, event); });
            std::fflush(stdout);
            question["after"] = answer->value("cursor", Json::object());
        }
        if (std::ferror(stdout) != 0) co_return Result<void>{};
        co_await env.clock.sleep(k_poll_every);
    }
}

Result<void> events(const Context& context, const EventsArguments& arguments) {
    TRY(Reach reach, context.reach());
    Duration since = k_since_default;
    if (!arguments.since.empty()) {
        TRY(since, parse_duration(arguments.since));
    }
    TRY(auto world, make_tool_world());
    Env& env = world->env();
    i64 const from_ms = env.clock.wall_now().unix_ns / 1'000'000 - since.ms();
    Json const question{{"since_ms", from_ms}};
    auto const lab = context.lab();
    if (arguments.follow) return world->run_until_done(follow(env, std::move(reach), &context, lab, question));
    TRY(Json const answer, run_command(reach, "events", question, k_command_limit, true));
    print_answer(context, answer, [&] { return lines_of(lab, answer); });
    if (context.json) return {};
    std::fflush(stdout);  // before what is said on the other stream
    for (const Json& id : answer.value("silent", Json::array()))
        std::fprintf(stderr, "corelet %s did not answer: what it saw is missing\n",
                     label(lab, id.get<std::string>()).c_str());
    return {};
}

}  // namespace

void add_events_command(CLI::App& app, Context& context) {
    auto const arguments = std::make_shared<EventsArguments>();
    CLI::App* const command =
        app.add_subcommand("events", "what changed in the health of corelets, devices, volumes and pools");
    command->add_flag("--follow,-f", arguments->follow, "go on with what comes, until interrupted");
    command->add_option("--since", arguments->since, "not older than this (default 1h)")->type_name("TIME");
    command->callback(
        [&context, arguments] { context.action = [&context, arguments] { return events(context, *arguments); }; });
}

}  // namespace corelet::app
