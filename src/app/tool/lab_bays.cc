#include "app/tool/lab_bays.h"

#include <fmt/format.h>
#include <signal.h>  // host: a lab is made of processes

#include <filesystem>  // host: devices are moved
#include <set>

#include "app/tool/bay_config.h"
#include "app/tool/lab_run.h"
#include "app/tool/tool_world.h"
#include "node/gossip_link.h"

namespace corelet::app {

namespace {

constexpr Duration k_keeper_ends_within = 60_s;
constexpr Duration k_killed_within = 10_s;

std::string bay_of(u32 index) {
    return fmt::format("c{}", index);
}
std::string bays_folder(const Lab& lab) {
    return lab.file("bays");
}
std::string pulled_device(const Lab& lab, u32 index) {
    return lab.file("pulled") + "/" + bay_of(index);
}

Result<void> move_file(const std::string& from, const std::string& to) {
    std::error_code error;
    std::filesystem::rename(from, to, error);
    if (!error) return {};
    return fail(Code::kIo, fmt::format("moving '{}' to '{}': {}", from, to, error.message()));
}

// As the lab was laid out: zones in turn, a chassis of its own.
LabMember further_member(const Lab& lab, u32 index) {
    std::set<std::string> zones;
    for (const LabMember& member : lab.members) zones.insert(member.location.zone);
    LabMember out;
    out.index = index;
    out.location.zone = fmt::format("z{}", (index - 1) % std::max<usize>(zones.size(), 1) + 1);
    out.location.rack = "r1";
    out.location.chassis = bay_of(index);
    out.directory = lab.file(bay_of(index));
    return out;
}

Result<LabMember*> member_of_bay(Lab& lab, u32 index) {
    if (index == 0 || index > k_lab_members_max)
        return fail(Code::kInvalid, fmt::format("a lab has bays 1 to {}", k_lab_members_max));
    for (LabMember& member : lab.members)
        if (member.index == index) return &member;
    LabMember fresh = further_member(lab, index);
    TRY_VOID(check_socket_path(gossip_address(control_address(fresh.directory)).host));
    auto const after = std::ranges::upper_bound(lab.members, index, {}, &LabMember::index);
    return &*lab.members.insert(after, std::move(fresh));
}

Result<void> describe_bays(const Lab& lab) {
    BayConfig config;
    config.mesh = lab.mesh;
    config.bays = bays_folder(lab);
    config.location = "z1/r1/{bay}";
    config.catalog = lab.catalog;
    config.export_directory = lab.directory;
    config.out_after = lab.out_after;
    config.cache_bytes = lab.cache_bytes;
    for (const LabMember& member : lab.members) {
        config.places[bay_of(member.index)] = member.location.to_string();
        config.seeds.push_back(lab.peer_address(member));
    }
    TRY_VOID(make_directory(config.bays));
    return save_bay_config(lab.directory, config);
}

// Whole at once: under a name that the keeper does not look at, then renamed.
Task<Result<void>> put_blank(Env* env, std::string folder, std::string bay, u64 size_bytes) {
    std::string const hidden = folder + "/." + bay;
    remove_file(hidden);
    OpenOptions options;
    options.create = true;
    options.size_bytes = size_bytes;
    auto file = co_await env->disk.open(hidden, options);
    if (!file) co_return std::unexpected(with_context(file.error(), "a blank device"));
    file->reset();
    co_return move_file(hidden, folder + "/" + bay);
}

Result<void> fill_bay(const Lab& lab, u32 index, bool same) {
    std::string const kept = pulled_device(lab, index);
    if (same && !file_exists(kept))
        return fail(Code::kNotFound,
                    fmt::format("no device of corelet {} is kept; one is after: corelet lab pull {} "
                                "--keep",
                                index, index));
    if (same) return move_file(kept, bays_folder(lab) + "/" + bay_of(index));
    TRY(auto world, make_tool_world());
    return world->run_until_done(put_blank(&world->env(), bays_folder(lab), bay_of(index), lab.size_bytes));
}

}  // namespace

std::string device_of(const Lab& lab, const LabMember& member) {
    return member.in_bay ? bays_folder(lab) + "/" + bay_of(member.index) : member.directory + "/device";
}

bool has_device(const Lab& lab, const LabMember& member) {
    return file_exists(device_of(lab, member));
}

Result<void> insert_device(Lab& lab, u32 index, bool same) {
    if (lab.tcp)
        return fail(Code::kUnsupported,
                    "the corelets of this lab have networks of their own, which a keeper of bays does not make; "
                    "bays take a lab without --net tcp");
    TRY(LabMember* const member, member_of_bay(lab, index));
    if (member->role == mesh::Role::kWitness)
        return fail(Code::kUnsupported, fmt::format("corelet {} is a witness, and bays are for storage", index));
    if (has_device(lab, *member))
        return fail(Code::kConflict,
                    fmt::format("corelet {} has its device; take it out: corelet lab pull {}", index, index));
    member->in_bay = true;
    TRY_VOID(describe_bays(lab));
    TRY_VOID(save_lab(lab));
    TRY_VOID(fill_bay(lab, index, same));
    return start_lab_keeper(lab);
}

Result<void> pull_device(const Lab& lab, u32 index, bool keep) {
    const LabMember& member = *lab.find(index);
    std::string const device = device_of(lab, member);
    if (!file_exists(device))
        return fail(Code::kNotFound,
                    fmt::format("corelet {} has no device; put one in: corelet lab insert {}", index, index));
    // First the device, so that the keeper does not start another process for it.
    if (keep) {
        TRY_VOID(make_directory(lab.file("pulled")));
        TRY_VOID(move_file(device, pulled_device(lab, index)));
    } else {
        remove_file(device);
    }
    auto const running = find_corelet(member.directory);
    if (running) (void)send_signal(running->pid, SIGKILL);
    return wait_until_gone(member.directory, k_killed_within);
}

Result<void> start_lab_keeper(const Lab& lab) {
    bool const wanted = std::ranges::any_of(lab.members, [](const LabMember& member) { return member.in_bay; });
    if (!wanted || find_keeper(lab.directory)) return {};
    TRY(int const pid, start_keeper(lab.directory, bays_folder(lab)));
    (void)pid;
    return {};
}

Result<void> stop_lab_keeper(const Lab& lab) {
    auto const keeper = find_keeper(lab.directory);
    if (!keeper) return {};
    (void)send_signal(keeper->pid, SIGTERM);
    if (keeper->stopped) (void)send_signal(keeper->pid, SIGCONT);
    return wait_until_keeper_gone(lab.directory, k_keeper_ends_within);
}

void wipe_lab_bays(const Lab& lab) {
    std::error_code ignored;
    for (const char* name : {"bays", "pulled"}) std::filesystem::remove_all(lab.file(name), ignored);
    for (const char* name : {k_bays_file, k_bays_state_file, k_keeper_log_file, k_keeper_pid_file})
        remove_file(lab.file(name));
}

}  // namespace corelet::app
