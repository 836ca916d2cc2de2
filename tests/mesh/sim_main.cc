// corelet-sim: puts simulated meshes through scenarios. See sim/scenario.h for its command line.
#include "tests/mesh/mesh_scenario.h"

int main(int argc, char** argv) {
    corelet::sim::ScenarioRegistry registry;
    registry.add(corelet::mesh_scenario());
    return corelet::sim::scenario_main(argc, argv, registry);
}
