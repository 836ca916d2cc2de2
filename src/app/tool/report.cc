#include "app/tool/report.h"

#include <fmt/format.h>

#include <set>

#include "app/tool/units.h"

namespace corelet::app {

namespace {

using Json = nlohmann::json;

constexpr usize k_pool_lines = 2;
constexpr usize k_volume_lines = 4;

std::string counted(u64 count, std::string_view what) {
    return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

std::string joined(const std::vector<std::string>& words) {
    std::string out;
    for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
    return out;
}

// Which volumes cannot be used, and what they wait for.
std::string what_is_missing(const Json& status) {
    std::vector<std::string> out;
    for (const Json& volume : status.at("volumes")) {
        std::string const waits = volume.value("waiting_for", std::string());
        bool const unserved = volume.at("attached_to").is_string() && !volume.value("served", false);
        std::string const unexported = volume.value("export_error", std::string());
        if (volume.value("uri", std::string()).empty() && !unexported.empty())
            out.push_back("volume " + volume.value("name", "") + " has no export: " + unexported);
        else if (unserved)
            out.push_back("volume " + volume.value("name", "") + " has no owner");
        else if (!waits.empty())
            out.push_back("volume " + volume.value("name", "") + " waits for " + waits);
        if (out.size() == 3) break;
    }
    return joined(out);
}

std::string headline(const Json& status) {
    std::string const health = status.value("health", std::string());
    std::string const losses = loss_sentence(status);
    std::string const limit = status.value("limited_by", std::string());
    if (health == "ok") return fmt::format("ok: {}", losses);
    if (health == "degraded")
        return fmt::format("degraded: full redundancy is being restored; for now {} (limited by {})", losses,
                           limit);
    if (health == "at_risk")
        return fmt::format("at risk: the next loss may cost service or data; {} (limited by {})", losses, limit);
    std::string const missing = what_is_missing(status);
    return fmt::format("unavailable: {}; {}", missing.empty() ? "something cannot be read or written" : missing,
                       losses);
}

std::string capacity_line(const Json& status) {
    std::string out = fmt::format("capacity  {} used of {}", format_size(status.value("used_bytes", u64{0})),
                                  format_size(status.value("capacity_bytes", u64{0})));
    const Json& pools = status.at("pools");
    for (usize i = 0; i < pools.size() && i < 3; ++i)
        out += fmt::format("; pool {} takes {} more", pools[i].value("name", ""),
                           format_size(pools[i].value("usable_bytes", u64{0})));
    return out;
}

std::string corelets_line(const Json& status) {
    usize up = 0, voters = 0;
    std::set<std::string> zones;
    std::map<std::string, std::vector<std::string>> others;
    for (const Json& corelet : status.at("corelets")) {
        std::string const state = corelet.value("state", "");
        std::string const location = corelet.value("location", "");
        zones.insert(location.substr(0, location.find('/')));
        voters += corelet.value("voter", false) ? 1 : 0;
        if (state == "up") {
            ++up;
        } else {
            others[state].push_back(corelet.contains("index") ? std::to_string(corelet["index"].get<u32>())
                                                              : corelet.value("id", ""));
        }
    }
    std::string out = fmt::format("corelets  {} of {} up in {}, {}", up, status.at("corelets").size(),
                                  counted(zones.size(), "zone"), counted(voters, "voter"));
    for (auto& [state, names] : others) {
        if (names.size() > 8) names.resize(8);
        out += fmt::format("; {}: {}", state, joined(names));
    }
    return out;
}

void volume_lines(const Json& status, std::vector<std::string>& lines) {
    const Json& volumes = status.at("volumes");
    for (usize i = 0; i < volumes.size(); ++i) {
        if (i == k_volume_lines - 1 && volumes.size() > k_volume_lines) {
            lines.push_back(fmt::format("volume    and {} more: corelet volume ls", volumes.size() - i));
            return;
        }
        const Json& volume = volumes[i];
        bool const attached = volume.at("attached_to").is_string();
        bool const owned = volume.at("owner").is_string();
        std::string const uri = volume.value("uri", std::string());
        std::string const where =
            attached && owned ? fmt::format("at {}, {}", corelet_label(status, volume["owner"].get<std::string>()),
                                            uri.empty() ? "not exported" : uri)
            : attached        ? std::string("waiting for an owner")
                              : std::string("detached");
        lines.push_back(fmt::format("volume    {}: {} in {}, {}", volume.value("name", ""),
                                    format_size(volume.value("size_bytes", u64{0})), volume.value("pool", ""),
                                    where));
    }
}

// What goes on by itself, and for how long.
std::string work_line(const Json& status) {
    const Json& healing = status.at("healing");
    u64 const left = healing.value("bytes_left", u64{0});
    u64 const degraded = healing.value("chunks_degraded", u64{0});
    std::vector<std::string> out;
    if (left != 0 || degraded != 0)
        out.push_back(fmt::format(
            "rebuilding {}, {} left, about {}", counted(degraded, "chunk"), format_size(left),
            format_duration(Duration{static_cast<i64>(healing.value("eta_seconds", u64{0})) * 1'000'000'000})));
    u64 unpacked = 0;
    for (const Json& volume : status.at("volumes")) unpacked += volume.value("unpacked_bytes", u64{0});
    if (unpacked != 0) out.push_back(fmt::format("{} still to be packed into chunks", format_size(unpacked)));
    return out.empty() ? std::string() : "work      " + joined(out);
}

std::vector<std::string> warnings(const Json& status) {
    std::vector<std::string> out;
    if (status.contains("catalog") && !status["catalog"].value("available", true))
        out.emplace_back(
            "warning   the catalog has no quorum: volumes go on, but nothing can be created or moved; start the "
            "corelets that are down");
    std::vector<std::string> troubled;
    for (const Json& corelet : status.at("corelets"))
        if (!corelet.value("trouble", "").empty())
            troubled.push_back(corelet_label(status, corelet.value("id", "")) + ": " +
                               corelet.value("trouble", ""));
    if (!troubled.empty())
        out.push_back("warning   " + troubled.front() +
                      (troubled.size() > 1 ? fmt::format(" (and {} more)", troubled.size() - 1) : ""));
    for (const Json& corelet : status.at("corelets"))
        if (std::string const faults = corelet.value("disk_faults", ""); !faults.empty()) {
            out.push_back("warning   TEST: faults are injected into the disk of " +
                          corelet_label(status, corelet.value("id", "")) + " by " + faults);
            break;
        }
    u64 on_epoll = 0;
    for (const Json& corelet : status.at("corelets")) on_epoll += corelet.value("io_engine", "") == "epoll" ? 1 : 0;
    if (on_epoll != 0)
        out.push_back(fmt::format("note      {} without io_uring, on epoll and threads: slower, otherwise the same",
                                  counted(on_epoll, "corelet")));
    if (status.value("insecure", false))
        out.emplace_back("warning   corelets talk over TCP without TLS (--insecure)");
    return out;
}

}  // namespace

void order_corelets(Json& status, const Lab& lab) {
    Json ordered = Json::array();
    Json retired = status.value("retired", Json::array());
    std::set<std::string> current;
    for (const LabMember& member : lab.members) {
        std::string const id = to_string(member.corelet);
        current.insert(id);
        Json entry{{"id", id},
                   {"address", ""},
                   {"location", member.location.to_string()},
                   {"role", mesh::role_name(member.role)},
                   {"voter", false},
                   {"state", "absent"},
                   {"capacity_bytes", 0},
                   {"used_bytes", 0}};
        for (const Json& corelet : status.at("corelets"))
            if (corelet.value("id", "") == id) entry = corelet;
        entry["index"] = member.index;
        ordered.push_back(std::move(entry));
    }
    for (const Json& corelet : status.at("corelets"))
        if (!current.contains(corelet.value("id", ""))) retired.push_back(corelet);
    status["corelets"] = std::move(ordered);
    status["retired"] = std::move(retired);
}

std::string corelet_label(const Json& status, const std::string& id) {
    for (const Json& corelet : status.at("corelets"))
        if (corelet.value("id", "") == id && corelet.contains("index"))
            return fmt::format("corelet {}", corelet["index"].get<u32>());
    return "corelet " + id;
}

std::string loss_sentence(const Json& status) {
    int const losses = status.value("can_lose", 0);
    int const zones = status.value("can_lose_zones", 0);
    if (losses <= 0) return "you can lose no corelet";
    std::string out =
        fmt::format("you can lose any {}", losses == 1 ? "corelet" : fmt::format("{} corelets", losses));
    if (zones > 0)
        out += fmt::format(", or {}", zones == 1 ? "a whole zone" : fmt::format("{} whole zones", zones));
    return out;
}

std::string report(const Json& status) {
    std::vector<std::string> lines{headline(status), capacity_line(status), corelets_line(status)};
    const Json& pools = status.at("pools");
    for (usize i = 0; i < pools.size(); ++i) {
        if (i == k_pool_lines - 1 && pools.size() > k_pool_lines) {
            lines.push_back(fmt::format("pool      and {} more: corelet pool ls", pools.size() - i));
            break;
        }
        lines.push_back(fmt::format("pool      {}: {}, survives the loss of {}", pools[i].value("name", ""),
                                    pools[i].value("redundancy", ""),
                                    counted(static_cast<u64>(std::max(pools[i].value("can_lose", 0), 0)),
                                            pools[i].value("failure_domain", "corelet"))));
    }
    if (pools.empty()) lines.emplace_back("next      make a pool: corelet pool create data --redundancy rep:3");
    volume_lines(status, lines);
    if (std::string const work = work_line(status); !work.empty()) lines.push_back(work);
    for (std::string& warning : warnings(status)) lines.push_back(std::move(warning));
    if (lines.size() > k_report_lines_max) lines.resize(k_report_lines_max);
    std::string out;
    for (const std::string& line : lines) out += line + "\n";
    return out;
}

}  // namespace corelet::app
