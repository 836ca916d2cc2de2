// That the search for losses finds them: what the log says is what the file holds, and a disk that breaks its word
// is found out.
#include <gtest/gtest.h>

#include <filesystem>  // host: a directory for files
#include <fstream>     // host: a directory for files

#include "tests/crash/explorer.h"
#include "tests/crash/store_story.h"

namespace corelet::testing {
namespace {

Buffer filled(u8 value, u64 blocks = 1) {
    Buffer out = Buffer::allocate(blocks * k_block_bytes);
    std::memset(out.mutable_data(), value, out.size());
    return out;
}

class CrashTest : public ::testing::Test {
  protected:
    void SetUp() override {
        auto host = os::Host::create();
        ASSERT_TRUE(host.has_value());
        host_ = *std::move(host);
        directory_ = (std::filesystem::temp_directory_path() / "corelet-crash-XXXXXX").string();
        ASSERT_NE(::mkdtemp(directory_.data()), nullptr);
    }
    void TearDown() override { std::filesystem::remove_all(directory_); }
    [[nodiscard]] std::unique_ptr<StoreStory> record(u64 seed, u32 rounds = 60) {
        StoryOptions options;
        options.seed = seed;
        options.rounds = rounds;
        options.path = directory_ + "/device.img";
        auto story = std::make_unique<StoreStory>(host_->env(), options);
        EXPECT_TRUE(host_->run_until_done(story->run())) << story->complaint();
        return story;
    }
    [[nodiscard]] usize failures(StoreStory& story, Honesty honesty, u64 states) {
        story.log().finish(honesty);
        ExplorerOptions options;
        options.states = states;
        options.directory = directory_;
        options.complaints_max = 1;
        Explorer explorer(*host_, story.log(), story.oracle(), std::vector<u8>(StoryOptions{}.device_bytes()),
                          options);
        usize const found = explorer.run().size();
        if (honesty == Honesty::kHonest && found > 0) ADD_FAILURE() << explorer.run()[0];
        return found;
    }
    std::unique_ptr<os::Host> host_;
    std::string directory_;
};

TEST_F(CrashTest, TheLogPlayedBackIsWhatTheFileHolds) {
    auto const story = record(1, 200);
    story->log().finish();
    EXPECT_GT(story->log().writes().size(), 200U);
    EXPECT_GT(story->kills(), 0U);
    // Each journal went from one half to the other.
    for (u64 const header : {64, 320, 576, 832})
        EXPECT_TRUE(std::ranges::any_of(story->log().writes(), [&](const LoggedWrite& write) {
            return write.offset == header * k_kib && write.begun > story->oracle().formatted;
        })) << header;
    CrashStates states(story->log(), std::vector<u8>(StoryOptions{}.device_bytes()));
    states.advance(story->log().now() + 1);
    std::ifstream file(directory_ + "/device.img", std::ios::binary);  // host: a file
    std::vector<char> const on_disk((std::istreambuf_iterator<char>(file)), {});
    std::vector<u8> const played = states.everything().bytes();
    ASSERT_EQ(on_disk.size(), played.size());
    EXPECT_EQ(std::memcmp(on_disk.data(), played.data(), played.size()), 0);
}

TEST_F(CrashTest, AnHonestDiskLosesNothing) {
    EXPECT_EQ(failures(*record(2), Honesty::kHonest, 150), 0U);
}
TEST_F(CrashTest, ADiskThatIgnoresFlushesIsFoundOut) {
    EXPECT_EQ(failures(*record(2), Honesty::kIgnoresFlushes, 1200), 1U);
}
TEST_F(CrashTest, ADiskWhoseDurableWritesAreNotIsFoundOut) {
    EXPECT_EQ(failures(*record(2), Honesty::kIgnoresDurability, 600), 1U);
}

// A log made by hand: pages 0 to 3.
struct Pages {
    WriteLog log;
    usize begin(u64 page, u8 value, Durability durability = Durability::kBuffered) {
        return log.begin_write(page * k_block_bytes, filled(value), durability);
    }
    void write(u64 page, u8 value, Durability durability = Durability::kBuffered) {
        log.end_write(begin(page, value, durability));
    }
    void flush() { log.end_flush(log.begin_flush()); }
    // The first byte of the page in all states that many draws give at the end.
    [[nodiscard]] std::set<u8> may_hold(u64 page) {
        log.finish();
        CrashStates states(log, std::vector<u8>(4 * k_block_bytes));
        states.advance(log.now() + 1);
        Prng random(5);
        std::set<u8> out;
        for (u32 i = 0; i < 500; ++i) {
            std::array<u8, k_block_bytes> bytes{};
            states.draw(static_cast<CrashKind>(i % k_crash_kinds), random).image.read(page * k_block_bytes, bytes);
            out.insert(bytes[0]);
        }
        return out;
    }
};

TEST(CrashStates, WhatIsNotSettledMayBeThereOrNot) {
    Pages pages;
    pages.write(0, 1);
    pages.write(0, 2);
    EXPECT_EQ(pages.may_hold(0), (std::set<u8>{0, 1, 2}));
}
TEST(CrashStates, AFlushSettlesWhatHadEndedBeforeItBegan) {
    Pages pages;
    pages.write(0, 1);
    usize const late = pages.begin(1, 1);
    usize const flush = pages.log.begin_flush();
    pages.log.end_write(late);
    pages.log.end_flush(flush);
    EXPECT_EQ(pages.may_hold(0), (std::set<u8>{1}));
    EXPECT_EQ(pages.may_hold(1), (std::set<u8>{0, 1}));
}
TEST(CrashStates, ADurableWriteIsNotUndoneByAnOlderOne) {
    Pages pages;
    pages.write(0, 1);
    pages.write(0, 2, Durability::kDurable);
    EXPECT_EQ(pages.may_hold(0), (std::set<u8>{2}));
}
TEST(CrashStates, WritesBesideEachOtherGoInAnyOrder) {
    Pages pages;
    usize const first = pages.begin(0, 1);
    usize const second = pages.begin(0, 2);
    pages.log.end_write(first);
    pages.log.end_write(second);
    pages.write(1, 1);
    EXPECT_EQ(pages.may_hold(0), (std::set<u8>{0, 1, 2}));
    pages.log.finish();
    CrashStates states(pages.log, std::vector<u8>(4 * k_block_bytes));
    states.advance(pages.log.now() + 1);
    Prng random(5);
    bool swapped = false;
    for (u32 i = 0; i < 300; ++i)
        swapped |= states.draw(CrashKind::kReordered, random).how == "writes begun at 2 1 5";
    EXPECT_TRUE(swapped);
}
TEST(CrashStates, WhatAKilledProcessWroteIsSettledByTheNextFlush) {
    Pages pages;
    (void)pages.begin(0, 1, Durability::kDurable);
    pages.log.process_died();
    (void)pages.begin(1, 1, Durability::kDurable);
    pages.log.process_died();
    EXPECT_EQ(pages.may_hold(0), (std::set<u8>{0, 1}));
    pages.flush();
    EXPECT_EQ(pages.may_hold(0), (std::set<u8>{1}));
    EXPECT_EQ(pages.may_hold(1), (std::set<u8>{1}));
}
TEST(CrashStates, TornAtSectors) {
    Pages pages;
    pages.write(0, 7);
    pages.log.finish();
    CrashStates states(pages.log, std::vector<u8>(4 * k_block_bytes));
    states.advance(pages.log.now() + 1);
    Prng random(1);
    std::set<usize> sectors;
    for (u32 i = 0; i < 300; ++i) {
        std::array<u8, k_block_bytes> bytes{};
        states.draw(CrashKind::kTornPrefix, random).image.read(0, bytes);
        usize there = 0;
        for (usize at = 0; at < bytes.size(); at += 512) there += bytes[at] == 7 && bytes[at + 511] == 7 ? 1 : 0;
        sectors.insert(there);
    }
    EXPECT_EQ(sectors.size(), 9U) << "any number of the eight";
}

}  // namespace
}  // namespace corelet::testing
