// What the catalog is told of this corelet's lives, over a catalog that answers when the test lets it.
#include "node/session_keeper.h"

#include <gtest/gtest.h>

#include "catalog/memory_catalog.h"
#include "device/layout.h"
#include "node/node.pb.h"
#include "sim/world.h"
#include "stream/stream_record.h"

namespace corelet {
namespace {

constexpr const char* k_device = "/device";

class HeldCatalog final : public MemoryCatalog {
  public:
    explicit HeldCatalog(Clock& clock) : MemoryCatalog(clock) {}
    Task<Result<TransactionResult>> commit(Transaction transaction, Instant deadline) override {
        auto found = co_await MemoryCatalog::commit(std::move(transaction), deadline);
        u64 const number = ++asked_;
        while (number >= held_from_) co_await released_.wait();
        co_return found;
    }
    // The answers after the next `more` ones are held back.
    void hold_after(u64 more) { held_from_ = asked_ + more + 1; }
    [[nodiscard]] bool is_holding() const { return asked_ >= held_from_; }
    void release() {
        held_from_ = UINT64_MAX;
        released_.notify_all();
    }

  private:
    u64 asked_ = 0;
    u64 held_from_ = UINT64_MAX;
    Notify released_;
};

struct Rig {
    sim::World world{1};
    sim::Node* machine = &world.add_node("m");
    HeldCatalog* catalog = nullptr;
    Store* store = nullptr;
    SessionKeeper* keeper = nullptr;
    std::string forgotten;

    Rig() {
        machine->start([this](Env& env) { return life(env, this); });
        EXPECT_TRUE(world.run_until([this] { return keeper && !keeper->session().is_zero(); }, 10_s));
    }
    ~Rig() { machine->crash(); }

    static Task<void> life(Env& env, Rig* self) {
        FormatOptions format;
        format.mesh = MeshId(7);
        format.identity = CoreletId(5);
        OpenOptions create;
        create.create = true;
        create.size_bytes = 64 * k_mib;
        auto file = co_await env.disk.open(k_device, create);
        CORELET_ASSERT(file.has_value());
        auto const formatted = co_await format_device(file->get(), StoreEnv::of(env), format);
        CORELET_ASSERT(formatted.has_value());
        auto store = co_await Store::mount(*std::move(file), StoreEnv::of(env), StoreOptions{});
        CORELET_ASSERT(store.has_value());
        HeldCatalog catalog(env.clock);
        NodeConfig config;
        SessionKeeper keeper(env, catalog, **store, config, [self](std::string why) { self->forgotten = why; });
        self->catalog = &catalog;
        self->store = store->get();
        self->keeper = &keeper;
        Event never;
        co_await never.wait();
    }
    static Task<bool> note(Store* store, int number) {
        co_return (co_await store->put_note("n", std::vector<u8>{static_cast<u8>(number)})).has_value();
    }
    static Task<bool> raise(Store* store) { co_return (co_await store->raise_incarnation()).has_value(); }
    void write(int number) { EXPECT_TRUE(world.run(*machine, note(store, number), 10_s)); }
    void raise_incarnation() { EXPECT_TRUE(world.run(*machine, raise(store), 10_s)); }
    // The present life comes to stand in the catalog, with a session, and its name stays.
    void expect_recorded() {
        auto const recorded = [&] {
            return record().incarnation() == store->incarnation().v && !keeper->session().is_zero();
        };
        EXPECT_TRUE(world.run_until(recorded, 30_s));
        EXPECT_EQ(forgotten, "");
    }
    [[nodiscard]] pb::IdentityRecord record() const {
        pb::IdentityRecord out;
        for (const KeyValue& item : catalog->local_range(identity_key(store->identity())).items)
            EXPECT_TRUE(out.ParseFromString(item.value));
        return out;
    }
};

TEST(SessionKeeper, CarriesTheDevicesNumberOnWhileItLives) {
    Rig rig;
    u64 const first = rig.record().durable_sequence();
    rig.write(1);
    EXPECT_TRUE(rig.world.run_until([&] { return rig.record().durable_sequence() > first; }, 30_s));
    EXPECT_LE(rig.record().durable_sequence(), rig.store->durable_seq());
    EXPECT_EQ(rig.record().incarnation(), rig.store->incarnation().v);
}

// The number is carried on while the life is renewed: it must not come to stand on the record of the former one, or
// the device looks as if it had been rolled back, and loses its name.
TEST(SessionKeeper, ALifeRenewedWhileTheNumberIsCarriedOnIsNotForgotten) {
    Rig rig;
    rig.write(1);
    rig.catalog->hold_after(0);
    ASSERT_TRUE(rig.world.run_until([&] { return rig.catalog->is_holding(); }, 30_s)) << "it is not carried on";
    rig.raise_incarnation();
    rig.write(2);
    rig.keeper->reopen();
    rig.catalog->release();
    rig.expect_recorded();
}

// The same while the session is opened: the next one is of the new life.
TEST(SessionKeeper, ALifeRenewedWhileASessionIsOpenedIsRecordedToo) {
    Rig rig;
    rig.keeper->reopen();
    rig.catalog->hold_after(1);  // the record is read, and its change committed
    ASSERT_TRUE(rig.world.run_until([&] { return rig.catalog->is_holding(); }, 30_s));
    rig.raise_incarnation();
    rig.keeper->reopen();
    rig.catalog->release();
    rig.expect_recorded();
}

}  // namespace
}  // namespace corelet
