// The rules by which the catalog's voters keep Raft's invariants, each looked at where it applies (protocols 11):
// what counts is durable, voters vote for nobody behind them, entries are committed by counting in the own term
// only, voters change one at a time, and a repeated command finds its own success.
#include "catalog/catalog.pb.h"
#include "tests/mesh/judges/judges.h"

namespace corelet {

namespace {

constexpr Duration k_repeat_every = 2_s;
constexpr usize k_repeats = 12;                 // commands tried again, at a time
constexpr Duration k_removed_leads_max = 1_s;   // some turns
constexpr raft::Index k_promote_lag_max = 512;  // of a learner when it becomes a voter: what may come in meanwhile

class ConsensusJudge final : public Judge {
  public:
    explicit ConsensusJudge(Trial& trial) : Judge(trial, "consensus"), seen_(trial.mesh.size()) {}

    void after_turn(usize index) override {
        if (mesh().node(index)) look_at(index);
    }

    void look() override {
        for (usize i = 0; i < mesh().size(); ++i) {
            if (!mesh().node(i)) continue;
            const raft::Core& core = core_of(i);
            bool const stays = core.role() == raft::Role::kLeader && core.configuration_committed() &&
                               !core.configuration().is_voter(core.self());
            if (!stays) {
                removed_leads_.erase(i);
                continue;
            }
            auto const [since, fresh] = removed_leads_.try_emplace(i, world().now());
            if (world().now() - since->second > k_removed_leads_max && !trial().atlas.is_troubled(i))
                fail(corelet_name(i) + " leads on though it is no voter any more");
        }
        if (world().now() < next_repeat_) return;
        next_repeat_ = world().now() + k_repeat_every;
        for (usize i = 0; i < mesh().size(); ++i)
            if (mesh().node(i) && core_of(i).role() == raft::Role::kLeader) repeat_commands(i);
    }

  private:
    struct Seen {
        u64 boot = 0;
        raft::Term term;
        raft::Role role = raft::Role::kFollower;
        raft::Index commit = 0;
        raft::Index last = 0;
        raft::Term vote_term;
        CoreletId vote;
        std::vector<CoreletId> voters;
    };

    [[nodiscard]] const raft::Core& core_of(usize index) const {
        return mesh().node(index)->services().raft->core();
    }

    void look_at(usize index) {
        const raft::Core& core = core_of(index);
        Seen& seen = seen_[index];
        if (u64 const boot = mesh().machine(index).boots(); seen.boot != boot) {
            seen = Seen{};
            seen.boot = boot;
            seen.vote_term = core.durable().term;
            seen.vote = core.durable().vote;
            // Whom the judge finds leading was elected before it sat down.
            seen.role = core.role();
            seen.term = core.term();
            seen.commit = core.commit();
            seen.voters = core.configuration().voters;
        }
        if (core.durable().vote != seen.vote || core.durable().term != seen.vote_term) {
            seen.vote_term = core.durable().term;
            seen.vote = core.durable().vote;
            check_vote(core);
        }
        if (core.role() == raft::Role::kLeader) {
            bool const new_here = seen.role != raft::Role::kLeader || seen.term != core.term();
            if (new_here) check_election(core);
            if (!new_here && core.commit() != seen.commit) check_commit(core, seen.voters);
            if (new_here || core.log().last().index != seen.last) check_changes(core, new_here, seen);
        }
        seen.role = core.role();
        seen.term = core.term();
        seen.commit = core.commit();
        seen.last = core.log().last().index;
    }

    // Of the voters of the leader's configuration: those that are in favour, and those that may have been before
    // they died or went on to a later term.
    template <class Predicate>
    [[nodiscard]] bool majority(const raft::Core& leader, Predicate predicate) const {
        return majority(leader, leader.configuration().voters, predicate);
    }
    template <class Predicate>
    [[nodiscard]] bool majority(const raft::Core& leader, const std::vector<CoreletId>& voters,
                                Predicate predicate) const {
        usize surely = 0, perhaps = 0;
        for (CoreletId voter : voters) {
            auto const index = mesh().index_of(voter);
            if (!index || !mesh().node(*index) || core_of(*index).self() != voter ||
                core_of(*index).term() > leader.term() || trial().atlas.is_spoiled(*index))
                ++perhaps;
            else if (core_of(*index).term() == leader.term() && predicate(core_of(*index)))
                ++surely;
        }
        return surely + perhaps >= voters.size() / 2 + 1;
    }

    // A vote is durable before it counts.
    void check_election(const raft::Core& leader) const {
        judged();
        auto const voted = [&](const raft::Core& core) {
            return core.durable().term == leader.term() && core.durable().vote == leader.self();
        };
        if (!majority(leader, voted))
            fail(to_string(leader.self()) + " leads term " + std::to_string(leader.term().v) +
                 " though no majority has voted for it durably");
    }

    // Who votes has no entry that the candidate lacks. Its log does not change before it leads, and then grows
    // only.
    void check_vote(const raft::Core& core) const {
        CoreletId const candidate = core.durable().vote;
        auto const index = mesh().index_of(candidate);
        if (candidate.is_zero() || candidate == core.self() || !index || !mesh().node(*index)) return;
        const raft::Core& its = core_of(*index);
        if (its.self() != candidate || its.term() != core.term() || core.durable().term != core.term()) return;
        if (its.role() == raft::Role::kFollower) return;
        judged();
        if (its.log().last() < core.log().last())
            fail(to_string(core.self()) + " voted in term " + std::to_string(core.term().v) + " for " +
                 to_string(candidate) + ", which lacks entries that it has");
    }

    // An entry is committed by counting when it is of the own term, and durable at a majority.
    void check_commit(const raft::Core& leader, const std::vector<CoreletId>& before) const {
        judged();
        raft::Index const commit = leader.commit();
        if (leader.log().term_at(commit) != leader.term())
            fail("entry " + std::to_string(commit) + " of an older term was committed by counting, in term " +
                 std::to_string(leader.term().v));
        auto const has_it = [&](const raft::Core& core) { return core.log().durable() >= commit; };
        // In the turn that committed it the next change of the voters may have been appended.
        if (!majority(leader, has_it) && !majority(leader, before, has_it))
            fail("entry " + std::to_string(commit) + " was committed in term " + std::to_string(leader.term().v) +
                 " before it was durable at a majority: " + durable_ends(leader));
    }

    [[nodiscard]] std::string durable_ends(const raft::Core& leader) const {
        std::string out = "the leader has " + std::to_string(leader.log().durable());
        for (CoreletId voter : leader.configuration().voters) {
            auto const index = mesh().index_of(voter);
            if (voter == leader.self()) continue;
            out += ", " + (index ? corelet_name(*index) : to_string(voter)) + " ";
            out += !index || !mesh().node(*index) ? std::string("is not up")
                                                  : std::to_string(core_of(*index).log().durable()) + " of " +
                                                        std::to_string(core_of(*index).log().last().index) +
                                                        " in term " + std::to_string(core_of(*index).term().v);
        }
        return out;
    }

    // One change of the voters at a time, and none before an entry of the term is committed; a learner becomes a
    // voter when it has caught up.
    void check_changes(const raft::Core& leader, bool new_here, Seen& seen) const {
        usize changes = 0, own = 0;
        for (raft::Index index = std::max(leader.commit(), leader.log().base().index) + 1;
             index <= leader.log().last().index; ++index) {
            const raft::Entry& entry = leader.log().entry_at(index);
            if (entry.kind != raft::EntryKind::kConfiguration) continue;
            ++changes;
            if (entry.at.term == leader.term()) ++own;
        }
        std::string const where = " at the leader of term " + std::to_string(leader.term().v);
        if (changes > 1 && own != 0) fail("changes of the voters overlap" + where);
        if (own != 0 && leader.log().term_at(leader.commit()) != leader.term())
            fail("voters were changed before an entry of the term was committed" + where);
        auto const& voters = leader.configuration().voters;
        if (!new_here && voters != seen.voters) {
            judged();
            for (CoreletId voter : voters)
                if (std::ranges::find(seen.voters, voter) == seen.voters.end()) check_promoted(leader, voter);
        }
        seen.voters = voters;
    }

    void check_promoted(const raft::Core& leader, CoreletId voter) const {
        auto const index = mesh().index_of(voter);
        if (!index || !mesh().node(*index) || core_of(*index).self() != voter) return;
        if (core_of(*index).log().last().index + k_promote_lag_max < leader.log().last().index)
            fail(to_string(voter) + " became a voter with entries up to " +
                 std::to_string(core_of(*index).log().last().index) + " of " +
                 std::to_string(leader.log().last().index));
    }

    // In a copy, as a snapshot makes it, the last commands are carried out once more: none of them does anything.
    void repeat_commands(usize index) {
        const RaftNode& node = *mesh().node(index)->services().raft;
        const raft::Core& core = core_of(index);
        CatalogState copy;
        std::string const snapshot = node.state().encode_snapshot();
        if (auto const restored = copy.restore_snapshot(as_bytes(snapshot)); !restored)
            return fail("a snapshot of the catalog cannot be restored: " + restored.error().to_string());
        raft::Index const last = core.applied();
        for (raft::Index at = std::max(core.log().base().index + 1, last > k_repeats ? last - k_repeats : 1);
             at <= last; ++at) {
            const raft::Entry& entry = core.log().entry_at(at);
            pb::CatalogCommand command;
            if (entry.kind != raft::EntryKind::kCommand ||
                !command.ParseFromArray(entry.data.text().data(), static_cast<int>(entry.data.size())) ||
                !command.has_request() || !command.has_transaction())
                continue;
            Revision const before = copy.revision();
            auto const result = copy.apply(entry.data.bytes());
            judged();
            if (copy.revision() != before)
                return fail("a command that was repeated, entry " + std::to_string(at) + ", was carried out twice");
        }
    }

    std::vector<Seen> seen_;
    std::map<usize, sim::VirtualTime> removed_leads_;
    sim::VirtualTime next_repeat_;
};

}  // namespace

std::unique_ptr<Judge> make_consensus_judge(Trial& trial) {
    return std::make_unique<ConsensusJudge>(trial);
}

}  // namespace corelet
