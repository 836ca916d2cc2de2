// The search against one that tries everything, and its bounds.
#include "tests/mesh/linearize.h"

#include <gtest/gtest.h>

#include "base/prng.h"
#include "tests/mesh/key_history.h"

namespace corelet {
namespace {

// Wing and Gong's search without a shortcut: next is any operation that began before the end of all that must come.
class Exhaustive {
  public:
    explicit Exhaustive(const KeyModel& model) : operations_(model.operations()) {}
    [[nodiscard]] bool explains(KeyModel::State state = {}, u64 done = 0) const {
        u64 first_end = ~u64{0};
        for (usize i = 0; i < operations_.size(); ++i)
            if (operations_[i].ended != 0 && !(done >> i & 1))
                first_end = std::min(first_end, operations_[i].ended);
        if (first_end == ~u64{0}) return true;
        for (usize i = 0; i < operations_.size(); ++i) {
            if ((done >> i & 1) || operations_[i].begun > first_end) continue;
            auto const before = KeyModel::predecessor(operations_[i]);
            if (before && !(done >> *before & 1)) continue;
            KeyModel::State next = state;
            if (KeyModel::step(next, operations_[i]) && explains(next, done | u64{1} << i)) return true;
        }
        return false;
    }

  private:
    const std::vector<KeyModel::Operation>& operations_;
};

// A register of two keys whose operations take effect between beginning and end, or never; now and then an answer
// is not what it was.
class Register {
  public:
    explicit Register(u64 seed) : random_(seed) {}
    KeyHistory history(usize operations) {
        KeyHistory out;
        std::vector<Open> open;
        for (usize begun = 0; begun < operations || !open.empty();) {
            if (begun < operations && (open.size() < 2 || (open.size() < 4 && random_.chance(1, 2)))) {
                KeyRequest const request = draw();
                open.push_back({out.begin(request, ++now_), request, {}, false});
                ++begun;
                continue;
            }
            usize const pick = random_.below(open.size());
            Open& chosen = open[pick];
            if (!chosen.applied && random_.chance(9, 10)) {
                chosen.answer = apply(chosen.request);
                chosen.applied = true;
                continue;
            }
            if (chosen.applied && random_.chance(3, 4)) out.end(chosen.handle, told(chosen), ++now_);
            open.erase(open.begin() + static_cast<std::ptrdiff_t>(pick));
        }
        return out;
    }

  private:
    struct Open {
        usize handle = 0;
        KeyRequest request;
        KeyAnswer answer;
        bool applied = false;
    };
    KeyRequest draw() {
        KeyRequest out;
        usize const key = random_.below(k_history_keys);
        u64 const dice = random_.below(10);
        out.reads[key] = dice < 4 || random_.chance(1, 4);
        if (random_.chance(1, 4)) out.reads = {true, true};
        if (dice >= 4) out.writes[key] = dice < 6 ? 0 : ++next_value_;
        if (dice == 9) out.writes[1 - key] = next_value_;
        if (random_.chance(1, 3)) out.conditions[key] = {KeyCondition::Kind::kIs, random_.below(next_value_ + 1)};
        if (random_.chance(1, 8)) out.conditions[key].kind = KeyCondition::Kind::kExists;
        if (!out.is_write() && !out.has_reads()) out.reads[key] = true;
        return out;
    }
    KeyAnswer apply(const KeyRequest& request) {
        KeyAnswer out;
        for (usize key = 0; key < k_history_keys; ++key) {
            const KeyCondition& condition = request.conditions[key];
            if (condition.kind == KeyCondition::Kind::kIs) out.succeeded &= state_[key].value == condition.value;
            if (condition.kind == KeyCondition::Kind::kExists) out.succeeded &= state_[key].value != 0;
        }
        if (out.succeeded && request.is_write()) ++revision_;
        for (usize key = 0; key < k_history_keys; ++key)
            if (out.succeeded && request.writes[key])
                state_[key] = {*request.writes[key], *request.writes[key] == 0 ? 0 : revision_};
        out.revision = revision_;
        out.seen = state_;
        return out;
    }
    // Histories with and without revisions.
    KeyAnswer told(const Open& open) {
        KeyAnswer out = open.answer;
        if (random_.chance(1, 12)) out.succeeded = !out.succeeded;
        for (usize key = 0; key < k_history_keys; ++key) {
            if (!open.request.reads[key]) out.seen[key] = {};
            if (random_.chance(1, 12)) out.seen[key] = {};
            out.seen[key].revision = 0;
        }
        if (random_.chance(1, 2)) out.revision = 0;
        return out;
    }

    Prng random_;
    u64 now_ = 0;
    u64 next_value_ = 0;
    u64 revision_ = 1;
    std::array<KeySeen, k_history_keys> state_{};
};

TEST(Linearize, FindsAnOrderExactlyWhereThereIsOne) {
    usize explained = 0;
    usize refused = 0;
    for (u64 seed = 1; seed <= 4'000; ++seed) {
        KeyHistory const history = Register(seed).history(4 + seed % 5);
        KeyModel const model(history);
        auto const found = Linearizer(model).judge();
        ASSERT_FALSE(found && found->gave_up);
        bool const truth = Exhaustive(model).explains();
        ASSERT_EQ(!found, truth) << "seed " << seed << (found ? ": " + found->text : "");
        ++(truth ? explained : refused);
    }
    EXPECT_GT(explained, 500U);
    EXPECT_GT(refused, 500U);
}

// A counter of what may be added in any order.
struct Sums {
    using State = u64;
    struct Operation {
        u64 begun = 0;
        u64 ended = 0;
        u64 adds = 0;
    };
    std::vector<Operation> all;
    [[nodiscard]] const std::vector<Operation>& operations() const { return all; }
    static bool step(State& state, const Operation& operation) {
        state += operation.adds;
        return true;
    }
    static bool is_read(const Operation&) { return false; }
    static bool may_be_left_out(const Operation&) { return false; }
    static bool alike(const Operation&, const Operation&) { return false; }
    static std::optional<usize> predecessor(const Operation&) { return std::nullopt; }
    static std::string show(const State& state) { return std::to_string(state); }
    static std::string show(const Operation& operation) { return std::to_string(operation.adds); }
};

TEST(Linearize, SaysThatItGaveUp) {
    Sums sums;
    for (u64 i = 0; i < 12; ++i) sums.all.push_back({i + 1, 0, u64{1} << i});
    sums.all.push_back({20, 21, 1U << 20});
    EXPECT_FALSE(Linearizer(sums).judge());
    auto const wide = Linearizer(sums, {64, 1'000}).judge();
    ASSERT_TRUE(wide);
    EXPECT_TRUE(wide->gave_up);
    auto const many = Linearizer(sums, {12, 200'000}).judge();
    ASSERT_TRUE(many);
    EXPECT_TRUE(many->gave_up);
}

}  // namespace
}  // namespace corelet
