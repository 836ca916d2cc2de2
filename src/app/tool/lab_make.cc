#include "app/tool/lab_make.h"

#include <fmt/format.h>

#include <filesystem>  // host: directories are removed with what is in them

#include "app/tool/context.h"
#include "app/tool/identity.h"
#include "app/tool/lab_bays.h"
#include "app/tool/lab_network.h"
#include "app/tool/lab_run.h"
#include "app/tool/tool_world.h"
#include "os/random.h"
#include "rt/combine.h"

namespace corelet::app {

namespace {

// A few log halves; the catalog is small.
constexpr u64 k_witness_device_bytes = 32 * k_mib;

NewCorelet describe(const Lab& lab, const LabMember& member) {
    NewCorelet wanted;
    wanted.directory = member.directory;
    wanted.config = member_config(lab, member);
    wanted.device.path = wanted.config.device;
    wanted.device.size_bytes = member.role == mesh::Role::kWitness ? k_witness_device_bytes : lab.size_bytes;
    return wanted;
}

void remove_tree(const std::string& path) {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
}

Result<void> make_members(Lab& lab) {
    TRY(auto world, make_tool_world());
    std::vector<Task<Result<CoreletConfig>>> makers;
    for (const LabMember& member : lab.members) {
        NewCorelet wanted = describe(lab, member);
        wanted.config.bootstrap = member.index == 1;
        makers.push_back(make_corelet(world->env(), std::move(wanted)));
    }
    auto const made = world->run_until_done(join_all<Result<CoreletConfig>>(std::move(makers)));
    for (usize i = 0; i < made.size(); ++i) {
        if (!made[i])
            return std::unexpected(with_context(made[i].error(), fmt::format("corelet {} of the lab", i + 1)));
        lab.members[i].corelet = made[i]->corelet;
    }
    return {};
}

Result<void> share_key(const Lab& lab) {
    std::string const key = new_key();
    TRY_VOID(save_key(lab.directory, key));
    for (const LabMember& member : lab.members) TRY_VOID(save_key(member.directory, key));
    return {};
}

// Says of a directory that what lies in it is a lab half made, which may be begun anew.
constexpr const char* k_unfinished_file = "lab.unfinished";

Result<void> fill_lab(Lab& lab) {
    TRY_VOID(replace_file(lab.file(k_unfinished_file), "corelet lab up was interrupted; it begins anew\n"));
    TRY_VOID(make_members(lab));
    TRY_VOID(share_key(lab));
    // Last: a lab that is half made is none.
    TRY_VOID(save_lab(lab));
    remove_file(lab.file(k_unfinished_file));
    return {};
}

// A former lab may have lost its directory while it ran: its processes serve nothing that anybody could find.
Result<void> clear_place(const Lab& lab) {
    if (file_exists(lab.file(k_unfinished_file))) wipe_lab(lab);
    if (!list_directory(lab.directory).empty())
        return fail(Code::kExists,
                    fmt::format("'{}' is not empty and holds no lab; choose another directory", lab.directory));
    TRY_VOID(stop_corelets(lab.directory, [&](const std::string& directory) {
        return directory.starts_with(lab.directory + "/") && !file_exists(directory);
    }));
    if (lab.tcp) remove_network(lab.directory);
    return {};
}

}  // namespace

Result<Lab> make_lab(const LabPlan& plan) {
    TRY(Lab lab, plan_lab(plan));
    TRY_VOID(clear_place(lab));
    lab.mesh = MeshId(os::os_random_seed() | 1);
    if (lab.tcp) {
        TRY(lab.network, choose_network(lab.directory));
    }
    TRY_VOID(make_directory(lab.directory));
    auto const filled = fill_lab(lab);
    if (filled) return lab;
    wipe_lab(lab);
    return std::unexpected(filled.error());
}

Result<void> replace_member(Lab& lab, u32 index) {
    LabMember* member = nullptr;
    for (LabMember& other : lab.members)
        if (other.index == index) member = &other;
    CORELET_ASSERT(member, "the caller has looked it up");
    remove_file(member->directory + "/device");
    remove_file(member->directory + "/" + k_config_file);
    TRY(auto world, make_tool_world());
    TRY(CoreletConfig const made, world->run_until_done(make_corelet(world->env(), describe(lab, *member))));
    member->corelet = made.corelet;
    return save_lab(lab);
}

void wipe_lab(const Lab& lab) {
    wipe_lab_bays(lab);
    for (const LabMember& member : lab.members) remove_tree(member.directory);
    for (const std::string& name : list_directory(lab.directory))
        if (name.ends_with(".nbd") || name.starts_with(".s") || name == k_key_file || name == k_unfinished_file)
            remove_file(lab.file(name));
    remove_file(lab.file(k_lab_file));
    std::error_code ignored;
    std::filesystem::remove(lab.directory, ignored);
}

}  // namespace corelet::app
