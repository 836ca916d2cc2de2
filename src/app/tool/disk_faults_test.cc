#include "app/tool/disk_faults.h"

#include <gtest/gtest.h>

#include <filesystem>  // host: a directory for files

#include "app/tool/files.h"
#include "os/world.h"

namespace corelet::app {
namespace {

using Operation = DiskFaultRule::Operation;

std::vector<u32> hits(const std::string& rule, u32 operations) {
    auto rules = parse_disk_faults(rule);
    EXPECT_TRUE(rules.has_value());
    std::vector<u32> out;
    for (u32 n = 1; n <= operations; ++n)
        if ((*rules)[0].counts(Operation::kWrite, 4096)) out.push_back(n);
    return out;
}

TEST(DiskFaultRules, SayWhichOperations) {
    EXPECT_EQ(hits("error write 3", 6), (std::vector<u32>{3}));
    EXPECT_EQ(hits("full write 4+", 6), (std::vector<u32>{4, 5, 6}));
    EXPECT_EQ(hits("stuck write /2", 6), (std::vector<u32>{2, 4, 6}));
    EXPECT_EQ(hits("error sync 1+", 6), (std::vector<u32>{}));
    EXPECT_EQ(hits("error write 2+ at 4K 8K", 3), (std::vector<u32>{2, 3}));
    EXPECT_EQ(hits("error write 1+ at 8K 1M", 3), (std::vector<u32>{}));
}

TEST(DiskFaultRules, OthersAreRefused) {
    EXPECT_EQ(parse_disk_faults("# nothing\n\n  \nslow read 1+ 20ms\nflip read /7 at 1M 2M\n").value().size(), 2U);
    for (const char* line :
         {"error", "error write", "error write 0", "error write x", "error write -1", "flip write 1", "full read 1",
          "slow read 1+", "slow read 1+ soon", "error read 1 at 4K", "error read 1 at 4K 8K 9K",
          "error read 1 in 4K 8K", "break read 1", "error seek 1"})
        EXPECT_EQ(parse_disk_faults(line).error().code, Code::kInvalid) << line;
}

class FaultyDiskTest : public ::testing::Test {
  protected:
    void SetUp() override {
        auto host = os::Host::create();
        ASSERT_TRUE(host.has_value());
        host_ = *std::move(host);
        directory_ = (std::filesystem::temp_directory_path() / "corelet-faults-XXXXXX").string();
        ASSERT_NE(::mkdtemp(directory_.data()), nullptr);
        Env& env = host_->env();
        disk_ = std::make_unique<FaultyDisk>(env.disk, env.clock, env.log, Prng(1), directory_ + "/rules");
        OpenOptions create;
        create.create = true;
        create.size_bytes = 64 * k_kib;
        auto file = run(disk_->open(directory_ + "/device", create));
        ASSERT_TRUE(file.has_value());
        file_ = *std::move(file);
    }
    void TearDown() override { std::filesystem::remove_all(directory_); }
    template <class T>
    T run(Task<T> task) {
        return host_->run_until_done(std::move(task));
    }
    void rules(const std::string& text) { ASSERT_TRUE(replace_file(directory_ + "/rules", text).has_value()); }
    [[nodiscard]] Result<void> write(Durability durability = Durability::kDurable) {
        return run(file_->write(0, Buffer::zeroed(k_block_bytes), durability));
    }
    std::unique_ptr<os::Host> host_;
    std::string directory_;
    std::unique_ptr<FaultyDisk> disk_;
    std::unique_ptr<File> file_;
};

TEST_F(FaultyDiskTest, WithoutRulesNothingHappensAndWithThemWhatTheySay) {
    EXPECT_TRUE(write().has_value());
    rules("error write 2\n");
    EXPECT_TRUE(write().has_value());
    EXPECT_EQ(write().error().code, Code::kIo);
    EXPECT_TRUE(write().has_value());
    rules("full sync 1+\n");
    EXPECT_TRUE(write(Durability::kBuffered).has_value()) << "a write that is not durable syncs nothing";
    EXPECT_EQ(write().error().code, Code::kNoSpace);
    EXPECT_EQ(run(file_->flush()).error().code, Code::kNoSpace);
    EXPECT_NE(disk_->describe().find("1 rules, injected 3 times"), std::string::npos) << disk_->describe();
    rules("no such thing\n");
    EXPECT_TRUE(write().has_value());
}

TEST_F(FaultyDiskTest, OneBitIsFlippedInWhatIsReadAndNoneOnTheMedia) {
    rules("flip read 2\n");
    for (u32 read = 1; read <= 3; ++read) {
        auto const data = run(file_->read(0, 2 * k_block_bytes));
        ASSERT_TRUE(data.has_value());
        int bits = 0;
        for (u8 const byte : data->bytes()) bits += std::popcount(byte);
        EXPECT_EQ(bits, read == 2 ? 1 : 0);
    }
}

Task<void> write_into(File* file, bool* done) {
    (void)co_await file->write(0, Buffer::zeroed(k_block_bytes), Durability::kDurable);
    *done = true;
}

TEST_F(FaultyDiskTest, WhatIsStuckGoesOnWhenTheRuleIsGone) {
    rules("stuck write 1+\n");
    bool done = false;
    Scope scope(host_->env().executor);
    scope.spawn(write_into(file_.get(), &done));
    for (u32 read = 0; read < 20; ++read) (void)run(file_->read(0, k_block_bytes));  // these are not
    EXPECT_FALSE(done);
    remove_file(directory_ + "/rules");
    run(scope.join());
    EXPECT_TRUE(done);
}

}  // namespace
}  // namespace corelet::app
