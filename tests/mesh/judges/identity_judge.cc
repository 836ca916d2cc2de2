// Identities (protocols 1). Whoever has lost what it had promised goes on as somebody else, within a bound; whom
// nothing befell but crashes stays who it is; and a voter that has just started asks the others before it votes.
#include "catalog/state.h"
#include "node/node.pb.h"
#include "tests/mesh/judges/judges.h"

namespace corelet {

namespace {

constexpr Duration k_noticed_within = 30_s;
constexpr Duration k_asks_for = 1'500_ms;  // at least; a clock drifts by less than the rest of two seconds

class IdentityJudge final : public Judge {
  public:
    explicit IdentityJudge(Trial& trial)
        : Judge(trial, "identities"), seen_(trial.mesh.size()), early_(trial.mesh.size()) {}

    void look() override {
        for (usize i = 0; i < mesh().size(); ++i) {
            auto const former = trial().atlas.former(i);
            bool const known = former && (!former->is_told || world().now() - former->since > k_noticed_within);
            if (known && mesh().node(i) && mesh().node(i)->id() == former->id)
                fail(corelet_name(i) + " has lost what it had promised, and is who it was");
        }
        look_at_records();
        auto const& twins = trial().atlas.twins();
        if (twins && world().now() - twins->since > k_noticed_within)
            fail("two bodies of " + corelet_name(twins->index) + " have gone on for " +
                 std::to_string((world().now() - twins->since).ms()) + " ms");
    }

    void after_turn(usize index) override {
        if (!mesh().node(index)) return;
        look_before_first_session(index);
        Seen& seen = seen_[index];
        u64 const boot = mesh().machine(index).boots();
        auto const& votes = mesh().node(index)->services().raft->core().durable();
        if (seen.boot != boot) {
            look_whether_the_same(index);
            // Whoever was there before the judge has been up for longer.
            bool const is_first_look = seen.boot == 0;
            seen = Seen{boot,
                        is_first_look ? sim::VirtualTime{} : world().now(),
                        votes.term,
                        votes.vote,
                        mesh().id(index),
                        mesh().devices_had(index),
                        votes.term.is_zero()};
        }
        if (seen.term == votes.term && seen.vote == votes.vote) return;
        look_at_vote(index, seen);
        seen.term = votes.term;
        seen.vote = votes.vote;
    }

  private:
    struct Seen {
        u64 boot = 0;
        sim::VirtualTime since;
        raft::Term term;
        CoreletId vote;
        CoreletId id;
        u64 device = 0;
        bool never_promised = true;  // as a voter, before it started
    };

    // What the catalog says of an identity's lives: each is one body's, and none has less than one before it had.
    void look_at_records() {
        auto const leader = mesh().catalog_leader();
        if (!leader) return;
        for (auto const& [key, item] : mesh().node(*leader)->services().catalog->local().items("corelets/")) {
            pb::IdentityRecord now;
            if (!now.ParseFromString(item.value)) return fail("the record " + key + " does not parse");
            auto const [known, fresh] = records_.try_emplace(key, Record{item.mod_revision, now});
            Record& before = known->second;
            if (fresh || item.mod_revision <= before.changed) continue;
            bool const back = now.incarnation() < before.record.incarnation() ||
                              now.durable_sequence() < before.record.durable_sequence();
            bool const other =
                now.incarnation() == before.record.incarnation() && now.nonce() != before.record.nonce();
            judged();
            if (back || other)
                fail("the record " + key + (back ? " went back" : " is another body's") + ": incarnation " +
                     std::to_string(before.record.incarnation()) + " with " +
                     std::to_string(before.record.durable_sequence()) + ", then " +
                     std::to_string(now.incarnation()) + " with " + std::to_string(now.durable_sequence()));
            before = Record{item.mod_revision, now};
        }
    }

    // Until the catalog has recorded its present life it prepares nothing and is fenced by nobody.
    void look_before_first_session(usize index) {
        auto const& services = mesh().node(index)->services();
        Early& early = early_[index];
        u64 const boot = mesh().machine(index).boots();
        bool const fresh = std::exchange(early.boot, boot) != boot;
        if (fresh) early.is_over = false;
        early.is_over = early.is_over || (services.session && services.session->first_session().is_set());
        if (early.is_over) return;
        std::map<SegmentId, Epoch> now;
        for (const SegmentInfo& info : services.store->list_segments()) now.emplace(info.id, info.epoch);
        for (auto const& [id, epoch] : now)
            if (auto const had = early.segments.find(id);
                !fresh && (had == early.segments.end() || had->second < epoch))
                fail(corelet_name(index) + " was fenced in segment " + to_string(id) +
                     ", or prepared it, before the catalog had recorded its present life");
        early.segments = std::move(now);
    }

    void look_whether_the_same(usize index) {
        const Seen& before = seen_[index];
        if (before.id.is_zero() || before.device != mesh().devices_had(index)) return;
        judged();
        if (before.id != mesh().id(index) && !trial().atlas.was_damaged(index))
            fail(corelet_name(index) + " is somebody else since it was started, and only crashes had befallen it");
    }

    void look_at_vote(usize index, const Seen& seen) {
        RaftNode& raft = *mesh().node(index)->services().raft;
        bool const alone = raft.configuration().voters.size() == 1;
        if (alone || seen.never_promised || raft.core().durable().vote.is_zero() ||
            world().now() - seen.since >= k_asks_for)
            return;
        fail(corelet_name(index) + " votes in term " + std::to_string(raft.term().v) +
             " as soon as it has started, without having asked whether others know better");
    }

    struct Record {
        Revision changed;
        pb::IdentityRecord record;
    };
    struct Early {
        u64 boot = 0;
        bool is_over = false;
        std::map<SegmentId, Epoch> segments;
    };
    std::vector<Seen> seen_;
    std::vector<Early> early_;
    std::map<std::string, Record> records_;
};

}  // namespace

std::unique_ptr<Judge> make_identity_judge(Trial& trial) {
    return std::make_unique<IdentityJudge>(trial);
}

}  // namespace corelet
