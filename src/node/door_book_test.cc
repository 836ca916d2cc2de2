#include "node/door_book.h"

#include <gtest/gtest.h>

namespace corelet {
namespace {

Code code_of(const auto& result) {
    return result ? Code{} : result.error().code;
}

TEST(DoorBook, OnlyTheNewestTicketIsLetIn) {
    DoorBook book;
    EXPECT_EQ(code_of(book.admit("v", Epoch(3), 7)), Code::kFenced);
    ASSERT_TRUE(book.open("v", Epoch(3), 1, 1, 7));
    EXPECT_TRUE(book.admit("v", Epoch(3), 7));
    EXPECT_EQ(code_of(book.admit("v", Epoch(3), 8)), Code::kFenced);
    EXPECT_EQ(code_of(book.admit("w", Epoch(3), 7)), Code::kFenced);
    ASSERT_TRUE(book.open("v", Epoch(3), 1, 1, 8));
    EXPECT_EQ(code_of(book.admit("v", Epoch(3), 7)), Code::kFenced) << "its own earlier connection is over";
    EXPECT_TRUE(book.admit("v", Epoch(3), 8));
}

TEST(DoorBook, ATicketIsOfOneEpoch) {
    DoorBook book;
    ASSERT_TRUE(book.open("v", Epoch(3), 1, 1, 7));
    EXPECT_EQ(code_of(book.admit("v", Epoch(4), 7)), Code::kFenced);
    ASSERT_TRUE(book.open("v", Epoch(5), 1, 1, 9));
    EXPECT_EQ(code_of(book.admit("v", Epoch(3), 7)), Code::kFenced);
    EXPECT_EQ(code_of(book.admit("v", Epoch(5), 7)), Code::kFenced);
    EXPECT_EQ(code_of(book.open("v", Epoch(4), 2, 1, 11)), Code::kFenced);
    EXPECT_TRUE(book.admit("v", Epoch(5), 9));
}

TEST(DoorBook, AnEarlierDoorDoesNotComeBack) {
    DoorBook book;
    ASSERT_TRUE(book.open("v", Epoch(3), 2, 2, 7));
    EXPECT_EQ(code_of(book.open("v", Epoch(3), 1, 0, 8)), Code::kConflict);
    EXPECT_EQ(code_of(book.open("v", Epoch(4), 1, 0, 8)), Code::kConflict) << "nor at a later epoch of this owner";
    EXPECT_EQ(code_of(book.open("w", Epoch(1), 4, 5, 8)), Code::kConflict) << "the catalog knows of a later one";
    EXPECT_TRUE(book.open("v", Epoch(4), 3, 0, 8));
}

TEST(DoorBook, WhatRunsIsCountedForWhoeverOpensNext) {
    DoorBook book;
    auto const first = book.open("v", Epoch(3), 1, 1, 7);
    ASSERT_TRUE(first);
    {
        auto const one = book.admit("v", Epoch(3), 7);
        auto const two = book.admit("v", Epoch(3), 7);
        ASSERT_TRUE(one && two);
        auto const second = book.open("v", Epoch(3), 1, 1, 8);
        ASSERT_TRUE(second);
        EXPECT_EQ((*second)->running, 2U);
        auto const third = book.open("v", Epoch(4), 1, 1, 9);
        ASSERT_TRUE(third);
        EXPECT_EQ((*third)->running, 0U) << "what ran at an earlier epoch is fenced by it";
    }
    EXPECT_EQ((*first)->running, 0U);
}

TEST(DoorBook, VolumesThatAreServedElsewhereAreForgotten) {
    DoorBook book;
    ASSERT_TRUE(book.open("v", Epoch(3), 1, 1, 7));
    ASSERT_TRUE(book.open("w", Epoch(3), 1, 1, 8));
    book.forget_others([](const std::string& name) { return name == "w"; });
    EXPECT_EQ(book.size(), 1U);
    EXPECT_EQ(code_of(book.admit("v", Epoch(3), 7)), Code::kFenced);
    EXPECT_TRUE(book.admit("w", Epoch(3), 8));
}

}  // namespace
}  // namespace corelet
