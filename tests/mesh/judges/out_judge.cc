// Who is given up, and who may come back. Nobody is put out by the mesh itself while more than a third of it is
// down, or while healing is held up; and who is out comes back under a later incarnation only (protocols 1.5). Who
// was removed by order was needed by nobody, and does not come back at all. Nobody gives an order to put somebody
// out here.
#include <set>

#include "stream/stream.pb.h"
#include "tests/mesh/judges/judges.h"

namespace corelet {

namespace {

constexpr usize k_maps_of_outs = 64;
// Whoever gives up the lost knows of a pause by then, and what it had proposed has come.
constexpr Duration k_pause_known = 4_s;

class OutJudge final : public Judge {
  public:
    explicit OutJudge(Trial& trial) : Judge(trial, "outs") {}

    void look() override {
        bool any = false, all = true;
        for (usize i = 0; i < mesh().size(); ++i) {
            if (!mesh().node(i)) continue;
            any = true;
            all = all && mesh().node(i)->services().healing_paused();
        }
        if (!any || !all) return paused_since_.reset();
        if (!paused_since_) paused_since_ = world().now();
    }

    void map_seen(usize /*index*/, const MapPtr& map) override {
        if (map->epoch.is_zero() || !maps_.try_emplace(map->epoch, map).second) return;
        auto const at = maps_.find(map->epoch);
        if (at != maps_.begin() && std::prev(at)->first.next() == map->epoch)
            compare(*std::prev(at)->second, *map, std::next(at) == maps_.end());
        if (auto const next = std::next(at); next != maps_.end() && map->epoch.next() == next->first)
            compare(*map, *next->second, false);
        if (maps_.size() > k_maps_of_outs) maps_.erase(maps_.begin());
    }

  private:
    void compare(const mesh::Map& before, const mesh::Map& after, bool just_now) {
        for (const mesh::Corelet& was : before.corelets) {
            const mesh::Corelet* const its = after.find(was.id);
            if (!its) {
                if (!has_successor(after, was.id)) look_at_removal(before, was.id, just_now);
                continue;
            }
            bool const was_out = was.presence == mesh::Presence::kOut;
            bool const is_out = its->presence == mesh::Presence::kOut;
            if (!was_out && is_out) look_at_loss(before, was, just_now);
            if (was_out && !is_out) look_at_return(was, *its);
        }
        for (const mesh::Corelet& its : after.corelets)
            if (removed_.contains(its.id)) fail(to_string(its.id) + " was removed, and is in the mesh again");
    }

    // Nobody forces it here, so nothing needs it any more.
    void look_at_removal(const mesh::Map& before, CoreletId id, bool just_now) {
        removed_.insert(id);
        judged();
        world().stats().count("outs.removed");
        for (const mesh::Pool& pool : before.pools)
            for (const mesh::TablePtr& table : pool.tables)
                if (table->has(id))
                    fail(to_string(id) + " was removed, and the table of epoch " +
                         std::to_string(table->epoch().v) + " of pool '" + pool.spec.name + "' names it");
        if (!just_now) return;
        for (const std::string& volume : trial().volumes)
            for (pb::Stream const record = mesh().stream_record(volume);
                 const pb::Segment& segment : record.segments())
                if (std::ranges::find(segment.replicas(), id.v) != segment.replicas().end())
                    fail(to_string(id) + " was removed, and segment " + std::to_string(segment.seq()) + " of " +
                         volume + " lies there");
    }

    // Its device was replaced: nobody gave an order to remove it.
    [[nodiscard]] static bool has_successor(const mesh::Map& map, CoreletId id) {
        return std::ranges::any_of(map.corelets, [&](const mesh::Corelet& its) {
            return std::ranges::any_of(its.former, [&](auto const& former) { return former.id == id; });
        });
    }

    void look_at_loss(const mesh::Map& before, const mesh::Corelet& lost, bool just_now) {
        judged();
        world().stats().count("outs.given-up");
        if (lost.presence != mesh::Presence::kDown)
            fail(to_string(lost.id) + " was put out though it was not down");
        usize down = 0, all = 0;
        for (const mesh::Corelet& other : before.corelets) {
            if (other.role != mesh::Role::kStorage || other.presence == mesh::Presence::kOut) continue;
            bool const is_down = other.presence == mesh::Presence::kDown;
            if (is_down && has_an_heir(before, other)) continue;
            ++all;
            down += is_down;
        }
        if (down * 3 > all)
            fail(to_string(lost.id) + " was put out while " + std::to_string(down) + " of " + std::to_string(all) +
                 " were down, which is more than a third");
        if (just_now && paused_since_ && world().now() - *paused_since_ > k_pause_known)
            fail(to_string(lost.id) + " was put out though healing had been held up for " +
                 std::to_string((world().now() - *paused_since_).ms()) + " ms");
    }

    // Somebody else is up where it was: its device is gone, whatever the network does.
    [[nodiscard]] static bool has_an_heir(const mesh::Map& map, const mesh::Corelet& lost) {
        return std::ranges::any_of(map.corelets, [&](const mesh::Corelet& other) {
            return other.id != lost.id && other.is_up() &&
                   std::ranges::any_of(other.addresses, [&](const std::string& address) {
                       return std::ranges::find(lost.addresses, address) != lost.addresses.end();
                   });
        });
    }

    void look_at_return(const mesh::Corelet& was, const mesh::Corelet& its) {
        judged();
        world().stats().count("outs.came-back");
        if (its.incarnation <= was.incarnation)
            fail(to_string(was.id) + " was put out at incarnation " + std::to_string(was.incarnation.v) +
                 ", and is in again at " + std::to_string(its.incarnation.v));
    }

    std::map<MapEpoch, MapPtr> maps_;
    std::set<CoreletId> removed_;                   // by order
    std::optional<sim::VirtualTime> paused_since_;  // everybody who is up knows that healing is held up
};

}  // namespace

std::unique_ptr<Judge> make_out_judge(Trial& trial) {
    return std::make_unique<OutJudge>(trial);
}

}  // namespace corelet
