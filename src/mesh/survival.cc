#include "mesh/survival.h"

#include <algorithm>
#include <set>

#include "base/assert.h"

namespace corelet::mesh {
namespace {

constexpr u32 k_no_group = ~u32{0};

// A pool's tables with what matters of their members looked up once.
class TableViews {
  public:
    TableViews(const Map& map, const Pool& pool, Level level) : pool_(pool) {
        number_groups(map, level);
        for (const TablePtr& table : pool.tables) {
            View view{table.get(), {Member{}}};
            for (CoreletId id : table->members()) view.members.push_back(look_up(map, id, table->epoch()));
            views_.push_back(std::move(view));
        }
    }

    [[nodiscard]] const std::vector<std::string>& group_names() const { return names_; }
    [[nodiscard]] u32 slots() const { return pool_.current().slots(); }
    [[nodiscard]] usize tables() const { return views_.size(); }

    struct Row {
        int good = 0;             // positions somebody surely has
        std::vector<u32> groups;  // one entry for each good position whose loss this group's loss would be
    };
    // Of what was written under tables[generation], in this slot of the current table.
    [[nodiscard]] Row row(u32 slot, usize generation) const {
        Row out;
        for (unsigned position = 0; position < pool_.spec.redundancy.width(); ++position) {
            add_position(slot, position, generation, out);
        }
        return out;
    }

  private:
    struct Member {
        bool nobody = true;
        bool up = false;
        bool clean = false;  // has all that its table gives it
        u32 group = k_no_group;
    };
    struct View {
        const SlotTable* table;
        std::vector<Member> members;  // by index, 0 = nobody
    };

    void number_groups(const Map& map, Level level) {
        std::vector<std::string> of_corelet;
        for (const Corelet& c : map.corelets) {
            of_corelet.push_back(level == Level::kCorelet ? to_string(c.id) : c.location.domain(level));
        }
        names_ = of_corelet;
        std::sort(names_.begin(), names_.end());
        names_.erase(std::unique(names_.begin(), names_.end()), names_.end());
        for (const std::string& name : of_corelet) {
            groups_.push_back(
                static_cast<u32>(std::lower_bound(names_.begin(), names_.end(), name) - names_.begin()));
        }
    }
    [[nodiscard]] Member look_up(const Map& map, CoreletId id, MapEpoch table_epoch) const {
        const Corelet* corelet = map.find(id);
        if (corelet == nullptr) return {false, false, false, k_no_group};
        bool const clean = pool_.tables.size() == 1 || pool_.clean_epoch(id) >= table_epoch;
        return {false, corelet->is_up(), clean, groups_[static_cast<usize>(corelet - map.corelets.data())]};
    }
    [[nodiscard]] const Member& member(usize view, u32 slot, unsigned position) const {
        const SlotTable& table = *views_[view].table;
        usize const cell = static_cast<usize>(slot & (table.slots() - 1)) * table.width() + position;
        return views_[view].members[table.indexes()[cell]];
    }
    void add_position(u32 slot, unsigned position, usize generation, Row& out) const {
        usize const first_group = out.groups.size();
        bool all_up = true;
        for (usize i = 0; i <= generation; ++i) {
            const Member& holder = member(i, slot, position);
            if (holder.nobody) continue;
            if (holder.up && holder.clean) {
                out.groups.resize(first_group);
                out.groups.push_back(holder.group);
                ++out.good;
                return;
            }
            all_up = all_up && holder.up;
            bool const counted = std::find(out.groups.begin() + static_cast<i64>(first_group), out.groups.end(),
                                           holder.group) != out.groups.end();
            if (!counted) out.groups.push_back(holder.group);
        }
        if (all_up && !member(generation, slot, position).nobody) {
            ++out.good;
        } else {
            out.groups.resize(first_group);
        }
    }

    const Pool& pool_;
    std::vector<View> views_;
    std::vector<std::string> names_;
    std::vector<u32> groups_;  // by corelet in the map
};

// How many groups may go when the worst go first and `spare` positions may be lost.
int losses_of_row(std::vector<u32>& groups, int spare) {
    if (spare < 0) return -1;
    std::sort(groups.begin(), groups.end());
    std::vector<int> sizes;
    for (usize i = 0; i < groups.size(); ++i) {
        if (i == 0 || groups[i] != groups[i - 1]) sizes.push_back(0);
        ++sizes.back();
    }
    std::sort(sizes.begin(), sizes.end(), std::greater<>());
    int losses = 0;
    for (int size : sizes) {
        spare -= size;
        if (spare < 0) break;
        ++losses;
    }
    return losses;
}

void add_fatal(const TableViews::Row& row, int spare, std::set<u32>& fatal) {
    for (u32 group : row.groups) {
        if (std::count(row.groups.begin(), row.groups.end(), group) > spare) fatal.insert(group);
    }
}

}  // namespace

CanLose can_lose(const Map& map, const Pool& pool, Level level) {
    TableViews const views(map, pool, level);
    CanLose worst{INT32_MAX, 0};
    for (usize generation = 0; generation < views.tables(); ++generation) {
        for (u32 slot = 0; slot < views.slots(); ++slot) {
            TableViews::Row row = views.row(slot, generation);
            int const losses = losses_of_row(row.groups, row.good - pool.spec.redundancy.k);
            if (losses < worst.losses) worst = {losses, slot};
        }
    }
    return worst;
}

std::vector<std::string> fatal_domains(const Map& map, const Pool& pool, Level level, usize limit) {
    TableViews const views(map, pool, level);
    std::set<u32> fatal;
    for (usize generation = 0; generation < views.tables(); ++generation) {
        for (u32 slot = 0; slot < views.slots(); ++slot) {
            TableViews::Row const row = views.row(slot, generation);
            add_fatal(row, row.good - pool.spec.redundancy.k, fatal);
        }
    }
    std::vector<std::string> out;
    for (u32 group : fatal) {
        if (out.size() == limit) break;
        out.push_back(views.group_names()[group]);
    }
    return out;
}

Survival survival(const Map& map, const Pool& pool) {
    Survival out;
    out.promise = pool.spec.redundancy.m;
    std::string can, cannot;
    for (usize i = 0; i < k_level_count; ++i) {
        Level const level = static_cast<Level>(i);
        out.losses[i] = can_lose(map, pool, level).losses;
        std::string const name = level_name(level);
        if (out.losses[i] > 0) {
            if (!can.empty()) can += ", ";
            bool const plural = out.losses[i] > 1 && level != Level::kChassis;
            can += "any " + (out.losses[i] > 1 ? std::to_string(out.losses[i]) + " " : "") + name +
                   (plural ? "s" : "");
        } else if (auto const fatal = fatal_domains(map, pool, level, 4); !fatal.empty()) {
            if (!cannot.empty()) cannot += ", ";
            cannot += name;
            for (const std::string& domain : fatal) cannot += " " + domain;
        }
    }
    if (out.losses[0] < 0) {
        out.sentence = "some data cannot be read now";
    } else {
        out.sentence = can.empty() ? "nothing" : can;
        if (!cannot.empty()) out.sentence += "; not " + cannot;
    }
    return out;
}

}  // namespace corelet::mesh
