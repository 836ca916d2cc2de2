#include "app/tool/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "app/tool/units.h"
#include "base/json.h"

namespace corelet::app {

namespace {

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

std::string name_of(const Json& corelet) {
    return corelet.contains("index") ? std::to_string(corelet["index"].get<u32>()) : corelet.value("id", "");
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
            others[state].push_back(name_of(corelet));
        }
    }
    std::vector<std::string> cordoned;
    for (const Json& corelet : status.at("corelets"))
        if (corelet.value("cordoned", false)) cordoned.push_back(name_of(corelet));
    if (!cordoned.empty()) others["cordoned"] = std::move(cordoned);
    std::string const outside = status.at("catalog").value("outside", "");
    std::string out = fmt::format("corelets  {} of {} up in {}, {}", up, status.at("corelets").size(),
                                  counted(zones.size(), "zone"),
                                  outside.empty() ? counted(voters, "voter") : "catalog at " + outside);
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

std::string rebuilding_text(const Json& status, const std::string& chunks, u64 left) {
    const Json& healing = status.at("healing");
    Duration const eta{static_cast<i64>(healing.value("eta_seconds", u64{0})) * 1'000'000'000};
    std::string out =
        fmt::format("rebuilding {}, {} left, about {}", chunks, format_size(left), format_duration(eta));
    if (u64 const rate = healing.value("rate_bytes_per_second", u64{0}); rate != 0)
        out += fmt::format(" at {}/s", format_size(rate));
    std::string slowed = healing.value("slowed_by", "");
    std::string_view const whose = "clients of ";
    if (slowed.starts_with(whose)) slowed = std::string(whose) + corelet_label(status, slowed.substr(whose.size()));
    if (!slowed.empty()) out += " (held to that by " + slowed + ")";
    return out;
}

// What goes on by itself, and for how long.
std::string work_line(const Json& status) {
    const Json& healing = status.at("healing");
    u64 const left = healing.value("bytes_left", u64{0});
    u64 const degraded = healing.value("chunks_degraded", u64{0});
    std::vector<std::string> out;
    if (left != 0 || degraded != 0) out.push_back(rebuilding_text(status, counted(degraded, "chunk"), left));
    u64 unpacked = 0;
    for (const Json& volume : status.at("volumes")) unpacked += volume.value("unpacked_bytes", u64{0});
    if (unpacked != 0) out.push_back(fmt::format("{} still to be packed into chunks", format_size(unpacked)));
    return out.empty() ? std::string() : "work      " + joined(out);
}

// Pairs that do not reach each other; each of the two may say so.
std::string path_warning(const Json& status) {
    std::set<std::pair<std::string, std::string>> pairs;
    std::string first;
    for (const Json& path : status.value("paths", Json::array())) {
        std::string const from = path.value("from", ""), to = path.value("to", "");
        pairs.insert(std::minmax(from, to));
        if (first.empty())
            first =
                fmt::format("{} does not reach {}: what it has to say goes through {}", corelet_label(status, from),
                            corelet_label(status, to), corelet_label(status, path.value("through", "")));
    }
    if (pairs.size() > 1) first += fmt::format(" (and {} more)", counted(pairs.size() - 1, "pair"));
    return first;
}

void catalog_warnings(const Json& catalog, std::vector<std::string>& out) {
    if (!catalog.value("available", true)) {
        std::string const outside = catalog.value("outside", "");
        out.push_back(
            fmt::format("warning   the catalog {}: volumes go on, but nothing can be created or moved; {}",
                        outside.empty() ? "has no quorum" : "at " + outside + " does not answer",
                        outside.empty() ? "start the corelets that are down" : "see to that etcd"));
    }
    if (catalog.value("recovered", false))
        out.emplace_back(
            "warning   the catalog was recovered and nothing is deleted; when the volumes are as they should be: "
            "corelet catalog accept");
}

// The worst first. What the lines above say already (who is down) is not said again.
std::string health_line(const Json& status) {
    struct Said {
        bool failed = false;
        std::string text;
    };
    std::vector<Said> all;
    auto const take = [&](const std::string& subject, const Json& part, const char* key) {
        Json const health = part.value(key, Json::object());
        std::string const state = health.value("state", "healthy");
        if (state == "healthy") return;
        all.push_back(Said{state == "failed",
                           fmt::format("{} {} ({}): {}", subject, state, health.at("level").get<std::string>(),
                                       health.value("reason", ""))});
    };
    for (const Json& corelet : status.at("corelets")) {
        std::string const label = corelet_label(status, corelet.value("id", ""));
        if (corelet.value("state", "") == "up") take(label, corelet, "health");
        if (corelet.value("trouble", "").empty()) take("device of " + label, corelet, "device_health");
    }
    for (const Json& volume : status.at("volumes")) take("volume " + volume.value("name", ""), volume, "health");
    for (const Json& pool : status.at("pools")) take("pool " + pool.value("name", ""), pool, "health");
    if (all.empty()) return {};
    std::stable_sort(all.begin(), all.end(), [](const Said& a, const Said& b) { return a.failed > b.failed; });
    std::string const more =
        all.size() > 1 ? fmt::format(" (and {} more: corelet --json status; corelet events)", all.size() - 1) : "";
    return "health    " + all.front().text + more;
}

std::vector<std::string> warnings(const Json& status) {
    std::vector<std::string> out;
    if (std::string const path = path_warning(status); !path.empty()) out.push_back("warning   " + path);
    const Json& healing = status.at("healing");
    if (healing.value("paused", false))
        out.push_back(fmt::format("warning   healing is paused until {}; end it: corelet resume",
                                  format_time(healing.value("paused_until_unix", i64{0}))));
    catalog_warnings(status.value("catalog", Json::object()), out);
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
    // One that has joined from elsewhere is a member like any other.
    for (const Json& corelet : status.at("corelets"))
        if (!current.contains(corelet.value("id", "")))
            (corelet.value("state", "") == "out" ? retired : ordered).push_back(corelet);
    status["corelets"] = std::move(ordered);
    status["retired"] = std::move(retired);
}

Result<Json> ask_status(const Context& context, const Reach& reach) {
    TRY(Json status, run_command(reach, "status", Json::object(), k_command_limit, true));
    if (auto const lab = context.lab()) order_corelets(status, *lab);
    return status;
}

Result<Json> status_for_words(const Context& context, const Reach& reach) {
    if (context.json) return Json::object();
    return ask_status(context, reach);
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
    if (std::string const health = health_line(status); !health.empty()) lines.push_back(health);
    for (std::string& warning : warnings(status)) lines.push_back(std::move(warning));
    if (lines.size() > k_report_lines_max) lines.resize(k_report_lines_max);
    std::string out;
    for (const std::string& line : lines) out += line + "\n";
    return out;
}

}  // namespace corelet::app
