#include "app/tool/pool_options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>

#include "app/tool/units.h"
#include "base/json.h"

namespace corelet::app {

namespace {

// The same whether a pool is made or changed.
template <class Options>
void add_name_and_domains(CLI::App& command, Options& options) {
    command.add_option("name", options.name, "its name")->required()->type_name("NAME");
    command
        .add_option("--failure-domain", options.failure_domain, "what fails as one: corelet, chassis, rack or zone")
        ->type_name("LEVEL");
    command
        .add_option("--survive", options.survive,
                    "refuse it unless the loss of any one chassis, rack or zone of this mesh is survived")
        ->type_name("LEVEL");
}

void add_redundancy_options(CLI::App& command, PoolOptions& options) {
    CLI::Option_group* const kept = command.add_option_group("redundancy");
    kept->add_option("--redundancy", options.redundancy, "rep:N copies, or ec:K+M fragments")
        ->type_name("rep:N|ec:K+M");
    kept->add_option("--profile", options.profile,
                     "datacenter: ec:10+4, write quorum 11, read quorum 10, repair threshold 12")
        ->type_name("NAME");
    kept->require_option(1, 2);
}

void add_quorum_options(CLI::App& command, PoolOptions& options) {
    command.add_option("--min-copies", options.min_copies, "below so many copies of the log, writes wait")
        ->type_name("N");
    command
        .add_option("--write-quorum", options.write_quorum,
                    "a chunk counts as written with so many fragments durable; the rest is put behind")
        ->type_name("W");
    command
        .add_option("--read-quorum", options.read_quorum,
                    "a read that has to be decoded asks for so many fragments at once")
        ->type_name("R");
    command
        .add_option("--repair-threshold", options.repair_threshold,
                    "with no more than so many members of a slot up, what is down is rebuilt before it is out")
        ->type_name("T");
}

void add_place_options(CLI::App& command, PoolOptions& options) {
    command.add_option("--strategy", options.strategy, "balanced (default), locality, random or zone-aware")
        ->type_name("NAME");
    command.add_option("--device-class", options.device_class, "only on corelets of this class")
        ->type_name("CLASS");
    command.add_option("--max-per", options.max_per, "at most N fragments of a chunk in one chassis, rack or zone")
        ->type_name("LEVEL=N");
}

Result<void> add_cap(const std::string& text, Json& caps) {
    usize const equals = text.find('=');
    u32 most = 0;
    char const* const end = text.data() + text.size();
    bool const parsed = equals != std::string::npos && std::from_chars(text.data() + equals + 1, end, most) ==
                                                           std::from_chars_result{end, std::errc()};
    if (!parsed) return fail(Code::kInvalid, fmt::format("'{}' is no cap; write, for example, zone=2", text));
    caps[text.substr(0, equals)] = most;
    return {};
}

}  // namespace

void add_pool_options(CLI::App& command, PoolOptions& options) {
    add_name_and_domains(command, options);
    add_redundancy_options(command, options);
    add_quorum_options(command, options);
    command.add_option("--chunk-size", options.chunk_size, "256K to 64M (default 8M)")->type_name("SIZE");
    add_place_options(command, options);
}

Result<Json> pool_request(const PoolOptions& options) {
    Json out{
        {"name", options.name}, {"redundancy", options.redundancy}, {"failure_domain", options.failure_domain}};
    auto const add_text = [&](const char* key, const std::string& text) {
        if (!text.empty()) out[key] = text;
    };
    auto const add_number = [&](const char* key, u32 number) {
        if (number != 0) out[key] = number;
    };
    add_text("profile", options.profile);
    add_number("min_copies", options.min_copies);
    add_number("write_quorum", options.write_quorum);
    add_number("read_quorum", options.read_quorum);
    add_number("repair_threshold", options.repair_threshold);
    if (!options.chunk_size.empty()) {
        TRY(u64 const bytes, parse_size(options.chunk_size));
        out["chunk_bytes"] = bytes;
    }
    add_text("strategy", options.strategy);
    add_text("device_class", options.device_class);
    add_text("survive", options.survive);
    for (const std::string& text : options.max_per) TRY_VOID(add_cap(text, out["max_per"]));
    return out;
}

void add_pool_change_options(CLI::App& command, PoolChange& change) {
    add_name_and_domains(command, change);
    command.add_option("--strategy", change.strategy, "balanced, random or zone-aware")->type_name("NAME");
    command.add_option("--device-class", change.device_class, "only on corelets of this class; any: on all")
        ->type_name("CLASS");
    command
        .add_option("--max-per", change.max_per,
                    "at most N fragments of a chunk in one chassis, rack or zone; 0: no cap of its own")
        ->type_name("LEVEL=N");
    auto const number = [&](const char* name, std::optional<u32>& value, const char* description) {
        command.add_option(name, value, description)->type_name("N");
    };
    number("--min-copies", change.min_copies, "below so many copies of the log, writes wait; 0: the default");
    number("--write-quorum", change.write_quorum, "fragments durable before a chunk counts as written; 0: all");
    number("--read-quorum", change.read_quorum, "fragments that a read asks for to decode; 0: as many as it needs");
    number("--repair-threshold", change.repair_threshold,
           "members of a slot up at which what is down is rebuilt; 0: none is before it is out");
}

Result<Json> pool_change_request(const PoolChange& change) {
    Json out{{"name", change.name}};
    auto const add = [&](const char* key, const auto& value) {
        if (value) out[key] = *value;
    };
    add("failure_domain", change.failure_domain);
    add("strategy", change.strategy);
    add("survive", change.survive);
    if (change.device_class) out["device_class"] = *change.device_class == "any" ? "" : *change.device_class;
    add("min_copies", change.min_copies);
    add("write_quorum", change.write_quorum);
    add("read_quorum", change.read_quorum);
    add("repair_threshold", change.repair_threshold);
    for (const std::string& text : change.max_per) TRY_VOID(add_cap(text, out["max_per"]));
    bool const changes = out.size() > (change.survive ? 2U : 1U);
    if (!changes)
        return fail(Code::kInvalid, "name what is to change of pool " + change.name +
                                        "; corelet pool change --help says what can be");
    return out;
}

}  // namespace corelet::app
