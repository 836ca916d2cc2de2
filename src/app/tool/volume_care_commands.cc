// volume map, repair, rebalance.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>

#include "app/tool/context.h"
#include "app/tool/report.h"
#include "app/tool/table.h"
#include "app/tool/tool_world.h"
#include "app/tool/units.h"

namespace corelet::app {

namespace {

struct CareArguments {
    std::string name;
    std::string offset;
    std::string length;
    bool verify = false;
    bool dry_run = false;
};

constexpr usize k_chunks_at_once = 8;      // mended by one call
constexpr usize k_segments_at_once = 256;  // the same
constexpr Duration k_patience = 60_s;      // with a volume that goes from one owner to another meanwhile
constexpr Duration k_pause = 500_ms;
constexpr Duration k_care_limit = 120_s;  // of one call
constexpr usize k_reasons_max = 8;

// A volume changes hands in moments: what only its owner knows is asked for again.
Task<Result<Json>> ask(Env* env, ControlClient* client, std::string command, Json arguments) {
    Instant const until = env->clock.now() + k_patience;
    for (;;) {
        auto answer = co_await client->command(command, arguments, k_care_limit, true);
        bool const in_vain =
            !answer && (answer.error().code == Code::kUnavailable || answer.error().code == Code::kTimeout);
        if (!in_vain || env->clock.now() >= until) co_return answer;
        co_await env->clock.sleep(k_pause);
    }
}

struct Found {
    u64 chunk = 0;
    u64 survivors = 0;
};

// Of the log: each copy of a segment counts once. Those that nobody was asked to keep are missing.
struct LogCounts {
    u64 segments = 0, copies = 0;
    u64 missing = 0, damaged = 0, unseen = 0;
    std::vector<u64> wanting;  // segments that lack any
    Json not_done = Json::array();

    [[nodiscard]] u64 found() const { return missing + damaged + unseen; }
    [[nodiscard]] u64 fixed() const { return found() - std::min<u64>(found(), not_done.size()); }
    void take(const Json& finding) {
        missing += finding.at("missing").size() + finding.value("narrow", u64{0});
        damaged += finding.at("damaged").size();
        unseen += finding.at("unseen").size();
        wanting.push_back(finding.value("segment", u64{0}));
    }
    [[nodiscard]] Json to_json() const {
        return Json{{"segments_checked", segments},
                    {"copies_checked", copies},
                    {"found", found()},
                    {"missing", missing},
                    {"damaged", damaged},
                    {"out_of_reach", unseen},
                    {"fixed", fixed()},
                    {"not_fixed", not_done}};
    }
};

// What was looked at, what was found, and what became of it. A fragment counts once: missing, damaged or astray.
struct Care {
    std::string name;
    bool strays = false;  // a rebalance; else a repair
    bool verify = false;
    bool tell = false;
    u64 checked = 0, total = 0, fragments = 0;
    u64 missing = 0, damaged = 0, unseen = 0, astray = 0;
    std::map<std::string, std::pair<u64, u64>> by_corelet;  // astray: fragments, bytes
    std::vector<Found> chunks;
    u64 bytes = 0;
    Json not_done = Json::array();
    LogCounts log;

    [[nodiscard]] u64 found() const { return strays ? astray : missing + damaged + unseen; }
    void take(const Json& finding) {
        u64 const length = finding.value("fragment_bytes", u64{0});
        for (const Json& place : finding.at("lacking")) ++(place.value("damaged", false) ? damaged : missing);
        unseen += finding.at("unseen").size();
        for (const Json& place : finding.at("strays")) {
            ++astray;
            auto& [count, size] = by_corelet[place.value("corelet", std::string())];
            ++count;
            size += length;
        }
        bool const concerns = strays ? !finding.at("strays").empty() : true;
        if (concerns) chunks.push_back({finding.value("chunk", u64{0}), finding.value("survivors", u64{0})});
    }
};

void tell(const Care& care, const std::string& text) {
    if (care.tell) std::fprintf(stderr, "%s\n", text.c_str());
}

Task<Result<void>> check_all(Env* env, ControlClient* client, Care* care) {
    u64 after = 0;
    for (;;) {
        Json request{
            {"name", care->name}, {"after", after}, {"verify", care->verify}, {"everywhere", care->strays}};
        CO_TRY(Json const answer, co_await ask(env, client, "volume.check", std::move(request)));
        care->checked += answer.value("checked", u64{0});
        care->fragments += answer.value("fragments", u64{0});
        care->total = std::max(answer.value("total", u64{0}), care->checked);
        for (const Json& finding : answer.at("found")) care->take(finding);
        if (!answer.at("next").is_number_unsigned()) co_return Result<void>{};
        after = answer["next"].get<u64>();
        tell(*care, fmt::format("checked {} of {} chunks, found {}", care->checked, care->total, care->found()));
    }
}

// Fewest survivors first, over all of the volume.
Task<Result<void>> mend_all(Env* env, ControlClient* client, Care* care) {
    std::ranges::stable_sort(care->chunks, {}, &Found::survivors);
    for (usize at = 0; at < care->chunks.size(); at += k_chunks_at_once) {
        usize const end = std::min(care->chunks.size(), at + k_chunks_at_once);
        Json chunks = Json::array();
        for (usize i = at; i < end; ++i) chunks.push_back(care->chunks[i].chunk);
        Json request{{"name", care->name}, {"chunks", std::move(chunks)}, {"strays", care->strays}};
        CO_TRY(Json const answer, co_await ask(env, client, "volume.mend", std::move(request)));
        care->bytes += answer.value("bytes", u64{0});
        for (const Json& each : answer.at("not_done")) care->not_done.push_back(each);
        tell(*care, fmt::format("{} of {} chunks done, {} fragments not", end, care->chunks.size(),
                                care->not_done.size()));
    }
    co_return Result<void>{};
}

// Before the chunks: what the log lets go of is packed into some.
Task<Result<void>> mend_log(Env* env, ControlClient* client, Care* care) {
    Json check{{"name", care->name}, {"verify", care->verify}};
    CO_TRY(Json const answer, co_await ask(env, client, "volume.log.check", std::move(check)));
    LogCounts& log = care->log;
    log.segments = answer.value("segments", u64{0});
    log.copies = answer.value("copies", u64{0});
    for (const Json& finding : answer.at("found")) log.take(finding);
    tell(*care, fmt::format("checked {} segments of the log, found {} copies that are not whole", log.segments,
                            log.found()));
    for (usize at = 0; at < log.wanting.size(); at += k_segments_at_once) {
        auto const first = log.wanting.begin() + static_cast<std::ptrdiff_t>(at);
        auto const last =
            first + static_cast<std::ptrdiff_t>(std::min(log.wanting.size() - at, k_segments_at_once));
        Json request{{"name", care->name}, {"segments", std::vector<u64>(first, last)}, {"verify", care->verify}};
        CO_TRY(Json const mended, co_await ask(env, client, "volume.log.mend", std::move(request)));
        for (const Json& each : mended.at("not_done")) log.not_done.push_back(each);
    }
    co_return Result<void>{};
}

Task<Result<void>> care_for(Env* env, Reach reach, Care* care, bool mend) {
    ControlClient client(*env, std::move(reach));
    if (!care->strays) CO_TRY_VOID(co_await mend_log(env, &client, care));
    CO_TRY_VOID(co_await check_all(env, &client, care));
    if (mend) CO_TRY_VOID(co_await mend_all(env, &client, care));
    co_return Result<void>{};
}

Json care_json(const Care& care) {
    u64 const failed = care.not_done.size();
    Json out{{"name", care.name},
             {"chunks_checked", care.checked},
             {"fragments_checked", care.fragments},
             {"found", care.found()},
             {"fixed", care.found() - std::min(care.found(), failed)},
             {"not_fixed", care.not_done},
             {"bytes", care.bytes}};
    if (!care.strays) {
        out["missing"] = care.missing;
        out["damaged"] = care.damaged;
        out["out_of_reach"] = care.unseen;
        out["verified"] = care.verify;
        out["log"] = care.log.to_json();
        return out;
    }
    out["by_corelet"] = Json::array();
    for (auto const& [id, load] : care.by_corelet)
        out["by_corelet"].push_back(Json{{"corelet", id}, {"fragments", load.first}, {"bytes", load.second}});
    return out;
}

// The same reason is said once, with how often.
std::string reasons(const Json& not_done) {
    std::map<std::string, u64> counts;
    for (const Json& each : not_done) {
        std::string const at =
            each.at("corelet").is_string() ? "corelet " + each["corelet"].get<std::string>() : "no corelet";
        ++counts[at + ": " + each.value("why", std::string())];
    }
    std::string out;
    usize told = 0;
    for (auto const& [why, count] : counts) {
        if (++told > k_reasons_max)
            return out + fmt::format("; and {} other reasons", counts.size() - k_reasons_max);
        out += fmt::format("{}{} at {}", out.empty() ? "" : "; ", count, why);
    }
    return out;
}

Result<void> finish(const Context& context, const Care& care, const std::string& sentence) {
    print_answer(context, care_json(care), sentence);
    if (const Json& left = care.log.not_done; !left.empty())
        return fail(
            Code::kUnavailable,
            fmt::format("{} copies of the log of volume {} are not fixed: {}. See `corelet status`, and ask "
                        "again",
                        left.size(), care.name, reasons(left)));
    if (care.not_done.empty()) return {};
    return fail(
        Code::kUnavailable,
        fmt::format("{} fragments of volume {} are not {}: {}. See `corelet status`, and ask again",
                    care.not_done.size(), care.name, care.strays ? "home" : "fixed", reasons(care.not_done)));
}

Result<void> run_care(const Context& context, Care& care, bool mend) {
    TRY(Reach reach, context.reach());
    care.tell = !context.json;
    TRY(auto world, make_tool_world());
    return world->run_until_done(care_for(&world->env(), std::move(reach), &care, mend));
}

std::string log_sentence(const Care& care) {
    const LogCounts& log = care.log;
    return fmt::format(
        "its log: {} segments checked{}, {} copies; found {} missing, {} damaged, {} out of reach; "
        "fixed {}",
        log.segments, care.verify ? " and read" : "", log.copies, log.missing, log.damaged, log.unseen,
        log.fixed());
}

Result<void> repair(const Context& context, const CareArguments& arguments) {
    Care care;
    care.name = arguments.name;
    care.verify = arguments.verify;
    TRY_VOID(run_care(context, care, true));
    return finish(
        context, care,
        fmt::format("volume {}: {} chunks checked{}, {} fragments; found {} missing, {} damaged, {} out of "
                    "reach; fixed {} ({})\n{}",
                    care.name, care.checked, care.verify ? " and read" : "", care.fragments, care.missing,
                    care.damaged, care.unseen, care.found() - std::min<u64>(care.found(), care.not_done.size()),
                    format_size(care.bytes), log_sentence(care)));
}

std::string astray_table(const Care& care) {
    Table table({"AT CORELET", "FRAGMENTS", "BYTES"});
    for (auto const& [id, load] : care.by_corelet)
        table.add({id, std::to_string(load.first), format_size(load.second)});
    return table.to_string();
}

Result<void> rebalance(const Context& context, const CareArguments& arguments) {
    Care care;
    care.name = arguments.name;
    care.strays = true;
    TRY_VOID(run_care(context, care, !arguments.dry_run));
    std::string text = fmt::format("volume {}: {} chunks checked; {} fragments lie outside their slots' members",
                                   care.name, care.checked, care.astray);
    if (!arguments.dry_run)
        text += fmt::format("; {} went home ({})", care.astray - std::min<u64>(care.astray, care.not_done.size()),
                            format_size(care.bytes));
    if (care.astray != 0 && arguments.dry_run) text += "\n" + astray_table(care);
    return finish(context, care, text);
}

std::string chunk_name(u64 seq) {
    return fmt::format("{}.{}", seq_epoch(seq).v, seq & ((u64{1} << k_seq_counter_bits) - 1));
}

// "3*" is the one that has the bytes, "(2)" lacks its fragment, "-" is a hole.
std::string places_text(const Json& row, const Json& status) {
    std::string out;
    u64 const fragment = row.value("fragment", u64{0});
    bool const is_chunk = row.value("kind", "") == "chunk";
    const Json& places = row.at("places");
    for (usize p = 0; p < places.size(); ++p) {
        const Json& place = places[p];
        std::string name = "-";
        if (place.at("corelet").is_string()) name = corelet_label(status, place["corelet"].get<std::string>());
        if (name.starts_with("corelet ")) name = name.substr(8);
        if (is_chunk && p == fragment) name += "*";
        if (!place.value("has", false)) name = "(" + name + ")";
        out += (out.empty() ? "" : " ") + name;
    }
    return out;
}

void add_map_row(Table& table, const Json& row, const Json& status) {
    std::string const kind = row.value("kind", "");
    std::vector<std::string> cells{format_size(row.value("offset", u64{0})),
                                   format_size(row.value("length", u64{0})), kind};
    if (!row.contains("places")) {
        cells.insert(cells.end(), {"-", "-", "-", "-"});
    } else {
        cells.push_back(chunk_name(row.value("container", u64{0})));
        cells.push_back(kind == "chunk" ? std::to_string(row.value("slot", 0U)) : "-");
        cells.push_back(fmt::format("{}/{}", row.value("copies_alive", 0U), row.value("copies_wanted", 0U)));
        cells.push_back(places_text(row, status));
    }
    table.add(std::move(cells));
}

std::string map_table(const Json& map, const Json& status) {
    Table table({"OFFSET", "LENGTH", "KIND", "IN", "SLOT", "COPIES", "CORELETS"});
    for (const Json& row : map.at("rows")) add_map_row(table, row, status);
    return table.to_string();
}

Task<Result<Json>> read_map(Env* env, Reach reach, Json request) {
    ControlClient client(*env, std::move(reach));
    u64 const offset = request.value("offset", u64{0});
    u64 const end = request.contains("length") ? offset + request["length"].get<u64>() : ~u64{0};
    Json whole;
    for (;;) {
        CO_TRY(Json answer, co_await ask(env, &client, "volume.map", request));
        Json const next = answer.at("next");
        if (whole.is_null())
            whole = std::move(answer);
        else
            for (Json& row : answer.at("rows")) whole["rows"].push_back(std::move(row));
        if (!next.is_number_unsigned()) break;
        request["offset"] = next;
        request["length"] = end - next.get<u64>();
    }
    whole.erase("next");
    co_return whole;
}

Result<void> show_map(const Context& context, const CareArguments& arguments) {
    TRY(Reach reach, context.reach());
    Json request{{"name", arguments.name}, {"offset", 0}};
    if (!arguments.offset.empty()) {
        TRY(u64 const offset, parse_size(arguments.offset));
        request["offset"] = offset;
    }
    if (!arguments.length.empty()) {
        TRY(u64 const length, parse_size(arguments.length));
        request["length"] = length;
    }
    TRY(Json const status, status_for_words(context, reach));
    TRY(auto world, make_tool_world());
    TRY(Json const map, world->run_until_done(read_map(&world->env(), reach, std::move(request))));
    print_answer(context, map, [&] { return map_table(map, status); });
    return {};
}

}  // namespace

void add_volume_care_commands(CLI::App& volume, Context& context) {
    auto const arguments = std::make_shared<CareArguments>();
    using Act = Result<void> (*)(const Context&, const CareArguments&);
    auto const add = [&](const char* name, const char* description, Act act) {
        CLI::App* const command = volume.add_subcommand(name, description);
        command->add_option("name", arguments->name, "its name")->required()->type_name("NAME");
        command->callback([&context, arguments, act] {
            context.action = [&context, arguments, act] { return act(context, *arguments); };
        });
        return command;
    };
    CLI::App* const map_command = add("map", "where its blocks lie, and who has them", show_map);
    map_command->add_option("--offset", arguments->offset, "from here, as in 1G (default 0)")->type_name("SIZE");
    map_command->add_option("--length", arguments->length, "so much (default: to the end)")->type_name("SIZE");
    add("repair", "check all that it refers to and make what is missing, now", repair)
        ->add_flag("--verify", arguments->verify, "read every fragment, too");
    add("rebalance", "move what lies outside its slots home, now", rebalance)
        ->add_flag("--dry-run", arguments->dry_run, "only say what would move");
}

}  // namespace corelet::app
