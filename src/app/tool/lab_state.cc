#include "app/tool/lab_state.h"

#include <fmt/format.h>

#include <charconv>

#include "app/tool/json_file.h"
#include "app/tool/lab_network.h"
#include "base/json.h"
#include "node/gossip_link.h"

namespace corelet::app {

namespace {

constexpr u16 k_peer_port = 7700;

Result<Lab> parse_lab(const Json& json, const std::string& directory) {
    Lab lab;
    lab.directory = directory;
    TRY(u64 const mesh, parse_hex64(json.at("mesh").get<std::string>()));
    lab.mesh = MeshId(mesh);
    lab.size_bytes = json.at("size_bytes").get<u64>();
    lab.out_after = Duration{json.at("out_after_ms").get<i64>() * 1'000'000};
    lab.cache_bytes = json.value("cache_bytes", lab.cache_bytes);
    lab.tcp = json.at("net").get<std::string>() == "tcp";
    lab.catalog = json.value("catalog", std::string());
    lab.network = json.value("network", std::string());
    lab.cut_off = json.value("cut_off", std::vector<u32>());
    lab.cut_from = json.value("cut_from", std::vector<u32>());
    for (const Json& item : json.at("corelets")) {
        LabMember member;
        member.index = item.at("index").get<u32>();
        TRY(u64 const id, parse_hex64(item.at("id").get<std::string>()));
        member.corelet = CoreletId(id);
        member.role = item.at("role").get<std::string>() == "witness" ? mesh::Role::kWitness : mesh::Role::kStorage;
        TRY(member.location, mesh::Location::parse(item.at("location").get<std::string>()));
        member.directory = directory + "/" + item.at("directory").get<std::string>();
        member.in_bay = item.value("in_bay", false);
        if (member.in_bay)
            if (auto const own = load_config(member.directory)) member.corelet = own->corelet;
        lab.members.push_back(std::move(member));
    }
    return lab;
}

}  // namespace

const LabMember* Lab::find(u32 index) const {
    for (const LabMember& member : members)
        if (member.index == index) return &member;
    return nullptr;
}

Address Lab::peer_address(const LabMember& member) const {
    return tcp ? Address::tcp(fmt::format("{}.{}", network, member.index), k_peer_port)
               : control_address(member.directory);
}

bool is_lab(const std::string& directory) {
    return file_exists(directory + "/" + k_lab_file);
}

Result<Lab> load_lab(const std::string& directory) {
    auto lab =
        parse_json_file(directory + "/" + k_lab_file, [&](const Json& json) { return parse_lab(json, directory); });
    if (!lab && lab.error().code == Code::kNotFound)
        return fail(Code::kNotFound,
                    fmt::format("there is no lab in '{}'; start one: corelet lab up --corelets 8 --dir {}",
                                directory, directory));
    return lab;
}

Result<void> save_lab(const Lab& lab) {
    Json members = Json::array();
    for (const LabMember& member : lab.members)
        members.push_back(Json{{"index", member.index},
                               {"id", to_string(member.corelet)},
                               {"role", mesh::role_name(member.role)},
                               {"location", member.location.to_string()},
                               {"directory", member.directory.substr(lab.directory.size() + 1)},
                               {"in_bay", member.in_bay}});
    Json json{{"version", 1},
              {"mesh", hex64(lab.mesh.v)},
              {"size_bytes", lab.size_bytes},
              {"out_after_ms", lab.out_after.ms()},
              {"cache_bytes", lab.cache_bytes},
              {"net", lab.tcp ? "tcp" : "unix"},
              {"catalog", lab.catalog},
              {"network", lab.network},
              {"bridge", lab.tcp ? bridge_of(lab) : std::string()},  // for people who look at their interfaces
              {"cut_off", lab.cut_off},
              {"cut_from", lab.cut_from},
              {"corelets", members}};
    return replace_file(lab.file(k_lab_file), json.dump(2) + "\n");
}

Result<Lab> plan_lab(const LabPlan& plan) {
    u32 const count = plan.corelets + plan.witnesses;
    if (plan.corelets == 0 || plan.corelets > k_lab_members_max || plan.witnesses > k_lab_members_max ||
        count > k_lab_members_max)
        return fail(Code::kInvalid,
                    fmt::format("a lab has 1 to {} corelets, witnesses included", k_lab_members_max));
    if (plan.zones == 0) return fail(Code::kInvalid, "a lab has at least one zone");
    Lab lab;
    lab.directory = plan.directory;
    lab.size_bytes = plan.size_bytes;
    lab.out_after = plan.out_after;
    lab.cache_bytes = plan.cache_bytes;
    lab.catalog = plan.catalog;
    lab.tcp = plan.tcp;
    for (u32 i = 1; i <= count; ++i) {
        LabMember member;
        member.index = i;
        member.role = i <= plan.corelets ? mesh::Role::kStorage : mesh::Role::kWitness;
        member.location.zone = fmt::format("z{}", (i - 1) % plan.zones + 1);
        member.location.rack = "r1";
        member.location.chassis = fmt::format("c{}", i);
        member.directory = fmt::format("{}/c{}", lab.directory, i);
        TRY_VOID(check_socket_path(gossip_address(control_address(member.directory)).host));
        lab.members.push_back(std::move(member));
    }
    return lab;
}

CoreletConfig member_config(const Lab& lab, const LabMember& member) {
    CoreletConfig config;
    config.mesh = lab.mesh;
    config.corelet = member.corelet;
    config.device = member.directory + "/device";
    config.location = member.location;
    config.role = member.role;
    config.export_directory = lab.directory;
    config.out_after = lab.out_after;
    config.cache_bytes = lab.cache_bytes;
    config.catalog = lab.catalog;
    if (lab.tcp) {
        config.listen.push_back(lab.peer_address(member));
        config.insecure = true;  // its network has no other inhabitants
    }
    for (const LabMember& other : lab.members)
        if (other.index != member.index) config.seeds.push_back(lab.peer_address(other));
    return config;
}

Result<std::vector<u32>> parse_members(const Lab& lab, std::string_view text) {
    std::vector<u32> out;
    for (usize at = 0; at <= text.size();) {
        usize const comma = std::min(text.find(',', at), text.size());
        std::string_view const part = text.substr(at, comma - at);
        u32 index = 0;
        auto const [end, error] = std::from_chars(part.data(), part.data() + part.size(), index);
        if (error != std::errc() || end != part.data() + part.size())
            return fail(Code::kInvalid,
                        fmt::format("'{}' is no corelet of a lab; write a number, or several as 1,4", part));
        if (!lab.find(index))
            return fail(Code::kNotFound, fmt::format("this lab has no corelet {}; they are numbered 1 to {}", index,
                                                     lab.members.size()));
        out.push_back(index);
        at = comma + 1;
    }
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
}

}  // namespace corelet::app
