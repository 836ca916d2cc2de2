// volume create, ls, info, attach, detach, rm.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "app/tool/context.h"
#include "app/tool/report.h"
#include "app/tool/resolve.h"
#include "app/tool/table.h"
#include "app/tool/units.h"

namespace corelet::app {

namespace {

struct VolumeArguments {
    std::string name;
    std::string size;
    std::string pool;
    std::string at;
    std::string nbd;
};

Result<void> create(const Context& context, const VolumeArguments& arguments) {
    TRY(u64 const size, parse_size(arguments.size));
    TRY(Reach const reach, context.reach());
    Json request{{"name", arguments.name}, {"size_bytes", size}, {"pool", arguments.pool}};
    TRY(Json const made, run_command(reach, "volume.create", std::move(request), k_command_limit, false));
    print_answer(context, made,
                 fmt::format("volume {} of {} is in pool {}; serve it: corelet volume attach {}", arguments.name,
                             format_size(size), arguments.pool, arguments.name));
    return {};
}

// Of a status; without volumes how to make one.
std::string volumes_table(const Json& status) {
    const Json& volumes = status.at("volumes");
    if (volumes.empty()) return "no volumes yet; make one: corelet volume create NAME --size 8G --pool POOL";
    Table table({"VOLUME", "SIZE", "POOL", "OWNER", "URI"});
    for (const Json& volume : volumes)
        table.add(
            {volume.value("name", ""), format_size(volume.value("size_bytes", u64{0})), volume.value("pool", ""),
             volume.value("owner", Json()).is_string() ? corelet_label(status, volume["owner"].get<std::string>())
                                                       : "-",
             volume.value("uri", "").empty() ? "-" : volume.value("uri", "")});
    return table.to_string();
}

Result<void> list(const Context& context) {
    TRY(Reach const reach, context.reach());
    TRY(Json const status, ask_status(context, reach));
    print_answer(context, status.at("volumes"), [&] { return volumes_table(status); });
    return {};
}

std::string info_lines(const Json& found) {
    std::string out;
    for (auto const& [key, value] : found.items()) {
        bool const is_size = std::string_view(key).ends_with("_bytes") && value.is_number();
        std::string const text = is_size             ? format_size(value.get<u64>())
                                 : value.is_string() ? value.get<std::string>()
                                                     : value.dump();
        out += fmt::format("{:<28} {}\n", key, text);
    }
    return out;
}

Result<void> info(const Context& context, const VolumeArguments& arguments) {
    TRY(Reach const reach, context.reach());
    TRY(Json const found, run_command(reach, "volume.info", Json{{"name", arguments.name}}, k_command_limit, true));
    print_answer(context, found, [&] { return info_lines(found); });
    return {};
}

Result<void> attach(const Context& context, const VolumeArguments& arguments) {
    TRY(Reach const reach, context.reach());
    Json request{{"name", arguments.name}};
    if (!arguments.at.empty()) {
        TRY(std::string const id, resolve_corelet(context, reach, arguments.at));
        request["at"] = id;
    }
    if (!arguments.nbd.empty()) {
        TRY(Address address, Address::parse(arguments.nbd));
        if (address.kind == Address::Kind::kUnix) {
            address.host = absolute_path(address.host);
            TRY_VOID(check_socket_path(address.host));
        }
        request["nbd"] = address.to_string();
    }
    TRY(Json const attached, run_command(reach, "volume.attach", std::move(request), k_attach_limit, true));
    print_answer(context, attached, attached.value("uri", std::string()));
    return {};
}

Result<void> detach(const Context& context, const VolumeArguments& arguments) {
    TRY(Reach const reach, context.reach());
    TRY(Json const detached,
        run_command(reach, "volume.detach", Json{{"name", arguments.name}}, k_attach_limit, true));
    print_answer(context, detached, "volume " + arguments.name + " is detached");
    return {};
}

Result<void> remove(const Context& context, const VolumeArguments& arguments) {
    TRY(Reach const reach, context.reach());
    TRY(Json const gone, run_command(reach, "volume.rm", Json{{"name", arguments.name}}, k_command_limit, false));
    print_answer(context, gone, "volume " + arguments.name + " is removed");
    return {};
}

}  // namespace

void add_volume_commands(CLI::App& app, Context& context) {
    CLI::App* const volume = app.add_subcommand("volume", "block devices that any NBD client can use");
    volume->require_subcommand(1);
    auto const arguments = std::make_shared<VolumeArguments>();
    using Act = Result<void> (*)(const Context&, const VolumeArguments&);
    auto const add = [&](const char* name, const char* description, Act act) {
        CLI::App* const command = volume->add_subcommand(name, description);
        command->add_option("name", arguments->name, "its name")->required()->type_name("NAME");
        command->callback([&context, arguments, act] {
            context.action = [&context, arguments, act] { return act(context, *arguments); };
        });
        return command;
    };
    CLI::App* const create_command = add("create", "make a volume; it takes space as it is written", create);
    create_command->add_option("--size", arguments->size, "its size, as in 8G")->required()->type_name("SIZE");
    create_command->add_option("--pool", arguments->pool, "the pool it lies in")->required()->type_name("POOL");
    CLI::App* const attach_command = add("attach", "serve a volume; prints its NBD URI; again is harmless", attach);
    attach_command->add_option("--at", arguments->at, "the corelet that shall own it: an index or an id")
        ->type_name("CORELET");
    attach_command
        ->add_option("--nbd", arguments->nbd, "unix:PATH or HOST:PORT (default: a socket in the mesh's directory)")
        ->type_name("ADDRESS");
    add("detach", "stop serving a volume", detach);
    add("info", "all about a volume", info);
    add("rm", "remove a detached volume and what it holds", remove);
    CLI::App* const list_command = volume->add_subcommand("ls", "list the volumes");
    list_command->callback([&context] { context.action = [&context] { return list(context); }; });
    add_volume_care_commands(*volume, context);
}

}  // namespace corelet::app
