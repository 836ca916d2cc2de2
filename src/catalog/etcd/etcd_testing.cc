#include "catalog/etcd/etcd_testing.h"

namespace corelet::testing {

EtcdUnderTest::Corelet::Corelet(os::Loop& loop, Log& log, u64 seed, std::vector<Address> endpoints)
    : world(loop, log, seed), catalog(world.env(), std::move(endpoints), MeshId(7)), scope(world.env().executor) {}

EtcdUnderTest::EtcdUnderTest(usize servers, usize corelets) : servers_(servers) {
    os::LogOptions quiet;
    quiet.level = LogLevel::kError;
    log_ = *os::make_log(quiet);
    loop_ = *os::Loop::create();
    for (usize i = 0; i < corelets; ++i)
        corelets_.push_back(std::make_unique<Corelet>(*loop_, *log_, i + 1, servers_.endpoints()));
    // Each has said something once: what it needs for that is there from now on, and changes no revision later.
    for (usize i = 0; i < corelets; ++i) {
        auto const nothing =
            wait(i, at(i).commit(Transaction().require_exists("nothing").remove("nothing"), in(60_s, i)));
        EXPECT_TRUE(nothing && !nothing->succeeded) << (nothing ? "" : nothing.error().to_string());
    }
    settle();
}

EtcdUnderTest::~EtcdUnderTest() {
    look_.disarm();
}

bool EtcdUnderTest::run_until(const std::function<bool()>& done, Duration bound) {
    Instant const until = loop_->clock().now() + bound;
    bool is_done = false;
    loop_->run_until([&] {
        if (!look_.is_armed()) loop_->clock().arm(look_, loop_->clock().now() + 1_ms);
        is_done = done();
        return is_done || loop_->clock().now() >= until;
    });
    return is_done;
}

void EtcdUnderTest::run_for(Duration time) {
    (void)run_until([] { return false; }, time);
}

// A minority is left to answer, and cannot.
void EtcdUnderTest::lose_quorum() {
    for (usize i = 0; i < servers_.size() / 2 + 1; ++i) servers_.stop(i);
    auto const nobody_answers = [this] {
        return std::none_of(corelets_.begin(), corelets_.end(),
                            [](const auto& corelet) { return corelet->catalog.is_available(); });
    };
    EXPECT_TRUE(run_until(nobody_answers, 20_s));
}

void EtcdUnderTest::regain_quorum() {
    settle();
}

void EtcdUnderTest::disturb(u64 what) {
    settle();
    usize const who = what / 6 % servers_.size();
    if (what % 6 < 3) {
        servers_.stop(who);
    } else {
        servers_.kill(who);
    }
    run_for(Duration{static_cast<i64>(what % 7) * 400'000'000});
    servers_.go_on_all();
}

void EtcdUnderTest::settle() {
    servers_.go_on_all();
    auto const all = wait(0, at(0).range({}, in(60_s)));
    EXPECT_TRUE(all) << (all ? "" : all.error().to_string());
    if (!all) return;
    auto const follow = [&] {
        return std::all_of(corelets_.begin(), corelets_.end(), [&](const auto& corelet) {
            return corelet->catalog.is_available() && corelet->catalog.local().revision() >= all->revision;
        });
    };
    EXPECT_TRUE(run_until(follow, 60_s)) << "not all mirrors follow";
}

}  // namespace corelet::testing
