#include "sim/scenario.h"

#include <charconv>

namespace corelet::sim {

namespace {

std::string_view trimmed(std::string_view text) {
    auto const first = text.find_first_not_of(" \t\r");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

Result<std::vector<FaultKind>> parse_kinds(std::string_view list) {
    std::vector<FaultKind> out;
    while (!list.empty()) {
        auto const comma = list.find(',');
        std::string_view const name = trimmed(list.substr(0, comma));
        list = comma == std::string_view::npos ? std::string_view{} : list.substr(comma + 1);
        if (name.empty()) continue;
        FaultKind kind{};
        if (!fault_by_name(name, &kind))
            return fail(Code::kInvalid, "'" + std::string(name) + "' is not a kind of fault");
        out.push_back(kind);
    }
    return out;
}

}  // namespace

u64 ScenarioParameters::number(std::string_view name, u64 otherwise) const {
    auto const found = values.find(name);
    if (found == values.end()) return otherwise;
    std::string const& text = found->second;
    u64 value = 0;
    auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size() ? value : otherwise;
}

std::string ScenarioParameters::text(std::string_view name, std::string otherwise) const {
    auto const found = values.find(name);
    return found == values.end() ? otherwise : found->second;
}

Result<ScenarioParameters> ScenarioParameters::parse(std::string_view text) {
    ScenarioParameters out;
    for (u64 number = 1; !text.empty(); ++number) {
        auto const end = text.find('\n');
        std::string_view line = text.substr(0, end);
        text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
        line = trimmed(line.substr(0, line.find('#')));
        if (line.empty()) continue;
        auto const equals = line.find('=');
        if (equals == std::string_view::npos || trimmed(line.substr(0, equals)).empty())
            return fail(Code::kInvalid, "line " + std::to_string(number) + " is not `key = value`");
        out.values[std::string(trimmed(line.substr(0, equals)))] = trimmed(line.substr(equals + 1));
    }
    return out;
}

Result<FaultMenu> ScenarioParameters::restrict_menu(FaultMenu menu) const {
    TRY(auto const without, parse_kinds(text("without")));
    if (values.contains("faults")) {
        TRY(menu.kinds, parse_kinds(text("faults")));
        menu.on_percent = 100;
    }
    std::erase_if(menu.kinds, [&](FaultKind kind) { return std::ranges::find(without, kind) != without.end(); });
    return menu;
}

std::vector<std::string> ScenarioParameters::list(std::string_view name) const {
    std::vector<std::string> out;
    std::string const names = text(name);
    for (usize at = 0; at < names.size();) {
        usize const comma = std::min(names.find(',', at), names.size());
        if (comma > at) out.push_back(names.substr(at, comma - at));
        at = comma + 1;
    }
    return out;
}

std::string ScenarioParameters::arguments() const {
    std::string out;
    for (auto const& [key, value] : values) out += " " + key + "=" + value;
    return out;
}

WorldOptions draw_world_options(u64 seed) {
    Prng prng = Prng(seed).fork("world options");
    WorldOptions options;
    options.network.window_bytes = usize{4096} << prng.below(9);
    options.network.partial_read_percent = prng.chance(1, 2) ? static_cast<u32>(prng.below(60)) : 0;
    options.network.split_write_percent = prng.chance(1, 2) ? static_cast<u32>(prng.below(40)) : 0;
    options.network.latency_spread = Duration{static_cast<i64>(20'000 << prng.below(8))};
    options.network.tail_per_million = prng.chance(1, 2) ? static_cast<u32>(prng.below(20'000)) : 0;
    options.disk.tail_per_million = prng.chance(1, 2) ? static_cast<u32>(prng.below(20'000)) : 0;
    options.disk.write_spread = Duration{static_cast<i64>(40'000 << prng.below(6))};
    options.shuffle_ready = prng.chance(3, 4);
    return options;
}

void ScenarioRegistry::add(Scenario scenario) {
    CORELET_ASSERT(find(scenario.name) == nullptr, "two scenarios of one name");
    CORELET_ASSERT(scenario.run != nullptr);
    scenarios_.push_back(std::move(scenario));
}

const Scenario* ScenarioRegistry::find(std::string_view name) const {
    auto const found = std::ranges::find(scenarios_, name, &Scenario::name);
    return found == scenarios_.end() ? nullptr : &*found;
}

ScenarioOutcome run_scenario(const Scenario& scenario, u64 seed, const ScenarioParameters& parameters,
                             const RunOptions& options) {
    World world(seed, scenario.options ? scenario.options(seed, parameters) : draw_world_options(seed));
    if (options.trace_from) world.trace().print_from(*options.trace_from, options.sink);
    auto const result = scenario.run(world, parameters);
    ScenarioOutcome outcome;
    outcome.seed = seed;
    outcome.failure = world.failure();
    if (outcome.ok() && !result) outcome.failure = result.error().to_string();
    outcome.hash = world.hash();
    outcome.stats = world.stats();
    outcome.ended = world.now();
    outcome.events = world.events();
    outcome.blocks = world.trace().blocks();
    outcome.recent_log.assign(world.recent_log().begin(), world.recent_log().end());
    return outcome;
}

std::optional<std::string> find_difference(const ScenarioOutcome& first, const ScenarioOutcome& second) {
    if (first.hash == second.hash && first.failure == second.failure) return std::nullopt;
    usize const both = std::min(first.blocks.size(), second.blocks.size());
    usize same = 0;
    while (same < both && first.blocks[same].hash == second.blocks[same].hash) ++same;
    i64 const from = same == 0 ? 0 : first.blocks[same - 1].end.ns;
    return "two runs of one seed differ from " + std::to_string(from / 1'000'000) + " ms on (trace record " +
           std::to_string(same * Trace::k_block_records) + ")";
}

}  // namespace corelet::sim
