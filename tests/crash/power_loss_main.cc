// power_loss: records what the real device code writes to a real file under a drawn workload, builds what power
// cuts may leave of it, and mounts each.
#include <fmt/format.h>
#include <unistd.h>  // host: a directory for files

#include <chrono>      // host: how long it took
#include <filesystem>  // host: a directory for files
#include <iostream>

#include "tests/crash/explorer.h"
#include "tests/crash/store_story.h"

namespace corelet::testing {
namespace {

struct Arguments {
    u64 first = 1, last = 4;
    u64 states = 1000;
    u64 seconds = 0;
    bool json = false;
    std::string keep = "power_loss_found";
};

constexpr const char* k_usage =
    "usage: power_loss [--seeds A..B] [--states N] [--seconds S] [--keep DIR] [--json]\n"
    "  --seeds A..B   one run of the workload for each (1..4)\n"
    "  --states N     crash states for each run (1000); 0: every prefix, and as many drawn ones\n"
    "  --seconds S    further seeds, from B on, until so much time is over\n"
    "  --keep DIR     where devices that did not pass are left (./power_loss_found)\n"
    "  --json         the summary as one line of JSON\n";

bool parse(int argc, char** argv, Arguments* out) {
    std::vector<std::string> const words(argv + 1, argv + argc);
    for (usize i = 0; i < words.size(); ++i) {
        if (words[i] == "--json") {
            out->json = true;
            continue;
        }
        if (i + 1 == words.size()) return false;
        const std::string& value = words[i + 1];
        if (words[i] == "--keep") {
            out->keep = value;
        } else if (value.empty() || value.find_first_not_of("0123456789.") != std::string::npos) {
            return false;
        } else if (words[i] == "--seeds") {
            out->first = std::stoull(value);
            usize const dots = value.find("..");
            out->last = dots == std::string::npos ? out->first : std::stoull("0" + value.substr(dots + 2));
        } else if (words[i] == "--states") {
            out->states = std::stoull(value);
        } else if (words[i] == "--seconds") {
            out->seconds = std::stoull(value);
        } else {
            return false;
        }
        ++i;
    }
    return out->first <= out->last;
}

struct Totals {
    u64 runs = 0, operations = 0, kills = 0, writes = 0, flushes = 0, moments = 0;
    ExplorerCounts crashes;
    std::vector<std::string> complaints;
};

void run_seed(os::Host& host, const Arguments& arguments, u64 seed, const std::string& directory, Totals* totals) {
    StoryOptions story_options;
    story_options.seed = seed;
    story_options.path = directory + "/device.img";
    story_options.witness = seed % 4 == 0;
    StoreStory story(host.env(), story_options);
    bool const fine = host.run_until_done(story.run());
    std::filesystem::remove(story_options.path);
    ++totals->runs;
    totals->operations += story.operations();
    totals->kills += story.kills();
    totals->writes += story.log().writes().size();
    totals->flushes += story.log().flushes().size();
    totals->moments += story.log().now();
    if (!fine) {
        totals->complaints.push_back(fmt::format("seed {}, no power cut: {}", seed, story.complaint()));
        return;
    }
    story.log().finish();
    ExplorerOptions options;
    options.seed = seed;
    options.states = arguments.states;
    options.directory = arguments.keep;
    Explorer explorer(host, story.log(), story.oracle(), std::vector<u8>(story_options.device_bytes()), options);
    for (const std::string& complaint : explorer.run()) totals->complaints.push_back(complaint);
    totals->crashes.add(explorer.counts());
}

void print(const Totals& t, bool json, double seconds) {
    const auto& c = t.crashes;
    if (json) {
        std::cout << fmt::format(
            "{{\"runs\": {}, \"operations\": {}, \"process_kills\": {}, \"writes\": {}, \"flushes\": {}, "
            "\"moments\": {}, "
            "\"crash_states\": {}, \"distinct\": {}, \"prefixes\": {}, \"prefixes_there_are\": {}, "
            "\"torn_prefixes\": {}, "
            "\"subsets\": {}, \"torn_subsets\": {}, \"reordered\": {}, \"while_formatting\": {}, \"cut_again\": "
            "{}, "
            "\"on_file\": {}, \"with_rot\": {}, \"rot_said\": {}, \"failed\": {}, \"seconds\": {:.1f}}}\n",
            t.runs, t.operations, t.kills, t.writes, t.flushes, t.moments, c.states, c.distinct, c.by_kind[0],
            c.prefixes_there_are, c.by_kind[1], c.by_kind[2], c.by_kind[3], c.by_kind[4], c.while_formatting,
            c.nested, c.on_file, c.rotten, c.rot_said, t.complaints.size(), seconds);
        return;
    }
    std::cout << fmt::format(
        "power loss: {} runs of {} operations, {} kills of the process; {} writes and {} flushes recorded\n"
        "{} crash states explored ({} distinct): {} prefixes (of {}), {} torn prefixes, {} subsets, {} torn "
        "subsets, {} "
        "reordered; {} of them in formatting, {} cut again in the life after, {} on a file, {} with a bit flipped "
        "in a journal ({} of these cost a promise, and it was said)\n"
        "{} did not pass; {:.1f} s\n",
        t.runs, t.operations, t.kills, t.writes, t.flushes, c.states, c.distinct, c.by_kind[0],
        c.prefixes_there_are, c.by_kind[1], c.by_kind[2], c.by_kind[3], c.by_kind[4], c.while_formatting, c.nested,
        c.on_file, c.rotten, c.rot_said, t.complaints.size(), seconds);
}

int run(const Arguments& arguments) {
    auto const begun = std::chrono::steady_clock::now();  // host: how long it took
    auto const seconds = [begun] {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();  // host: the same
    };
    auto host = os::Host::create();
    if (!host) {
        std::cerr << host.error().to_string() << "\n";
        return 1;
    }
    std::string directory = (std::filesystem::temp_directory_path() / "corelet-crash-XXXXXX").string();
    if (::mkdtemp(directory.data()) == nullptr) return 1;
    std::filesystem::create_directories(arguments.keep);
    Totals totals;
    for (u64 seed = arguments.first; seed <= arguments.last || seconds() < static_cast<double>(arguments.seconds);
         ++seed) {
        usize const before = totals.complaints.size();
        run_seed(**host, arguments, seed, directory, &totals);
        for (usize i = before; i < totals.complaints.size(); ++i) std::cout << totals.complaints[i] << std::endl;
        if (totals.complaints.size() >= 10) break;
    }
    std::filesystem::remove_all(directory);
    std::error_code not_empty;
    std::filesystem::remove(arguments.keep, not_empty);  // what earlier runs found stays
    print(totals, arguments.json, seconds());
    return totals.complaints.empty() ? 0 : 1;
}

}  // namespace
}  // namespace corelet::testing

int main(int argc, char** argv) {
    corelet::testing::Arguments arguments;
    if (!corelet::testing::parse(argc, argv, &arguments)) {
        std::cerr << corelet::testing::k_usage;
        return 2;
    }
    return corelet::testing::run(arguments);
}
