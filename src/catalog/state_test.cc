#include "catalog/state.h"

#include <gtest/gtest.h>

#include "catalog/parsed_records.h"

namespace corelet {
namespace {

class State : public ::testing::Test {
  protected:
    pb::CatalogResult apply(const pb::CatalogCommand& command) {
        return state.apply(as_bytes(command.SerializeAsString()));
    }
    static pb::CatalogCommand command(const Transaction& transaction, u64 client = 0, u64 number = 0) {
        pb::CatalogCommand out;
        encode_transaction(transaction, *out.mutable_transaction());
        if (client != 0) {
            out.mutable_request()->set_client(client);
            out.mutable_request()->set_number(number);
        }
        return out;
    }
    pb::CatalogResult run(const Transaction& transaction, u64 client = 0, u64 number = 0) {
        return apply(command(transaction, client, number));
    }
    LeaseId grant(u64 client = 0, u64 number = 0) {
        pb::CatalogCommand out;
        out.set_grant_lease_ttl_ns(1'000'000'000);
        if (client != 0) {
            out.mutable_request()->set_client(client);
            out.mutable_request()->set_number(number);
        }
        return LeaseId(apply(out).lease());
    }
    void end(LeaseId lease) {
        pb::CatalogCommand out;
        out.add_end_leases(lease.v);
        apply(out);
    }
    // The state as another voter has it, who got a snapshot instead of the log.
    [[nodiscard]] CatalogState copied() const {
        CatalogState copy;
        EXPECT_TRUE(copy.restore_snapshot(as_bytes(state.encode_snapshot())).has_value());
        return copy;
    }
    CatalogState state;
};

TEST(ParsedRecords, AreParsedAgainWhenTheyHaveChangedAndForgottenWhenTheyAreGone) {
    ParsedRecords<pb::CatalogItem> records;
    auto const item = [](const char* key, u64 revision, const char* value) {
        pb::CatalogItem message;
        message.set_value(value);
        return KeyValue{key, message.SerializeAsString(), Revision(1), Revision(revision), {}};
    };
    ASSERT_NE(records.parse(item("a", 1, "old")), nullptr);
    EXPECT_EQ(records.parse(item("a", 1, "of the same revision"))->value(), "old");
    EXPECT_EQ(records.parse(item("a", 2, "new"))->value(), "new");
    EXPECT_EQ(records.parse(KeyValue{"b", "\xff", Revision(1), Revision(1), {}}), nullptr);
    records.forget_others();
    EXPECT_EQ(records.size(), 2U);
    EXPECT_EQ(records.parse(item("a", 2, ""))->value(), "new");
    records.forget_others();
    EXPECT_EQ(records.size(), 1U);
}

TEST_F(State, ARepeatFindsItsOwnSuccessAndChangesNothing) {
    Transaction const create = Transaction().require_missing("k").put("k", "v").read("k");
    auto const first = run(create, 5, 1);
    ASSERT_TRUE(first.succeeded());
    run(Transaction().put("k", "later"));
    auto const repeat = run(create, 5, 1);
    EXPECT_TRUE(repeat.succeeded()) << "it was this very request that made the key";
    EXPECT_EQ(repeat.revision(), first.revision());
    ASSERT_EQ(repeat.values_size(), 1);
    EXPECT_EQ(repeat.values(0).value(), "later") << "values are as they are now";
    EXPECT_EQ(state.find("k")->value, "later");
    EXPECT_FALSE(run(create, 5, 2).succeeded()) << "another request of the client";
    EXPECT_FALSE(run(create, 6, 1).succeeded()) << "another client";
}

TEST_F(State, ARepeatedGrantIsTheSameLease) {
    LeaseId const lease = grant(5, 1);
    EXPECT_EQ(grant(5, 1), lease);
    EXPECT_NE(grant(5, 2), lease);
    EXPECT_EQ(state.leases().size(), 2U);
}

TEST_F(State, RememberedRequestsAreBoundedOldestFirst) {
    Transaction const create = Transaction().require_missing("k").put("k", "v");
    ASSERT_TRUE(run(create, 1, 1).succeeded());
    for (u64 i = 0; i < k_catalog_requests_kept - 1; ++i) run(Transaction().put("other", "x"), 2, i + 1);
    EXPECT_TRUE(run(create, 1, 1).succeeded());
    run(Transaction().put("other", "x"), 3, 1);
    EXPECT_FALSE(run(create, 1, 1).succeeded());
}

TEST_F(State, ASnapshotHoldsItemsLeasesRequestsAndTheLevel) {
    LeaseId const lease = grant();
    Transaction const create = Transaction().require_missing("k").put("k", "v");
    auto const first = run(create, 5, 1);
    run(Transaction().put("leased", "x", lease));
    pb::CatalogCommand raise;
    raise.set_raise_level(2);
    ASSERT_TRUE(apply(raise).succeeded());
    CatalogState copy = copied();
    EXPECT_EQ(copy.revision(), state.revision());
    EXPECT_EQ(copy.level(), 2U);
    EXPECT_EQ(copy.bytes(), state.bytes());
    ASSERT_TRUE(copy.leases().contains(lease));
    EXPECT_EQ(copy.leases().at(lease).ttl, 1_s);
    auto const repeat = copy.apply(as_bytes(command(create, 5, 1).SerializeAsString()));
    EXPECT_TRUE(repeat.succeeded());
    EXPECT_EQ(repeat.revision(), first.revision());
    // The same commands have the same effect on both, byte for byte.
    pb::CatalogCommand ends;
    ends.add_end_leases(lease.v);
    std::string const bytes = ends.SerializeAsString();
    (void)copy.apply(as_bytes(bytes));
    (void)state.apply(as_bytes(bytes));
    EXPECT_EQ(copy.find("leased"), nullptr) << "the lease still knows its keys";
    EXPECT_EQ(copy.encode_snapshot(), state.encode_snapshot());
}

TEST_F(State, AnEndedLeaseIsNeverGivenOutOrAttachedAgain) {
    LeaseId const lease = grant();
    run(Transaction().put("a", "1", lease).put("b", "2", lease));
    Revision const before = state.revision();
    end(lease);
    EXPECT_EQ(state.revision(), before.next()) << "one revision for all its keys";
    EXPECT_EQ(state.find("a"), nullptr);
    EXPECT_EQ(state.find("b"), nullptr);
    end(lease);
    EXPECT_EQ(state.revision(), before.next());
    auto const refused = run(Transaction().put("a", "1", lease));
    EXPECT_EQ(static_cast<Code>(refused.code()), Code::kInvalid);
    for (int i = 0; i < 10; ++i) EXPECT_NE(grant(), lease);
    EXPECT_FALSE(copied().leases().contains(lease));
}

TEST_F(State, OnlyTheLogEndsALease) {
    LeaseId const lease = grant();
    for (int i = 0; i < 1000; ++i) run(Transaction().put("k", "v"));
    EXPECT_TRUE(state.leases().contains(lease)) << "no clock and no amount of work does";
}

TEST_F(State, CommandsApplyOnlyAtACommittedLevel) {
    pb::CatalogCommand newer = command(Transaction().put("k", "v"), 5, 1);
    newer.set_level(2);
    EXPECT_EQ(static_cast<Code>(apply(newer).code()), Code::kUnsupported);
    EXPECT_EQ(state.find("k"), nullptr);
    pb::CatalogCommand raise;
    raise.set_raise_level(3);
    EXPECT_EQ(static_cast<Code>(apply(raise).code()), Code::kInvalid) << "one at a time";
    raise.set_raise_level(2);
    EXPECT_TRUE(apply(raise).succeeded());
    EXPECT_EQ(static_cast<Code>(apply(raise).code()), Code::kInvalid);
    EXPECT_TRUE(apply(newer).succeeded()) << "a refusal is not remembered as the request's result";
}

TEST_F(State, MalformedCommandsAndSnapshotsChangeNothing) {
    run(Transaction().put("k", "v"));
    std::string const before = state.encode_snapshot();
    EXPECT_EQ(static_cast<Code>(state.apply(as_bytes("\xff\xff\xff")).code()), Code::kInvalid);
    EXPECT_EQ(state.restore_snapshot(as_bytes("\xff\xff\xff")).error().code, Code::kCorrupt);
    EXPECT_EQ(state.encode_snapshot(), before);
}

TEST_F(State, ItsSizeIsCountedAndBounded) {
    EXPECT_EQ(state.bytes(), 0U);
    run(Transaction().put("k", std::string(100, 'v')));
    EXPECT_EQ(state.bytes(), 1 + 100 + k_catalog_item_bytes);
    run(Transaction().put("k", std::string(10, 'v')));
    EXPECT_EQ(state.bytes(), 1 + 10 + k_catalog_item_bytes);
    run(Transaction().remove("k").remove("k"));
    EXPECT_EQ(state.bytes(), 0U);

    std::string const large(800 * k_kib, 'v');
    usize i = 0;
    while (run(Transaction().put("l/" + std::to_string(i), large)).code() == 0) ++i;
    EXPECT_LE(state.bytes(), k_catalog_bytes_max);
    Revision const full = state.revision();
    EXPECT_EQ(static_cast<Code>(run(Transaction().put("l/new", large)).code()), Code::kNoSpace);
    EXPECT_EQ(state.revision(), full);
    EXPECT_TRUE(run(Transaction().remove("l/0").put("l/new", large)).succeeded()) << "no larger than before";
    Transaction replaced;
    replaced.operations.push_back({Operation::Kind::kDeletePrefix, "l/", {}, {}});
    replaced.put("l/only", large);
    EXPECT_TRUE(run(replaced).succeeded());
    EXPECT_EQ(state.bytes(), 6 + large.size() + k_catalog_item_bytes);
    EXPECT_EQ(copied().bytes(), state.bytes());
}

// At every bound at once it still fits what a voter's journal keeps for it (catalog/limits.h).
TEST_F(State, ASnapshotNeverOutgrowsItsBound) {
    for (usize i = 0; i < k_catalog_leases_max; ++i) ASSERT_FALSE(grant().is_zero());
    EXPECT_TRUE(grant().is_zero());
    for (u64 i = 0; i < k_catalog_requests_kept; ++i) run(Transaction().put("k", "v"), ~u64{0}, (u64{1} << 40) + i);
    for (u64 i = 0; run(Transaction().put("key/" + std::to_string(i), "", LeaseId(1 + i % k_catalog_leases_max)),
                        ~u64{0}, (u64{2} << 40) + i)
                        .code() == 0;
         ++i) {
    }
    EXPECT_GT(state.bytes(), k_catalog_bytes_max - 200);
    EXPECT_LE(state.encode_snapshot().size(), k_catalog_snapshot_bytes_max);
    pb::CatalogCommand more;
    more.set_grant_lease_ttl_ns(1);
    EXPECT_EQ(static_cast<Code>(apply(more).code()), Code::kNoSpace);
}

TEST_F(State, HistoryIsBoundedByBytesAndSaysWhatItLost) {
    Revision const start = state.revision();
    for (int i = 0; i < 3; ++i) run(Transaction().put("k", std::string(800 * k_kib, 'v')));
    EXPECT_FALSE(state.changes_after(start));
    Revision const late = state.revision();
    run(Transaction().put("a", "1").put("b", "2"));
    run(Transaction().put("c", "3"));
    auto const changes = state.changes_after(late);
    ASSERT_TRUE(changes);
    EXPECT_EQ(changes->size(), 3U);
}

TEST_F(State, APullBringsWholeRevisions) {
    Revision const start = state.revision();
    run(Transaction().put("a", "1").put("b", "2"));
    Revision const middle = state.revision();
    run(Transaction().put("c", "3"));
    pb::CatalogPullReply part;
    state.tell(start, 1, part);
    EXPECT_EQ(part.changes_size(), 2);
    EXPECT_EQ(part.revision(), middle.v);
    pb::CatalogPullReply rest;
    state.tell(middle, 1, rest);
    EXPECT_EQ(rest.changes_size(), 1);
    EXPECT_EQ(rest.revision(), state.revision().v);
}

// A corelet without a log follows by pulls; where it is given everything anew it does not pretend to know what
// happened meanwhile.
TEST_F(State, AMirrorFollowsByChangesAndByTheWhole) {
    CatalogState mirror;
    auto const pull = [&](bool whole) {
        pb::CatalogPullReply reply;
        state.tell(whole ? Revision() : mirror.revision(), SIZE_MAX, reply);
        EXPECT_EQ(reply.whole(), whole);
        mirror.mirror(reply);
        EXPECT_EQ(mirror.revision(), state.revision());
        EXPECT_EQ(mirror.range("").items.size(), state.range("").items.size());
        EXPECT_EQ(mirror.bytes(), state.bytes());
    };
    run(Transaction().put("a", "1").put("b", "2"));
    pull(true);
    Revision const seen = mirror.revision();
    run(Transaction().put("a", "3").remove("b").put("c", "4"));
    pull(false);
    EXPECT_EQ(mirror.changes_after(seen)->size(), 3U);
    Revision const then = mirror.revision();
    run(Transaction().remove("a").put("c", "5"));
    pull(true);
    EXPECT_FALSE(mirror.changes_after(then));
    EXPECT_EQ(mirror.find("c")->value, "5");
    Revision const whole = mirror.revision();
    run(Transaction().put("d", "6"));
    pull(false);
    EXPECT_EQ(mirror.changes_after(whole)->size(), 1U);
}

}  // namespace
}  // namespace corelet
