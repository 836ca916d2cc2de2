#include "app/tool/bay_config.h"

#include <gtest/gtest.h>

#include <filesystem>  // host: a directory for a file

namespace corelet::app {
namespace {

BayConfig some_bays() {
    BayConfig out;
    out.mesh = MeshId(7);
    out.bays = "/bays";
    out.location = "z1/r2/{host}";
    out.places = {{"top", "z9/r9/c9"}};
    out.seeds = {Address::tcp("10.0.0.1", 7700)};
    out.listen = {Address::tcp("10.0.0.7", 7700)};
    out.device_class = "ssd";
    out.out_after = 30_s;
    out.cache_bytes = 64 * k_mib;
    out.insecure = true;
    return out;
}

TEST(BayConfigs, AreReadAsTheyWereWritten) {
    std::string directory = (std::filesystem::temp_directory_path() / "corelet-bays-XXXXXX").string();
    ASSERT_NE(::mkdtemp(directory.data()), nullptr);
    ASSERT_TRUE(save_bay_config(directory, some_bays()));
    EXPECT_EQ(load_bay_config(directory).value(), some_bays());
    for (const char* text : {"", "[]", "{}", R"({"version": 1, "mesh": "x"})", R"({"version": 1, "mesh": 7})"}) {
        ASSERT_TRUE(replace_file(directory + "/" + k_bays_file, text));
        EXPECT_EQ(load_bay_config(directory).error().code, Code::kCorrupt) << text;
    }
    std::filesystem::remove_all(directory);
    EXPECT_EQ(load_bay_config(directory).error().code, Code::kNotFound);
}

TEST(BayConfigs, SayWhereABayStands) {
    BayConfig bays = some_bays();
    EXPECT_EQ(location_of_bay(bays, "3", "host7").value().to_string(), "z1/r2/host7");
    EXPECT_EQ(location_of_bay(bays, "top", "host7").value().to_string(), "z9/r9/c9");
    bays.location = "z1/{host}/{bay}";
    EXPECT_EQ(location_of_bay(bays, "3", "host7").value().to_string(), "z1/host7/3");
    bays.location = "z1/{rack}/{bay}";
    EXPECT_EQ(location_of_bay(bays, "3", "host7").error().code, Code::kInvalid);
}

TEST(BayConfigs, NamesOfBaysAreNamesOfDirectories) {
    for (const char* name : {"1", "nvme0n1", "ata-X_1.2"}) EXPECT_TRUE(is_bay_name(name)) << name;
    for (const char* name : {"", ".", "..", ".x", "a b", "a/b", "ü"}) EXPECT_FALSE(is_bay_name(name)) << name;
}

TEST(BayConfigs, EachCoreletListensAtAPortOfItsOwn) {
    BayConfig const bays = some_bays();
    std::vector<CoreletConfig> neighbours;
    for (u16 port = 7700; port < 7703; ++port) {
        CoreletConfig const made = config_of_bay(bays, "b", "h", neighbours).value();
        ASSERT_EQ(made.listen.size(), 1U);
        EXPECT_EQ(made.listen[0].port, port);
        EXPECT_EQ(made.mesh, bays.mesh);
        EXPECT_FALSE(made.bootstrap);
        neighbours.push_back(made);
    }
    // One that went leaves its port.
    neighbours.erase(neighbours.begin() + 1);
    EXPECT_EQ(config_of_bay(bays, "b", "h", neighbours).value().listen[0].port, 7701);
    CoreletConfig last;
    last.listen = {Address::tcp("10.0.0.7", 65535)};
    BayConfig at_the_end = bays;
    at_the_end.listen = last.listen;
    EXPECT_EQ(config_of_bay(at_the_end, "b", "h", {last}).error().code, Code::kNoSpace);
}

TEST(BayConfigs, WhatTheNeighboursHeardIsPassedOn) {
    BayConfig bays = some_bays();
    bays.seeds.clear();
    for (u16 i = 0; i < 20; ++i) bays.seeds.push_back(Address::tcp("old", i));
    CoreletConfig neighbour;
    neighbour.seeds = {Address::tcp("new", 1), Address::tcp("old", 1)};
    auto const seeds = config_of_bay(bays, "b", "h", {neighbour}).value().seeds;
    EXPECT_LE(seeds.size(), 16U);
    EXPECT_EQ(std::ranges::count(seeds, Address::tcp("new", 1)), 1);
    EXPECT_EQ(std::ranges::count(seeds, Address::tcp("old", 1)), 1);
}

}  // namespace
}  // namespace corelet::app
