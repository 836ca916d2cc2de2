// lab up, kill, start, partition, mend, down.
#include <fmt/format.h>
#include <signal.h>  // host: a lab is made of processes

#include <CLI/CLI.hpp>
#include <chrono>  // host: how long a command took, for people
#include <cstdio>

#include "app/tool/context.h"
#include "app/tool/lab_make.h"
#include "app/tool/lab_network.h"
#include "app/tool/lab_run.h"
#include "app/tool/report.h"
#include "app/tool/units.h"

namespace corelet::app {

namespace {

constexpr Duration k_process_limit = 10_s;

struct UpArguments {
    u32 corelets = 8;
    u32 witnesses = 0;
    u32 zones = 4;
    std::string size = "4G";
    std::string out_after = "5s";
    std::string net = "unix";
    std::string timeout = "60s";
    bool counts_given = false;
};
struct MemberArguments {
    std::string members;
    std::string signal = "KILL";
    bool empty = false;
    bool wipe = false;
};

Result<Lab> open_lab(const Context& context) {
    TRY(std::string const directory, context.directory());
    return load_lab(directory);
}

void tell(const Context& context, const Json& json, const std::string& text) {
    std::printf("%s\n", context.json ? json.dump().c_str() : text.c_str());
}

Result<LabPlan> plan_of(const Context& context, const UpArguments& arguments) {
    LabPlan plan;
    TRY(plan.directory, context.directory());
    plan.corelets = arguments.corelets;
    plan.witnesses = arguments.witnesses;
    plan.zones = arguments.zones;
    TRY(plan.size_bytes, parse_size(arguments.size));
    TRY(plan.out_after, parse_duration(arguments.out_after));
    if (arguments.net != "unix" && arguments.net != "tcp")
        return fail(Code::kInvalid, "'" + arguments.net + "' is no net; choose unix or tcp");
    plan.tcp = arguments.net == "tcp";
    return plan;
}

// The lab that is there, if it is the one that was asked for; else a new one.
Result<Lab> open_or_make(const UpArguments& arguments, const LabPlan& plan) {
    if (!is_lab(plan.directory)) return make_lab(plan);
    TRY(Lab lab, load_lab(plan.directory));
    usize const asked = plan.corelets + plan.witnesses;
    if (arguments.counts_given && asked != lab.members.size())
        return fail(Code::kConflict,
                    fmt::format("the lab in '{}' has {} corelets, not {}; start it as it is: corelet lab up --dir "
                                "{}, or begin anew "
                                "after: corelet lab down --wipe --dir {}",
                                plan.directory, lab.members.size(), asked, plan.directory, plan.directory));
    return lab;
}

Result<void> up(const Context& context, const UpArguments& arguments) {
    auto const began = std::chrono::steady_clock::now();  // host: for people
    TRY(LabPlan const plan, plan_of(context, arguments));
    TRY(Duration const limit, parse_duration(arguments.timeout));
    TRY(Lab const lab, open_or_make(arguments, plan));
    if (lab.tcp) TRY_VOID(raise_network(lab));
    std::vector<u32> all;
    for (const LabMember& member : lab.members) all.push_back(member.index);
    TRY_VOID(start_members(lab, all));
    TRY(Json const status, wait_until_ok(lab, limit));
    auto const took = std::chrono::steady_clock::now() - began;                          // host: for people
    i64 const ms = std::chrono::duration_cast<std::chrono::milliseconds>(took).count();  // host: as above
    if (!context.json)
        std::fprintf(stderr, "%zu corelets are up after %s: %s\n", lab.members.size(),
                     format_duration(Duration{ms * 1'000'000}).c_str(), loss_sentence(status).c_str());
    Json const out{{"directory", lab.directory},
                   {"corelets", lab.members.size()},
                   {"milliseconds", ms},
                   {"health", status.value("health", "")}};
    tell(context, out, "export CORELET_DIR=" + lab.directory);
    return {};
}

Result<int> parse_signal(const std::string& text) {
    std::string_view name = text;
    if (name.starts_with("SIG")) name.remove_prefix(3);
    if (name == "KILL") return SIGKILL;
    if (name == "STOP") return SIGSTOP;
    if (name == "CONT") return SIGCONT;
    if (name == "TERM") return SIGTERM;
    return fail(Code::kInvalid, "'" + text + "' is no signal for a corelet; choose KILL, STOP, CONT or TERM");
}

Result<void> kill_one(const LabMember& member, int signal) {
    auto const found = find_corelet(member.directory);
    if (!found)
        return fail(Code::kNotFound, fmt::format("corelet {} does not run; start it: corelet lab start {}",
                                                 member.index, member.index));
    TRY_VOID(send_signal(found->pid, signal));
    if (signal == SIGKILL || signal == SIGTERM) return wait_until_gone(member.directory, k_process_limit);
    if (signal == SIGSTOP) return wait_until_stopped(member.directory, k_process_limit);
    return {};
}

Result<void> kill_members(const Context& context, const MemberArguments& arguments) {
    TRY(Lab const lab, open_lab(context));
    TRY(int const signal, parse_signal(arguments.signal));
    TRY(auto const indexes, parse_members(lab, arguments.members));
    for (u32 const index : indexes) TRY_VOID(kill_one(*lab.find(index), signal));
    tell(context, Json{{"signalled", indexes}, {"signal", arguments.signal}},
         fmt::format("corelet {}: {}", arguments.members, arguments.signal));
    return {};
}

Result<void> start(const Context& context, const MemberArguments& arguments) {
    TRY(Lab lab, open_lab(context));
    TRY(auto const indexes, parse_members(lab, arguments.members));
    for (u32 const index : indexes) {
        auto const running = find_corelet(lab.find(index)->directory);
        if (running && running->stopped)
            return fail(Code::kConflict,
                        fmt::format("corelet {} is stopped, not dead; wake it: corelet lab kill {} --signal CONT",
                                    index, index));
        if (running && arguments.empty)
            return fail(
                Code::kConflict,
                fmt::format("corelet {} runs; its device can be replaced when it does not: corelet lab kill {}",
                            index, index));
        if (!running && arguments.empty) TRY_VOID(replace_member(lab, index));
    }
    if (lab.tcp) TRY_VOID(raise_network(lab));
    TRY_VOID(start_members(lab, indexes));
    for (u32 const index : indexes) TRY_VOID(wait_until_answering(lab, index, k_process_limit));
    tell(context, Json{{"started", indexes}, {"empty", arguments.empty}},
         fmt::format("corelet {} runs{}", arguments.members, arguments.empty ? ", with an empty device" : ""));
    return {};
}

Result<void> partition(const Context& context, const MemberArguments& arguments) {
    TRY(Lab lab, open_lab(context));
    TRY(auto const indexes, parse_members(lab, arguments.members));
    if (!lab.tcp)
        return fail(Code::kUnsupported,
                    "the corelets of this lab talk over unix sockets, which cannot be cut; partitions take a lab "
                    "that was made "
                    "with --net tcp (as root), or stop corelets instead: corelet lab kill I --signal STOP");
    TRY_VOID(mend_network(lab));
    lab.cut_off = indexes;
    TRY_VOID(save_lab(lab));
    TRY_VOID(cut_network(lab));
    tell(context, Json{{"cut_off", indexes}},
         fmt::format("corelets {} and the others no longer reach each other; undo: corelet lab mend",
                     arguments.members));
    return {};
}

Result<void> mend(const Context& context) {
    TRY(Lab lab, open_lab(context));
    if (lab.tcp) TRY_VOID(mend_network(lab));
    lab.cut_off.clear();
    TRY_VOID(save_lab(lab));
    tell(context, Json{{"cut_off", Json::array()}}, "all corelets reach each other");
    return {};
}

Result<void> down(const Context& context, const MemberArguments& arguments) {
    TRY(Lab lab, open_lab(context));
    TRY_VOID(stop_members(lab));
    if (lab.tcp) remove_network(lab);
    lab.cut_off.clear();
    if (arguments.wipe)
        wipe_lab(lab);
    else
        TRY_VOID(save_lab(lab));
    tell(context, Json{{"down", true}, {"wiped", arguments.wipe}},
         arguments.wipe ? "the lab is gone"
                        : "the lab is down; start it again: corelet lab up --dir " + lab.directory);
    return {};
}

}  // namespace

void add_lab_commands(CLI::App& app, Context& context) {
    CLI::App* const lab = app.add_subcommand("lab", "a whole mesh as processes of this machine");
    lab->require_subcommand(1);

    auto const up_arguments = std::make_shared<UpArguments>();
    CLI::App* const up_command =
        lab->add_subcommand("up", "make and start a lab, or start one that is there; returns when health is ok");
    CLI::Option* const corelets =
        up_command->add_option("--corelets", up_arguments->corelets, "how many (default 8)")->type_name("N");
    CLI::Option* const witnesses =
        up_command->add_option("--witnesses", up_arguments->witnesses, "further ones that vote and store nothing")
            ->type_name("N");
    up_command->add_option("--size", up_arguments->size, "of each device (default 4G)")->type_name("SIZE");
    up_command->add_option("--zones", up_arguments->zones, "corelets stand in so many zones, in turn (default 4)")
        ->type_name("N");
    up_command
        ->add_option("--out-after", up_arguments->out_after,
                     "rebuild what a lost corelet held after so long (default 5s)")
        ->type_name("TIME");
    up_command->add_option("--net", up_arguments->net, "unix sockets, or tcp with a network namespace each (root)")
        ->type_name("unix|tcp");
    up_command->add_option("--timeout", up_arguments->timeout, "wait so long for health ok (default 60s)")
        ->type_name("TIME");
    up_command->callback([&context, up_arguments, corelets, witnesses] {
        up_arguments->counts_given = corelets->count() != 0 || witnesses->count() != 0;
        context.action = [&context, up_arguments] { return up(context, *up_arguments); };
    });

    auto const arguments = std::make_shared<MemberArguments>();
    using Act = Result<void> (*)(const Context&, const MemberArguments&);
    auto const add = [&](const char* name, const char* description, bool takes_members, Act act) {
        CLI::App* const command = lab->add_subcommand(name, description);
        if (takes_members)
            command->add_option("corelet", arguments->members, "its number, or several as 1,4")
                ->required()
                ->type_name("I[,J...]");
        command->callback([&context, arguments, act] {
            context.action = [&context, arguments, act] { return act(context, *arguments); };
        });
        return command;
    };
    add("kill", "send a corelet's process a signal", true, kill_members)
        ->add_option("--signal", arguments->signal, "KILL (default), STOP, CONT or TERM")
        ->type_name("SIGNAL");
    add("start", "start a corelet again", true, start)
        ->add_flag("--empty", arguments->empty, "with a fresh, empty device: a new identity");
    add("partition", "cut corelets off from all others (--net tcp)", true, partition);
    add("mend", "undo the partition", false, [](const Context& c, const MemberArguments&) { return mend(c); });
    add("down", "stop all", false, down)->add_flag("--wipe", arguments->wipe, "and remove all that it stored");
}

}  // namespace corelet::app
