#include "node/catalog_check.h"

#include "node/catalog_records_testing.h"
#include "node/healing_limit.h"
#include "node/healing_pause.h"

namespace corelet {
namespace {

using testing::add_segment;
using testing::as_items;
using testing::encoded_number;
using testing::Records;
using testing::some_records;
using testing::some_stream;
using Grade = CatalogFinding::Grade;

std::vector<CatalogFinding> findings(const Records& records, std::vector<u64> voters = {1, 2, 3}) {
    std::vector<CoreletId> ids;
    for (u64 id : voters) ids.emplace_back(id);
    return check_catalog(CatalogView{MeshId(0xC0DE), as_items(records), ids});
}

// The one finding that there must be.
CatalogFinding only(const Records& records) {
    auto const found = findings(records);
    EXPECT_EQ(found.size(), 1u);
    for (const CatalogFinding& finding : found) EXPECT_FALSE(finding.next.empty()) << finding.what;
    return found.empty() ? CatalogFinding{} : found.front();
}

Records with_stream(const pb::Stream& stream) {
    Records records = some_records();
    records[stream_key(SpaceId(3))] = stream.SerializeAsString();
    return records;
}

TEST(CatalogCheck, NothingIsFoundWhereNothingIsWrong) {
    for (const CatalogFinding& finding : findings(some_records()))
        ADD_FAILURE() << finding.key << ": " << finding.what;
}

TEST(CatalogCheck, WhatDoesNotParse) {
    for (const char* key : {"map", "volumes/v", "streams/0000000000000003", "corelets/0000000000000001"}) {
        Records records = some_records();
        ASSERT_TRUE(records.contains(key)) << key;
        records[key] = "\xFF\xFF";
        auto const found = findings(records);
        bool const named = std::ranges::any_of(found, [&](const CatalogFinding& finding) {
            return finding.key == key && finding.grade == Grade::kError;
        });
        EXPECT_TRUE(named) << key;
    }
    Records records = some_records();
    records[k_space_counter_key] = "short";
    EXPECT_EQ(findings(records).front().key, k_space_counter_key);
}

TEST(CatalogCheck, AMapThatIsMissingOrOfAnotherMesh) {
    Records records = some_records();
    records.erase(k_map_key);
    EXPECT_EQ(only(records).what, "the catalog has no map of the mesh");
    mesh::Map other = testing::some_mesh_map();
    other.mesh = MeshId(77);
    records[k_map_key] = testing::encoded_map(other);
    EXPECT_NE(only(records).what.find("the map is of mesh"), std::string::npos);
}

TEST(CatalogCheck, ATableThatIsNotWhatItsHashSays) {
    Records records = some_records();
    std::string& map = records[k_map_key];
    map.back() = static_cast<char>(map.back() ^ 1);
    auto const found = findings(records);
    ASSERT_FALSE(found.empty());
    EXPECT_EQ(found.front().key, k_map_key);
}

TEST(CatalogCheck, ReferencesThatLeadNowhere) {
    pb::Stream stream = some_stream();
    stream.set_pool(8);
    EXPECT_NE(only(with_stream(stream)).what.find("lies in pool 8"), std::string::npos);

    Records records = some_records();
    records.erase(stream_key(SpaceId(3)));
    EXPECT_EQ(only(records).key, "volumes/v");

    records = some_records();
    records[k_space_counter_key] = encoded_number(2);
    EXPECT_EQ(findings(records).size(), 2u) << "of the volume, and of its stream";

    records = some_records();
    records["deleted/0000000000000003"] = encoded_number(3);
    EXPECT_NE(only(records).what.find("marked as deleted"), std::string::npos);
    records["deleted/0000000000000003"] = encoded_number(2);
    EXPECT_EQ(findings(records).front().grade, Grade::kError);
}

TEST(CatalogCheck, SegmentsWithoutHomes) {
    pb::Stream stream = some_stream();
    add_segment(stream, make_seq(Epoch(5), 2), {77, 78});
    EXPECT_EQ(only(with_stream(stream)).grade, Grade::kError);
    stream = some_stream();
    add_segment(stream, make_seq(Epoch(5), 2), {1, 78});
    EXPECT_EQ(only(with_stream(stream)).grade, Grade::kNote) << "one copy is left";
    stream = some_stream();
    add_segment(stream, make_seq(Epoch(5), 2), {});
    EXPECT_NE(only(with_stream(stream)).what.find("has no replicas"), std::string::npos);
    stream = some_stream();
    add_segment(stream, make_seq(Epoch(5), 1), {1});
    EXPECT_NE(only(with_stream(stream)).what.find("listed twice"), std::string::npos);
    stream = some_stream();
    add_segment(stream, make_seq(Epoch(6), 1), {1});
    EXPECT_NE(only(with_stream(stream)).what.find("epoch 6"), std::string::npos);
}

TEST(CatalogCheck, OwnersSessionsAndVoters) {
    Records records = some_records();
    records.erase(session_key(CoreletId(1)));
    EXPECT_EQ(only(records).grade, Grade::kNote);
    records = some_records();
    records[session_key(CoreletId(99))] = "s";
    EXPECT_EQ(only(records).grade, Grade::kNote);
    EXPECT_EQ(findings(some_records(), {1, 99}).size(), 1u);
    EXPECT_EQ(findings(some_records(), {}).front().grade, Grade::kError);
}

TEST(CatalogCheck, WhatIsUnderWayIsNoted) {
    Records records = some_records();
    records[k_recovery_key] = pb::CatalogRecovery().SerializeAsString();
    EXPECT_EQ(only(records).next.find("when the volumes"), 0u);
    records = some_records();
    records["something/new"] = "x";
    EXPECT_EQ(only(records).grade, Grade::kNote);
    records = some_records();
    records[k_pause_key] = "no";
    EXPECT_EQ(only(records).grade, Grade::kError);
    records = some_records();
    records[k_limit_key] = "\xFF";
    EXPECT_EQ(only(records).grade, Grade::kError);
    records[k_limit_key] = encode_limit({1, 2});
    EXPECT_TRUE(findings(records).empty());
    records = some_records();
    records[removed_key(CoreletId(2))] = pb::RemovedCorelet().SerializeAsString();
    EXPECT_EQ(only(records).grade, Grade::kNote) << "it is in the map";
}

}  // namespace
}  // namespace corelet
