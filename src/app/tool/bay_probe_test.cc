#include "app/tool/bay_probe.h"

#include <gtest/gtest.h>

#include <filesystem>  // host: a directory for files
#include <fstream>     // host: files as somebody else writes them

#include "app/tool/bay_survey.h"
#include "app/tool/device.h"
#include "app/tool/files.h"
#include "os/world.h"

namespace corelet::app {
namespace {

constexpr u64 k_size = 96 * k_mib;
constexpr MeshId k_own{11};

class BayProbeTest : public ::testing::Test {
  protected:
    void SetUp() override {
        auto host = os::Host::create();
        ASSERT_TRUE(host.has_value());
        host_ = *std::move(host);
        directory_ = (std::filesystem::temp_directory_path() / "corelet-bay-XXXXXX").string();
        ASSERT_NE(::mkdtemp(directory_.data()), nullptr);
        std::ofstream(path()).put('\0');
        std::filesystem::resize_file(path(), k_size);
    }
    void TearDown() override {
        host_.reset();
        std::filesystem::remove_all(directory_);
    }
    [[nodiscard]] std::string path() const { return directory_ + "/device"; }
    void write_at(u64 offset, char byte) {
        std::fstream file(path(), std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(static_cast<std::streamoff>(offset));
        file.put(byte);
    }
    DeviceReport report() { return host_->run_until_done(report_device(&host_->env(), path(), k_own)); }
    BayHolds holds() { return report().finding.holds; }
    Result<void> format(MeshId mesh, bool must_be_blank = true) {
        FormatOptions options;
        options.mesh = mesh;
        options.identity = CoreletId(5);
        options.location = "z/r/c";
        return host_->run_until_done(make_device(host_->env(), {path(), 0, must_be_blank}, options));
    }

    std::unique_ptr<os::Host> host_;
    std::string directory_;
};

TEST_F(BayProbeTest, ADeviceOfZerosIsBlank) {
    EXPECT_EQ(holds(), BayHolds::kBlank);
    EXPECT_TRUE(format(k_own));
}

TEST_F(BayProbeTest, OneByteAnywhereOfItsEdgesIsUnknown) {
    // The boot sector, ext4, MD 1.2, btrfs; the copies of GPT, MD 1.0 and Corelet.
    std::vector<u64> const offsets{
        0, 510, 1080, 4096, 65'600, k_mib - 1, k_size - k_mib, k_size - 65'536, k_size - 8192, k_size - 1};
    for (u64 const offset : offsets) {
        write_at(offset, 'x');
        EXPECT_EQ(holds(), BayHolds::kForeign) << offset;
        EXPECT_EQ(format(k_own).error().code, Code::kExists) << offset;
        write_at(offset, '\0');
    }
    EXPECT_EQ(holds(), BayHolds::kBlank);
}

TEST_F(BayProbeTest, DataInTheMiddleIsUnknown) {
    std::fstream file(path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(k_size / 2));
    file << std::string(k_mib, 'x');
    file.close();
    EXPECT_EQ(holds(), BayHolds::kForeign);
    EXPECT_EQ(format(k_own).error().code, Code::kExists);
}

TEST_F(BayProbeTest, ACoreletIsAMemberOrAStranger) {
    ASSERT_TRUE(format(k_own));
    auto const seen = report();
    EXPECT_EQ(seen.finding.holds, BayHolds::kMember);
    EXPECT_EQ(seen.label.value().identity, CoreletId(5));
    auto const elsewhere = host_->run_until_done(report_device(&host_->env(), path(), MeshId(12)));
    EXPECT_EQ(elsewhere.finding.holds, BayHolds::kForeign);
    EXPECT_FALSE(elsewhere.label.has_value());
}

TEST_F(BayProbeTest, ADamagedCoreletIsNoBlank) {
    ASSERT_TRUE(format(k_own));
    write_at(100, 'x');
    write_at(k_size - 4096 + 100, 'x');
    EXPECT_EQ(holds(), BayHolds::kForeign);
}

TEST_F(BayProbeTest, WhatIsTooSmallIsLeftAlone) {
    std::filesystem::resize_file(path(), 32 * k_mib);
    EXPECT_EQ(holds(), BayHolds::kForeign);
    EXPECT_NE(report().finding.words.find("needs 64 MiB"), std::string::npos);
    std::filesystem::resize_file(path(), 0);
    EXPECT_EQ(holds(), BayHolds::kForeign);
}

TEST_F(BayProbeTest, WhatIsInUseIsLookedAtLater) {
    auto const file = host_->run_until_done(host_->env().disk.open(path(), OpenOptions{}));
    ASSERT_TRUE(file.has_value());
    EXPECT_EQ(holds(), BayHolds::kBusy);
}

TEST_F(BayProbeTest, ASurveySeesDevicesAndWhatIsNone) {
    std::filesystem::create_symlink("device", directory_ + "/link");
    std::filesystem::create_symlink("nothing", directory_ + "/empty");
    std::filesystem::create_directory(directory_ + "/folder");
    std::ofstream(directory_ + "/.hidden").put('x');
    std::ofstream(directory_ + "/bad name").put('x');
    auto const seen = survey_bays(directory_);
    EXPECT_EQ(seen.size(), 4U);
    EXPECT_TRUE(seen.at("device").unfit.empty());
    EXPECT_TRUE(seen.at("link").mark.same_device(seen.at("device").mark));
    EXPECT_FALSE(seen.at("folder").unfit.empty());
    EXPECT_FALSE(seen.at("bad name").unfit.empty());
    EXPECT_TRUE(survey_bays(directory_ + "/nowhere").empty());
}

TEST_F(BayProbeTest, WhoHasADeviceOpenIsSeen) {
    DeviceMark const mark = look_at_entry(path()).value().mark;
    int const self = std::stoi(std::filesystem::read_symlink("/proc/self").string());
    EXPECT_FALSE(has_open(self, mark));
    std::ifstream const open(path());
    EXPECT_TRUE(has_open(self, mark));
}

}  // namespace
}  // namespace corelet::app
