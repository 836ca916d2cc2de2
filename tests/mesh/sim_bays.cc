#include "tests/mesh/sim_bays.h"

#include "app/tool/bay_probe.h"

namespace corelet {

namespace {

// The keeper looks at its folder so often, and hears of what ended a little sooner.
constexpr Duration k_tick = 50_ms;
constexpr u64 k_ticks_a_survey = 5;

std::string name_of_bay(usize bay) {
    return std::to_string(bay);
}
usize bay_of_name(const std::string& name) {
    return std::stoul(name);
}

}  // namespace

SimBays::SimBays(SimMesh& mesh) : mesh_(mesh), bays_(mesh.options().spare_machines) {
    tick();
}

void SimBays::tick() {
    for (usize bay = 0; bay < bays_.size(); ++bay) hear(bay);
    if (ticks_++ % k_ticks_a_survey == 0) survey();
    mesh_.world().call_in(k_tick, [this, alive = alive_] {
        if (*alive) tick();
    });
}

void SimBays::survey() {
    app::BaysSurveyed seen;
    for (usize bay = 0; bay < bays_.size(); ++bay)
        if (bays_[bay].device)
            seen.bays[name_of_bay(bay)] = {app::DeviceMark{1, *bays_[bay].device, media_of(bay).size_bytes()}, {}};
    apply(std::move(seen));
}

void SimBays::apply(app::BayEvent event) {
    Instant const now{mesh_.world().now().ns + 1};
    for (const app::BayEffect& effect : core_.step(std::move(event), now)) carry_out(effect);
}

void SimBays::carry_out(const app::BayEffect& effect) {
    if (auto const* const said = std::get_if<app::TellOfBay>(&effect))
        told_.push_back(said->bay + " " + said->event);
    else if (auto const* const looked = std::get_if<app::LookAtBay>(&effect))
        begin_look(bay_of_name(looked->bay));
    else if (auto const* const made = std::get_if<app::MakeBay>(&effect))
        begin_make(bay_of_name(made->bay));
    else if (auto const* const started = std::get_if<app::StartBay>(&effect))
        begin_corelet(bay_of_name(started->bay));
    else
        end(bay_of_name(std::get<app::EndBay>(effect).bay));
}

Task<void> SimBays::look(Env& env, std::string path, MeshId mesh,
                         std::shared_ptr<std::optional<app::BayFinding>> out) {
    auto const report = co_await app::report_device(&env, path, mesh);
    out->emplace(report.finding);
}

void SimBays::begin_look(usize bay) {
    SimBay& its = bays_[bay];
    CORELET_ASSERT(its.pid == 0 && !mesh_.machine(machine_of(bay)).is_up());
    its.look = std::make_shared<std::optional<app::BayFinding>>();
    mesh_.machine(machine_of(bay)).start([this, bay, out = its.look](Env& env) {
        return look(env, mesh_.device_path(machine_of(bay)), mesh_.mesh_id(), out);
    });
}

void SimBays::begin_make(usize bay) {
    bays_[bay].make = std::make_shared<std::optional<bool>>();
    mesh_.format_inserted(machine_of(bay), bays_[bay].make);
}

// Of a device that is gone again there is nothing to start.
void SimBays::begin_corelet(usize bay) {
    SimBay& its = bays_[bay];
    if (its.device) {
        its.pid = ++pids_;
        mesh_.start(machine_of(bay));
    }
    apply(app::BayStarted{name_of_bay(bay), its.pid, its.device ? "" : "there is no device"});
}

void SimBays::end(usize bay) {
    if (bays_[bay].pid != 0) mesh_.machine(machine_of(bay)).crash(sim::Ending::kKill);
}

// What was under way and has ended, and programs that have.
void SimBays::hear(usize bay) {
    SimBay& its = bays_[bay];
    sim::Node& machine = mesh_.machine(machine_of(bay));
    if (its.look && (*its.look || !machine.is_up())) {
        if (machine.is_up()) machine.crash(sim::Ending::kKill);
        auto const looked = std::exchange(its.look, nullptr);
        apply(app::BayLookedAt{name_of_bay(bay), looked->value_or(app::BayFinding{})});
    }
    if (its.make && (*its.make || !machine.is_up())) {
        if (machine.is_up()) machine.crash(sim::Ending::kKill);
        bool const made = std::exchange(its.make, nullptr)->value_or(false);
        apply(app::BayMade{name_of_bay(bay), made ? "" : "its device does not take it"});
    }
    bool const ended = its.pid != 0 && (!machine.is_up() || machine.live_tasks() == 0);
    if (!ended) return;
    if (machine.is_up()) machine.crash(sim::Ending::kKill);
    apply(app::BayEnded{name_of_bay(bay), std::exchange(its.pid, 0)});
}

sim::MediaFile& SimBays::media_of(usize bay) {
    auto* const file = mesh_.machine(machine_of(bay)).media().find(mesh_.device_path(machine_of(bay)));
    CORELET_ASSERT(file);
    return *file;
}

void SimBays::insert(usize bay, const PulledDevice& device) {
    insert_blank(bay);
    bays_[bay].device = device.number;
    media_of(bay).roll_back(device.bytes);
}

void SimBays::insert_blank(usize bay) {
    CORELET_ASSERT(is_empty(bay));
    sim::Node& machine = mesh_.machine(machine_of(bay));
    // Somebody who still had the former device in his hand loses it now.
    if (machine.is_up()) machine.crash(sim::Ending::kKill);
    machine.media().erase(mesh_.device_path(machine_of(bay)));
    machine.media().add_device(mesh_.device_path(machine_of(bay)), mesh_.options().spare_device_bytes);
    bays_[bay].device = ++devices_;
}

PulledDevice SimBays::copy_of(usize bay) {
    CORELET_ASSERT(!is_empty(bay));
    return {++devices_, media_of(bay).snapshot()};
}

PulledDevice SimBays::pull(usize bay) {
    CORELET_ASSERT(!is_empty(bay));
    PulledDevice out{*bays_[bay].device, media_of(bay).snapshot()};
    media_of(bay).faults.dead = true;
    bays_[bay].device.reset();
    return out;
}

void SimBays::kill(usize bay) {
    CORELET_ASSERT(bays_[bay].pid != 0);
    mesh_.machine(machine_of(bay)).crash(sim::Ending::kKill);
}

app::BayState SimBays::state(usize bay) const {
    auto const found = core_.bays().find(name_of_bay(bay));
    return found == core_.bays().end() ? app::BayState::kSettling : found->second.state;
}

}  // namespace corelet
