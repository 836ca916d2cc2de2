// As much of etcd's gateway as the catalog uses, as a program of the simulator: answers can be lost, requests can
// linger, a member can say what a real one says only at the worst of moments.
#pragma once

#include <functional>
#include <map>
#include <set>

#include "catalog/etcd/json.h"
#include "rt/env.h"

namespace corelet::etcd {

// The store, shared by its members. Nothing in it ends by itself.
class FakeStore {
  public:
    // The answer of a path, as JSON, or an object with `code` and `error`.
    [[nodiscard]] Json answer(const std::string& path, const Json& request);
    void end_lease(u64 lease);
    void compact() { compacted_ = revision_; }  // changes before now are no longer told
    [[nodiscard]] std::optional<std::string> value(const std::string& key) const;
    // Of the first key that begins so.
    [[nodiscard]] u64 lease_below(const std::string& prefix) const {
        return items_.lower_bound(prefix)->second.lease;
    }
    [[nodiscard]] u64 revision() const { return revision_; }
    // The events of a watch from `revision` on, one line; empty: none yet.
    [[nodiscard]] std::string told_from(const Json& watch, u64& revision) const;
    u64 term = 2;

  private:
    struct Item {
        std::string value;
        u64 created = 0, changed = 0, lease = 0;
    };
    struct Event {
        u64 revision = 0;
        std::string key;
        std::optional<Item> item;  // none: deleted
    };
    [[nodiscard]] Json header() const;
    [[nodiscard]] Json transaction(const Json& request);
    [[nodiscard]] Json range(const Json& request) const;
    [[nodiscard]] Json lease(const std::string& path, const Json& request);
    [[nodiscard]] bool holds(const Json& compare) const;
    void put(const Json& request, u64 revision);
    u64 remove(const Json& request, u64 revision);
    u64 revision_ = 1;
    u64 compacted_ = 0;
    std::map<std::string, Item> items_;
    std::set<u64> leases_;
    std::vector<Event> events_;
};

// What becomes of a request: it and its answer arrive; neither does; it takes effect and the answer is lost; it is
// kept, to take effect when the test says so.
enum class Fate : u8 { kArrives, kLost, kAnswerLost, kLingers };

struct FakeMember {
    FakeStore& store;
    std::function<Fate(const std::string& path, const Json& request)> fate;  // none: all arrive
    std::function<void(const std::string& path, Json& answer)> change;       // what it says instead
    std::vector<std::pair<std::string, Json>> lingering;

    [[nodiscard]] static Task<void> run(Env* env, FakeMember* self, Address at);
    // What lingered takes effect now.
    void release();
};

}  // namespace corelet::etcd
