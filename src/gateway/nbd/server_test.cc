// The server over hand-driven connections: what clients see of commands and errors.
#include "gateway/nbd/server.h"

#include <gmock/gmock.h>

#include "base/prng.h"
#include "gateway/nbd/nbd_client_testing.h"

namespace corelet::nbd {
namespace {

using testing::ElementsAre;

TEST_F(NbdServerTest, WritesAndReadsBack) {
    for (bool structured : {true, false}) {
        auto client = attached({"disk", structured, structured});
        std::vector<u8> const data = pattern(4096, structured);
        client->write(1, 8192, data);
        EXPECT_EQ(client->receive().value().error, ErrorNumber::kNone);
        client->send(Command::kRead, 2, 8192, 4096);
        std::optional<Reply> const reply = client->receive(4096);
        EXPECT_EQ(reply->structured, structured);
        EXPECT_TRUE(reply->done());
        EXPECT_EQ(reply->cookie, 2U);
        EXPECT_EQ(reply->data, data);
    }
    EXPECT_EQ(device->seen.unaligned_buffers, 0U);
    EXPECT_EQ(stats().requests[0], 2U);
    EXPECT_EQ(stats().requests[1], 2U);
    EXPECT_EQ(stats().bytes_read, 8192U);
    EXPECT_EQ(stats().bytes_written, 8192U);
    EXPECT_EQ(stats().errors, 0U);
    EXPECT_EQ(stats().latency[0], 4U);
}

TEST_F(NbdServerTest, AnyLengthAndOffsetOf512) {
    auto client = attached();
    Prng dice(11);
    std::vector<u8> model(8 * k_mib);
    u64 cookie = 0;
    for (int i = 0; i < 60; ++i) {
        u64 const offset = dice.below(8 * k_mib / 512) * 512;
        u64 const most = dice.chance(1, 4) ? 6 * k_mib : 64 * k_kib;
        u64 const length = std::min((1 + dice.below(most / 512)) * 512, 8 * k_mib - offset);
        auto const at = model.begin() + static_cast<std::ptrdiff_t>(offset);
        if (dice.chance(1, 2)) {
            std::vector<u8> const data = pattern(length, dice.next());
            std::copy(data.begin(), data.end(), at);
            client->write(++cookie, offset, data);
            ASSERT_EQ(client->receive().value().error, ErrorNumber::kNone);
        } else {
            u16 const flags = dice.chance(1, 2) ? k_command_df : 0;
            client->send(Command::kRead, ++cookie, offset, static_cast<u32>(length), flags);
            Reply const reply = client->receive_read(cookie, offset, static_cast<u32>(length));
            ASSERT_EQ(reply.error, ErrorNumber::kNone);
            ASSERT_TRUE(std::equal(reply.data.begin(), reply.data.end(), at));
        }
    }
    EXPECT_EQ(device->seen.unaligned_buffers, 0U);
}

// Requests cut at any byte, many in one segment or one in many, are the same requests.
TEST_F(NbdServerTest, ArrivalInPiecesDoesNotMatter) {
    Prng dice(5);
    auto client = attached();
    std::vector<u8> stream;
    std::vector<std::vector<u8>> written;
    for (u64 i = 0; i < 40; ++i) {
        written.push_back(pattern(512 * (1 + dice.below(40)), i));
        BigWriter(stream)
            .put(k_request_magic)
            .put(u16{0})
            .put(u16{1})
            .put(i)
            .put(u64{i * 32 * k_kib})
            .put(static_cast<u32>(written.back().size()))
            .put_text(as_text(written.back()));
    }
    for (usize at = 0; at < stream.size();) {
        usize const part = std::min<usize>(stream.size() - at, 1 + dice.below(dice.chance(1, 2) ? 30 : 60'000));
        client->raw.send(Bytes(stream).subspan(at, part));
        world.settle();
        at += part;
    }
    for (u64 i = 0; i < 40; ++i) EXPECT_EQ(client->receive().value().error, ErrorNumber::kNone);
    for (u64 i = 0; i < 40; ++i) {
        EXPECT_EQ(std::memcmp(device->bytes() + i * 32 * k_kib, written[i].data(), written[i].size()), 0) << i;
    }
    EXPECT_EQ(device->seen.unaligned_buffers, 0U);
}

TEST_F(NbdServerTest, RepliesOfOneTurnLeaveInOneWrite) {
    auto client = attached();
    device->hold();
    for (u64 i = 0; i < 32; ++i) client->send(Command::kRead, i, i * 4096, 4096);
    world.settle();
    EXPECT_EQ(device->seen.waiting, 32U);  // beside each other
    u64 const before = client->raw.server_writes();
    device->release();
    for (u64 i = 0; i < 32; ++i) EXPECT_EQ(client->receive().value().cookie, i);
    EXPECT_EQ(client->raw.server_writes(), before + 1);
}

TEST_F(NbdServerTest, RepliesComeInOrderOfCompletion) {
    auto client = attached();
    device->hold();
    client->send(Command::kRead, 1, 0, 4096);
    world.settle();
    client->send(Command::kRead, 2, 0, 0);  // refused at once
    EXPECT_EQ(client->receive().value().cookie, 2U);
    device->release();
    EXPECT_EQ(client->receive().value().cookie, 1U);
}

TEST_F(NbdServerTest, OtherCommandsReachTheDevice) {
    auto client = attached();
    client->write(1, 0, pattern(16384, 1), k_command_fua);
    client->send(Command::kFlush, 2, 0, 0);
    client->send(Command::kTrim, 3, 0, 8192, k_command_fua);
    client->send(Command::kWriteZeroes, 4, 8192, 4096);
    client->send(Command::kWriteZeroes, 5, 12288, 4096, k_command_no_hole);
    client->send(Command::kWriteZeroes, 6, 8192, 4096, k_command_fast_zero);
    client->send(Command::kCache, 7, 0, 3 * k_mib);
    for (u64 i = 1; i <= 7; ++i) {
        std::optional<Reply> const reply = client->receive();
        ASSERT_TRUE(reply);
        EXPECT_EQ(reply->error, ErrorNumber::kNone) << reply->cookie;
    }
    EXPECT_EQ(device->seen.fua, 2U);
    EXPECT_EQ(device->seen.flushes, 1U);
    EXPECT_EQ(device->seen.trims, 1U);
    EXPECT_EQ(device->seen.zeroes, 3U);
    EXPECT_EQ(device->seen.zeroes_without_holes, 1U);
    EXPECT_EQ(device->seen.reads, 3U);
    EXPECT_TRUE(is_all_zero({device->bytes(), 16384}));
}

TEST_F(NbdServerTest, CachingIsOneAtATimeAndBounded) {
    auto client = attached();
    device->hold();
    client->send(Command::kCache, 1, 0, 64 * k_mib);
    client->send(Command::kCache, 2, 0, 64 * k_mib);
    EXPECT_EQ(client->receive().value().cookie, 2U);
    device->release();
    EXPECT_EQ(client->receive().value().cookie, 1U);
    EXPECT_EQ(device->seen.reads, 8U);
    device->fail_all = Code::kCorrupt;
    client->send(Command::kCache, 3, 0, 64 * k_mib);
    EXPECT_EQ(client->receive().value().error, ErrorNumber::kIo);
}

TEST_F(NbdServerTest, BlockStatusTellsHolesAndData) {
    auto client = attached();
    client->write(1, 1 * k_mib, pattern(8192, 1));
    client->write(2, 20 * k_mib, pattern(4096, 1));
    EXPECT_EQ(client->receive().value().error, ErrorNumber::kNone);
    EXPECT_EQ(client->receive().value().error, ErrorNumber::kNone);
    client->send(Command::kBlockStatus, 3, 0, 64 * k_mib);
    std::optional<Reply> const all = client->receive();
    ASSERT_EQ(all->type, ChunkType::kBlockStatus);
    EXPECT_TRUE(all->done());
    BigReader reader(all->data);
    std::vector<std::pair<u64, u32>> extents;
    while (reader.remaining() > 0) {
        u64 const length = reader.get<u32>();
        extents.emplace_back(length, reader.get<u32>());
    }
    EXPECT_THAT(extents,
                ElementsAre(std::pair(1 * k_mib, 3U), std::pair(u64{8192}, 0U), std::pair(19 * k_mib - 8192, 3U),
                            std::pair(u64{4096}, 0U), std::pair(44 * k_mib - 4096, 3U)));
    client->send(Command::kBlockStatus, 4, 512, 64 * k_mib - 512, k_command_req_one);
    std::optional<Reply> const one = client->receive();
    ASSERT_EQ(one->data.size(), 8U);
    EXPECT_EQ(load_be<u32>(one->data.data()), 1 * k_mib - 512);
}

TEST_F(NbdServerTest, BlockStatusOfAFragmentedDeviceIsCutShort) {
    auto client = attached();
    for (u64 i = 0; i < 8192; ++i) {
        client->write(i, i * 8192, pattern(512, 1));
        ASSERT_EQ(client->receive().value().error, ErrorNumber::kNone);
    }
    client->send(Command::kBlockStatus, 1, 0, 64 * k_mib);
    std::optional<Reply> const reply = client->receive();
    ASSERT_EQ(reply->type, ChunkType::kBlockStatus);
    EXPECT_EQ(reply->data.size(), 4096 * 8U);
}

TEST_F(NbdServerTest, RefusedRequestsLeaveTheSessionInStep) {
    for (bool structured : {true, false}) {
        auto client = attached({"disk", structured, false});
        std::vector<u8> const data = pattern(100 * k_kib, 1);
        client->write(1, 1, data);                        // unaligned
        client->write(2, 64 * k_mib, data);               // beyond the end
        client->write(3, 0, Bytes(data).first(513));      // unaligned length
        client->write(4, 0, data, k_command_df);          // a flag of another command
        client->send(static_cast<Command>(77), 5, 0, 0);  // unknown
        client->send(Command::kRead, 6, 0, 33 * k_mib);   // too long
        client->send(Command::kBlockStatus, 7, 0, 4096);  // not agreed on
        client->send(Command::kRead, 8, 0, 512);
        std::vector<ErrorNumber> errors;
        for (u64 cookie = 1; cookie <= 7; ++cookie) {
            std::optional<Reply> const reply = client->receive();
            ASSERT_TRUE(reply);
            EXPECT_EQ(reply->cookie, cookie);
            EXPECT_TRUE(reply->done());
            EXPECT_EQ(reply->structured, structured);
            errors.push_back(reply->error);
        }
        using enum ErrorNumber;
        EXPECT_THAT(errors, ElementsAre(kInvalid, kNoSpace, kInvalid, kInvalid, kInvalid, kInvalid, kInvalid));
        EXPECT_EQ(client->receive_read(8, 0, 512).error, kNone);
    }
    EXPECT_EQ(device->seen.writes, 0U);
    EXPECT_EQ(stats().errors, 14U);
}

TEST_F(NbdServerTest, OverlongWriteIsReadAndRefused) {
    auto client = attached();
    client->write(1, 0, std::vector<u8>(k_block_maximum + 512));
    EXPECT_EQ(client->receive().value().error, ErrorNumber::kInvalid);
    client->send(Command::kWrite, 2, 0, UINT32_MAX);
    EXPECT_TRUE(client->raw.is_closed());
    EXPECT_TRUE(world.log.has("far beyond 32 MiB"));
}

TEST_F(NbdServerTest, WrongMagicCloses) {
    auto client = attached();
    client->raw.send(std::vector<u8>(28, 0x55));
    EXPECT_TRUE(client->raw.is_closed());
    EXPECT_TRUE(world.log.has("request magic"));
    EXPECT_EQ(server->connection_count(), 0U);
}

TEST_F(NbdServerTest, ErrorsOfTheDeviceReachTheClient) {
    auto client = attached();
    device->fail_at[8192] = Code::kCorrupt;
    client->send(Command::kRead, 1, 8192, 4096);
    EXPECT_EQ(client->receive_read(1, 8192, 4096).error, ErrorNumber::kIo);
    device->blocks_max = 0;
    client->write(2, 0, pattern(4096, 1));
    EXPECT_EQ(client->receive().value().error, ErrorNumber::kNoSpace);
    client->send(Command::kTrim, 3, 0, 4096);  // deletes go on when full
    EXPECT_EQ(client->receive().value().error, ErrorNumber::kNone);
    client->send(Command::kRead, 4, 0, 4096);
    EXPECT_EQ(client->receive_read(4, 0, 4096).error, ErrorNumber::kNone);
}

TEST_F(NbdServerTest, ErrorAmidALongReadNamesItsOffset) {
    auto client = attached();
    device->fail_at[5 * k_mib] = Code::kLost;
    client->send(Command::kRead, 1, 2 * k_mib + 512, 6 * k_mib);
    u64 data_bytes = 0;
    std::vector<u64> bad;
    while (true) {
        std::optional<Reply> const part = client->receive();
        ASSERT_TRUE(part);
        data_bytes += part->data.size();
        if (part->type == ChunkType::kErrorOffset) bad.push_back(part->offset);
        if (part->done()) break;
    }
    EXPECT_THAT(bad, ElementsAre(5 * k_mib));
    EXPECT_GT(data_bytes, 0U);
    EXPECT_LE(data_bytes, 5 * k_mib);
    // Without fragments, and without structured replies, it is one error and no data.
    client->send(Command::kRead, 2, 2 * k_mib, 6 * k_mib, k_command_df);
    std::optional<Reply> const whole = client->receive();
    EXPECT_EQ(whole->error, ErrorNumber::kIo);
    EXPECT_TRUE(whole->done());
    auto plain = attached({"disk", false, false});
    plain->send(Command::kRead, 3, 2 * k_mib, 6 * k_mib);
    EXPECT_EQ(plain->receive(6 * k_mib)->error, ErrorNumber::kIo);
    EXPECT_EQ(plain->raw.available(), 0U);
}

TEST_F(NbdServerTest, ReadOnlyExport) {
    ASSERT_TRUE(server->add_export("cd", device, {"", true, true}));
    auto client = attached({"cd", true, true});
    client->write(1, 0, pattern(4096, 1));
    EXPECT_EQ(client->receive().value().error, ErrorNumber::kPerm);
    client->send(Command::kRead, 2, 0, 4096);
    EXPECT_EQ(client->receive_read(2, 0, 4096).error, ErrorNumber::kNone);
}

TEST_F(NbdServerTest, AddExportChecks) {
    EXPECT_EQ(server->add_export("disk", device).error().code, Code::kExists);
    EXPECT_EQ(server->add_export(std::string(4097, 'x'), device).error().code, Code::kInvalid);
    EXPECT_EQ(server->add_export("odd", std::make_shared<MemoryBlockDevice>(1000)).error().code, Code::kInvalid);
}

TEST_F(NbdServerTest, UnknownExportIsRefused) {
    NbdClient client(world, address);
    EXPECT_FALSE(client.attach({"tape", true, false}));
}

}  // namespace
}  // namespace corelet::nbd
