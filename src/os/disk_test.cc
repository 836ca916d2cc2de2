#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mount.h>

#include <fstream>

#include "os/host_testing.h"
#include "os/open_file.h"
#include "rt/combine.h"

namespace corelet::os {
namespace {

constexpr u64 k_size = 1 << 20;

class DiskTest : public HostTest {
  protected:
    Result<std::unique_ptr<File>> open(std::string_view name, OpenOptions options) {
        return run(env().disk.open(path(name), options));
    }
    std::unique_ptr<File> create(std::string_view name) {
        auto file = open(name, {.create = true, .size_bytes = k_size});
        EXPECT_TRUE(file.has_value()) << file.error().to_string();
        return *std::move(file);
    }
    std::string bytes_on_disk(std::string_view name) {
        std::ifstream in(path(name), std::ios::binary);
        return {std::istreambuf_iterator<char>(in), {}};
    }
};
CORELET_ON_BOTH_ENGINES(DiskTest);

bool same(const Buffer& a, const Buffer& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

TEST_P(DiskTest, ReadsWhatWasWritten) {
    auto file = create("a");
    EXPECT_EQ(file->size_bytes(), k_size);
    Buffer const one = pattern(8192, 1);
    Buffer const two = pattern(4096, 2);
    ASSERT_TRUE(run(file->write(4096, one, Durability::kDurable)).has_value());
    ASSERT_TRUE(run(file->write(k_size - 4096, two, Durability::kBuffered)).has_value());
    ASSERT_TRUE(run(file->flush()).has_value());
    EXPECT_TRUE(same(*run(file->read(4096, 8192)), one));
    EXPECT_TRUE(same(*run(file->read(k_size - 4096, 4096)), two));
    file.reset();
    std::string const raw = bytes_on_disk("a");
    ASSERT_EQ(raw.size(), k_size);
    EXPECT_EQ(std::memcmp(raw.data() + 4096, one.data(), one.size()), 0);
}

// Aligned parts, parts that lie anywhere in memory, and more parts than the kernel takes at once.
TEST_P(DiskTest, WritesChainsOfAnyShape) {
    auto file = create("a");
    BufferChain aligned;
    for (u64 i = 0; i < 5; ++i) aligned.append(pattern(4096 * (i + 1), i));
    BufferChain ragged;
    Buffer const source = pattern(64 << 10, 9);
    ragged.append(source.slice(1, 4000));
    ragged.append(source.slice(5000, 96));
    ragged.append(source.slice(7, 8192));
    BufferChain many;
    for (u64 i = 0; i < 4096; ++i) many.append(source.slice(i * 7 % 1000, 64));
    for (const BufferChain& chain : {aligned, ragged, many}) {
        ASSERT_EQ(chain.size() % k_block_bytes, 0U);
        ASSERT_TRUE(run(file->write(8192, chain, Durability::kDurable)).has_value());
        EXPECT_TRUE(same(*run(file->read(8192, chain.size())), chain.flatten()));
    }
}

Task<Result<void>> write_and_check(File* file, u64 block) {
    Buffer const data = pattern(4096, block);
    CO_TRY_VOID(co_await file->write(block * 4096, data, Durability::kDurable));
    CO_TRY(auto back, co_await file->read(block * 4096, 4096));
    CORELET_ASSERT(same(back, data));
    co_return Result<void>{};
}

TEST_P(DiskTest, ServesManyRequestsAtOnce) {
    auto file = create("a");
    std::vector<Task<Result<void>>> tasks;
    for (u64 block = 0; block < k_size / 4096; ++block) tasks.push_back(write_and_check(file.get(), block));
    for (auto& result : run(join_all(std::move(tasks)))) EXPECT_TRUE(result.has_value());
}

Task<Result<void>> read_one(File* file, u64 offset) {
    CO_TRY_VOID(co_await file->read(offset, 4096));
    co_return Result<void>{};
}

// Far more than the kernel's queues hold, all started in one turn of the loop.
TEST_P(DiskTest, TakesMoreRequestsThanTheQueuesHold) {
    auto file = create("a");
    std::vector<Task<Result<void>>> tasks;
    for (u64 i = 0; i < 6000; ++i) tasks.push_back(read_one(file.get(), i % (k_size / 4096) * 4096));
    for (auto& result : run(join_all(std::move(tasks)))) EXPECT_TRUE(result.has_value());
}

TEST_P(DiskTest, RefusesWhatLiesBeyondTheEnd) {
    auto file = create("a");
    EXPECT_EQ(run(file->read(k_size, 4096)).error().code, Code::kInvalid);
    EXPECT_EQ(run(file->read(k_size - 4096, 8192)).error().code, Code::kInvalid);
    EXPECT_EQ(run(file->read(UINT64_MAX - 4095, 8192)).error().code, Code::kInvalid);
    EXPECT_EQ(run(file->write(k_size, pattern(4096, 1), Durability::kBuffered)).error().code, Code::kInvalid);
    EXPECT_EQ(run(file->discard(0, k_size + 4096)).error().code, Code::kInvalid);
    EXPECT_EQ(bytes_on_disk("a").size(), k_size);
}

TEST_P(DiskTest, DiscardGivesSpaceBackAndKeepsTheSize) {
    auto file = create("a");
    ASSERT_TRUE(run(file->write(0, pattern(k_size, 1), Durability::kDurable)).has_value());
    ASSERT_TRUE(run(file->discard(0, k_size / 2)).has_value());
    EXPECT_TRUE(same(*run(file->read(k_size / 2, 4096)), pattern(k_size, 1).slice(k_size / 2, 4096)));
    EXPECT_EQ(file->size_bytes(), k_size);
    EXPECT_TRUE(run(file->discard(0, 0)).has_value());
}

TEST_P(DiskTest, NamesAreTakenOnceAndMissingOnesAreTold) {
    EXPECT_EQ(open("a", {}).error().code, Code::kNotFound);
    EXPECT_FALSE(*run(env().disk.exists(path("a"))));
    create("a").reset();
    EXPECT_TRUE(*run(env().disk.exists(path("a"))));
    EXPECT_EQ(open("a", {.create = true, .size_bytes = k_size}).error().code, Code::kExists);
    EXPECT_EQ((*open("a", {}))->size_bytes(), k_size);
    ASSERT_TRUE(run(env().disk.remove(path("a"))).has_value());
    EXPECT_EQ(run(env().disk.remove(path("a"))).error().code, Code::kNotFound);
    EXPECT_EQ(run(env().disk.open(directory_, {.read_only = true})).error().code, Code::kInvalid);
}

TEST_P(DiskTest, AnOpenFileIsLockedAgainstEverybody) {
    auto file = create("a");
    EXPECT_EQ(open("a", {}).error().code, Code::kConflict);
    EXPECT_EQ(open("a", {.read_only = true}).error().code, Code::kConflict);
    // Another process's view: a lock of its own on an opening of its own.
    EXPECT_EQ(open_file(path("a"), {}).error().code, Code::kConflict);
    file.reset();
    EXPECT_TRUE(open("a", {}).has_value());
}

TEST_P(DiskTest, AReadOnlyFileRefusesWritesAsADeviceWould) {
    create("a").reset();
    auto file = open("a", {.read_only = true});
    ASSERT_TRUE(file.has_value());
    EXPECT_TRUE(run((*file)->read(0, 4096)).has_value());
    EXPECT_EQ(run((*file)->write(0, pattern(4096, 1), Durability::kDurable)).error().code, Code::kIo);
}

TEST_P(DiskTest, AFileLargerThanTheDiskIsRefusedAndLeavesNothing) {
    auto const space = std::filesystem::space(directory_);
    u64 const too_much = round_up(space.available + k_gib, k_block_bytes);
    auto const file = open("huge", {.create = true, .size_bytes = too_much});
    ASSERT_FALSE(file.has_value());
    EXPECT_EQ(file.error().code, Code::kNoSpace);
    EXPECT_FALSE(std::filesystem::exists(path("huge")));
}

Task<void> write_pieces(File* file, u64 seed) {
    for (u64 offset = 0;; offset = (offset + 65536) % k_size) {
        (void)co_await file->write(offset, pattern(65536, seed), Durability::kDurable);
    }
}
Task<void> read_pieces(File* file) {
    for (u64 offset = 0;; offset = (offset + 65536) % k_size) (void)co_await file->read(offset, 65536);
}
Task<void> flush_again(File* file) {
    for (;;) (void)co_await file->flush();
}

// Tasks go at any moment of their requests, the file right after them; it can be opened again at once, and what the
// kernel still does touches no memory that was given back.
TEST_P(DiskTest, RequestsInFlightOutliveTheirTasksAndTheirFile) {
    create("a").reset();
    for (u64 round = 0; round < 20; ++round) {
        auto file = open("a", {});
        ASSERT_TRUE(file.has_value()) << file.error().to_string();
        Scope scope(env().executor);
        for (u64 i = 0; i < 4; ++i) scope.spawn(write_pieces(file->get(), i));
        for (u64 i = 0; i < 4; ++i) scope.spawn(read_pieces(file->get()));
        scope.spawn(flush_again(file->get()));
        // Some rounds end with requests that are queued but not yet submitted.
        if (round % 2 == 0) run((*file)->flush()).value();
        env().executor.run_ready();
    }
}

TEST_P(DiskTest, TheHostMayGoWithRequestsInFlight) {
    auto file = create("a");
    {
        Scope scope(env().executor);
        for (u64 i = 0; i < 8; ++i) scope.spawn(write_pieces(file.get(), i));
        env().executor.run_ready();
    }
    file.reset();
    host_.reset();
}

// A file that the kernel presents as a block device.
class BlockDeviceTest : public DiskTest {
  protected:
    void SetUp() override {
        DiskTest::SetUp();
        if (IsSkipped()) return;
        std::ofstream(path("image")).close();
        std::filesystem::resize_file(path("image"), k_size);
        if (!attach()) GTEST_SKIP() << "no loop devices here";
    }
    void TearDown() override {
        if (device_.valid()) ::ioctl(device_.get(), LOOP_CLR_FD, 0);
        device_ = Descriptor();
        DiskTest::TearDown();
    }
    bool attach() {
        Descriptor const control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
        if (!control.valid()) return false;
        int const number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
        if (number < 0) return false;
        name_ = "/dev/loop" + std::to_string(number);
        Descriptor device(::open(name_.c_str(), O_RDWR | O_CLOEXEC));
        Descriptor const image(::open(path("image").c_str(), O_RDWR | O_CLOEXEC));
        if (!device.valid() || ::ioctl(device.get(), LOOP_SET_FD, image.get()) != 0) return false;
        device_ = std::move(device);
        return true;
    }
    Descriptor device_;
    std::string name_;
};
CORELET_ON_BOTH_ENGINES(BlockDeviceTest);

TEST_P(BlockDeviceTest, IsSizedReadWrittenLockedAndDiscarded) {
    auto file = run(env().disk.open(name_, {}));
    ASSERT_TRUE(file.has_value()) << file.error().to_string();
    EXPECT_EQ((*file)->size_bytes(), k_size);
    Buffer const data = pattern(64 << 10, 1);
    ASSERT_TRUE(run((*file)->write(k_size - data.size(), data, Durability::kDurable)).has_value());
    EXPECT_TRUE(same(*run((*file)->read(k_size - data.size(), data.size())), data));
    ASSERT_TRUE(run((*file)->discard(0, 64 << 10)).has_value());
    EXPECT_TRUE(same(*run((*file)->read(k_size - data.size(), data.size())), data));
    EXPECT_EQ(run((*file)->read(k_size, 4096)).error().code, Code::kInvalid);
    EXPECT_EQ(run(env().disk.open(name_, {})).error().code, Code::kConflict);
    EXPECT_EQ(run(env().disk.open(name_, {.create = true, .size_bytes = k_size})).error().code, Code::kExists);
}

// A file system of 1 MiB in memory: no O_DIRECT on older kernels, and really full.
class SmallDiskTest : public DiskTest {
  protected:
    void SetUp() override {
        DiskTest::SetUp();
        if (IsSkipped()) return;
        is_mounted_ = ::mount("tmpfs", directory_.c_str(), "tmpfs", 0, "size=1m") == 0;
        if (!is_mounted_) GTEST_SKIP() << "mounting is not allowed here";
    }
    void TearDown() override {
        if (is_mounted_) ::umount2(directory_.c_str(), MNT_DETACH);
        DiskTest::TearDown();
    }
    bool is_mounted_ = false;
};
CORELET_ON_BOTH_ENGINES(SmallDiskTest);

TEST_P(SmallDiskTest, WorksInMemory) {
    auto file = open("a", {.create = true, .size_bytes = k_size / 2});
    ASSERT_TRUE(file.has_value()) << file.error().to_string();
    BufferChain ragged;
    ragged.append(pattern(100, 1));
    ragged.append(pattern(3996, 2));
    ASSERT_TRUE(run((*file)->write(4096, ragged, Durability::kDurable)).has_value());
    EXPECT_TRUE(same(*run((*file)->read(4096, 4096)), ragged.flatten()));
    EXPECT_EQ(open("b", {.create = true, .size_bytes = k_size}).error().code, Code::kNoSpace);
}

TEST_P(SmallDiskTest, AFullDiskIsNoSpace) {
    // A file with a hole, as discarding leaves one, whose space somebody else takes.
    auto file = open("a", {.create = true, .size_bytes = k_size / 2});
    ASSERT_TRUE(file.has_value());
    ASSERT_TRUE(run((*file)->discard(0, k_size / 2)).has_value());
    ASSERT_TRUE(open("b", {.create = true, .size_bytes = k_size - 8192}).has_value());
    auto const full = run((*file)->write(0, pattern(k_size / 2, 1), Durability::kDurable));
    ASSERT_FALSE(full.has_value());
    EXPECT_EQ(full.error().code, Code::kNoSpace);
}

}  // namespace
}  // namespace corelet::os
