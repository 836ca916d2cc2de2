// catalog export, check, recover, accept.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "app/tool/context.h"
#include "app/tool/process.h"
#include "app/tool/resolve.h"
#include "app/tool/stopped_corelet.h"
#include "app/tool/tool_world.h"
#include "node/admin_commands.h"
#include "node/catalog_check.h"

namespace corelet::app {

namespace {

struct CatalogArguments {
    std::string file;
    std::vector<std::string> from;
    std::vector<std::string> lost;
    bool from_device = false;
    bool dry_run = false;
};

constexpr Duration k_answer_limit = 2_s;

// To the file, or to where the command's output goes.
Result<void> hand_out(const Context& context, const std::string& file, const std::string& text, const Json& about) {
    if (file.empty()) {
        std::fwrite(text.data(), 1, text.size(), stdout);
        return {};
    }
    TRY_VOID(replace_file(absolute_path(file), text));
    print_answer(context, about, fmt::format("{} keys are in {}", about.value("keys", u64{0}), file));
    return {};
}

Result<CatalogExport> survey(const std::string& directory) {
    TRY(auto world, make_tool_world());
    return world->run_until_done(survey_stopped(&world->env(), directory));
}

Result<void> export_catalog(const Context& context, const CatalogArguments& arguments) {
    if (arguments.from_device) {
        TRY(std::string const directory, context.directory());
        TRY(CatalogExport const found, survey(directory));
        Json const about{{"keys", found.catalog.items_size()}, {"has_catalog", found.has_catalog}};
        return hand_out(context, arguments.file, encode_export(found), about);
    }
    TRY(Reach const reach, context.reach());
    TRY(Json const found, run_command(reach, "catalog.export", Json::object(), k_command_limit, true));
    Json const about{{"keys", found.value("keys", u64{0})}, {"revision", found.value("revision", u64{0})}};
    return hand_out(context, arguments.file, found.at("text").get<std::string>(), about);
}

Result<Json> check_file(const std::string& file) {
    TRY(std::string const text, read_file(absolute_path(file)));
    TRY(CatalogExport const found, decode_export(text));
    if (!found.has_catalog)
        return fail(Code::kInvalid,
                    fmt::format("'{}' is of a device that holds no catalog; it serves as evidence to "
                                "`corelet catalog recover` only",
                                file));
    CatalogView view{found.mesh, {}, found.voters};
    for (const auto& item : found.catalog.items()) view.items.push_back(decode_item(item));
    return Json{{"keys", view.items.size()},
                {"revision", found.catalog.revision()},
                {"findings", to_json(check_catalog(view))}};
}

std::string findings_text(const Json& found, usize errors) {
    std::string out;
    for (const Json& finding : found.at("findings"))
        out += fmt::format("{:<5} {}: {}\n      next: {}\n", finding.value("grade", ""), finding.value("key", ""),
                           finding.value("what", ""), finding.value("next", ""));
    return out + fmt::format("{} keys at revision {}: {} errors, {} notes", found.value("keys", usize{0}),
                             found.value("revision", u64{0}), errors, found.at("findings").size() - errors);
}

// Notes pass; an error is one, for scripts too.
Result<void> check(const Context& context, const CatalogArguments& arguments) {
    Json found;
    if (arguments.file.empty()) {
        TRY(Reach const reach, context.reach());
        TRY(found, run_command(reach, "catalog.check", Json::object(), k_command_limit, true));
    } else {
        TRY(found, check_file(arguments.file));
    }
    usize errors = 0;
    for (const Json& finding : found.at("findings")) errors += finding.value("grade", "") == "error" ? 1 : 0;
    print_answer(context, found, [&] { return findings_text(found, errors); });
    if (errors != 0) return fail(Code::kCorrupt, fmt::format("the catalog has {} errors", errors));
    return {};
}

// A directory of a stopped corelet, or a file that one was exported to.
Result<CatalogExport> read_source(const std::string& path) {
    std::string const whole = absolute_path(path);
    if (file_exists(whole + "/" + k_config_file)) return survey(whole);
    TRY(std::string const text, read_file(whole));
    auto found = decode_export(text);
    if (!found) return std::unexpected(with_context(found.error(), path));
    return found;
}

// Nothing is begun anew beside a mesh that runs.
Result<void> check_nobody_runs(const Context& context) {
    TRY(Reach const reach, context.reach());
    for (const Address& target : reach.targets) {
        TRY(auto world, make_tool_world());
        ControlClient client(world->env(), Reach{});
        auto const met = world->run_until_done(client.introduce(target, world->env().clock.now() + k_answer_limit));
        if (!met) continue;
        if (met->catalog_available)
            return fail(Code::kConflict,
                        fmt::format("the catalog is there, as the corelet at {} says: nothing is to be "
                                    "recovered",
                                    target.to_string()));
        return fail(
            Code::kConflict,
            fmt::format("the corelet at {} runs: stop all that are left, and name the directory or the export "
                        "of each with --from",
                        target.to_string()));
    }
    return {};
}

std::string recovered_text(const RecoveredCatalog& made, const std::string& directory, bool dry_run) {
    std::string out = fmt::format("the catalog goes on from that of corelet {}, as generation {}\n",
                                  to_string(made.newest), made.generation);
    for (const std::string& line : made.said) out += "  " + line + "\n";
    out += "LOST: what the catalog had committed and only the lost voters knew; nothing else tells of it\n";
    if (dry_run) return out + "nothing was changed (--dry-run)";
    return out + "next: corelet serve --dir " + directory + ", then the others; then: corelet catalog check";
}

Result<void> recover(const Context& context, const CatalogArguments& arguments) {
    TRY(std::string const directory, context.directory());
    TRY_VOID(check_nobody_runs(context));
    RecoveryWish wish;
    TRY(CatalogExport own, survey(directory));
    wish.self = own.source;
    wish.sources.push_back(std::move(own));
    for (const std::string& path : arguments.from) {
        TRY(CatalogExport source, read_source(path));
        if (source.source != wish.self) wish.sources.push_back(std::move(source));
    }
    for (const std::string& text : arguments.lost) {
        TRY(u64 const id, parse_hex64(text));
        wish.lost.push_back(CoreletId(id));
    }
    TRY(RecoveredCatalog const made, recover_catalog(wish));
    if (!arguments.dry_run) {
        TRY(auto world, make_tool_world());
        TRY_VOID(world->run_until_done(begin_at_stopped(&world->env(), directory, made)));
    }
    Json const out{{"newest", to_string(made.newest)},
                   {"generation", made.generation},
                   {"said", made.said},
                   {"dry_run", arguments.dry_run}};
    print_answer(context, out, recovered_text(made, directory, arguments.dry_run));
    return {};
}

Result<void> accept(const Context& context, const CatalogArguments& /*arguments*/) {
    TRY(Reach const reach, context.reach());
    TRY(Json const done, run_command(reach, "catalog.accept", Json::object(), k_command_limit, true));
    bool const was = done.value("accepted", false);
    print_answer(context, done,
                 was ? "the recovered catalog counts; what is proven dead is deleted again"
                     : "the catalog was not recovered, or that is agreed to already");
    return {};
}

}  // namespace

void add_catalog_commands(CLI::App& app, Context& context) {
    CLI::App* const catalog = app.add_subcommand("catalog", "the small state that all corelets agree on");
    catalog->require_subcommand(1);
    auto const arguments = std::make_shared<CatalogArguments>();
    using Act = Result<void> (*)(const Context&, const CatalogArguments&);
    auto const add = [&](const char* name, const char* description, Act act) {
        CLI::App* const command = catalog->add_subcommand(name, description);
        command->callback([&context, arguments, act] {
            context.action = [&context, arguments, act] { return act(context, *arguments); };
        });
        return command;
    };
    CLI::App* const export_command = add("export", "all of it, as JSON lines with a checksum", export_catalog);
    export_command->add_option("file", arguments->file, "where to (default: standard output)")->type_name("FILE");
    export_command->add_flag("--from-device", arguments->from_device,
                             "of the stopped corelet in --dir: what its device knows, also of the log");
    add("check", "whether it makes sense: the live one, or an export", check)
        ->add_option("file", arguments->file, "an export (default: the live catalog)")
        ->type_name("FILE");
    CLI::App* const recover_command = add(
        "recover", "begin it anew at the stopped corelet in --dir, when most voters are gone for good", recover);
    recover_command
        ->add_option("--from", arguments->from,
                     "what each other corelet that is left knows: its directory, or its export --from-device")
        ->type_name("DIR|FILE");
    recover_command->add_option("--lost", arguments->lost, "a corelet that is gone for good, by its id")
        ->type_name("ID");
    recover_command->add_flag("--dry-run", arguments->dry_run, "say what would become of it, and change nothing");
    add("accept", "agree to a recovered catalog: deleting begins again", accept);
}

}  // namespace corelet::app
