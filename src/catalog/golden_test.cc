// The bytes of the catalog's log entries and of its snapshot, for ever (docs/format/catalog.md).
#include <gtest/gtest.h>

#include "base/golden_testing.h"
#include "catalog/state.h"

namespace corelet {
namespace {

using testing::from_golden;
using testing::golden;

pb::CatalogCommand command(u64 number) {
    pb::CatalogCommand out;
    out.mutable_request()->set_client(0x1112131415161718);
    out.mutable_request()->set_number(number);
    return out;
}

TEST(CatalogGolden, CommandsAndSnapshot) {
    pb::CatalogCommand grant = command(1);
    grant.set_grant_lease_ttl_ns(4'000'000'000);
    pb::CatalogCommand put = command(2);
    Transaction transaction;
    transaction.require_missing("a").require_exists("b").require_revision("c", Revision(3));
    transaction.compares.push_back({Compare::Kind::kValue, "d", {}, "v"});
    transaction.put("a", "1", LeaseId(1)).remove("b").read("a");
    transaction.operations.push_back({Operation::Kind::kDeletePrefix, "p/", {}, {}});
    encode_transaction(transaction, *put.mutable_transaction());
    pb::CatalogCommand end;
    end.add_end_leases(6);
    EXPECT_EQ(golden(as_bytes(grant.SerializeAsString())), "0a0b091817161514 13121110011880d0 acf30e");
    EXPECT_EQ(golden(as_bytes(put.SerializeAsString())),
              "0a0b091817161514 1312111002123b0a 0508011201610a03 1201620a07080212 016318030a080803 "
              "1201642201761208 1201611a01312001 1205080112016212 0608021202702f1a 0161");
    EXPECT_EQ(golden(as_bytes(end.SerializeAsString())), "220106");

    CatalogState state;
    pb::CatalogCommand first = command(3);
    Transaction simple;
    simple.put("b", "2").put("a", "1", LeaseId(1));
    encode_transaction(simple, *first.mutable_transaction());
    EXPECT_TRUE(state.apply(as_bytes(grant.SerializeAsString())).succeeded());
    EXPECT_TRUE(state.apply(as_bytes(first.SerializeAsString())).succeeded());
    constexpr std::string_view k_snapshot =
        "080210021a0c0a01 6112013118022002 28011a0a0a016212 0132180220022208 08011080d0acf30e 2a130a0b09181716 "
        "1514131211100110 01180120012a110a 0b09181716151413 1211100310011802 3001";
    EXPECT_EQ(golden(as_bytes(state.encode_snapshot())), k_snapshot);
    CatalogState read;
    ASSERT_TRUE(read.restore_snapshot(from_golden(k_snapshot)));
    EXPECT_EQ(golden(as_bytes(read.encode_snapshot())), k_snapshot);
    ASSERT_NE(read.find("a"), nullptr);
    EXPECT_EQ(read.find("a")->lease, LeaseId(1));
    // The repeat of a request finds its own success in what was restored.
    EXPECT_EQ(read.apply(as_bytes(first.SerializeAsString())).revision(), 2U);
    EXPECT_EQ(golden(as_bytes(read.encode_snapshot())), k_snapshot);
}

}  // namespace
}  // namespace corelet
