#include "node/holdings_proof.h"

#include "mesh/mesh_testing.h"

namespace corelet {
namespace {

using namespace mesh::testing;

constexpr CoreletId k_prover{1};
constexpr PoolId k_pool{1};

TEST(HoldingsProof, AfterAStartItMustCompareFirst) {
    mesh::Map const map = with_pool(make_map(3), "rep:3");
    HoldingsProof proof(k_prover);
    proof.map_changed(map);
    EXPECT_FALSE(proof.proven(k_pool));
    proof.compared(k_pool, map.epoch);
    EXPECT_TRUE(proof.proven(k_pool));
}

TEST(HoldingsProof, APoolMadeWhileItIsUpHasNothingItCouldMiss) {
    mesh::Map const before = make_map(3);
    HoldingsProof proof(k_prover);
    proof.map_changed(before);
    proof.map_changed(with_pool(before, "rep:3"));
    EXPECT_TRUE(proof.proven(k_pool));
}

TEST(HoldingsProof, WhoWasDownComparesAnew) {
    mesh::Map map = with_pool(make_map(3), "rep:3");
    HoldingsProof proof(k_prover);
    proof.map_changed(map);
    proof.compared(k_pool, map.epoch);
    MapEpoch const before = map.epoch;
    map = after(map, mesh::CoreletDown{k_prover, Incarnation(1)});
    proof.map_changed(map);
    EXPECT_FALSE(proof.proven(k_pool));
    map = after(map, mesh::CoreletUp{k_prover, Incarnation(1), {}});
    proof.map_changed(map);
    EXPECT_FALSE(proof.proven(k_pool));
    proof.compared(k_pool, before);
    EXPECT_FALSE(proof.proven(k_pool)) << "a comparison begun before it was down proves nothing";
    proof.compared(k_pool, map.epoch);
    EXPECT_TRUE(proof.proven(k_pool));
}

TEST(HoldingsProof, AMapThatWasNotSeenMayHaveShownItDown) {
    mesh::Map map = with_pool(make_map(3), "rep:3");
    HoldingsProof proof(k_prover);
    proof.map_changed(map);
    proof.compared(k_pool, map.epoch);
    map = after(map, mesh::CoreletDown{k_prover, Incarnation(1)});
    map = after(map, mesh::CoreletUp{k_prover, Incarnation(1), {}});
    proof.map_changed(map);
    EXPECT_FALSE(proof.proven(k_pool));
    map = after(map, mesh::CoreletDown{CoreletId(2), Incarnation(1)});
    proof.map_changed(map);
    proof.compared(k_pool, map.epoch);
    EXPECT_TRUE(proof.proven(k_pool));
}

}  // namespace
}  // namespace corelet
