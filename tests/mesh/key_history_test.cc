#include "tests/mesh/key_history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace corelet::of_keys {
namespace {

using ::testing::HasSubstr;
constexpr usize a = 0;
constexpr usize b = 1;

KeyRequest read_of(usize key) {
    KeyRequest out;
    out.reads[key] = true;
    return out;
}
KeyRequest read_both() {
    KeyRequest out;
    out.reads = {true, true};
    return out;
}
KeyRequest put(usize key, u64 value) {
    KeyRequest out;
    out.writes[key] = value;
    return out;
}
KeyRequest put_both(u64 value) {
    KeyRequest out;
    out.writes = {value, value};
    return out;
}
KeyRequest remove(usize key) {
    return put(key, 0);
}
KeyRequest cas(usize key, u64 expected, u64 value) {
    KeyRequest out = put(key, value);
    out.conditions[key] = {KeyCondition::Kind::kIs, expected};
    return out;
}
KeyRequest put_if_exists(usize key, u64 value) {
    KeyRequest out = put(key, value);
    out.conditions[key].kind = KeyCondition::Kind::kExists;
    return out;
}
KeyAnswer holds(usize key, KeySeen seen, u64 revision = 0) {
    KeyAnswer out;
    out.revision = revision;
    out.seen[key] = seen;
    return out;
}
KeyAnswer hold(KeySeen first, KeySeen second, u64 revision = 0) {
    KeyAnswer out;
    out.revision = revision;
    out.seen = {first, second};
    return out;
}
KeyAnswer done(u64 revision = 0) {
    return {true, revision, {}};
}
KeyAnswer refused(u64 revision = 0) {
    return {false, revision, {}};
}

struct Story {
    KeyHistory history;
    u64 now = 1;
    usize begin(KeyRequest request) { return history.begin(std::move(request), now++); }
    void end(usize operation, const KeyAnswer& answer) { history.end(operation, answer, now++); }
    void at_once(KeyRequest request, const KeyAnswer& answer) { end(begin(std::move(request)), answer); }
    void fine() const { EXPECT_FALSE(history.judge()) << *history.judge(); }
    void bad(const std::string& part) const {
        auto const verdict = history.judge();
        ASSERT_TRUE(verdict);
        EXPECT_THAT(*verdict, HasSubstr(part));
    }
};

TEST(KeyHistory, ReadsSeeTheLastWrite) {
    Story s;
    s.at_once(read_of(a), holds(a, {}));
    s.at_once(put(a, 1), done(5));
    s.at_once(read_of(a), holds(a, {1, 5}, 6));
    s.at_once(cas(a, 1, 2), done(7));
    s.at_once(cas(a, 1, 3), refused(8));
    s.at_once(put_if_exists(b, 4), refused(8));
    s.at_once(remove(a), done(9));
    s.at_once(read_both(), hold({}, {}, 9));
    s.at_once(put_both(5), done(10));
    s.at_once(read_both(), hold({5, 10}, {5, 10}, 12));
    s.fine();
}

TEST(KeyHistory, AStaleReadIsFound) {
    Story s;
    s.at_once(put(a, 1), done());
    s.at_once(put(a, 2), done());
    s.fine();
    s.at_once(read_of(a), holds(a, {1, 0}));
    s.bad("no order explains read a: done, a holds 1");
}

TEST(KeyHistory, AStaleReadThatTellsItsRevisionIsFoundWhileTheWriteIsOpen) {
    Story s;
    s.at_once(put(a, 1), done(5));
    usize const late = s.begin(put(a, 2));
    s.at_once(read_of(a), holds(a, {1, 5}, 9));
    s.fine();
    s.end(late, done(7));
    s.bad("no order explains");
}

TEST(KeyHistory, ALostUpdateIsFound) {
    Story s;
    s.at_once(put(a, 1), done());
    s.at_once(cas(a, 1, 2), done());
    s.fine();
    s.at_once(read_of(a), holds(a, {1, 0}));
    s.bad("no order explains");
}

TEST(KeyHistory, TwoWinnersOfOneRevisionAreFound) {
    Story s;
    s.at_once(put(a, 1), done());
    usize const one = s.begin(cas(a, 1, 2));
    usize const other = s.begin(cas(a, 1, 3));
    s.end(one, done());
    s.fine();
    s.end(other, done());
    s.bad("no order explains if a is 1 put a=3: done");
}

TEST(KeyHistory, AWinnerThatIsToldItLostIsFound) {
    Story s;
    s.at_once(put(a, 1), done());
    s.at_once(cas(a, 1, 2), refused());
    s.bad("no order explains if a is 1 put a=2: refused");
}

// The repeat of its request has to find its own success.
TEST(KeyHistory, ALoserWhoseWriteIsSeenIsFound) {
    Story s;
    s.at_once(put(a, 1), done());
    usize const repeated = s.begin(cas(a, 1, 2));
    s.at_once(read_of(a), holds(a, {2, 6}));
    s.fine();
    s.end(repeated, refused());
    s.bad("no order explains");
}

TEST(KeyHistory, AWriteThatComesBackIsFound) {
    Story s;
    (void)s.begin(put(a, 1));
    s.at_once(read_of(a), holds(a, {1, 0}));
    s.at_once(remove(a), done());
    s.at_once(read_of(a), holds(a, {}));
    s.fine();
    s.at_once(read_of(a), holds(a, {1, 0}));
    s.bad("no order explains");
}

TEST(KeyHistory, AWriteThatWasAppliedTwiceHasTwoRevisions) {
    Story s;
    (void)s.begin(put(a, 1));
    s.at_once(read_of(a), holds(a, {1, 5}));
    s.fine();
    s.at_once(read_of(a), holds(a, {1, 8}));
    s.bad("seen at two revisions, 5 and 8");
}

TEST(KeyHistory, APendingPutThatIsSeenAndThenUnseenIsFound) {
    Story s;
    s.at_once(put(a, 1), done());
    (void)s.begin(put(a, 2));
    s.at_once(read_of(a), holds(a, {1, 0}));
    s.at_once(read_of(a), holds(a, {2, 0}));
    s.fine();
    s.at_once(read_of(a), holds(a, {1, 0}));
    s.bad("no order explains");
}

TEST(KeyHistory, WhatNeverEndedMayHappenLateOnceOrNever) {
    Story s;
    (void)s.begin(put(a, 1));
    (void)s.begin(remove(a));
    s.at_once(put(a, 2), done());
    s.at_once(read_of(a), holds(a, {}));
    s.at_once(put(a, 3), done());
    s.at_once(read_of(a), holds(a, {3, 0}));
    s.fine();
    s.at_once(read_of(a), holds(a, {}));
    s.bad("no order explains");
}

// Nobody saw it, but only it can have refused the other one.
TEST(KeyHistory, APendingPutThatNobodySawCountsWhereAnAnswerDependsOnIt) {
    Story s;
    (void)s.begin(put(a, 1));
    s.at_once(cas(a, 0, 2), refused());
    s.fine();
    s.at_once(put_if_exists(a, 3), done());
    s.fine();
    Story nobody;
    nobody.at_once(cas(a, 0, 2), refused());
    nobody.bad("no order explains");
}

TEST(KeyHistory, HalfATransactionIsFound) {
    Story s;
    s.at_once(put_both(1), done());
    (void)s.begin(put_both(2));
    s.at_once(read_both(), hold({1, 0}, {1, 0}));
    s.fine();
    Story half = s;
    half.at_once(read_both(), hold({2, 0}, {1, 0}));
    half.bad("no order explains");
    s.at_once(read_of(b), holds(b, {2, 0}));
    s.fine();
    s.at_once(read_of(a), holds(a, {1, 0}));
    s.bad("no order explains");
}

TEST(KeyHistory, WritesTakeEffectInTheOrderOfTheirRevisions) {
    Story s;
    usize const one = s.begin(put(a, 1));
    usize const other = s.begin(put(a, 2));
    s.end(one, done(6));
    s.end(other, done(5));
    s.at_once(read_of(a), holds(a, {1, 6}));
    s.fine();
    Story wrong;
    usize const first = wrong.begin(put(a, 1));
    usize const second = wrong.begin(put(a, 2));
    wrong.end(first, done(6));
    wrong.end(second, done(5));
    wrong.at_once(read_of(a), holds(a, {2, 5}));
    wrong.bad("no order explains");
}

TEST(KeyHistory, OneRevisionIsOfOneTransaction) {
    Story s;
    usize const one = s.begin(put(a, 1));
    usize const other = s.begin(put(b, 2));
    s.end(one, done(5));
    s.end(other, done(5));
    s.bad("two transactions have revision 5");
}

TEST(KeyHistory, AValueThatNobodyPutThereIsFound) {
    Story s;
    s.at_once(put(a, 1), done());
    s.at_once(read_of(b), holds(b, {1, 0}));
    s.bad("key b holds 1, which nobody has put there");
}

// What a write reads on its return may be later than the write, and is no earlier.
TEST(KeyHistory, AWriteReadsAtTheEarliestItself) {
    KeyRequest reading = put(a, 1);
    reading.reads[a] = true;
    Story s;
    usize const operation = s.begin(reading);
    s.at_once(put(a, 2), done(6));
    s.end(operation, hold({2, 6}, {}, 5));
    s.fine();
    Story early;
    early.at_once(reading, hold({}, {}));
    early.bad("read a on its return");
}

TEST(KeyHistory, AViewLagsButHasNoHoles) {
    Story s;
    s.at_once(put(a, 1), done(5));
    s.at_once(put(a, 2), done(7));
    s.history.learn_view(6, {KeySeen{1, 5}, KeySeen{}});
    s.fine();
    s.history.learn_view(7, {KeySeen{1, 5}, KeySeen{}});
    s.bad("a view of revision 7 holds 1 of revision 5 and not what was written at 7");
}

TEST(KeyHistory, ManyOpenOperationsAreNoBurden) {
    Story s;
    for (u64 i = 1; i <= 40; ++i) {
        (void)s.begin(i % 2 == 0 ? remove(a) : put(a, 1000 + i));
        s.at_once(put(a, i), done());
        s.at_once(cas(a, i, 2000 + i), i % 3 == 0 ? refused() : done());
    }
    s.fine();
    s.at_once(read_of(a), holds(a, {39, 0}));
    s.bad("no order explains");
}

TEST(RevisionOrder, AnAnswerIsNoOlderThanWhatWasKnownBefore) {
    RevisionOrder order;
    u64 const early = order.begin();
    EXPECT_FALSE(order.end(order.begin(), 5, true));
    EXPECT_FALSE(order.end(order.begin(), 5, false));
    EXPECT_FALSE(order.end(early, 4, true)) << "it began before";
    EXPECT_TRUE(order.end(order.begin(), 5, true)) << "a write has a revision of its own";
    EXPECT_TRUE(order.end(order.begin(), 4, false));
}

}  // namespace
}  // namespace corelet::of_keys
