// lab up, kill, start, partition, mend, down.
#include <fmt/format.h>
#include <signal.h>  // host: a lab is made of processes

#include <CLI/CLI.hpp>
#include <chrono>  // host: how long a command took, for people
#include <cstdio>
#include <set>

#include "app/tool/catalog_option.h"
#include "app/tool/context.h"
#include "app/tool/lab_bays.h"
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
    std::string cache;
    std::string catalog;
    std::string net = "unix";
    std::string timeout = "60s";
    std::vector<std::string> given;  // the options that were typed
};
struct MemberArguments {
    std::string members;
    std::string from;
    std::string signal = "KILL";
    bool empty = false;
    bool wipe = false;
    bool same = false;
    bool keep = false;
};

Result<Lab> open_lab(const Context& context) {
    TRY(std::string const directory, context.directory());
    return load_lab(directory);
}

Result<LabPlan> plan_of(const Context& context, const UpArguments& arguments) {
    LabPlan plan;
    TRY(plan.directory, context.directory());
    plan.corelets = arguments.corelets;
    plan.witnesses = arguments.witnesses;
    plan.zones = arguments.zones;
    TRY(plan.size_bytes, parse_size(arguments.size));
    TRY(plan.out_after, parse_duration(arguments.out_after));
    if (!arguments.cache.empty()) {
        TRY(plan.cache_bytes, parse_size(arguments.cache));
    }
    if (arguments.net != "unix" && arguments.net != "tcp")
        return fail(Code::kInvalid, "'" + arguments.net + "' is no net; choose unix or tcp");
    plan.tcp = arguments.net == "tcp";
    plan.catalog = arguments.catalog;
    // A lab's networks lead nowhere else.
    if (plan.tcp && !plan.catalog.empty())
        return fail(Code::kInvalid, "a lab with --net tcp keeps its own catalog; leave out --catalog");
    TRY_VOID(check_catalog(plan.catalog, false, plan.witnesses != 0));
    return plan;
}

// What was asked for and is not so, in words; empty if the lab is as asked.
std::string difference(const Lab& lab, const LabPlan& plan, const std::vector<std::string>& given) {
    auto const asked = [&](const char* option) {
        return std::find(given.begin(), given.end(), option) != given.end();
    };
    u32 witnesses = 0;
    std::set<std::string> zones;
    for (const LabMember& member : lab.members) {
        witnesses += member.role == mesh::Role::kWitness ? 1 : 0;
        zones.insert(member.location.zone);
    }
    u32 const corelets = static_cast<u32>(lab.members.size()) - witnesses;
    usize const zones_asked = std::min<usize>(plan.zones, lab.members.size());
    if (asked("--corelets") && plan.corelets != corelets)
        return fmt::format("{} corelets, not {}", corelets, plan.corelets);
    if (asked("--witnesses") && plan.witnesses != witnesses)
        return fmt::format("{} witnesses, not {}", witnesses, plan.witnesses);
    if (asked("--zones") && zones_asked != zones.size())
        return fmt::format("{} zones, not {}", zones.size(), plan.zones);
    if (asked("--size") && plan.size_bytes != lab.size_bytes)
        return fmt::format("devices of {}, not {}", format_size(lab.size_bytes), format_size(plan.size_bytes));
    if (asked("--out-after") && plan.out_after != lab.out_after)
        return fmt::format("--out-after {}, not {}", format_duration(lab.out_after),
                           format_duration(plan.out_after));
    if (asked("--catalog") && plan.catalog != lab.catalog)
        return lab.catalog.empty() ? "a catalog of its own" : "its catalog at " + lab.catalog;
    if (asked("--net") && plan.tcp != lab.tcp) return lab.tcp ? "--net tcp, not unix" : "--net unix, not tcp";
    return {};
}

// The lab that is there, if it is the one that was asked for; else a new one.
Result<Lab> open_or_make(const UpArguments& arguments, const LabPlan& plan) {
    if (!is_lab(plan.directory)) return make_lab(plan);
    TRY(Lab lab, load_lab(plan.directory));
    std::string const differs = difference(lab, plan, arguments.given);
    if (differs.empty()) return lab;
    return fail(
        Code::kConflict,
        fmt::format("the lab in '{}' has {}; start it as it is: corelet lab up --dir {}, or begin anew after: "
                    "corelet lab down --wipe --dir {}",
                    plan.directory, differs, plan.directory, plan.directory));
}

// As a shell reads it.
std::string shell_word(const std::string& path) {
    bool const plain = std::all_of(path.begin(), path.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               std::string_view("/._-+,:@%").find(c) != std::string_view::npos;
    });
    if (plain) return path;
    std::string out = "'";
    for (char const c : path) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return out + "'";
}

Result<void> undo_partition(Lab& lab) {
    if (lab.tcp) TRY_VOID(mend_network(lab));
    lab.cut_off.clear();
    lab.cut_from.clear();
    return save_lab(lab);
}

Result<void> up(const Context& context, const UpArguments& arguments) {
    auto const began = std::chrono::steady_clock::now();  // host: for people
    TRY(LabPlan const plan, plan_of(context, arguments));
    TRY(Duration const limit, parse_duration(arguments.timeout));
    TRY(Lab lab, open_or_make(arguments, plan));
    if (lab.tcp) TRY_VOID(raise_network(lab));
    if (!lab.cut_off.empty()) TRY_VOID(undo_partition(lab));  // cut in two it would not be whole
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
    print_answer(context, out, "export CORELET_DIR=" + shell_word(lab.directory));
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
    print_answer(context, Json{{"signalled", indexes}, {"signal", arguments.signal}},
                 fmt::format("corelet {}: {}", arguments.members, arguments.signal));
    return {};
}

Result<void> start(const Context& context, const MemberArguments& arguments) {
    TRY(Lab lab, open_lab(context));
    TRY(auto const indexes, parse_members(lab, arguments.members));
    for (u32 const index : indexes) {
        if (!arguments.empty && !has_device(lab, *lab.find(index)))
            return fail(Code::kNotFound,
                        fmt::format("corelet {} has no device; put one in: corelet lab insert {}", index, index));
        if (arguments.empty && lab.find(index)->in_bay)
            return fail(Code::kUnsupported,
                        fmt::format("the device of corelet {} is in a bay: corelet lab pull {}, "
                                    "then corelet lab insert {}",
                                    index, index, index));
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
    print_answer(
        context, Json{{"started", indexes}, {"empty", arguments.empty}},
        fmt::format("corelet {} runs{}", arguments.members, arguments.empty ? ", with an empty device" : ""));
    return {};
}

// One that the lab does not have yet is a further bay.
Result<std::vector<u32>> parse_bays(const std::string& text) {
    Lab every;
    for (u32 index = 1; index <= k_lab_members_max; ++index) every.members.emplace_back().index = index;
    return parse_members(every, text);
}

Result<void> insert(const Context& context, const MemberArguments& arguments) {
    TRY(Lab lab, open_lab(context));
    TRY(auto const indexes, parse_bays(arguments.members));
    for (u32 const index : indexes) TRY_VOID(insert_device(lab, index, arguments.same));
    print_answer(context, Json{{"inserted", indexes}, {"blank", !arguments.same}},
                 fmt::format("bay {}: a device is in; see it fill: corelet status --dir {}", arguments.members,
                             lab.directory));
    return {};
}

Result<void> pull(const Context& context, const MemberArguments& arguments) {
    TRY(Lab const lab, open_lab(context));
    TRY(auto const indexes, parse_members(lab, arguments.members));
    for (u32 const index : indexes) TRY_VOID(pull_device(lab, index, arguments.keep));
    print_answer(context, Json{{"pulled", indexes}, {"kept", arguments.keep}},
                 fmt::format("bay {}: its device is out", arguments.members));
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
    std::vector<u32> from;
    if (!arguments.from.empty()) {
        TRY(from, parse_members(lab, arguments.from));
        for (u32 const index : from)
            if (std::find(indexes.begin(), indexes.end(), index) != indexes.end())
                return fail(Code::kInvalid, fmt::format("corelet {} cannot be cut off from itself", index));
    }
    TRY_VOID(undo_partition(lab));
    lab.cut_off = indexes;
    lab.cut_from = from;
    TRY_VOID(save_lab(lab));
    TRY_VOID(cut_network(lab));
    Json out{{"cut_off", indexes}};
    if (!from.empty()) out["cut_from"] = from;
    print_answer(context, out,
                 fmt::format("corelets {} and {} no longer reach each other; undo: corelet lab mend",
                             arguments.members, from.empty() ? "the others" : arguments.from));
    return {};
}

Result<void> mend(const Context& context) {
    TRY(Lab lab, open_lab(context));
    TRY_VOID(undo_partition(lab));
    print_answer(context, Json{{"cut_off", Json::array()}}, "all corelets reach each other");
    return {};
}

Result<void> down(const Context& context, const MemberArguments& arguments) {
    TRY(Lab lab, open_lab(context));
    TRY_VOID(stop_members(lab));
    if (lab.tcp) remove_network(lab.directory);
    lab.cut_off.clear();
    lab.cut_from.clear();
    if (arguments.wipe)
        wipe_lab(lab);
    else
        TRY_VOID(save_lab(lab));
    print_answer(context, Json{{"down", true}, {"wiped", arguments.wipe}},
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
    up_command->add_option("--corelets", up_arguments->corelets, "how many (default 8)")->type_name("N");
    up_command->add_option("--witnesses", up_arguments->witnesses, "further ones that vote and store nothing")
        ->type_name("N");
    up_command->add_option("--size", up_arguments->size, "of each device (default 4G)")->type_name("SIZE");
    up_command->add_option("--zones", up_arguments->zones, "corelets stand in so many zones, in turn (default 4)")
        ->type_name("N");
    up_command
        ->add_option("--out-after", up_arguments->out_after,
                     "rebuild what a lost corelet held after so long (default 5s)")
        ->type_name("TIME");
    up_command
        ->add_option("--cache", up_arguments->cache,
                     "memory for the blocks of each volume, at its owner (default 256M)")
        ->type_name("SIZE");
    up_command->add_option("--net", up_arguments->net, "unix sockets, or tcp with a network namespace each (root)")
        ->type_name("unix|tcp");
    up_command
        ->add_option("--catalog", up_arguments->catalog,
                     "keep the lab's catalog in an etcd that runs already (with --net unix)")
        ->type_name("etcd:HOST:PORT[,...]");
    up_command->add_option("--timeout", up_arguments->timeout, "wait so long for health ok (default 60s)")
        ->type_name("TIME");
    up_command->callback([&context, up_arguments, up_command] {
        for (const CLI::Option* const option : up_command->get_options())
            if (option->count() != 0) up_arguments->given.push_back(option->get_name());
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
    add("insert", "put a blank device into a corelet's bay, or into a further one", true, insert)
        ->add_flag("--same", arguments->same, "not a blank one: the one that was pulled out with --keep");
    add("pull", "pull a corelet's device out while it runs", true, pull)
        ->add_flag("--keep", arguments->keep, "beside the lab, to be put in again");
    add("partition", "cut corelets off from others (--net tcp)", true, partition)
        ->add_option("--from", arguments->from, "from these only (default: from all others)")
        ->type_name("K[,L...]");
    add("mend", "undo the partition", false, [](const Context& c, const MemberArguments&) { return mend(c); });
    add("down", "stop all", false, down)->add_flag("--wipe", arguments->wipe, "and remove all that it stored");
}

}  // namespace corelet::app
