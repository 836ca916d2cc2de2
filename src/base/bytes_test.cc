#include "base/bytes.h"

#include <gtest/gtest.h>

#include "base/codec.h"

namespace corelet {
namespace {

TEST(Buffer, AlignedSharedAndSliced) {
    for (usize size : {1UL, 100UL, 2048UL, 4096UL, 5000UL, 1UL << 20}) {
        Buffer buffer = Buffer::zeroed(size);
        if (size >= 4096) EXPECT_TRUE(buffer.is_aligned(4096));
        buffer.mutable_data()[size - 1] = 9;
        Buffer const tail = buffer.slice(size - 1);
        buffer = {};
        EXPECT_EQ(tail.data()[0], 9);
    }
}

TEST(BufferChain, SliceAndFlatten) {
    BufferChain chain;
    chain.append(Buffer::copy_of(as_bytes("hello ")));
    chain.append(Buffer::copy_of(as_bytes("brave ")));
    chain.append(Buffer::copy_of(as_bytes("world")));
    EXPECT_EQ(as_text(chain.flatten()), "hello brave world");
    EXPECT_EQ(as_text(chain.slice(4, 9).flatten()), "o brave w");
    EXPECT_TRUE(chain.slice(17, 0).empty());
}

TEST(Codec, RoundTripAndShortInput) {
    Writer writer;
    writer.put<u16>(7).put(CoreletId(42)).put_text("name").put(ChunkId{SpaceId(1), 2});
    Reader reader(writer.bytes());
    EXPECT_EQ(reader.get<u16>(), 7);
    EXPECT_EQ(reader.get<CoreletId>(), CoreletId(42));
    EXPECT_EQ(reader.get_text(), "name");
    EXPECT_EQ(reader.get_chunk_id(), (ChunkId{SpaceId(1), 2}));
    EXPECT_TRUE(reader.complete());
    for (usize cut = 0; cut < writer.size(); ++cut) {
        Reader shorter(writer.bytes().first(cut));
        (void)shorter.get<u16>();
        (void)shorter.get<CoreletId>();
        (void)shorter.get_text();
        (void)shorter.get_chunk_id();
        EXPECT_FALSE(shorter.complete()) << cut;
    }
}

}  // namespace
}  // namespace corelet
