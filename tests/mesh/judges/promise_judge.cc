// One identity never contradicts what it has promised. What counts is what its store says while it is up: a corelet
// that comes back with less than it had under the same identity has forgotten, and does not know it.
#include "tests/mesh/judges/judges.h"

namespace corelet {

namespace {

constexpr Duration k_durable_after = 1_s;  // longer than any write takes here

class PromiseJudge final : public Judge {
  public:
    explicit PromiseJudge(Trial& trial) : Judge(trial, "promises", 250_ms) {}

    // A corelet whose old device has come back is told so by whoever has seen more of it; until then it says what
    // it knows.
    void look() override {
        auto const spoiled = trial().atlas.spoiled();
        for (usize i = 0; i < mesh().size(); ++i)
            if (mesh().node(i) && !spoiled.contains(i) && !mesh().node(i)->services().store->has_forgotten())
                look_at(*mesh().node(i)->services().store);
    }

  private:
    // As last seen, and as it was when it had stood for a while: what has only just changed may not be durable yet,
    // and then nobody was told of it.
    struct State {
        Epoch epoch;
        bool sealed = false;
        u64 end = 0;
        friend bool operator==(const State&, const State&) = default;
    };
    struct Promised {
        State seen;
        State stood;
        sim::VirtualTime since;
        bool dropped = false;
        bool prepared = false;  // has stood for a while
        u64 round = 0;
    };
    struct Life {
        Incarnation incarnation;
        u64 number = 0;
        u64 round = 0;
        std::map<SegmentId, Promised> segments;
    };

    void look_at(const Store& store) {
        Life& life = lives_[store.identity()];
        std::string const who = "corelet " + to_string(store.identity());
        if (store.incarnation() < life.incarnation) fail(who + "'s incarnation went back");
        if (store.durable_seq() < life.number) fail(who + "'s durable number went back");
        life.incarnation = store.incarnation();
        life.number = store.durable_seq();
        ++life.round;
        auto const segments = store.list_segments();
        for (const SegmentInfo& info : segments) look_at(who, life, info);
        if (!segments.empty()) judged(segments.size());
        for (auto& [id, promised] : life.segments)
            if (promised.round != life.round) promised.dropped = promised.prepared;
    }

    void look_at(const std::string& who, Life& life, const SegmentInfo& info) {
        Promised& promised = life.segments[info.id];
        auto const fail_of_it = [&](const std::string& what) {
            fail(who + ", segment " + to_string(info.id) + ": " + what);
        };
        if (promised.dropped) fail_of_it("prepared a second time");
        State const now{info.epoch, info.sealed, info.end};
        if (now.epoch < promised.stood.epoch)
            fail_of_it("a stored epoch went back from " + std::to_string(promised.stood.epoch.v) + " to " +
                       std::to_string(now.epoch.v));
        if (promised.stood.sealed && (!now.sealed || now.end != promised.stood.end))
            fail_of_it("its end was changed");
        if (now != promised.seen) promised.since = world().now();
        promised.seen = now;
        promised.round = life.round;
        if (world().now() - promised.since >= k_durable_after) {
            promised.stood = now;
            promised.prepared = true;
        }
    }

    std::map<CoreletId, Life> lives_;
};

}  // namespace

std::unique_ptr<Judge> make_promise_judge(Trial& trial) {
    return std::make_unique<PromiseJudge>(trial);
}

}  // namespace corelet
