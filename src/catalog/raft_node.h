// The shell around raft::Core: journal, messages, state machine. One executor. Destroying it is a crash and safe.
#pragma once

#include <set>

#include "catalog/limits.h"
#include "catalog/raft_media.h"
#include "catalog/watch_hub.h"
#include "raft/core.h"
#include "rt/env.h"
#include "wire/rpc.h"

namespace corelet {

namespace raft_method {
inline constexpr Method k_message{0x0201};
inline constexpr Method k_greeting{0x0202};
}  // namespace raft_method

class RaftNode {
  public:
    // What else knows about identities: the judge of greetings, and of one's own (protocols 1.2, 1.3).
    class Identities {
      public:
        virtual ~Identities() = default;
        // Another body of the caller's identity, or a later state of it, is known here.
        [[nodiscard]] virtual bool knows_better(CoreletId id, const pb::VoterGreeting& greeting,
                                                std::string& reason) const = 0;
        [[nodiscard]] virtual pb::VoterGreeting own() const = 0;
    };

    // Replays the journal and runs. With `first` and an empty journal this corelet becomes the only voter of a new
    // group, durably. A journal that has rotted is repaired from the others before it votes or acknowledges again
    // (protocols 11). kCorrupt: the log contradicts itself. kNoSpace: the journal is too small.
    [[nodiscard]] static Task<Result<std::unique_ptr<RaftNode>>> start(Env& env, RpcNode& rpc, Journal& journal,
                                                                       const Identities& identities,
                                                                       raft::Options options, bool first);
    ~RaftNode();

    // Proposes and waits until it is applied here. kNotLeader (`detail`: the leader's id), kUnavailable,
    // kOverloaded; kTimeout: it may yet be applied.
    [[nodiscard]] Task<Result<pb::CatalogResult>> propose(std::string command, Instant deadline);
    // Everything committed before the call is applied here when it returns.
    [[nodiscard]] Task<Result<void>> read_barrier(Instant deadline);
    [[nodiscard]] Task<Result<void>> change(raft::Change change, Instant deadline);
    // Hands leadership to a voter that is up, if this one leads.
    void step_down();

    [[nodiscard]] bool is_leader() const { return core_.role() == raft::Role::kLeader; }
    [[nodiscard]] CoreletId leader() const { return core_.leader(); }
    [[nodiscard]] raft::Term term() const { return core_.term(); }
    [[nodiscard]] const raft::Configuration& configuration() const { return core_.configuration(); }
    [[nodiscard]] bool is_member() const { return configuration().contains(rpc_.id()); }
    [[nodiscard]] const CatalogState& state() const { return state_; }
    [[nodiscard]] WatchHub& hub() { return hub_; }
    [[nodiscard]] raft::Core& core() { return core_; }
    // Not empty: the journal has rotted and does not say what it had promised. This identity never votes again.
    [[nodiscard]] const std::string& forgotten() const { return forgotten_; }
    // It takes no part any more, for ever: its journal failed or has forgotten, or this version is too old for the
    // catalog.
    [[nodiscard]] bool has_failed() const { return core_.failed() || !forgotten_.empty(); }
    // The device has forgotten promises, or failed: no vote from here.
    void bar(raft::Bar reason);

  private:
    struct Proposal {
        raft::Term term;
        std::shared_ptr<Completion<Result<pb::CatalogResult>>> done;
    };
    RaftNode(Env& env, RpcNode& rpc, Journal& journal, const Identities& identities, raft::Core core,
             RaftMedia::Opened opened);
    [[nodiscard]] RaftMedia::Events media_events();
    void wake() { wanted_.notify_one(); }
    [[nodiscard]] Task<void> run();
    void turn();
    void watch_media();
    void carry_out(raft::Effects effects);
    void install(const raft::Snapshot& snapshot);
    void apply(const raft::Entry& entry);
    void answer_reads(const std::vector<raft::ReadState>& reads);
    void keep_journal_short();
    void send(const raft::Message& message);
    [[nodiscard]] Task<void> exchange_before_voting();
    [[nodiscard]] Task<void> greet(CoreletId voter, std::set<CoreletId>* answered, bool* doubted);
    [[nodiscard]] Task<Result<Reply>> on_message(Request request);
    [[nodiscard]] Task<Result<Reply>> on_greeting(Request request);

    Env& env_;
    RpcNode& rpc_;
    const Identities& identities_;
    raft::Core core_;
    std::string forgotten_;
    bool never_promised_ = false;  // nothing was in the journal when it started
    bool room_wanted_ = false;     // a batch waits until the journal is shorter
    Notify spoken_to_;             // a message has come
    CatalogState state_;
    WatchHub hub_{state_};
    std::map<raft::Index, Proposal> proposals_;
    std::map<u64, std::shared_ptr<Completion<Result<void>>>> reads_;
    u64 next_read_ = 1;
    Notify wanted_;
    bool woken_ = false;
    RaftMedia media_;
    Instant last_turn_{};
    u64 media_finished_ = 0;
    Duration media_silent_{};  // so long it has had something to do and done none of it
    bool stuck_ = false;
    Scope scope_;
};

}  // namespace corelet
