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

std::string bridge_of(const Lab& lab) {
    return "cl" + hex64(lab.mesh.v).substr(0, 8);
}
std::string link_of(const Lab& lab, const LabMember& member) {
    return fmt::format("{}.{}", bridge_of(lab), member.index);
}
bool is_up(const Lab& lab) {
    return file_exists("/sys/class/net/" + bridge_of(lab));
}

// Commands that change how `from` reaches `to`.
std::string blind(const Lab& lab, const LabMember& to) {
    return fmt::format("neigh replace {}.{} lladdr {} dev eth0 nud permanent\n", lab.network, to.index, k_nowhere);
}
std::string unblind(const Lab& lab, const LabMember& to) {
    return fmt::format("neigh del {}.{} dev eth0\n", lab.network, to.index);
}

template <class Change>
Result<void> change_neighbours(const Lab& lab, Change change) {
    auto const is_cut = [&](const LabMember& member) {
        return std::find(lab.cut_off.begin(), lab.cut_off.end(), member.index) != lab.cut_off.end();
    };
    for (const LabMember& from : lab.members) {
        std::string batch;
        for (const LabMember& to : lab.members)
            if (is_cut(from) != is_cut(to)) batch += change(lab, to);
        if (!batch.empty()) TRY_VOID(run_program({"ip", "-n", namespace_of(lab, from), "-batch", "-"}, batch));
    }
    return {};
}

}  // namespace

std::string namespace_of(const Lab& lab, const LabMember& member) {
    return fmt::format("corelet-{}-{}", hex64(lab.mesh.v).substr(0, 8), member.index);
}

Result<std::string> choose_network(const std::string& directory) {
    if (::geteuid() != 0)
        return fail(
            Code::kDenied,
            "--net tcp gives each corelet a network namespace of its own, which takes root; run it as root, or "
            "leave --net out to use unix sockets");
    u64 seed = 0;
    for (char const c : directory) seed = hash64(seed, static_cast<u8>(c));
    TRY(std::string const routes, read_file("/proc/net/fib_trie"));
    for (u32 attempt = 0; attempt < 100; ++attempt) {
        u64 const drawn = hash64(seed, attempt);
        std::string network = fmt::format("10.{}.{}", 64 + drawn % 128, drawn / 128 % 256);
        if (routes.find(network + ".") == std::string::npos) return network;
    }
    return fail(Code::kExists, "no range of addresses 10.x.y.0/24 is free on this machine");
}

Result<void> raise_network(const Lab& lab) {
    if (is_up(lab)) return {};
    std::string const bridge = bridge_of(lab);
    std::string batch = fmt::format("link add {} type bridge\naddr add {}.{}/24 dev {}\nlink set {} up\n", bridge,
                                    lab.network, k_host_number, bridge, bridge);
    for (const LabMember& member : lab.members) {
        std::string const name = namespace_of(lab, member);
        std::string const link = link_of(lab, member);
        batch += fmt::format(
            "netns add {}\nlink add {} type veth peer name eth0 netns {}\nlink set {} master {}\nlink set {} up\n",
            name, link, name, link, bridge, link);
    }
    auto raised = run_program({"ip", "-batch", "-"}, batch);
    for (const LabMember& member : lab.members) {
        if (!raised) break;
        raised = run_program({"ip", "-n", namespace_of(lab, member), "-batch", "-"},
                             fmt::format("addr add {}.{}/24 dev eth0\nlink set lo up\nlink set eth0 up\n",
                                         lab.network, member.index));
    }
    if (raised) return {};
    remove_network(lab);
    return std::unexpected(
        with_context(raised.error(), "making the lab's network (leave --net out to use unix sockets)"));
}

void remove_network(const Lab& lab) {
    std::string batch;
    for (const LabMember& member : lab.members)
        if (file_exists("/run/netns/" + namespace_of(lab, member)))
            batch += fmt::format("netns del {}\n", namespace_of(lab, member));
    for (const LabMember& member : lab.members)
        if (file_exists("/sys/class/net/" + link_of(lab, member)))
            batch += fmt::format("link del {}\n", link_of(lab, member));
    if (is_up(lab)) batch += fmt::format("link del {}\n", bridge_of(lab));
    if (!batch.empty()) (void)run_program({"ip", "-force", "-batch", "-"}, batch);
}

Result<void> cut_network(const Lab& lab) {
    return change_neighbours(lab, blind);
}

Result<void> mend_network(const Lab& lab) {
    return change_neighbours(lab, unblind);
}

}  // namespace corelet::app
