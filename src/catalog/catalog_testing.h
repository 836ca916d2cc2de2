// Catalogs for tests: one of a single process, and one on raft over several simulated corelets whose voters crash,
// are cut off, rot and come back. The conformance suite runs against each through CatalogUnderTest, and against an
// etcd (etcd/etcd_testing.h).
#pragma once

#include <gtest/gtest.h>

#include "catalog/raft_catalog.h"
#include "device/store.h"
#include "sim/world.h"

namespace corelet::testing {

class CatalogUnderTest {
  public:
    virtual ~CatalogUnderTest() = default;
    // The interface at one corelet, its clock, and a task beside it; `index` is taken modulo the number of
    // corelets.
    [[nodiscard]] virtual Catalog& at(usize index) = 0;
    [[nodiscard]] virtual Clock& clock(usize index) = 0;
    virtual void spawn(usize index, Task<void> task) = 0;
    [[nodiscard]] virtual usize size() const = 0;
    // Lets everything run. False: the bound passed first, or the run has failed.
    virtual bool run_until(const std::function<bool()>& done, Duration bound) = 0;
    virtual void run_for(Duration time) = 0;
    // For the test's own choices; the same name gives the same one.
    [[nodiscard]] virtual Prng fork(std::string_view name) = 0;
    // Why the run has failed; empty: it has not.
    [[nodiscard]] virtual std::string failure() { return {}; }
    // No quorum answers from here on, and does again.
    virtual void lose_quorum() = 0;
    virtual void regain_quorum() = 0;
    // Something happens to it that callers must not notice: a change of leader, a partition, a restart. Nothing,
    // where there is nothing of the kind.
    virtual void disturb(u64 what) = 0;
    // The disturbance is over and everybody follows again.
    virtual void settle() = 0;

    [[nodiscard]] Instant in(Duration time, usize index = 0) { return clock(index).now() + time; }
    // Runs a task at a corelet to its end, which it has to reach.
    template <class T>
    T wait(usize index, Task<T> task) {
        auto slot = std::make_shared<std::optional<T>>();
        spawn(index, keep_result(std::move(task), slot));
        run_until([&] { return slot->has_value(); }, 120_s);
        EXPECT_TRUE(slot->has_value()) << "the call did not end; " << failure();
        if constexpr (std::is_constructible_v<T, std::unexpected<Error>>)
            return *slot ? **std::move(slot) : T(fail(Code::kTimeout, "the call did not end"));
        else
            return **std::move(slot);
    }

  private:
    template <class T>
    static Task<void> keep_result(Task<T> task, std::shared_ptr<std::optional<T>> slot) {
        slot->emplace(co_await std::move(task));
    }
};

// Under virtual time.
class SimulatedCatalog : public CatalogUnderTest {
  public:
    [[nodiscard]] virtual sim::World& world() = 0;
    [[nodiscard]] virtual sim::Node& machine(usize index) = 0;
    Clock& clock(usize index) override { return machine(index).env().clock; }
    void spawn(usize index, Task<void> task) override { machine(index).spawn(std::move(task)); }
    bool run_until(const std::function<bool()>& done, Duration bound) override {
        return world().run_until(done, bound);
    }
    void run_for(Duration time) override { world().run_for(time); }
    Prng fork(std::string_view name) override { return world().fork(name); }
    std::string failure() override { return world().failure(); }
};

class MemoryUnderTest final : public SimulatedCatalog {
  public:
    explicit MemoryUnderTest(u64 seed);
    ~MemoryUnderTest() override;
    sim::World& world() override { return world_; }
    Catalog& at(usize) override { return *catalog_; }
    sim::Node& machine(usize) override { return *node_; }
    usize size() const override { return 1; }
    void lose_quorum() override { catalog_->set_available(false); }
    void regain_quorum() override { catalog_->set_available(true); }
    void disturb(u64) override {}
    void settle() override {}

  private:
    static Task<void> life(Env& env, MemoryUnderTest* self);
    sim::World world_;
    sim::Node* node_ = nullptr;
    MemoryCatalog* catalog_ = nullptr;
};

// Voters 0 .. voters - 1, and observers behind them that hold no log.
class RaftUnderTest final : public SimulatedCatalog {
  public:
    explicit RaftUnderTest(u64 seed, usize voters = 3, usize observers = 1,
                           raft::Options options = catalog_raft_options());
    ~RaftUnderTest() override;
    sim::World& world() override { return world_; }
    Catalog& at(usize index) override { return *member(index).catalog; }
    sim::Node& machine(usize index) override { return *member(index).machine; }
    usize size() const override { return members_.size(); }
    void lose_quorum() override;
    void regain_quorum() override;
    void disturb(u64 what) override;
    void settle() override;

    [[nodiscard]] RaftNode& raft(usize index) { return *member(index).raft; }
    [[nodiscard]] RaftCatalog& catalog(usize index) { return *member(index).catalog; }
    [[nodiscard]] bool is_up(usize index) { return member(index).catalog != nullptr; }
    [[nodiscard]] Journal& journal(usize index) { return member(index).store->consensus_journal(); }
    [[nodiscard]] std::optional<usize> leader() const;
    [[nodiscard]] usize leader_now();  // waits for one
    [[nodiscard]] CoreletId id(usize index) { return member(index).id; }
    void crash(usize index);
    void start(usize index);
    // While it is down: a bit flips in each of its journal's last batches, or in its snapshot.
    void rot_last_batch(usize index, usize batches = 1);
    void rot_snapshot(usize index);
    void stall_device(usize index, Duration time);  // nothing is written or read for so long
    void cut_off(usize index) { world_.isolate(static_cast<u32>(index)); }
    void mend() { world_.heal_network(); }
    [[nodiscard]] usize voters() const { return voters_; }

  private:
    struct Member {
        sim::Node* machine = nullptr;
        CoreletId id;
        Store* store = nullptr;
        RaftNode* raft = nullptr;
        RaftCatalog* catalog = nullptr;
    };
    struct Presence;
    class Policy;
    class Knowledge;
    Member& member(usize index) { return members_[index % members_.size()]; }
    static Task<void> life(Env& env, RaftUnderTest* self, usize index);
    static Task<bool> make_voter(RaftNode* raft, Clock* clock, CoreletId id, Instant deadline);
    sim::World world_;
    raft::Options options_;
    usize voters_;
    std::vector<Member> members_;
};

}  // namespace corelet::testing
