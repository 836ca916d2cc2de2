// drain, undrain, remove, cordon, uncordon, pause, resume: the life of corelets in a mesh.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "app/tool/context.h"
#include "app/tool/resolve.h"
#include "app/tool/tool_world.h"
#include "app/tool/units.h"

namespace corelet::app {

namespace {

struct LifeArguments {
    std::string corelet;
    std::string timeout = "24h";
    std::string length;
    bool wait = false;
    bool force = false;
};

constexpr Duration k_departure_look_every = 500_ms;

std::string joined(const Json& words, const char* between) {
    std::string out;
    for (const Json& word : words) out += (out.empty() ? "" : between) + word.get<std::string>();
    return out;
}

std::string drain_sentence(const Json& found, const std::string& name) {
    if (found.value("safe_to_remove", false))
        return fmt::format("corelet {}: safe to remove; next: corelet remove {}", name, name);
    return fmt::format("corelet {} is {}; still needed for: {}", name, found.value("state", ""),
                       joined(found.at("left"), "; "));
}

// Until nothing needs it; says what does whenever that changes. The last word when time is up is what is left.
Task<Result<Json>> await_empty(Env* env, Reach reach, std::string id, Duration limit, bool tell) {
    ControlClient client(*env, std::move(reach));
    Instant const until = env->clock.now() + limit;
    Json told;
    for (;;) {
        auto const found = co_await client.command("corelet.departure", Json{{"id", id}}, k_command_limit, true);
        bool const over = env->clock.now() >= until;
        if (found && found->value("safe_to_remove", false)) co_return *found;
        if (found && tell && found->at("left") != told) {
            told = found->at("left");
            std::fprintf(stderr, "needed for: %s\n", joined(told, "; ").c_str());
        }
        bool const for_good = !found && found.error().code == Code::kNotFound;
        if (!found && (over || for_good)) co_return std::unexpected(found.error());
        if (over)
            co_return fail(Code::kTimeout,
                           fmt::format("not empty after {}; still needed for: {}. {}", format_duration(limit),
                                       joined(found->at("left"), "; "), found->value("next", "")));
        co_await env->clock.sleep(k_departure_look_every);
    }
}

Result<void> drain(const Context& context, const LifeArguments& arguments) {
    TRY(Reach const reach, context.reach());
    TRY(Duration const limit, parse_duration(arguments.timeout));
    TRY(std::string const id, resolve_corelet(context, reach, arguments.corelet));
    TRY(Json found, run_command(reach, "corelet.drain", Json{{"id", id}}, k_command_limit, true));
    if (arguments.wait && !found.value("safe_to_remove", false)) {
        TRY(auto world, make_tool_world());
        TRY(found, world->run_until_done(await_empty(&world->env(), reach, id, limit, !context.json)));
    }
    print_answer(context, found, drain_sentence(found, arguments.corelet));
    return {};
}

Result<void> undrain(const Context& context, const LifeArguments& arguments) {
    TRY(Reach const reach, context.reach());
    TRY(std::string const id, resolve_corelet(context, reach, arguments.corelet));
    TRY(Json const done, run_command(reach, "corelet.undrain", Json{{"id", id}}, k_command_limit, true));
    print_answer(context, done, fmt::format("corelet {} stays, and takes its share again", arguments.corelet));
    return {};
}

std::string removal_sentence(const Json& done, const std::string& name) {
    if (!done.value("forced", false)) return fmt::format("corelet {} is removed; nothing was needed of it", name);
    std::string const lost = joined(done.at("lost"), "; ");
    return fmt::format("corelet {} is removed by force. {}", name,
                       lost.empty()
                           ? "Nothing is lost: of all that it held there are enough others, and they make it "
                             "whole again"
                           : "LOST for good, unless another that is down comes back: " + lost);
}

Result<void> remove(const Context& context, const LifeArguments& arguments) {
    TRY(Reach const reach, context.reach());
    TRY(std::string const id, resolve_corelet(context, reach, arguments.corelet));
    Json const request{{"id", id}, {"force", arguments.force}};
    TRY(Json const done, run_command(reach, "corelet.remove", request, k_command_limit, false));
    print_answer(context, done, removal_sentence(done, arguments.corelet));
    return {};
}

std::string cordon_sentence(const Json& done, const std::string& name) {
    std::string const bound = joined(done.at("pools_bound_to_it"), ", ");
    std::string out = fmt::format("corelet {} is cordoned: nothing moves off, and nothing new goes there", name);
    if (!bound.empty()) out += fmt::format(", but chunks of {}, which cannot do without it", bound);
    return out;
}

Result<void> cordon(const Context& context, const LifeArguments& arguments, bool cordoned) {
    TRY(Reach const reach, context.reach());
    TRY(std::string const id, resolve_corelet(context, reach, arguments.corelet));
    const char* const command = cordoned ? "corelet.cordon" : "corelet.uncordon";
    TRY(Json const done, run_command(reach, command, Json{{"id", id}}, k_command_limit, true));
    print_answer(context, done,
                 cordoned ? cordon_sentence(done, arguments.corelet)
                          : fmt::format("corelet {} takes its share again", arguments.corelet));
    return {};
}

Result<void> pause(const Context& context, const LifeArguments& arguments) {
    TRY(Duration const length, parse_duration(arguments.length));
    TRY(Reach const reach, context.reach());
    Json const request{{"length_ms", length.ms()}};
    TRY(Json const done, run_command(reach, "healing.pause", request, k_command_limit, true));
    print_answer(
        context, done,
        fmt::format("healing is paused for {}; nobody is put out meanwhile; end it earlier: corelet resume",
                    format_duration(length)));
    return {};
}

Result<void> resume(const Context& context, const LifeArguments& /*arguments*/) {
    TRY(Reach const reach, context.reach());
    TRY(Json const done, run_command(reach, "healing.resume", Json::object(), k_command_limit, true));
    print_answer(context, done, "healing goes on");
    return {};
}

using LifeAct = std::function<Result<void>(const Context&, const LifeArguments&)>;

CLI::App* add(CLI::App& app, Context& context, const std::shared_ptr<LifeArguments>& arguments, const char* name,
              const char* description, LifeAct act) {
    CLI::App* const command = app.add_subcommand(name, description);
    command->callback([&context, arguments, act] {
        context.action = [&context, arguments, act] { return act(context, *arguments); };
    });
    return command;
}

}  // namespace

void add_life_commands(CLI::App& app, Context& context) {
    auto const arguments = std::make_shared<LifeArguments>();
    auto const of_corelet = [&](const char* name, const char* description, LifeAct act) {
        CLI::App* const command = add(app, context, arguments, name, description, std::move(act));
        command->add_option("corelet", arguments->corelet, "its id, or its number")
            ->required()
            ->type_name("CORELET");
        return command;
    };
    CLI::App* const drain_command = of_corelet("drain", "move everything off a corelet that is to leave", drain);
    drain_command->add_flag("--wait", arguments->wait, "return when it is safe to remove");
    drain_command->add_option("--timeout", arguments->timeout, "with --wait: fail after so long (default 24h)")
        ->type_name("TIME");
    of_corelet("undrain", "call a drain off", undrain);
    of_corelet("remove", "forget a corelet that nothing needs any more", remove)
        ->add_flag("--force", arguments->force, "although it is needed: it is gone for good; says what is lost");
    of_corelet("cordon", "no new chunks, segments and volumes there; nothing moves off",
               [](const Context& c, const LifeArguments& a) { return cordon(c, a, true); });
    of_corelet("uncordon", "undo a cordon",
               [](const Context& c, const LifeArguments& a) { return cordon(c, a, false); });
    add(app, context, arguments, "pause", "stop healing everywhere for a while; reads still repair what they meet",
        pause)
        ->add_option("--for", arguments->length, "how long, at most 24h")
        ->required()
        ->type_name("TIME");
    add(app, context, arguments, "resume", "end a pause of healing", resume);
}

}  // namespace corelet::app
