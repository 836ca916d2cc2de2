#include "platform.h"
#include "rt/combine.h"

namespace corelet::parity {
namespace {

Code code_of(const auto& result) {
    return result.error().code;
}
Buffer blocks(u8 value, usize count = 1) {
    Buffer out = Buffer::allocate(count * k_block_bytes);
    std::ranges::fill(out.mutable_bytes(), value);
    return out;
}
OpenOptions new_file(u64 size) {
    OpenOptions options;
    options.create = true;
    options.size_bytes = size;
    return options;
}

class Disks : public Parity {
  protected:
    std::unique_ptr<File> make(const std::string& name, u64 size) {
        auto file = run(env().disk.open(platform->path(name), new_file(size)));
        CORELET_ASSERT(file.has_value());
        return *std::move(file);
    }
    bool exists(const std::string& path) {
        auto const found = run(env().disk.exists(path));
        CORELET_ASSERT(found.has_value());
        return *found;
    }
    Buffer read(File& file, u64 block, usize count = 1) {
        auto got = run(file.read(block * k_block_bytes, count * k_block_bytes));
        CORELET_ASSERT(got.has_value());
        return *std::move(got);
    }
};
CORELET_PARITY(Disks);

TEST_P(Disks, FilesAreMadeFoundAndRemoved) {
    std::string const path = platform->path("file");
    EXPECT_FALSE(exists(path));
    EXPECT_EQ(code_of(run(env().disk.open(path, {}))), Code::kNotFound);
    EXPECT_EQ(code_of(run(env().disk.remove(path))), Code::kNotFound);
    auto file = make("file", 8 * k_block_bytes);
    EXPECT_EQ(file->size_bytes(), 8 * k_block_bytes);
    EXPECT_TRUE(exists(path));
    EXPECT_EQ(code_of(run(env().disk.open(path, new_file(k_block_bytes)))), Code::kExists);
    file.reset();
    auto again = run(env().disk.open(path, {}));
    ASSERT_TRUE(again);
    EXPECT_EQ((*again)->size_bytes(), 8 * k_block_bytes);
    again->reset();
    EXPECT_TRUE(run(env().disk.remove(path)));
    EXPECT_FALSE(exists(path));
}

TEST_P(Disks, AnOpenFileIsLocked) {
    auto file = make("file", k_block_bytes);
    EXPECT_EQ(code_of(run(env().disk.open(platform->path("file"), {}))), Code::kConflict);
    file.reset();
    EXPECT_TRUE(run(env().disk.open(platform->path("file"), {})));
}

TEST_P(Disks, MoreThanTheHostHasIsRefused) {
    auto const file = run(env().disk.open(platform->path("file"), new_file(u64{1} << 50)));
    ASSERT_FALSE(file);
    EXPECT_EQ(code_of(file), Code::kNoSpace);
    EXPECT_FALSE(exists(platform->path("file")));
}

TEST_P(Disks, ANewFileReadsAsZerosAndWritesAreReadBack) {
    auto const file = make("file", 600 * k_block_bytes);
    EXPECT_TRUE(is_all_zero(read(*file, 0, 600)));
    for (Durability const durability : {Durability::kBuffered, Durability::kDurable}) {
        u8 const base = durability == Durability::kDurable ? 100 : 10;
        ASSERT_TRUE(run(file->write(3 * k_block_bytes, blocks(base), durability)));
        BufferChain chain;
        chain.append(blocks(static_cast<u8>(base + 1), 2));
        chain.append(blocks(static_cast<u8>(base + 2), 300));
        ASSERT_TRUE(run(file->write(4 * k_block_bytes, chain, durability)));
        EXPECT_TRUE(std::ranges::equal(read(*file, 3).bytes(), blocks(base).bytes()));
        EXPECT_TRUE(std::ranges::equal(read(*file, 5).bytes(), blocks(static_cast<u8>(base + 1)).bytes()));
        EXPECT_TRUE(
            std::ranges::equal(read(*file, 6, 300).bytes(), blocks(static_cast<u8>(base + 2), 300).bytes()));
        EXPECT_TRUE(is_all_zero(read(*file, 306)));
    }
    EXPECT_TRUE(run(file->flush()));
}

TEST_P(Disks, PartsOfAChainNeedNoAlignment) {
    auto const file = make("file", 4 * k_block_bytes);
    Buffer const source = blocks(9, 3);
    BufferChain chain;
    chain.append(source.slice(1, 1000));
    chain.append(source.slice(2000, 2 * k_block_bytes - 1000));
    ASSERT_TRUE(run(file->write(k_block_bytes, chain, Durability::kDurable)));
    EXPECT_TRUE(is_all_zero(read(*file, 0)));
    EXPECT_TRUE(std::ranges::equal(read(*file, 1, 2).bytes(), blocks(9, 2).bytes()));
    EXPECT_TRUE(is_all_zero(read(*file, 3)));
}

TEST_P(Disks, BeyondTheEndIsInvalid) {
    auto const file = make("file", 2 * k_block_bytes);
    EXPECT_EQ(code_of(run(file->read(2 * k_block_bytes, k_block_bytes))), Code::kInvalid);
    EXPECT_EQ(code_of(run(file->read(0, 3 * k_block_bytes))), Code::kInvalid);
    EXPECT_EQ(code_of(run(file->write(k_block_bytes, blocks(1, 2), Durability::kDurable))), Code::kInvalid);
    EXPECT_EQ(code_of(run(file->discard(k_block_bytes, 2 * k_block_bytes))), Code::kInvalid);
}

TEST_P(Disks, ADiscardTouchesOnlyItsRange) {
    auto const file = make("file", 8 * k_block_bytes);
    ASSERT_TRUE(run(file->write(0, blocks(5, 8), Durability::kDurable)));
    ASSERT_TRUE(run(file->discard(2 * k_block_bytes, 3 * k_block_bytes)));
    EXPECT_TRUE(std::ranges::equal(read(*file, 0, 2).bytes(), blocks(5, 2).bytes()));
    EXPECT_TRUE(std::ranges::equal(read(*file, 5, 3).bytes(), blocks(5, 3).bytes()));
    ASSERT_TRUE(run(file->write(3 * k_block_bytes, blocks(6), Durability::kDurable)));
    EXPECT_TRUE(std::ranges::equal(read(*file, 3).bytes(), blocks(6).bytes()));
}

Task<void> write_one(File* file, u64 block, u32* failed) {
    auto const written =
        co_await file->write(block * k_block_bytes, blocks(static_cast<u8>(block + 1)), Durability::kDurable);
    if (!written) ++*failed;
}
Task<u32> write_side_by_side(Env* env, File* file, u64 count) {
    u32 failed = 0;
    Scope scope(env->executor);
    for (u64 block = 0; block < count; ++block) scope.spawn(write_one(file, block, &failed));
    co_await scope.join();
    co_return failed;
}
TEST_P(Disks, ManyOperationsGoOnAtOnce) {
    auto const file = make("file", 200 * k_block_bytes);
    EXPECT_EQ(run(write_side_by_side(&env(), file.get(), 200)), 0U);
    for (u64 block = 0; block < 200; ++block) EXPECT_EQ(read(*file, block).data()[17], block + 1);
}

Task<void> drop_writes(Env* env, File* file) {
    u32 failed = 0;
    Scope scope(env->executor);
    for (u64 block = 0; block < 50; ++block) scope.spawn(write_one(file, block, &failed));
    co_await yield();
}
TEST_P(Disks, DroppedWritesHappenOrNotAndTheFileCanBeOpenedAgain) {
    auto file = make("file", 50 * k_block_bytes);
    run(drop_writes(&env(), file.get()));
    file.reset();
    auto again = run(env().disk.open(platform->path("file"), {}));
    ASSERT_TRUE(again) << again.error().to_string();
    for (u64 block = 0; block < 50; ++block) {
        Buffer const got = read(**again, block);
        EXPECT_TRUE(is_all_zero(got) || got.data()[0] == block + 1);
    }
}

TEST_P(Disks, SurviveBeingClosedWithoutAFlush) {
    auto file = make("file", k_block_bytes);
    ASSERT_TRUE(run(file->write(0, blocks(4), Durability::kBuffered)));
    file.reset();
    auto again = run(env().disk.open(platform->path("file"), {}));
    ASSERT_TRUE(again);
    EXPECT_EQ(read(**again, 0).data()[0], 4);
}

}  // namespace
}  // namespace corelet::parity
