#include "node/health_report.h"

#include <algorithm>

#include "base/json.h"
#include "node/health_service.h"
#include "rt/combine.h"
#include "wire/message.h"

namespace corelet {

namespace {

constexpr usize k_records_told = 256;  // by one corelet
constexpr usize k_events_told = 256;   // of one corelet at once; the rest with the next question

template <class Name>
std::optional<Name> parse_name(const std::string& text, u8 last) {
    for (u8 i = 0; i <= last; ++i)
        if (text == health_name(static_cast<Name>(i))) return static_cast<Name>(i);
    return std::nullopt;
}

std::string text_of(const Json& object, const char* key) {
    auto const found = object.find(key);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}
i64 number_of(const Json& object, const char* key) {
    auto const found = object.find(key);
    return found != object.end() && found->is_number_integer() ? found->get<i64>() : 0;
}

i64 unix_ms(WallTime at) {
    return at.unix_ns / 1'000'000;
}

// Of a unit of work, in microseconds; null: not known.
Json cost_part(const UnitCost& cost) {
    auto const us = [](u64 ns) { return ns == 0 ? Json() : Json(ns / 1000); };
    return Json{{"now_us", us(cost.least)}, {"usual_us", us(cost.usual)}};
}

Json event_part(const LoggedEvent& event) {
    const HealthChange& change = event.change;
    return Json{{"number", event.number},
                {"time_ms", unix_ms(event.at)},
                {"corelet", to_string(event.corelet)},
                {"subject", health_name(change.subject.kind)},
                {"name", change.subject.name},
                {"level", health_name(change.level)},
                {"from", health_name(change.from)},
                {"to", health_name(change.to)},
                {"reason", change.reason}};
}

std::optional<LoggedEvent> parse_event(const Json& part) {
    if (!part.is_object()) return std::nullopt;
    auto const kind = parse_name<SubjectKind>(text_of(part, "subject"), 4);
    auto const level = parse_name<HealthLevel>(text_of(part, "level"), 2);
    auto const from = parse_name<HealthState>(text_of(part, "from"), 2),
               to = parse_name<HealthState>(text_of(part, "to"), 2);
    auto const corelet = parse_corelet_id(text_of(part, "corelet"));
    if (!kind || !level || !from || !to || !corelet) return std::nullopt;
    LoggedEvent out;
    out.number = static_cast<u64>(number_of(part, "number"));
    out.at = WallTime{number_of(part, "time_ms") * 1'000'000};
    out.corelet = *corelet;
    out.change = HealthChange{{*kind, text_of(part, "name")}, *level, *from, *to, text_of(part, "reason")};
    return out;
}

}  // namespace

// --- health
// -----------------------------------------------------------------------------------------------------------

Json own_health(const NodeServices& node) {
    Json records = Json::array();
    for (const HealthLedger::Record& record : node.health->ledger().records()) {
        if (record.state == HealthState::kHealthy || records.size() == k_records_told) continue;
        records.push_back(Json{{"subject", health_name(record.subject.kind)},
                               {"name", record.subject.name},
                               {"level", health_name(record.level)},
                               {"state", health_name(record.state)},
                               {"reason", record.reason},
                               {"since_ms", unix_ms(record.since)}});
    }
    DeviceSpeed const speed = node.health->speed();
    return Json{{"watching_since_ms", unix_ms(node.health->watching_since())},
                {"records", std::move(records)},
                {"device_speed", Json{{"reads", cost_part(speed.reads)}, {"writes", cost_part(speed.writes)}}}};
}

HealthBook::HealthBook(const CoreletReports& reports) {
    for (auto const& [id, report] : reports) {
        auto const health = report.info.find("health");
        if (health == report.info.end() || !health->is_object()) continue;  // of an earlier version
        watching_since_ms_ = std::min(watching_since_ms_, number_of(*health, "watching_since_ms"));
        for (const Json& record : health->value("records", Json::array())) {
            if (!record.is_object()) continue;
            auto const kind = parse_name<SubjectKind>(text_of(record, "subject"), 4);
            auto const level = parse_name<HealthLevel>(text_of(record, "level"), 2);
            auto const state = parse_name<HealthState>(text_of(record, "state"), 2);
            if (!kind || !level || !state) continue;
            hear({Subject{*kind, text_of(record, "name")}, *level},
                 Said{*state, text_of(record, "reason"), number_of(record, "since_ms"), {to_string(id)}});
        }
    }
}

// The worst word counts; of the same the oldest.
void HealthBook::hear(const Findings::Key& key, Said said) {
    auto const [found, fresh] = said_.try_emplace(key, said);
    if (fresh) return;
    Said& known = found->second;
    std::vector<std::string> by = known.by;
    by.insert(by.end(), said.by.begin(), said.by.end());
    bool const worse = said.state > known.state;
    bool const older = said.state == known.state && said.since_ms < known.since_ms;
    if (worse || older) known = std::move(said);
    known.by = std::move(by);
}

void HealthBook::add(const Subject& subject, HealthLevel level, Finding finding, WallTime now) {
    if (finding.state == HealthState::kHealthy) return;
    hear({subject, level}, Said{finding.state, std::move(finding.reason), unix_ms(now), {}});
}

Json HealthBook::of(const Subject& subject) const {
    Json findings = Json::array();
    const Said* worst = nullptr;
    HealthLevel worst_level{};
    for (auto each = said_.lower_bound({subject, HealthLevel::kReachable});
         each != said_.end() && each->first.first == subject; ++each) {
        const Said& said = each->second;
        if (said.state == HealthState::kHealthy) continue;
        findings.push_back(Json{{"state", health_name(said.state)},
                                {"level", health_name(each->first.second)},
                                {"reason", said.reason},
                                {"since_ms", said.since_ms},
                                {"by", said.by}});
        if (worst && worst->state >= said.state) continue;
        worst = &said;
        worst_level = each->first.second;
    }
    Json out{{"state", health_name(worst ? worst->state : HealthState::kHealthy)},
             {"level", worst ? Json(health_name(worst_level)) : Json()},
             {"reason", worst ? worst->reason : std::string()},
             {"since_ms", worst                             ? worst->since_ms
                          : watching_since_ms_ == INT64_MAX ? 0
                                                            : watching_since_ms_}};
    out["findings"] = std::move(findings);
    return out;
}

// --- events
// -----------------------------------------------------------------------------------------------------------

Json own_events(const NodeServices& node, const Json& arguments) {
    WallTime const from{number_of(arguments, "since_ms") * 1'000'000};
    auto const after = static_cast<u64>(number_of(arguments, "after"));
    Json events = Json::array();
    for (const LoggedEvent& event : node.health->events().after(after, from, k_events_told))
        events.push_back(event_part(event));
    return Json{{"events", std::move(events)}};
}

Task<Result<Json>> mesh_events(NodeServices& node, Json arguments) {
    auto const map = node.maps->current();
    Json cursor = arguments.value("after", Json::object());
    if (!cursor.is_object()) co_return fail(Code::kInvalid, "'after' names a number for each corelet");
    std::vector<CoreletId> asked;
    std::vector<Task<Result<Json>>> asks;
    std::vector<std::vector<LoggedEvent>> logs;
    auto const question = [&](CoreletId id) {
        return Json{{"since_ms", number_of(arguments, "since_ms")},
                    {"after", number_of(cursor, to_string(id).c_str())}};
    };
    auto const take = [&](const Json& answer) {
        std::vector<LoggedEvent>& log = logs.emplace_back();
        for (const Json& part : answer.value("events", Json::array()))
            if (auto event = parse_event(part)) log.push_back(*std::move(event));
    };
    CoreletId const self = node.store->identity();
    take(own_events(node, question(self)));
    for (const mesh::Corelet& corelet : map->corelets)
        if (corelet.is_up() && corelet.id != self) {
            asked.push_back(corelet.id);
            asks.push_back(ask_corelet(node, corelet.id, "events.own", question(corelet.id)));
        }
    auto const answers = co_await join_all<Result<Json>>(std::move(asks));
    Json silent = Json::array();
    for (usize i = 0; i < asked.size(); ++i) {
        if (answers[i])
            take(*answers[i]);
        else
            silent.push_back(to_string(asked[i]));
    }
    Json events = Json::array();
    for (const LoggedEvent& event : merge_events(std::move(logs))) {
        events.push_back(event_part(event));
        cursor[to_string(event.corelet)] = event.number;
    }
    co_return Json{{"events", std::move(events)}, {"cursor", std::move(cursor)}, {"silent", std::move(silent)}};
}

}  // namespace corelet
