#include <gtest/gtest.h>

#include "sim/fault_driver.h"
#include "sim/scenario.h"

namespace corelet::sim {
namespace {

// A program that keeps a device busy, talks to the others, and starts over whenever something fails.
Task<Result<void>> use_disk(Env* env) {
    auto const exists = co_await env->disk.exists("device");
    OpenOptions options;
    options.create = exists && !*exists;
    options.size_bytes = 64 * k_block_bytes;
    CO_TRY(auto file, co_await env->disk.open("device", options));
    for (u64 page = 0;; page = (page + 1) % 64) {
        Durability const durability = page % 3 == 0 ? Durability::kDurable : Durability::kBuffered;
        CO_TRY_VOID(co_await file->write(page * k_block_bytes, Buffer::zeroed(k_block_bytes), durability));
        if (page % 7 == 0) CO_TRY_VOID(co_await file->flush());
        CO_TRY_VOID(co_await file->read(0, k_block_bytes));
        co_await env->clock.sleep(2_ms);
    }
}
Task<void> keep_using_disk(Env* env) {
    while (true) {
        auto const used = co_await use_disk(env);
        co_await env->clock.sleep(20_ms);
    }
}
Task<void> drain(std::unique_ptr<Connection> connection) {
    Buffer const target = Buffer::allocate(4096);
    while (co_await connection->read(target, 0, 1)) {
    }
}
Task<void> accept_all(Env* env, Address address) {
    auto listener = env->network.listen(address, {});
    CORELET_ASSERT(listener.has_value());
    Scope scope(env->executor);
    while (auto connection = co_await (*listener)->accept()) scope.spawn(drain(*std::move(connection)));
}
Task<void> keep_talking(Env* env, Address to) {
    while (true) {
        auto connection = co_await env->network.connect(to);
        while (connection) {
            auto const written = co_await (*connection)->write(Buffer::zeroed(100));
            if (!written) break;
            co_await env->clock.sleep(5_ms);
        }
        co_await env->clock.sleep(10_ms);
    }
}
Task<void> gossip(Env* env, Address self, Address to) {
    auto socket = env->network.bind_datagram(self);
    CORELET_ASSERT(socket.has_value());
    while (true) {
        (*socket)->send(to, Buffer::zeroed(64));
        co_await env->clock.sleep(10_ms);
    }
}
Task<void> live(Env* env, u32 self, u32 others) {
    Address const own = Address::tcp("n" + std::to_string(self), 7);
    Address const next = Address::tcp("n" + std::to_string((self + 1) % others), 7);
    Scope scope(env->executor);
    scope.spawn(keep_using_disk(env));
    scope.spawn(accept_all(env, own));
    scope.spawn(keep_talking(env, next));
    scope.spawn(gossip(env, own, next));
    co_await scope.join();
}

constexpr u32 k_nodes = 5;
void add_nodes(World& world) {
    for (u32 i = 0; i < k_nodes; ++i) {
        world.add_node("n" + std::to_string(i)).start([i](Env& env) { return live(&env, i, k_nodes); });
    }
}

FaultMenu everything() {
    FaultMenu menu;
    for (usize i = 0; i < k_fault_kinds; ++i) menu.kinds.push_back(static_cast<FaultKind>(i));
    menu.on_percent = 100;
    menu.every = 500_ms;
    menu.outage_max = 1_s;
    menu.unavailable_max = 2;
    return menu;
}

TEST(Faults, EachKindHappensAndStopTakesAllBack) {
    World world(1);
    add_nodes(world);
    FaultHooks hooks;
    hooks.racks = {{0, 1}, {2, 3}};
    FaultDriver driver(world, FaultPlan::draw(world.fork("plan"), everything()), hooks);
    driver.start();
    ASSERT_TRUE(world.run_for(100_s)) << world.failure();
    for (usize i = 0; i < k_fault_kinds; ++i) {
        FaultKind const kind = static_cast<FaultKind>(i);
        EXPECT_GT(world.stats().faults(kind), 0U) << fault_name(kind);
    }
    driver.stop();
    ASSERT_TRUE(world.run_for(10_s));
    for (u32 i = 0; i < k_nodes; ++i) {
        EXPECT_TRUE(world.node(i).is_up());
        EXPECT_FALSE(world.node(i).is_paused());
        for (u32 j = 0; j < k_nodes; ++j) EXPECT_TRUE(world.fabric().passes(i, j));
    }
    u64 const after = world.stats().all_faults();
    ASSERT_TRUE(world.run_for(20_s));
    EXPECT_EQ(world.stats().all_faults(), after);
}

TEST(Faults, NeverMoreUnavailableThanThePlanAllows) {
    for (u64 seed = 1; seed <= 3; ++seed) {
        World world(seed);
        add_nodes(world);
        FaultMenu menu = everything();
        menu.unavailable_max = 1;
        std::erase(menu.kinds, FaultKind::kRackLoss);
        FaultDriver driver(world, FaultPlan::draw(world.fork("plan"), menu));
        driver.start();
        for (int i = 0; i < 2000; ++i) {
            ASSERT_TRUE(world.run_for(10_ms));
            usize down = 0;
            for (u32 n = 0; n < k_nodes; ++n) down += world.node(n).is_up() && !world.node(n).is_paused() ? 0 : 1;
            ASSERT_LE(down, 1U);
            ASSERT_LE(driver.unavailable(), 1U);
        }
    }
}

TEST(Faults, TheAtlasVetoes) {
    World world(2);
    add_nodes(world);
    FaultHooks hooks;
    hooks.allows = [](const Fault& fault) { return fault.kind != FaultKind::kBitRot && fault.node != 0; };
    FaultDriver driver(world, FaultPlan::draw(world.fork("plan"), everything()), hooks);
    driver.start();
    ASSERT_TRUE(world.run_for(60_s));
    EXPECT_EQ(world.stats().faults(FaultKind::kBitRot), 0U);
    EXPECT_EQ(world.node(0).boots(), 1U);
    EXPECT_GT(driver.vetoed(), 10U);
}

TEST(Faults, ASwarmLeavesKindsOffAndLeavingOneOutChangesNoOther) {
    FaultMenu menu = FaultMenu::standard();
    std::set<usize> counts;
    for (u64 seed = 0; seed < 50; ++seed) {
        FaultPlan const plan = FaultPlan::draw(Prng(seed), menu);
        counts.insert(static_cast<usize>(std::ranges::count_if(plan.every, [](Duration d) { return d.ns != 0; })));
        FaultMenu fewer = menu;
        fewer.kinds.erase(fewer.kinds.begin());
        FaultPlan less = FaultPlan::draw(Prng(seed), fewer);
        less.of(menu.kinds.front()) = plan.every[static_cast<usize>(menu.kinds.front())];
        EXPECT_EQ(less.every, plan.every);
    }
    EXPECT_GT(counts.size(), 5U);
}

Result<void> busy_scenario(World& world, const ScenarioParameters& parameters) {
    add_nodes(world);
    TRY(FaultMenu menu, parameters.restrict_menu(everything()));
    FaultHooks hooks;
    hooks.racks = {{0, 1}};
    FaultDriver driver(world, FaultPlan::draw(world.fork("plan"), menu), hooks);
    driver.start();
    u64 const seconds = parameters.number("seconds", 6);
    world.run_for(Duration{static_cast<i64>(seconds) * 1'000'000'000});
    if (parameters.number("fails", 0) != 0 && world.stats().faults(FaultKind::kPause) > 0)
        return fail(Code::kLost, "planted");
    return {};
}
Scenario busy() {
    std::vector<std::string> names;
    for (usize i = 0; i < k_fault_kinds; ++i) names.emplace_back(fault_name(static_cast<FaultKind>(i)));
    return {"busy", "all faults at once", busy_scenario, {}, {{"seconds", 1, 6}}, std::move(names)};
}

TEST(Scenario, TheSameSeedGivesTheSameHashAndOthersDiffer) {
    std::set<u64> hashes;
    for (u64 seed = 1; seed <= 10; ++seed) {
        auto const first = run_scenario(busy(), seed, {});
        auto const second = run_scenario(busy(), seed, {});
        EXPECT_EQ(first.hash, second.hash);
        EXPECT_FALSE(find_difference(first, second)) << *find_difference(first, second);
        EXPECT_EQ(first.stats.line(), second.stats.line());
        hashes.insert(first.hash);
    }
    EXPECT_EQ(hashes.size(), 10U);
    auto const difference = find_difference(run_scenario(busy(), 1, {}), run_scenario(busy(), 2, {}));
    EXPECT_TRUE(difference);
}

TEST(Scenario, TracingChangesNothing) {
    u64 lines = 0;
    RunOptions options;
    options.trace_from = VirtualTime{Duration(5_s).ns};
    options.sink = [&](std::string_view) { ++lines; };
    auto const traced = run_scenario(busy(), 3, {}, options);
    EXPECT_EQ(traced.hash, run_scenario(busy(), 3, {}).hash);
    EXPECT_GT(lines, 100U);
}

TEST(Scenario, ShrinksToWhatTheFailureNeeds) {
    ScenarioParameters parameters;
    parameters.values["fails"] = "1";
    ASSERT_FALSE(run_scenario(busy(), 4, parameters).ok());
    auto const smallest = shrink_scenario(busy(), 4, parameters, [](std::string_view) {});
    EXPECT_FALSE(run_scenario(busy(), 4, smallest).ok());
    EXPECT_LT(smallest.number("seconds", 6), 6U);
    auto const menu = smallest.restrict_menu(everything());
    ASSERT_TRUE(menu);
    EXPECT_TRUE(std::ranges::find(menu->kinds, FaultKind::kPause) != menu->kinds.end());
    ScenarioParameters alone = smallest;
    alone.values["without"] += ",pause";
    EXPECT_TRUE(run_scenario(busy(), 4, alone).ok());
    EXPECT_GT(std::ranges::count(smallest.text("without"), ','), 10);
}

TEST(Scenario, ParametersAsText) {
    auto const parsed = ScenarioParameters::parse("# about\n corelets = 6\n\nfaults=kill, bit-rot # two\n");
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->number("corelets", 1), 6U);
    EXPECT_EQ(parsed->number("missing", 7), 7U);
    EXPECT_EQ(parsed->restrict_menu(FaultMenu::standard())->kinds,
              (std::vector<FaultKind>{FaultKind::kKill, FaultKind::kBitRot}));
    EXPECT_FALSE(ScenarioParameters::parse("nonsense"));
    auto const wrong = ScenarioParameters::parse("faults=kil");
    EXPECT_FALSE(wrong->restrict_menu({}));
}

int run_main(std::vector<std::string> words, std::string* out) {
    words.insert(words.begin(), "corelet-sim");
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    ScenarioRegistry registry;
    registry.add(busy());
    testing::internal::CaptureStdout();
    int const code = scenario_main(static_cast<int>(argv.size()), argv.data(), registry);
    *out = testing::internal::GetCapturedStdout();
    return code;
}

TEST(Scenario, TheProgramEndsWithAHashAndNamesWhatReproducesAFailure) {
    std::string out;
    EXPECT_EQ(run_main({"--seed", "5", "--twice", "seconds=2"}, &out), 0);
    EXPECT_NE(out.find("twice=1 "), std::string::npos) << out;
    EXPECT_EQ(run_main({"--seeds", "3..7", "--twice-every", "3", "seconds=2"}, &out), 0);
    EXPECT_NE(out.find("seeds=5 twice=2 "), std::string::npos) << out;
    EXPECT_EQ(run_main({"--seeds", "1..2,7,4", "seconds=2"}, &out), 0);
    EXPECT_NE(out.find("seeds=4 twice=0 "), std::string::npos) << out;
    EXPECT_NE(out.find("seed 7 "), std::string::npos) << out;
    usize const last = out.rfind('\n', out.size() - 2) + 1;
    EXPECT_TRUE(out.substr(last).starts_with("hash ")) << out;
    EXPECT_NE(out.find("coverage "), std::string::npos);
    EXPECT_EQ(run_main({"--seeds", "4..5", "fails=1"}, &out), 1);
    EXPECT_NE(out.find("FAILED seed 4: lost: planted"), std::string::npos) << out;
    EXPECT_NE(out.find("reproduce: corelet-sim --scenario busy --seed 4 fails=1"), std::string::npos) << out;
    EXPECT_EQ(run_main({"--scenario", "none"}, &out), 2);
    EXPECT_EQ(run_main({"--seed", "5", "--twice-every", "0", "seconds=2"}, &out), 2);
    for (const char* wrong : {"5..4", "", "1,", "1,,2", "x"})
        EXPECT_EQ(run_main({"--seeds", wrong}, &out), 2) << wrong;
    EXPECT_EQ(run_main({"--list"}, &out), 0);
    EXPECT_NE(out.find("all faults at once"), std::string::npos);
}

}  // namespace
}  // namespace corelet::sim
