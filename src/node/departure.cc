#include "node/departure.h"

#include <algorithm>

#include "mesh/transition.h"

namespace corelet {

namespace {

std::string counted(usize count, const std::string& what) {
    return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

bool holds(const pb::Segment& segment, CoreletId id) {
    return std::ranges::find(segment.replicas(), id.v) != segment.replicas().end();
}

bool is_there(const mesh::Map& map, u64 id) {
    const mesh::Corelet* const corelet = map.find(CoreletId(id));
    return corelet && corelet->is_up() && corelet->duty != mesh::Duty::kFailing;
}

void add_places(const DepartureView& view, Departure& out) {
    for (const mesh::Pool& pool : view.map.pools) {
        bool const named =
            std::ranges::any_of(pool.tables, [&](const mesh::TablePtr& table) { return table->has(view.leaving); });
        if (!named) continue;
        out.left.push_back("fragments of pool '" + pool.spec.name + "'" +
                           (pool.current().has(view.leaving) ? "" : " that are on their way to others"));
    }
}

void add_streams(const DepartureView& view, Departure& out) {
    for (const DepartureView::Stream& stream : view.streams) {
        auto const& segments = stream.record.segments();
        auto const here = std::ranges::count_if(segments, [&](const auto& s) { return holds(s, view.leaving); });
        if (here != 0) out.left.push_back(counted(static_cast<usize>(here), "log segment") + " of " + stream.name);
        if (CoreletId(stream.record.owner()) == view.leaving) out.left.push_back(stream.name + ", which it serves");
        auto const alone = std::ranges::count_if(segments, [&](const pb::Segment& segment) {
            return holds(segment, view.leaving) && segment.state() != pb::Segment::DORMANT &&
                   std::ranges::none_of(segment.replicas(), [&](u64 id) {
                       return CoreletId(id) != view.leaving && is_there(view.map, id);
                   });
        });
        if (alone != 0)
            out.lost.push_back("what was written to " + stream.name + " and lies only in " +
                               counted(static_cast<usize>(alone), "log segment") +
                               " of which no other copy is there");
    }
}

// Of a row with more members missing than the pool survives nothing can be decoded, unless strays make up for it.
void add_lost_chunks(const DepartureView& view, Departure& out) {
    for (const mesh::Pool& pool : view.map.pools) {
        const mesh::SlotTable& table = *pool.tables.back();
        usize beyond = 0;
        for (u32 slot = 0; slot < table.slots(); ++slot) {
            auto const row = table.row(slot);
            if (std::ranges::find(row, view.leaving) == row.end()) continue;
            auto const left = std::ranges::count_if(
                row, [&](CoreletId id) { return id != view.leaving && is_there(view.map, id.v); });
            beyond += left < pool.spec.redundancy.k;
        }
        if (beyond != 0)
            out.lost.push_back("chunks of pool '" + pool.spec.name + "' in " + std::to_string(beyond) + " of " +
                               std::to_string(table.slots()) +
                               " slots, of which fewer fragments are there than are needed");
    }
}

std::string what_to_do(const DepartureView& view, const mesh::Corelet& corelet) {
    std::string const id = to_string(corelet.id);
    if (view.healing_paused) return "healing is paused and nothing moves; end that: corelet resume";
    if (corelet.presence == mesh::Presence::kDown)
        return "it is down: start it, or, if it is gone for good, say so: corelet remove " + id + " --force";
    if (corelet.presence == mesh::Presence::kOut)
        return "the others are rebuilding it; wait, or look: corelet status";
    if (corelet.duty == mesh::Duty::kServe) return "drain it first: corelet drain " + id + " --wait";
    return "wait until it is empty: corelet drain " + id + " --wait";
}

}  // namespace

Departure departure(const DepartureView& view) {
    Departure out;
    const mesh::Corelet* const corelet = view.map.find(view.leaving);
    if (!corelet) return out;
    add_places(view, out);
    add_streams(view, out);
    add_lost_chunks(view, out);
    if (view.votes) out.left.emplace_back("a vote in the catalog");
    if (corelet->is_up() && mesh::may_store(corelet->role)) {
        if (!view.strays)
            out.left.emplace_back("what it holds outside its places, as it does not answer");
        else if (*view.strays != 0)
            out.left.push_back(counted(*view.strays, "fragment") + " outside its places");
    }
    if (!out.is_safe()) out.next = what_to_do(view, *corelet);
    return out;
}

}  // namespace corelet
