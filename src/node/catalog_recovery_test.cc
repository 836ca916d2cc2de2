#include "node/catalog_recovery.h"

#include "node/catalog_records_testing.h"
#include "raft/generation.h"

namespace corelet {
namespace {

using testing::Records;
using testing::some_records;
using testing::some_stream;

// What the device of a corelet of the mesh of four tells; 1 to 3 vote.
CatalogExport source(u64 id, raft::Position log, const Records& records = some_records()) {
    CatalogExport out;
    out.mesh = MeshId(0xC0DE);
    out.source = CoreletId(id);
    out.has_catalog = log.index != 0;
    out.position = log;
    out.term = raft::Term(6);
    if (!out.has_catalog) return out;
    out.voters = {CoreletId(1), CoreletId(2), CoreletId(3)};
    out.catalog.set_revision(40 + log.index);
    out.catalog.set_next_lease(10);
    out.catalog.set_level(1);
    for (const KeyValue& item : testing::as_items(records)) encode_item(item, *out.catalog.add_items());
    return out;
}

constexpr raft::Position k_log{raft::Term(5), 100};

// Corelets 1 and 2 are gone.
RecoveryWish wish(std::vector<CatalogExport> sources = {source(3, k_log), source(4, {})}) {
    return RecoveryWish{CoreletId(3), std::move(sources), {CoreletId(1), CoreletId(2)}};
}

CatalogState state_of(const RecoveredCatalog& made) {
    CatalogState state;
    EXPECT_TRUE(state.restore_snapshot(as_bytes(made.state)));
    return state;
}

pb::Stream stream_of(const RecoveredCatalog& made) {
    pb::Stream stream;
    CatalogState const state = state_of(made);
    EXPECT_TRUE(stream.ParseFromString(state.find(stream_key(SpaceId(3)))->value));
    return stream;
}

TEST(CatalogRecovery, GoesOnAboveAllThatWasGivenOut) {
    auto const made = recover_catalog(wish());
    ASSERT_TRUE(made) << made.error().to_string();
    EXPECT_EQ(made->newest, CoreletId(3));
    EXPECT_EQ(made->generation, 1u);
    EXPECT_EQ(made->beyond, (raft::Position{raft::Term(6), 100}));
    CatalogState const state = state_of(*made);
    EXPECT_GT(state.revision().v, 140u + (u64{1} << 31));
    EXPECT_EQ(state.find(session_key(CoreletId(1))), nullptr) << "sessions have ended";
    EXPECT_NE(state.find(volume_key("v")), nullptr);
    EXPECT_NE(state.find(k_recovery_key), nullptr);
    EXPECT_GT(Reader(as_bytes(state.find(k_space_counter_key)->value)).get<u64>(), 3u);
    auto const map = mesh::decode_map(as_bytes(state.find(k_map_key)->value), {});
    ASSERT_TRUE(map);
    EXPECT_GT(map->epoch.v, testing::some_mesh_map().epoch.v + 1000);
    EXPECT_EQ(map->find(CoreletId(1))->presence, mesh::Presence::kDown);
    EXPECT_TRUE(map->is_up(CoreletId(4)));
    EXPECT_TRUE(made->said.empty());
}

TEST(CatalogRecovery, TheLongerLogOfTheLaterTermWins) {
    Records newer = some_records();
    newer["volumes/only-here"] = newer[volume_key("v")];
    auto const made = recover_catalog(
        {CoreletId(3),
         {source(3, {raft::Term(5), 100}), source(4, {raft::Term(5), 101}, newer), source(2, {raft::Term(4), 900})},
         {CoreletId(1)}});
    ASSERT_FALSE(made) << "one of three voters is no majority";
    auto const two =
        recover_catalog(wish({source(3, {raft::Term(5), 100}), source(4, {raft::Term(5), 101}, newer)}));
    ASSERT_TRUE(two) << two.error().to_string();
    EXPECT_EQ(two->newest, CoreletId(4));
    EXPECT_NE(state_of(*two).find("volumes/only-here"), nullptr);
    auto const later =
        recover_catalog(wish({source(3, {raft::Term(6), 90}), source(4, {raft::Term(5), 101}, newer)}));
    EXPECT_EQ(later->newest, CoreletId(3));
    EXPECT_EQ(later->beyond.index, 101u) << "beyond the index of the one that lost, too";
}

TEST(CatalogRecovery, StreamsGoOnAboveEveryEpochAndListWhatIsReported) {
    CatalogExport other = source(4, {});
    u64 const used = make_seq(Epoch(7), 1), unused = make_seq(Epoch(7), 2), ended = make_seq(Epoch(5), 9);
    other.segments = {{ChunkId{SpaceId(3), used}, 70, Epoch(7), RecordNumber(31)},
                      {ChunkId{SpaceId(3), unused}, 71, Epoch(8), RecordNumber()},
                      {ChunkId{SpaceId(3), ended}, 72, Epoch(5), RecordNumber(20)}};
    CatalogExport own = source(3, k_log);
    own.segments = {{ChunkId{SpaceId(3), used}, 70, Epoch(7), RecordNumber(31)}};
    pb::Stream before = some_stream();
    before.set_ended_record(30);
    Records records = some_records();
    records[stream_key(SpaceId(3))] = before.SerializeAsString();
    own = source(3, k_log, records);
    own.segments = {{ChunkId{SpaceId(3), used}, 70, Epoch(7), RecordNumber(31)}};
    auto const made = recover_catalog(wish({own, other}));
    ASSERT_TRUE(made) << made.error().to_string();
    pb::Stream const stream = stream_of(*made);
    EXPECT_EQ(stream.epoch(), 8u) << "the next owner takes it at 9";
    ASSERT_EQ(stream.segments_size(), 3);
    const pb::Segment* const joined = find_segment(stream, used);
    ASSERT_NE(joined, nullptr);
    EXPECT_EQ(joined->salt(), 70u);
    EXPECT_EQ(joined->replicas_size(), 2);
    EXPECT_NE(find_segment(stream, unused), nullptr) << "somebody may write to it until it is fenced";
    EXPECT_EQ(find_segment(stream, ended), nullptr) << "its records are in what has ended";
    EXPECT_EQ(made->said.size(), 2u);
}

TEST(CatalogRecovery, TheNewestMapThatAnybodyRemembersCounts) {
    mesh::Map const newer = mesh::testing::after(testing::some_mesh_map(), mesh::CordonChanged{CoreletId(4), true});
    CatalogExport other = source(4, {});
    other.map_note = testing::encoded_map(newer);
    auto const made = recover_catalog(wish({source(3, k_log), other}));
    ASSERT_TRUE(made);
    CatalogState const state = state_of(*made);
    auto const map = mesh::decode_map(as_bytes(state.find(k_map_key)->value), {});
    EXPECT_TRUE(map->find(CoreletId(4))->cordoned);
    EXPECT_EQ(made->said.size(), 1u);
}

TEST(CatalogRecovery, VolumesOfWhichNothingButDataIsLeftAreNamed) {
    CatalogExport other = source(4, {});
    other.segments = {{ChunkId{SpaceId(9), make_seq(Epoch(1), 1)}, 70, Epoch(1), RecordNumber(1)}};
    other.space_max = 9;
    auto const made = recover_catalog(wish({source(3, k_log), other}));
    ASSERT_TRUE(made);
    ASSERT_EQ(made->said.size(), 1u);
    EXPECT_EQ(made->said[0].find("space 9 has data and no record"), 0u);
    CatalogState const state = state_of(*made);
    EXPECT_GT(Reader(as_bytes(state.find(k_space_counter_key)->value)).get<u64>(), 9u);
}

TEST(CatalogRecovery, Refusals) {
    auto const code = [](const RecoveryWish& w) {
        auto const made = recover_catalog(w);
        return made ? Code{} : made.error().code;
    };
    EXPECT_EQ(code({CoreletId(3), {}, {}}), Code::kNotFound);
    EXPECT_EQ(code(wish({source(3, {}), source(4, {})})), Code::kNotFound) << "nobody has a catalog";
    RecoveryWish unasked = wish({source(3, k_log)});
    EXPECT_EQ(code(unasked), Code::kConflict) << "corelet 4 was not asked";
    EXPECT_NE(recover_catalog(unasked).error().message.find("--lost 0000000000000004"), std::string::npos);
    RecoveryWish there = wish({source(3, k_log), source(4, {}), source(2, k_log)});
    EXPECT_EQ(code(there), Code::kConflict) << "corelet 2 is lost and there";
    there.lost = {CoreletId(1)};
    EXPECT_NE(recover_catalog(there).error().message.find("are a majority"), std::string::npos);
    RecoveryWish live = wish();
    live.sources[0].live = true;
    EXPECT_EQ(code(live), Code::kInvalid);
    RecoveryWish other = wish();
    other.sources[1].mesh = MeshId(9);
    EXPECT_EQ(code(other), Code::kInvalid);
    RecoveryWish stranger = wish();
    stranger.self = CoreletId(50);
    EXPECT_EQ(code(stranger), Code::kInvalid);
}

}  // namespace
}  // namespace corelet
