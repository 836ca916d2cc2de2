#include "app/tool/context.h"

#include <fmt/format.h>

#include <cstdio>

#include "os/random.h"

namespace corelet::app {

void print_answer(const Context& context, const Json& json, const std::function<std::string()>& text) {
    std::string const out = context.json ? json.dump() : text();
    if (out.empty()) return;
    std::fputs(out.c_str(), stdout);
    if (!out.ends_with('\n')) std::fputc('\n', stdout);
}

void print_answer(const Context& context, const Json& json, const std::string& text) {
    print_answer(context, json, [&] { return text; });
}

std::string first_line(const std::string& text) {
    return text.substr(0, text.find_first_of("\r\n"));
}

std::string read_key(const std::string& directory) {
    auto const text = read_file(directory + "/" + k_key_file);
    return text ? first_line(*text) : std::string();
}

std::string new_key() {
    std::string key;
    while (key.size() < k_key_digits) key += hex64(os::os_random_seed());
    return key;
}

Result<void> save_key(const std::string& directory, const std::string& key) {
    return replace_file(directory + "/" + k_key_file, key + "\n");
}

Reach lab_reach(const Lab& lab) {
    Reach reach;
    for (const LabMember& member : lab.members) reach.targets.push_back(control_address(member.directory));
    reach.key = read_key(lab.directory);
    reach.start_hint = "corelet lab up --dir " + lab.directory;
    return reach;
}

Result<std::string> Context::directory() const {
    if (!dir.empty()) return absolute_path(dir);
    if (auto const named = environment("CORELET_DIR")) return absolute_path(*named);
    return fail(Code::kInvalid,
                "which mesh? Name its directory with --dir DIR or export CORELET_DIR=DIR, or a corelet's "
                "address with --connect ADDRESS");
}

std::optional<Lab> Context::lab() const {
    auto const where = directory();
    if (!where || !is_lab(*where)) return std::nullopt;
    auto loaded = load_lab(*where);
    return loaded ? std::optional(*std::move(loaded)) : std::nullopt;
}

Result<Reach> Context::reach() const {
    Reach out;
    if (!connect.empty()) {
        TRY(Address address, Address::parse(connect));
        if (address.kind == Address::Kind::kUnix) {
            address.host = absolute_path(address.host);
            out.key = read_key(address.host.substr(0, address.host.rfind('/')));
        }
        auto const where = directory();
        if (out.key.empty() && where) out.key = read_key(*where);
        out.targets.push_back(std::move(address));
        out.start_hint = "corelet serve --dir ITS_DIR, or name another corelet";
        return out;
    }
    TRY(std::string const where, directory());
    if (is_lab(where)) {
        TRY(Lab const found, load_lab(where));
        return lab_reach(found);
    }
    auto const config = load_config(where);
    if (!config && config.error().code == Code::kNotFound)
        return fail(Code::kNotFound,
                    fmt::format("there is no mesh in '{}': neither a corelet's {} nor a lab's {}; start one: "
                                "corelet lab up --corelets 8 --dir {}",
                                where, k_config_file, k_lab_file, where));
    if (!config) return std::unexpected(config.error());
    out.targets.push_back(control_address(where));
    for (const Address& seed : config->seeds) out.targets.push_back(seed);
    out.key = read_key(where);
    out.start_hint = "corelet serve --dir " + where;
    return out;
}

}  // namespace corelet::app
