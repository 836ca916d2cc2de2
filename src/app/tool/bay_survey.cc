#include "app/tool/bay_survey.h"

#include <sys/stat.h>  // host: bays are entries of a folder of this machine

#include "app/tool/bay_config.h"
#include "app/tool/files.h"

namespace corelet::app {

std::optional<BaySeen> look_at_entry(const std::string& path) {
    struct stat status{};
    if (::stat(path.c_str(), &status) != 0) return std::nullopt;
    BaySeen out;
    if (S_ISBLK(status.st_mode)) {
        out.mark = {0, status.st_rdev, 0};
    } else if (S_ISREG(status.st_mode)) {
        out.mark = {status.st_dev, status.st_ino, static_cast<u64>(status.st_size)};
    } else {
        out.mark = {status.st_dev, status.st_ino, 0};
        out.unfit = "is neither a file nor a block device";
    }
    return out;
}

std::map<std::string, BaySeen> survey_bays(const std::string& folder) {
    std::map<std::string, BaySeen> out;
    for (const std::string& name : list_directory(folder)) {
        if (name.starts_with('.') || out.size() >= k_bays_max) continue;
        auto seen = look_at_entry(folder + "/" + name);
        if (!seen) continue;
        if (!is_bay_name(name)) seen->unfit = "has a name that is no bay's: use letters, digits, '.', '_' and '-'";
        out.emplace(name, *std::move(seen));
    }
    return out;
}

bool has_open(int pid, const DeviceMark& device) {
    std::string const folder = "/proc/" + std::to_string(pid) + "/fd";
    for (const std::string& name : list_directory(folder)) {
        auto const seen = look_at_entry(folder + "/" + name);
        if (seen && seen->unfit.empty() && seen->mark.same_device(device)) return true;
    }
    return false;
}

}  // namespace corelet::app
