#include "node/event_log.h"

#include <algorithm>

namespace corelet {

namespace {
constexpr usize k_name_bytes_max = 256;

// Between two characters.
std::string cut(std::string text) {
    if (text.size() <= EventLog::k_reason_bytes_max) return text;
    usize end = EventLog::k_reason_bytes_max;
    while (end != 0 && (static_cast<u8>(text[end]) & 0xC0) == 0x80) --end;
    text.resize(end);
    return text;
}
}  // namespace

void encode_event(const LoggedEvent& event, pb::HealthEvent& out) {
    out.set_number(event.number);
    out.set_unix_ns(event.at.unix_ns);
    out.set_corelet(event.corelet.v);
    out.set_subject(static_cast<u32>(event.change.subject.kind));
    out.set_name(event.change.subject.name);
    out.set_level(static_cast<u32>(event.change.level));
    out.set_from(static_cast<u32>(event.change.from));
    out.set_to(static_cast<u32>(event.change.to));
    out.set_reason(event.change.reason);
}

Result<LoggedEvent> decode_event(const pb::HealthEvent& in) {
    constexpr u32 k_kind_last = static_cast<u32>(SubjectKind::kDevice);
    constexpr u32 k_state_last = static_cast<u32>(HealthState::kFailed);
    bool const known = in.subject() <= k_kind_last && in.level() < k_health_levels && in.from() <= k_state_last &&
                       in.to() <= k_state_last;
    bool const short_enough =
        in.name().size() <= k_name_bytes_max && in.reason().size() <= EventLog::k_reason_bytes_max;
    if (!known || !short_enough) return fail(Code::kCorrupt, "no event of this version");
    LoggedEvent out;
    out.number = in.number();
    out.at = WallTime{in.unix_ns()};
    out.corelet = CoreletId(in.corelet());
    out.change.subject = Subject{static_cast<SubjectKind>(in.subject()), in.name()};
    out.change.level = static_cast<HealthLevel>(in.level());
    out.change.from = static_cast<HealthState>(in.from());
    out.change.to = static_cast<HealthState>(in.to());
    out.change.reason = in.reason();
    return out;
}

std::vector<LoggedEvent> merge_events(std::vector<std::vector<LoggedEvent>> logs) {
    struct Placed {
        WallTime at;  // not before what stands before it in its own log
        usize log = 0;
        usize index = 0;
    };
    std::vector<Placed> order;
    for (usize log = 0; log < logs.size(); ++log) {
        WallTime latest{INT64_MIN};
        for (usize index = 0; index < logs[log].size(); ++index) {
            latest = std::max(latest, logs[log][index].at);
            order.push_back(Placed{latest, log, index});
        }
    }
    std::stable_sort(order.begin(), order.end(), [](const Placed& a, const Placed& b) { return a.at < b.at; });
    std::vector<LoggedEvent> out;
    out.reserve(order.size());
    for (const Placed& placed : order) out.push_back(std::move(logs[placed.log][placed.index]));
    return out;
}

void EventLog::keep(LoggedEvent event) {
    events_.push_back(std::move(event));
    if (events_.size() > k_kept) events_.pop_front();
}

void EventLog::add(HealthChange change, WallTime at) {
    change.reason = cut(std::move(change.reason));
    keep(LoggedEvent{(incarnation_.v << 32) | ++counter_, at, self_, std::move(change)});
}

void EventLog::restore(const pb::HealthMemory& memory) {
    for (const pb::HealthEvent& saved : memory.events()) {
        auto event = decode_event(saved);
        // Numbers of this life are given by this life alone.
        if (event && (event->number >> 32) < incarnation_.v && event->number > last()) keep(*std::move(event));
    }
}

void EventLog::save(pb::HealthMemory& memory) const {
    usize const from = events_.size() > k_saved ? events_.size() - k_saved : 0;
    for (usize i = from; i < events_.size(); ++i) encode_event(events_[i], *memory.add_events());
}

std::vector<LoggedEvent> EventLog::after(u64 number, WallTime from, usize limit) const {
    std::vector<LoggedEvent> out;
    for (const LoggedEvent& event : events_) {
        if (out.size() == limit) break;
        if (event.number > number && event.at >= from) out.push_back(event);
    }
    return out;
}

}  // namespace corelet
