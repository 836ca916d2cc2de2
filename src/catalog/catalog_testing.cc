#include "catalog/catalog_testing.h"

#include <gtest/gtest.h>

#include "device/layout.h"

namespace corelet::testing {

namespace {
constexpr const char* k_device = "/device";
constexpr u64 k_device_bytes = 64 * k_mib;
const MeshId k_mesh(7);
}  // namespace

// --- memory
// -----------------------------------------------------------------------------------------------------------------

MemoryUnderTest::MemoryUnderTest(u64 seed) : world_(seed) {
    node_ = &world_.add_node("m");
    node_->start([this](Env& env) { return life(env, this); });
    EXPECT_TRUE(world_.run_until([this] { return catalog_ != nullptr; }, 1_s));
}

MemoryUnderTest::~MemoryUnderTest() {
    node_->crash();
}

Task<void> MemoryUnderTest::life(Env& env, MemoryUnderTest* self) {
    MemoryCatalog catalog(env.clock);
    self->catalog_ = &catalog;
    Event never;
    co_await never.wait();
}

// --- raft
// -------------------------------------------------------------------------------------------------------------------

class RaftUnderTest::Policy final : public HelloPolicy {
  public:
    explicit Policy(const Store& store) : store_(store) {}
    Hello local_hello() override {
        Hello hello;
        hello.role = PeerRole::kCorelet;
        hello.mesh = k_mesh;
        hello.corelet = store_.identity();
        hello.incarnation = store_.incarnation();
        hello.boot_nonce = store_.boot_nonce();
        hello.durable_sequence = store_.durable_seq();
        return hello;
    }
    Result<void> judge(const Hello&, const PeerContext&) override { return {}; }

  private:
    const Store& store_;
};

// Nobody is doubted here: two bodies of one identity are the node's matter.
class RaftUnderTest::Knowledge final : public RaftNode::Identities {
  public:
    explicit Knowledge(const Store& store) : store_(store) {}
    bool knows_better(CoreletId, const pb::VoterGreeting&, std::string&) const override { return false; }
    pb::VoterGreeting own() const override {
        pb::VoterGreeting out;
        out.set_incarnation(store_.incarnation().v);
        out.set_nonce(store_.boot_nonce());
        return out;
    }

  private:
    const Store& store_;
};

struct RaftUnderTest::Presence {
    Member& member;
    ~Presence() {
        member.store = nullptr;
        member.raft = nullptr;
        member.catalog = nullptr;
    }
};

RaftUnderTest::RaftUnderTest(u64 seed, usize voters, usize observers, raft::Options options)
    : world_(seed), options_(options), voters_(voters) {
    for (usize i = 0; i < voters + observers; ++i) {
        Member member;
        member.machine = &world_.add_node("c" + std::to_string(i));
        member.id = CoreletId(i + 1);
        members_.push_back(member);
    }
    for (usize i = 0; i < members_.size(); ++i) start(i);
    EXPECT_TRUE(world_.run_until(
        [this] { return std::all_of(members_.begin(), members_.end(), [](const Member& m) { return m.catalog; }); },
        10_s));
    for (usize i = 1; i < voters; ++i)
        EXPECT_TRUE(
            wait(0, make_voter(members_[0].raft, &members_[0].machine->env().clock, members_[i].id, in(60_s))));
    settle();
}

RaftUnderTest::~RaftUnderTest() {
    for (Member& member : members_) member.machine->crash();
}

Task<bool> RaftUnderTest::make_voter(RaftNode* raft, Clock* clock, CoreletId id, Instant deadline) {
    while (!raft->configuration().is_voter(id) && clock->now() < deadline) {
        bool const learns = raft->configuration().is_learner(id);
        (void)co_await raft->change({learns ? raft::ChangeKind::kPromote : raft::ChangeKind::kAddLearner, id},
                                    deadline);
        co_await clock->sleep(50_ms);
    }
    co_return raft->configuration().is_voter(id);
}

Task<void> RaftUnderTest::life(Env& env, RaftUnderTest* self, usize index) {
    Member& member = self->members_[index];
    if (auto const exists = co_await env.disk.exists(k_device); !exists || !*exists) {
        OpenOptions create;
        create.create = true;
        create.size_bytes = k_device_bytes;
        auto file = co_await env.disk.open(k_device, create);
        FormatOptions format;
        format.mesh = k_mesh;
        format.identity = member.id;
        format.force = true;
        auto const formatted = co_await format_device(file->get(), StoreEnv::of(env), format);
        CORELET_ASSERT(formatted.has_value());
    }
    auto file = co_await env.disk.open(k_device, OpenOptions{});
    auto store = co_await Store::mount(*std::move(file), StoreEnv::of(env), StoreOptions{});
    CORELET_ASSERT(store.has_value());
    Policy policy(**store);
    Knowledge knowledge(**store);
    RpcOptions rpc_options;
    rpc_options.insecure = true;
    RpcNode rpc(env, policy, rpc_options);
    CORELET_ASSERT(rpc.listen(Address::tcp(self->machine(index).name(), 7000)).has_value());
    for (const Member& other : self->members_)
        if (other.id != member.id) rpc.set_addresses(other.id, {Address::tcp(other.machine->name(), 7000)});
    auto raft =
        co_await RaftNode::start(env, rpc, (*store)->consensus_journal(), knowledge, self->options_, index == 0);
    if (!raft) {
        log_error(env.log, "test.raft_not_started", raft.error().to_string());
        co_return;
    }
    RaftCatalog catalog(env, rpc, raft->get());
    std::vector<CoreletId> all;
    for (const Member& other : self->members_) all.push_back(other.id);
    catalog.set_voter_hints({all.begin(), std::next(all.begin(), static_cast<i64>(self->voters_))});
    catalog.set_acquaintances([all = std::move(all)] { return all; });
    member.store = store->get();
    member.raft = raft->get();
    member.catalog = &catalog;
    Presence const presence{member};
    Event never;
    co_await never.wait();
}

void RaftUnderTest::start(usize index) {
    member(index).machine->start([this, index](Env& env) { return life(env, this, index); });
}

void RaftUnderTest::crash(usize index) {
    member(index).machine->crash();
}

std::optional<usize> RaftUnderTest::leader() const {
    std::optional<usize> best;
    for (usize i = 0; i < members_.size(); ++i) {
        if (!members_[i].raft || !members_[i].raft->is_leader()) continue;
        if (!best || members_[i].raft->term() > members_[*best].raft->term()) best = i;
    }
    return best;
}

usize RaftUnderTest::leader_now() {
    EXPECT_TRUE(world_.run_until([this] { return leader().has_value(); }, 60_s)) << world_.failure();
    return leader().value_or(0);
}

void RaftUnderTest::lose_quorum() {
    for (usize i = 0; i < voters_; ++i) cut_off(i);
    world_.run_for(10_s);
}

void RaftUnderTest::regain_quorum() {
    mend();
    settle();
}

// One of the voters goes, the leader more often than others; never so many that no majority is left.
void RaftUnderTest::disturb(u64 what) {
    settle();
    usize const who = what % 3 == 2 ? (what / 6) % voters_ : leader_now();
    switch (what % 6) {
        case 0:
            raft(who).step_down();
            break;
        case 1:
            cut_off(who);
            break;
        case 2:
            cut_off(who);
            break;
        default:
            crash(who);
            break;
    }
    world_.run_for(Duration{static_cast<i64>(what % 7) * 400'000'000});
    if (!is_up(who)) start(who);
}

void RaftUnderTest::settle() {
    mend();
    for (usize i = 0; i < members_.size(); ++i)
        if (!members_[i].machine->is_up()) start(i);
    auto const follow = [this] {
        auto const leads = leader();
        if (!leads) return false;
        for (const Member& member : members_)
            if (!member.catalog ||
                member.catalog->local_range("\x7f").revision != members_[*leads].raft->state().revision())
                return false;
        for (usize i = 0; i < voters_; ++i)
            if (members_[i].raft->leader() != members_[*leads].id || members_[i].raft->core().barred())
                return false;
        return true;
    };
    EXPECT_TRUE(world_.run_until(follow, 120_s)) << world_.failure();
}

void RaftUnderTest::stall_device(usize index, Duration time) {
    machine(index).media().find(k_device)->faults.stuck_until = world_.now() + time;
}

void RaftUnderTest::rot_last_batch(usize index, usize batches) {
    CORELET_ASSERT(!machine(index).is_up());
    sim::MediaFile& file = *machine(index).media().find(k_device);
    Layout const layout = *plan_layout({k_device_bytes, false, 0, 0});
    std::vector<std::pair<u64, u64>> found;  // batch, offset
    for (u32 half = 0; half < 2; ++half) {
        u64 const start = layout.consensus_area(1).half_offset[half];
        for (u64 at = start; at < start + layout.consensus_half_bytes; at += k_block_bytes) {
            auto const block = file.read(at, k_block_bytes);
            if (!block) continue;
            u32 magic = 0;
            u64 batch = 0;
            std::memcpy(&magic, block->data(), sizeof magic);
            std::memcpy(&batch, block->data() + 8, sizeof batch);
            if (magic != 0x31424A43U) continue;  // "CJB1"
            found.emplace_back(batch, at);
        }
    }
    std::sort(found.begin(), found.end(), std::greater<>());
    std::set<u64> hit;
    for (auto const& [batch, at] : found) {
        if (hit.size() == batches && !hit.contains(batch)) break;  // both halves may have one
        hit.insert(batch);
        file.flip_bit(at + 80, 3);
    }
    CORELET_ASSERT(hit.size() == batches);
}

void RaftUnderTest::rot_snapshot(usize index) {
    CORELET_ASSERT(!machine(index).is_up());
    sim::MediaFile& file = *machine(index).media().find(k_device);
    Layout const layout = *plan_layout({k_device_bytes, false, 0, 0});
    for (u64 half : layout.consensus_area(1).half_offset) file.flip_bit(half + k_block_bytes + 100, 3);
}

}  // namespace corelet::testing
