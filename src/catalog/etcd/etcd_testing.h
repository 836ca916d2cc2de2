// The catalog on a real etcd, for the conformance suite: so in real time, with each corelet in a world of its own
// on one loop.
#pragma once

#include "catalog/catalog_testing.h"
#include "catalog/etcd/etcd_catalog.h"
#include "catalog/etcd/etcd_servers_testing.h"
#include "os/world.h"

namespace corelet::testing {

class EtcdUnderTest final : public CatalogUnderTest {
  public:
    EtcdUnderTest(usize servers, usize corelets);
    ~EtcdUnderTest() override;
    Catalog& at(usize index) override { return corelet(index).catalog; }
    Clock& clock(usize index) override { return corelet(index).world.env().clock; }
    void spawn(usize index, Task<void> task) override { corelet(index).scope.spawn(std::move(task)); }
    usize size() const override { return corelets_.size(); }
    bool run_until(const std::function<bool()>& done, Duration bound) override;
    void run_for(Duration time) override;
    Prng fork(std::string_view name) override { return Prng(1).fork(name); }
    void lose_quorum() override;
    void regain_quorum() override;
    void disturb(u64 what) override;
    void settle() override;
    [[nodiscard]] EtcdServers& servers() { return servers_; }

  private:
    struct Corelet {
        os::World world;
        EtcdCatalog catalog;
        Scope scope;
        Corelet(os::Loop& loop, Log& log, u64 seed, std::vector<Address> endpoints);
    };
    // Something turns true without anything that wakes the loop: it is looked at again soon.
    struct Look final : Timer {
        void fire() override {}
    };
    Corelet& corelet(usize index) { return *corelets_[index % corelets_.size()]; }
    EtcdServers servers_;
    std::unique_ptr<Log> log_;
    std::unique_ptr<os::Loop> loop_;
    std::vector<std::unique_ptr<Corelet>> corelets_;
    Look look_;
};

}  // namespace corelet::testing
