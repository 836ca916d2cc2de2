#include "tests/mesh/judge.h"

#include "tests/mesh/judges/judges.h"

namespace corelet {

namespace {

struct Entry {
    const char* name;
    std::unique_ptr<Judge> (*make)(Trial& trial);
};

constexpr Duration k_holdings_every = 250_ms;

constexpr std::array k_judges{
    Entry{"linear", make_linear_judge},
    Entry{"catalog", make_catalog_judge},
    Entry{"raft", make_raft_judge},
    Entry{"consensus", make_consensus_judge},
    Entry{"promises", make_promise_judge},
    Entry{"streams", make_stream_judge},
    Entry{"recoveries", make_recovery_judge},
    Entry{"unserved", make_unserved_judge},
    Entry{"log", make_log_judge},
    Entry{"sessions", make_session_judge},
    Entry{"progress", make_progress_judge},
    Entry{"names", make_name_judge},
    Entry{"puts", make_put_judge},
    Entry{"deletes", make_delete_judge},
    Entry{"cleans", make_clean_judge},
    Entry{"maps", make_map_judge},
    Entry{"can-lose", make_can_lose_judge},
    Entry{"power-loss", make_power_loss_judge},
    Entry{"encoding", make_encoding_judge},
    Entry{"redundancy", make_redundancy_judge},
    Entry{"leftovers", make_leftover_judge},
    Entry{"moves", make_move_judge},
    Entry{"outs", make_out_judge},
    Entry{"spared", make_spared_judge},
    Entry{"audits", make_audit_judge},
    Entry{"bounds", make_bounds_judge},
    Entry{"identities", make_identity_judge},
    Entry{"devices", make_device_judge},
    Entry{"what-if", make_what_if_judge},
};

}  // namespace

std::vector<std::string> Court::names() {
    std::vector<std::string> out;
    for (const Entry& entry : k_judges) out.emplace_back(entry.name);
    return out;
}

Result<std::unique_ptr<Court>> Court::convene(Trial& trial, std::string_view names) {
    std::unique_ptr<Court> court(new Court(trial.mesh));
    if (names == "all") {
        for (const Entry& entry : k_judges) court->seat(entry.make(trial));
        return court;
    }
    for (usize at = 0; at <= names.size() && !names.empty();) {
        usize const comma = std::min(names.find(',', at), names.size());
        std::string_view const name = names.substr(at, comma - at);
        auto const found = std::ranges::find(k_judges, name, &Entry::name);
        if (found == k_judges.end())
            return corelet::fail(Code::kInvalid, "there is no judge '" + std::string(name) + "'");
        court->seat(found->make(trial));
        at = comma + 1;
    }
    return court;
}

void Court::after_event() {
    for (usize i = 0; i < turns_.size(); ++i) {
        u64 const turns = mesh_.machine(i).turns();
        if (turns == turns_[i]) continue;
        turns_[i] = turns;
        after_turn(i);
    }
    look_at_holdings();
    if (world_.now() < next_look_) return;
    next_look_ = sim::VirtualTime{INT64_MAX};
    for (auto& [judge, next_look] : seats_) {
        if (world_.now() >= next_look) {
            next_look = world_.now() + judge->every();
            judge->look();
        }
        next_look_ = std::min(next_look_, next_look);
    }
}

void Court::look_at_map(usize index) {
    if (!mesh_.node(index)) return;
    auto map = mesh_.node(index)->services().maps->current();
    if (map == maps_[index]) return;
    maps_[index] = map;
    for (auto const& [judge, next_look] : seats_) judge->map_seen(index, map);
}

void Court::after_turn(usize index) {
    look_at_map(index);
    for (auto const& [judge, next_look] : seats_)
        if (judge->sees_turns()) judge->after_turn(index);
    const CatalogState* const state = changes_.after_turn(
        index, [this](const pb::Stream& before, const pb::Stream& after, const CatalogChanges::Sessions& sessions) {
            for (auto const& [judge, next_look] : seats_) judge->stream_changed(before, after, sessions);
        });
    if (!state) return;
    for (auto const& [judge, next_look] : seats_) judge->catalog_changed(*state);
}

void Court::look_at_holdings() {
    if (world_.now() < next_holdings_) return;
    next_holdings_ = world_.now() + k_holdings_every;
    holdings_.look(
        [this](usize index, const FragmentInfo& info, bool fresh) {
            for (auto const& [judge, next_look] : seats_) judge->fragment_seen(index, info, fresh);
        },
        [this](usize index, const FragmentId& id) {
            for (auto const& [judge, next_look] : seats_) judge->fragment_gone(index, id);
        });
    for (auto const& [judge, next_look] : seats_) judge->holdings_seen();
}

void Court::at_moment(const FaultPoints::Moment& moment) {
    auto const server = mesh_.running();
    if (!server) return;
    look_at_map(*server);  // it may have come by a new one in this very turn
    for (auto const& [judge, next_look] : seats_) judge->at_moment(*server, moment);
}

void Court::answered(const Answer& answer) {
    for (auto const& [judge, next_look] : seats_) judge->answered(answer);
}

void Court::at_end() {
    for (auto const& [judge, next_look] : seats_)
        if (!world_.failed()) judge->at_end();
}

}  // namespace corelet
