#include "app/tool/lab_network.h"

#include <fmt/format.h>
#include <unistd.h>  // host: who runs this

#include "app/tool/process.h"
#include "base/hash.h"

namespace corelet::app {

namespace {

constexpr u32 k_host_number = 254;
// Nobody has this address: frames to it are dropped by all.
constexpr const char* k_nowhere = "02:00:00:00:00:01";

// By the directory and not by the mesh: what a lab that crashed has left is found again by the next one in its
// place.
u64 hash_of(const std::string& directory) {
    u64 hash = 0;
    for (char const c : directory) hash = hash64(hash, static_cast<u8>(c));
    return hash;
}
std::string bridge_at(const std::string& directory) {
    return "cl" + hex64(hash_of(directory)).substr(0, 8);
}
std::string link_of(const Lab& lab, const LabMember& member) {
    return fmt::format("{}.{}", bridge_of(lab), member.index);
}
bool has_link(const std::string& name) {
    return file_exists("/sys/class/net/" + name);
}
bool has_namespace(const std::string& name) {
    return file_exists("/run/netns/" + name);
}

Result<void> in_namespace(const Lab& lab, const LabMember& member, const std::string& batch) {
    return run_program({"ip", "-n", namespace_of(lab, member), "-batch", "-"}, batch);
}

// With a namespace its wires go, but some time later and not in this process: what was there when it was looked at,
// and is gone when it is to be removed, is no trouble.
void remove_what_is_there(const std::vector<std::string>& namespaces, const std::vector<std::string>& links) {
    std::string batch;
    for (const std::string& name : namespaces)
        if (has_namespace(name)) batch += fmt::format("netns del {}\n", name);
    for (const std::string& name : links)
        if (has_link(name)) batch += fmt::format("link del {}\n", name);
    if (!batch.empty()) (void)run_program({"ip", "-force", "-batch", "-"}, batch);
}

// A namespace without its end of the wire is of no use, and the other way round: both are made anew.
Result<void> raise_member(const Lab& lab, const LabMember& member) {
    std::string const name = namespace_of(lab, member);
    std::string const link = link_of(lab, member);
    if (has_namespace(name) && has_link(link)) return {};
    remove_what_is_there({name}, {link});
    std::string const batch = fmt::format(
        "netns add {}\nlink add {} type veth peer name eth0 netns {}\nlink set {} master {}\nlink set {} up\n",
        name, link, name, link, bridge_of(lab), link);
    TRY_VOID(run_program({"ip", "-batch", "-"}, batch));
    return in_namespace(
        lab, member,
        fmt::format("addr add {}.{}/24 dev eth0\nlink set lo up\nlink set eth0 up\n", lab.network, member.index));
}

Result<void> raise_all(const Lab& lab) {
    std::string const bridge = bridge_of(lab);
    if (!has_link(bridge))
        TRY_VOID(run_program({"ip", "-batch", "-"},
                             fmt::format("link add {} type bridge\naddr add {}.{}/24 dev {}\nlink set {} up\n",
                                         bridge, lab.network, k_host_number, bridge, bridge)));
    for (const LabMember& member : lab.members) TRY_VOID(raise_member(lab, member));
    return {};
}

}  // namespace

std::string bridge_of(const Lab& lab) {
    return bridge_at(lab.directory);
}

std::string namespace_of(const Lab& lab, const LabMember& member) {
    return fmt::format("corelet-{}-{}", bridge_of(lab).substr(2), member.index);
}

Result<std::string> choose_network(const std::string& directory) {
    if (::geteuid() != 0)
        return fail(
            Code::kDenied,
            "--net tcp gives each corelet a network namespace of its own, which takes root; run it as root, or "
            "leave --net out to use unix sockets");
    u64 const seed = hash_of(directory);
    TRY(std::string const routes, read_file("/proc/net/fib_trie"));
    for (u32 attempt = 0; attempt < 100; ++attempt) {
        u64 const drawn = hash64(seed, attempt);
        std::string network = fmt::format("10.{}.{}", 64 + drawn % 128, drawn / 128 % 256);
        if (routes.find(network + ".") == std::string::npos) return network;
    }
    return fail(Code::kExists, "no range of addresses 10.x.y.0/24 is free on this machine");
}

Result<void> raise_network(const Lab& lab) {
    auto const raised = raise_all(lab);
    if (raised) return {};
    remove_network(lab.directory);
    return std::unexpected(
        with_context(raised.error(), "making the lab's network (leave --net out to use unix sockets)"));
}

void remove_network(const std::string& directory) {
    std::string const bridge = bridge_at(directory);
    std::string const prefix = "corelet-" + bridge.substr(2) + "-";
    std::vector<std::string> namespaces;
    std::vector<std::string> links;
    for (const std::string& name : list_directory("/run/netns"))
        if (name.starts_with(prefix)) namespaces.push_back(name);
    for (const std::string& name : list_directory("/sys/class/net"))
        if (name.starts_with(bridge + ".")) links.push_back(name);
    links.push_back(bridge);
    remove_what_is_there(namespaces, links);
}

Result<void> cut_network(const Lab& lab) {
    auto const is_in = [](const std::vector<u32>& side, const LabMember& member) {
        return std::find(side.begin(), side.end(), member.index) != side.end();
    };
    auto const is_cut = [&](const LabMember& one, const LabMember& other) {
        bool const all = lab.cut_from.empty();
        return is_in(lab.cut_off, one) && (all ? !is_in(lab.cut_off, other) : is_in(lab.cut_from, other));
    };
    for (const LabMember& from : lab.members) {
        std::string batch;
        for (const LabMember& to : lab.members)
            if (is_cut(from, to) || is_cut(to, from))
                batch += fmt::format("neigh replace {}.{} lladdr {} dev eth0 nud permanent\n", lab.network,
                                     to.index, k_nowhere);
        if (!batch.empty()) TRY_VOID(in_namespace(lab, from, batch));
    }
    return {};
}

Result<void> mend_network(const Lab& lab) {
    for (const LabMember& member : lab.members)
        if (has_namespace(namespace_of(lab, member)))
            TRY_VOID(in_namespace(lab, member, "neigh flush dev eth0 nud permanent\n"));
    return {};
}

}  // namespace corelet::app
