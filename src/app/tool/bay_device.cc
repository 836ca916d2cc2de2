#include "app/tool/bay_device.h"

#include <fmt/format.h>
#include <signal.h>  // host: the process of a device that is gone is ended

#include "app/tool/bay_survey.h"
#include "app/tool/context.h"
#include "app/tool/identity.h"
#include "app/tool/process.h"

namespace corelet::app {

namespace {

std::vector<CoreletConfig> neighbours_of(const BayPlace& place) {
    std::vector<CoreletConfig> out;
    for (const std::string& name : list_directory(place.keeper)) {
        if (name == place.bay || !is_bay_name(name)) continue;
        if (auto config = load_config(place.keeper + "/" + name)) out.push_back(*std::move(config));
    }
    return out;
}

// A new corelet's, or one's that has come from another bay; where it listened in this bay before, it does again.
Result<CoreletConfig> fresh_config(const BayPlace& place, const std::optional<CoreletConfig>& former) {
    TRY(CoreletConfig out, config_of_bay(place.config, place.bay, place.host, neighbours_of(place)));
    if (former && !former->listen.empty() && !place.config.listen.empty()) out.listen = former->listen;
    if (out.export_directory.empty()) out.export_directory = place.directory();
    out.device = place.device();
    return out;
}

std::optional<CoreletConfig> former_config(const BayPlace& place) {
    auto config = load_config(place.directory());
    return config ? std::optional(*std::move(config)) : std::nullopt;
}

// Somebody may have made a corelet there by hand, which is not the keeper's to end.
Result<void> check_free(const BayPlace& place, const std::optional<CoreletConfig>& former) {
    if (!former || former->device == place.device() || !file_exists(former->device)) return {};
    return fail(Code::kConflict,
                fmt::format("its directory '{}' is that of corelet {} with the device '{}'; move it, "
                            "or name the bay otherwise",
                            place.directory(), to_string(former->corelet), former->device));
}

// The device decides who the corelet is; the directory says how it is reached.
Result<void> fit_directory(const BayPlace& place, const DeviceLabel& label) {
    auto const former = former_config(place);
    TRY_VOID(check_free(place, former));
    TRY_VOID(make_directory(place.directory()));
    TRY_VOID(save_key(place.directory(), read_key(place.keeper)));
    bool const fits = former && former->mesh == label.mesh && former->corelet == label.identity &&
                      former->device == place.device();
    if (fits) return {};
    TRY(CoreletConfig config, fresh_config(place, former));
    config.corelet = label.identity;
    config.role = label.witness ? mesh::Role::kWitness : mesh::Role::kStorage;
    // Where the map has it, wherever it is put in.
    if (auto const location = mesh::Location::parse(label.location)) config.location = *location;
    return save_config(place.directory(), config);
}

std::optional<BayFinding> look_at_process(const BayPlace& place) {
    auto const running = find_corelet(place.directory());
    auto const seen = look_at_entry(place.device());
    if (!running || !seen) return std::nullopt;
    if (has_open(running->pid, seen->mark))
        return BayFinding{BayHolds::kServed, "is served already by process " + std::to_string(running->pid),
                          running->pid};
    auto const former = former_config(place);
    if (auto const free = check_free(place, former); !free)
        return BayFinding{BayHolds::kBusy, free.error().message, 0};
    (void)send_signal(running->pid, SIGKILL);
    return BayFinding{BayHolds::kBusy, "waits for the process of the device that was there before", 0};
}

}  // namespace

Task<BayFinding> look_at_bay(Env* env, BayPlace place) {
    if (auto running = look_at_process(place)) co_return *std::move(running);
    DeviceReport report = co_await report_device(env, place.device(), place.config.mesh);
    if (report.finding.holds != BayHolds::kMember) co_return report.finding;
    auto const fitted = fit_directory(place, *report.label);
    if (!fitted) co_return BayFinding{BayHolds::kBusy, fitted.error().message, 0};
    co_return report.finding;
}

Task<Result<void>> make_bay(Env* env, BayPlace place) {
    auto const former = former_config(place);
    CO_TRY_VOID(check_free(place, former));
    NewCorelet wanted;
    wanted.directory = place.directory();
    wanted.device.path = place.device();
    wanted.device.must_be_blank = true;
    CO_TRY(wanted.config, fresh_config(place, former));
    CO_TRY_VOID(make_directory(place.directory()));
    CO_TRY_VOID(save_key(place.directory(), read_key(place.keeper)));
    if (former) remove_file(place.directory() + "/" + k_config_file);
    auto const made = co_await make_corelet(*env, std::move(wanted));
    if (!made) co_return std::unexpected(made.error());
    co_return Result<void>{};
}

}  // namespace corelet::app
