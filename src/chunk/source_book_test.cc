#include "chunk/source_book.h"

#include <gtest/gtest.h>

namespace corelet {
namespace {

constexpr Instant in_ms(i64 ms) {
    return Instant{ms * 1'000'000};
}

TEST(SourceBook, ReadsUnderWayAreLoad) {
    SourceBook book;
    CoreletId const one(1), two(2);
    EXPECT_EQ(book.load(one, in_ms(0)), 0U);
    {
        SourceBook::Reading const first(book, one);
        SourceBook::Reading const second(book, one);
        EXPECT_EQ(book.load(one, in_ms(0)), 2U);
        EXPECT_EQ(book.load(two, in_ms(0)), 0U);
    }
    EXPECT_EQ(book.load(one, in_ms(0)), 0U);
}

TEST(SourceBook, ClientsThatSufferAreLoadForAWhile) {
    SourceBook book;
    CoreletId const one(1);
    book.told(one, 1000, in_ms(0));
    EXPECT_EQ(book.load(one, in_ms(0)), 0U) << "as usual";
    book.told(one, 2000, in_ms(100));
    EXPECT_EQ(book.load(one, in_ms(100)), 4U);
    book.told(one, ~0U, in_ms(100));
    EXPECT_EQ(book.load(one, in_ms(100)), 64U) << "whatever it says";
    EXPECT_EQ(book.load(one, in_ms(3100)), 0U) << "it has said nothing since";
}

}  // namespace
}  // namespace corelet
