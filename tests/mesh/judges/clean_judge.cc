// Former tables are kept until everybody has reported that he has what the current one gives him (protocols 9.1).
// Who reports has heard everybody whom any of the tables names in his slots, but for those that are out; whoever
// answers knows the table by then, so one who has never had a map with it was not heard. And a put that a former
// table led to has ended before that: nothing comes of one afterwards.
#include "tests/mesh/judges/holdings.h"
#include "tests/mesh/judges/judges.h"

namespace corelet {

namespace {

using Tables = std::map<MapEpoch, mesh::TablePtr>;

class CleanJudge final : public Judge {
  public:
    explicit CleanJudge(Trial& trial)
        : Judge(trial, "cleans"), current_(trial.mesh.size()), rebuilt_(trial.mesh.size()) {}

    void map_seen(usize index, const MapPtr& map) override {
        current_[index] = map;
        MapEpoch& known = known_[mesh().node(index)->id()];
        known = std::max(known, map->epoch);
        if (maps_.emplace(map->epoch, map).second) look_at(*map);
        if (maps_.size() > k_maps) maps_.erase(maps_.begin());
    }

    // What a corelet rebuilds, by a table that has been replaced meanwhile, is made of what others have.
    void fragment_seen(usize index, const FragmentInfo& info, bool fresh) override {
        if (fresh && !info.adopted && !rebuilds(index)) look_at_put(index, info.id);
    }

    void holdings_seen() override {
        for (usize i = 0; i < rebuilt_.size(); ++i)
            if (auto const status = heal_status(i)) rebuilt_[i] = status->fragments_rebuilt;
        for (auto& [id, pool] : pools_) pool.reported_before = pool.reported;
    }

  private:
    static constexpr usize k_maps = 256;
    struct Seen {
        Tables tables;  // all there ever were
        // For each table those who were out under some map since.
        std::map<MapEpoch, std::set<CoreletId>> out;
        // Under the newest table for which he did.
        std::map<CoreletId, MapEpoch> reported, reported_before;
    };

    void look_at(const mesh::Map& map) {
        auto const at = maps_.find(map.epoch);
        const mesh::Map* const before = at == maps_.begin() ? nullptr : std::prev(at)->second.get();
        for (const mesh::Pool& pool : map.pools) {
            note(map, pool);
            const mesh::Pool* const was = before ? before->find(pool.id) : nullptr;
            if (!was) continue;
            for (const mesh::CleanReport& report : pool.clean) look_at(*was, report);
            // The last report is not in the map: it makes the older tables go.
            MapEpoch const oldest = pool.tables.back()->epoch();
            if (was->tables.back()->epoch() >= oldest || !was->table(oldest)) continue;
            for (const mesh::TablePtr& table : was->tables)
                for (CoreletId id : table->members())
                    if (table->epoch() <= oldest && !is_out(map, id)) look_at(*was, {id, oldest});
        }
    }

    [[nodiscard]] static bool is_out(const mesh::Map& map, CoreletId id) {
        const mesh::Corelet* const corelet = map.find(id);
        return !corelet || corelet->presence == mesh::Presence::kOut;
    }

    void note(const mesh::Map& map, const mesh::Pool& pool) {
        std::set<CoreletId> out;
        for (const mesh::TablePtr& table : pool.tables)
            for (CoreletId id : table->members())
                if (is_out(map, id)) out.insert(id);
        // Also one whose tables are gone already: what it put by them it may not have been told.
        for (const mesh::Corelet& corelet : map.corelets)
            if (is_out(map, corelet.id)) out.insert(corelet.id);
        Seen& seen = pools_[pool.id];
        for (const mesh::TablePtr& table : pool.tables) {
            seen.tables.emplace(table->epoch(), table);
            seen.out[table->epoch()].insert(out.begin(), out.end());
        }
    }

    void look_at(const mesh::Pool& was, const mesh::CleanReport& report) {
        Seen& seen = pools_[was.id];
        MapEpoch& newest = seen.reported[report.corelet];
        mesh::TablePtr const table = was.table(report.table_epoch);
        if (newest >= report.table_epoch || !table) return;
        newest = report.table_epoch;
        judged();
        for (auto const& [slot, position] : table->places_of(report.corelet))
            for (const mesh::TablePtr& each : was.tables)
                for (unsigned i = 0; i < each->width() && each->epoch() <= table->epoch(); ++i)
                    if (CoreletId const id = each->at(slot % each->slots(), i); !id.is_zero())
                        look_whether_heard(seen, report, id);
    }

    void look_whether_heard(const Seen& seen, const mesh::CleanReport& report, CoreletId id) {
        auto const known = known_.find(id);
        if (known != known_.end() && known->second >= report.table_epoch) return;
        if (auto const out = seen.out.find(report.table_epoch); out != seen.out.end() && out->second.contains(id))
            return;
        fail(to_string(report.corelet) + " reports that its slots of the table of epoch " +
             std::to_string(report.table_epoch.v) + " are clean, and cannot have heard " + to_string(id) +
             ", who does not know that table yet");
    }

    [[nodiscard]] std::optional<HealStatus> heal_status(usize index) const {
        auto* const node = mesh().node(index);
        return node && node->services().healer ? std::optional(node->services().healer->status()) : std::nullopt;
    }

    // It has since the last look, or is about to.
    [[nodiscard]] bool rebuilds(usize index) const {
        auto const status = heal_status(index);
        return status && (status->fragments_rebuilt != rebuilt_[index] || status->fragments_missing != 0);
    }

    // Into whichever pool it went.
    void look_at_put(usize index, const FragmentId& id) {
        std::string wrong;
        for (auto const& [pool, seen] : pools_) {
            const mesh::Pool* const its = current_[index] ? current_[index]->find(pool) : nullptr;
            if (!its) continue;
            wrong = what_is_wrong(index, id, its->spec.locality, seen);
            if (wrong.empty()) break;
        }
        judged();
        if (!wrong.empty()) fail(wrong);
    }

    [[nodiscard]] std::string what_is_wrong(usize index, const FragmentId& id, unsigned locality,
                                            const Seen& seen) const {
        CoreletId const holder = mesh().id(index);
        for (auto at = seen.tables.rbegin(); at != seen.tables.rend(); ++at) {
            auto const& [epoch, table] = *at;
            u32 const slot = mesh::slot_of(id.chunk, locality, table->slots());
            if (id.position < table->width() && table->at(slot, id.position) == holder) return {};
            if (auto const out = seen.out.find(epoch); out != seen.out.end() && out->second.contains(holder))
                return {};
            for (CoreletId member : table->row(slot)) {
                auto const reported = seen.reported_before.find(member);
                if (reported == seen.reported_before.end() || reported->second != epoch) continue;
                return name_of(id) + " has been put at " + corelet_name(index) + ", though by the table of epoch " +
                       std::to_string(epoch.v) + " it has no place there, and " + to_string(member) +
                       " has reported that slot clean";
            }
        }
        return {};
    }

    std::vector<MapPtr> current_;      // of each corelet
    std::vector<u64> rebuilt_;         // by each, as of the last look
    std::map<MapEpoch, MapPtr> maps_;  // the last ones
    std::map<CoreletId, MapEpoch> known_;
    std::map<PoolId, Seen> pools_;
};

}  // namespace

std::unique_ptr<Judge> make_clean_judge(Trial& trial) {
    return std::make_unique<CleanJudge>(trial);
}

}  // namespace corelet
