#include "app/tool/pool_options.h"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "app/tool/context.h"

namespace corelet::app {
namespace {

// What is asked of the mesh for these words; the error of either if they are refused.
Result<Json> request_of(std::vector<std::string> words) {
    CLI::App app;
    PoolOptions options;
    add_pool_options(app, options);
    std::ranges::reverse(words);  // as CLI11 takes them
    try {
        app.parse(words);
    } catch (const CLI::ParseError& error) {
        return fail(Code::kUnsupported, error.what());
    }
    return pool_request(options);
}

TEST(PoolOptionsTest, WhatIsTypedIsAskedFor) {
    Json const least{{"name", "p"}, {"redundancy", "rep:3"}, {"failure_domain", "corelet"}};
    EXPECT_EQ(request_of({"p", "--redundancy", "rep:3"}).value(), least);
    Json const all{{"name", "q"},           {"redundancy", "ec:4+2"},     {"failure_domain", "rack"},
                   {"min_copies", 2},       {"write_quorum", 5},          {"read_quorum", 4},
                   {"repair_threshold", 5}, {"chunk_bytes", 256 * k_kib}, {"strategy", "locality"},
                   {"device_class", "ssd"}, {"survive", "zone"},          {"max_per", {{"zone", 2}, {"rack", 1}}}};
    EXPECT_EQ(request_of({"q",     "--redundancy",   "ec:4+2", "--failure-domain", "rack",     "--min-copies",
                          "2",     "--write-quorum", "5",      "--read-quorum",    "4",        "--repair-threshold",
                          "5",     "--chunk-size",   "256K",   "--strategy",       "locality", "--device-class",
                          "ssd",   "--survive",      "zone",   "--max-per",        "zone=2",   "--max-per",
                          "rack=1"})
                  .value(),
              all);
    EXPECT_EQ(request_of({"p", "--profile", "datacenter"}).value().at("profile"), "datacenter");
}

TEST(PoolOptionsTest, WhatDoesNotParseIsRefused) {
    EXPECT_EQ(request_of({"p"}).error().code, Code::kUnsupported) << "neither redundancy nor profile";
    EXPECT_EQ(request_of({"--redundancy", "rep:3"}).error().code, Code::kUnsupported) << "no name";
    for (const char* cap : {"zone", "zone=", "zone=two", "zone=2x"})
        EXPECT_EQ(request_of({"p", "--redundancy", "rep:3", "--max-per", cap}).error().code, Code::kInvalid) << cap;
    EXPECT_EQ(request_of({"p", "--redundancy", "rep:3", "--chunk-size", "big"}).error().code, Code::kInvalid);
}

Result<Json> change_of(std::vector<std::string> words) {
    CLI::App app;
    PoolChange change;
    add_pool_change_options(app, change);
    std::ranges::reverse(words);
    try {
        app.parse(words);
    } catch (const CLI::ParseError& error) {
        return fail(Code::kUnsupported, error.what());
    }
    return pool_change_request(change);
}

TEST(PoolOptionsTest, AChangeNamesWhatIsToChangeAndNothingElse) {
    Json const one{{"name", "p"}, {"write_quorum", 0}};
    EXPECT_EQ(change_of({"p", "--write-quorum", "0"}).value(), one) << "0 is said, and means the default";
    Json const all{{"name", "p"},
                   {"failure_domain", "zone"},
                   {"strategy", "zone-aware"},
                   {"device_class", ""},
                   {"survive", "zone"},
                   {"min_copies", 2},
                   {"write_quorum", 5},
                   {"read_quorum", 4},
                   {"repair_threshold", 4},
                   {"max_per", {{"zone", 2}, {"rack", 0}}}};
    EXPECT_EQ(
        change_of({"p",      "--failure-domain", "zone",  "--strategy",         "zone-aware", "--device-class",
                   "any",    "--survive",        "zone",  "--min-copies",       "2",          "--write-quorum",
                   "5",      "--read-quorum",    "4",     "--repair-threshold", "4",          "--max-per",
                   "zone=2", "--max-per",        "rack=0"})
            .value(),
        all);
    EXPECT_EQ(change_of({"p"}).error().code, Code::kInvalid);
    EXPECT_EQ(change_of({"p", "--survive", "zone"}).error().code, Code::kInvalid) << "that is a condition";
    EXPECT_EQ(change_of({"p", "--redundancy", "rep:2"}).error().code, Code::kUnsupported);
}

// The words of a command's options, in order.
std::vector<std::string> options_of(const CLI::App& command) {
    std::vector<std::string> out;
    for (const CLI::Option* const option : command.get_options([](const CLI::Option*) { return true; }))
        out.push_back(option->get_name());
    for (const CLI::App* const group : command.get_subcommands([](const CLI::App*) { return true; }))
        for (const CLI::Option* const option : group->get_options()) out.push_back(option->get_name());
    std::ranges::sort(out);
    return out;
}

TEST(PoolOptionsTest, APlanTakesWhatIsTakenInEarnest) {
    CLI::App app;
    Context context;
    add_pool_commands(app, context);
    add_plan_commands(app, context);
    auto const made = options_of(*app.get_subcommand("pool")->get_subcommand("create"));
    auto const planned = options_of(*app.get_subcommand("plan")->get_subcommand("pool")->get_subcommand("create"));
    EXPECT_GE(made.size(), 13U);
    EXPECT_EQ(planned, made);
    auto const changed = options_of(*app.get_subcommand("pool")->get_subcommand("change"));
    EXPECT_GE(changed.size(), 9U);
    EXPECT_EQ(options_of(*app.get_subcommand("plan")->get_subcommand("pool")->get_subcommand("change")), changed);
}

}  // namespace
}  // namespace corelet::app
