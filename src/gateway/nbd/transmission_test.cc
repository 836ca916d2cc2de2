#include "gateway/nbd/transmission.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace corelet::nbd {
namespace {

constexpr u64 k_size = 1 * k_gib;

struct Case {
    const char* what;
    Request request;
    Verdict verdict = Verdict::kServe;
    ErrorNumber error = ErrorNumber::kNone;
};

Request make(Command command, u64 offset, u32 length, u16 flags = 0) {
    return {flags, command, 7, offset, length};
}

void check(const std::vector<Case>& cases, const ExportInfo& info, const Terms& terms) {
    for (const Case& c : cases) {
        Admission const got = admit(c.request, info, terms);
        EXPECT_EQ(got.verdict, c.verdict) << c.what;
        if (c.verdict == Verdict::kRefuse) EXPECT_EQ(got.error, c.error) << c.what;
        if (c.verdict != Verdict::kServe) EXPECT_STRNE(got.reason, "") << c.what;
    }
}

const ExportInfo k_disk{"disk", "", k_size, false, true};
const Terms k_full{"disk", true, true};
const Terms k_plain{"disk", false, false};
constexpr auto k_refuse = Verdict::kRefuse;

TEST(TransmissionTest, DecodesRequests) {
    std::vector<u8> bytes;
    BigWriter(bytes)
        .put(k_request_magic)
        .put(u16{5})
        .put(u16{6})
        .put(u64{0x0102030405060708})
        .put(u64{512})
        .put(u32{1024});
    ASSERT_EQ(bytes.size(), k_request_bytes);
    Request request;
    ASSERT_TRUE(decode_request(bytes.data(), request));
    EXPECT_EQ(request.flags, 5);
    EXPECT_EQ(request.command, Command::kWriteZeroes);
    EXPECT_EQ(request.cookie, 0x0102030405060708U);
    EXPECT_EQ(request.offset, 512U);
    EXPECT_EQ(request.length, 1024U);
    for (usize bit = 0; bit < 32; ++bit) {
        std::vector<u8> bad = bytes;
        bad[bit / 8] ^= static_cast<u8>(1 << (bit % 8));
        EXPECT_FALSE(decode_request(bad.data(), request));
    }
}

TEST(TransmissionTest, AdmitsWhatIsInRange) {
    check(
        {
            {"first block", make(Command::kRead, 0, 512)},
            {"last block", make(Command::kWrite, k_size - 512, 512)},
            {"unaligned to 4 KiB", make(Command::kWrite, 512, 1536)},
            {"largest read", make(Command::kRead, 0, k_block_maximum)},
            {"largest write", make(Command::kWrite, 0, k_block_maximum, k_command_fua)},
            {"trim of all", make(Command::kTrim, 0, static_cast<u32>(k_size), k_command_fua)},
            {"zeroes over all", make(Command::kWriteZeroes, 0, static_cast<u32>(k_size), k_command_no_hole)},
            {"fast zeroes", make(Command::kWriteZeroes, 0, 4096, k_command_fast_zero | k_command_fua)},
            {"status of all", make(Command::kBlockStatus, 0, static_cast<u32>(k_size), k_command_req_one)},
            {"cache of all", make(Command::kCache, 0, static_cast<u32>(k_size))},
            {"flush", make(Command::kFlush, 0, 0)},
            {"FUA on a read", make(Command::kRead, 0, 512, k_command_fua)},
            {"FUA on a flush", make(Command::kFlush, 0, 0, k_command_fua)},
            {"DF", make(Command::kRead, 0, 65536, k_command_df)},
        },
        k_disk, k_full);
}

TEST(TransmissionTest, RefusesBadRanges) {
    for (Command command : {Command::kRead, Command::kWrite, Command::kTrim, Command::kWriteZeroes, Command::kCache,
                            Command::kBlockStatus}) {
        bool const fills = command == Command::kWrite || command == Command::kWriteZeroes;
        ErrorNumber const beyond = fills ? ErrorNumber::kNoSpace : ErrorNumber::kInvalid;
        check(
            {
                {"nothing", make(command, 0, 0), k_refuse, ErrorNumber::kInvalid},
                {"offset unaligned", make(command, 1, 512), k_refuse, ErrorNumber::kInvalid},
                {"length unaligned", make(command, 0, 511), k_refuse, ErrorNumber::kInvalid},
                {"half beyond the end", make(command, k_size - 512, 1024), k_refuse, beyond},
                {"at the end", make(command, k_size, 512), k_refuse, beyond},
                {"far beyond the end", make(command, k_size + 512, 512), k_refuse, beyond},
                {"end overflows", make(command, UINT64_MAX - 511, 1024), k_refuse, beyond},
            },
            k_disk, k_full);
    }
}

TEST(TransmissionTest, RefusesOverlongTransfers) {
    check(
        {
            {"read", make(Command::kRead, 0, k_block_maximum + 512), k_refuse, ErrorNumber::kInvalid},
            {"read with DF", make(Command::kRead, 0, k_block_maximum + 512, k_command_df), k_refuse,
             ErrorNumber::kOverflow},
            {"read of 4 GiB", make(Command::kRead, 0, UINT32_MAX), k_refuse, ErrorNumber::kInvalid},
            {"write", make(Command::kWrite, 0, k_block_maximum + 512), k_refuse, ErrorNumber::kInvalid},
            {"write as far as is discarded", make(Command::kWrite, 0, k_discard_bytes_max), k_refuse,
             ErrorNumber::kInvalid},
            {"write beyond that", make(Command::kWrite, 0, k_discard_bytes_max + 1), Verdict::kClose},
            {"write of 4 GiB", make(Command::kWrite, 0, UINT32_MAX), Verdict::kClose},
        },
        k_disk, k_full);
}

TEST(TransmissionTest, RefusesFlagsThatDoNotBelong) {
    std::vector<std::pair<Command, u16>> const allowed{
        {Command::kRead, k_command_fua | k_command_df},
        {Command::kWrite, k_command_fua},
        {Command::kFlush, k_command_fua},
        {Command::kTrim, k_command_fua},
        {Command::kCache, k_command_fua},
        {Command::kWriteZeroes, k_command_fua | k_command_no_hole | k_command_fast_zero},
        {Command::kBlockStatus, k_command_fua | k_command_req_one},
    };
    for (auto const& [command, flags] : allowed) {
        for (int bit = 0; bit < 16; ++bit) {
            auto const flag = static_cast<u16>(1 << bit);
            bool const ok = (flags & flag) != 0;
            Request const request = make(command, 0, command == Command::kFlush ? 0 : 4096, flag);
            Admission const got = admit(request, k_disk, k_full);
            EXPECT_EQ(got.verdict, ok ? Verdict::kServe : k_refuse) << static_cast<int>(command) << " bit " << bit;
            if (!ok) EXPECT_EQ(got.error, ErrorNumber::kInvalid);
        }
    }
    check({{"DF without structured replies", make(Command::kRead, 0, 512, k_command_df), k_refuse,
            ErrorNumber::kInvalid}},
          k_disk, k_plain);
}

TEST(TransmissionTest, RefusesWhatWasNotAgreed) {
    check({{"status without context", make(Command::kBlockStatus, 0, 4096), k_refuse, ErrorNumber::kInvalid}},
          k_disk, {"disk", true, false});
    check(
        {{"fast zeroes and no hole", make(Command::kWriteZeroes, 0, 4096, k_command_fast_zero | k_command_no_hole),
          k_refuse, ErrorNumber::kNotSupported}},
        k_disk, k_full);
    check({{"fast zeroes", make(Command::kWriteZeroes, 0, 4096, k_command_fast_zero), k_refuse,
            ErrorNumber::kInvalid}},
          {"disk", "", k_size, false, false}, k_full);
    check(
        {
            {"flush with a length", make(Command::kFlush, 0, 512), k_refuse, ErrorNumber::kInvalid},
            {"flush with an offset", make(Command::kFlush, 512, 0), k_refuse, ErrorNumber::kInvalid},
            {"resize", make(static_cast<Command>(8), 0, 512), k_refuse, ErrorNumber::kInvalid},
            {"unknown", make(static_cast<Command>(0xFFFF), 0, 512), k_refuse, ErrorNumber::kInvalid},
            {"disconnect", make(Command::kDisconnect, 0, 0), Verdict::kDisconnect},
        },
        k_disk, k_full);
}

TEST(TransmissionTest, ReadOnlyExportIsNotWritten) {
    ExportInfo const cd{"cd", "", k_size, true, false};
    for (Command command : {Command::kWrite, Command::kTrim, Command::kWriteZeroes}) {
        check({{"change", make(command, 0, 4096), k_refuse, ErrorNumber::kPerm}}, cd, k_full);
    }
    check({{"read", make(Command::kRead, 0, 4096)}, {"flush", make(Command::kFlush, 0, 0)}}, cd, k_full);
}

TEST(TransmissionTest, MapsErrorsOfTheDevice) {
    EXPECT_EQ(error_number(Code::kFenced), ErrorNumber::kShutdown);
    EXPECT_EQ(error_number(Code::kShutdown), ErrorNumber::kShutdown);
    EXPECT_EQ(error_number(Code::kNoSpace), ErrorNumber::kNoSpace);
    EXPECT_EQ(error_number(Code::kInvalid), ErrorNumber::kInvalid);
    for (Code code : {Code::kIo, Code::kCorrupt, Code::kLost, Code::kTimeout, Code::kUnknown}) {
        EXPECT_EQ(error_number(code), ErrorNumber::kIo);
        EXPECT_FALSE(ends_session(code));
    }
    EXPECT_TRUE(ends_session(Code::kFenced));
    EXPECT_TRUE(ends_session(Code::kShutdown));
    EXPECT_FALSE(ends_session(Code::kNoSpace));
}

TEST(TransmissionTest, EncodesReplies) {
    u8 out[k_reply_header_bytes_max];
    ASSERT_EQ(encode_simple_reply(out, 0x1122334455667788, ErrorNumber::kNoSpace), 16U);
    EXPECT_EQ(load_be<u32>(out), 0x67446698U);
    EXPECT_EQ(load_be<u32>(out + 4), 28U);
    EXPECT_EQ(load_be<u64>(out + 8), 0x1122334455667788U);

    ASSERT_EQ(encode_data_chunk(out, 9, true, 4096, 512), 28U);
    EXPECT_EQ(load_be<u32>(out), 0x668E33EFU);
    EXPECT_EQ(load_be<u16>(out + 4), 1);
    EXPECT_EQ(load_be<u16>(out + 6), 1);
    EXPECT_EQ(load_be<u64>(out + 8), 9U);
    EXPECT_EQ(load_be<u32>(out + 16), 520U);
    EXPECT_EQ(load_be<u64>(out + 20), 4096U);

    ASSERT_EQ(encode_error_offset_chunk(out, 9, false, ErrorNumber::kIo, 8192), 34U);
    EXPECT_EQ(load_be<u16>(out + 4), 0);
    EXPECT_EQ(load_be<u16>(out + 6), 0x8002);
    EXPECT_EQ(load_be<u32>(out + 16), 14U);
    EXPECT_EQ(load_be<u32>(out + 20), 5U);
    EXPECT_EQ(load_be<u16>(out + 24), 0);
    EXPECT_EQ(load_be<u64>(out + 26), 8192U);

    ASSERT_EQ(encode_done_chunk(out, 9), 20U);
    EXPECT_EQ(load_be<u16>(out + 4), 1);
    EXPECT_EQ(load_be<u16>(out + 6), 0);
    EXPECT_EQ(load_be<u32>(out + 16), 0U);
}

TEST(TransmissionTest, ErrorTextIsCutToItsRoom) {
    u8 out[k_reply_header_bytes_max];
    usize const size = encode_error_chunk(out, 9, true, ErrorNumber::kPerm, std::string(5000, 'x'));
    EXPECT_LE(size, k_reply_header_bytes_max);
    EXPECT_EQ(load_be<u16>(out + 24), k_error_text_bytes_max);
    EXPECT_EQ(load_be<u32>(out + 16), size - 20);
}

TEST(TransmissionTest, EncodesStatus) {
    std::vector<StatusDescriptor> const extents{{4096, 0}, {8192, 3}};
    std::vector<u8> const chunk = encode_status_chunk(5, extents);
    ASSERT_EQ(chunk.size(), 20U + 4 + 16);
    EXPECT_EQ(load_be<u16>(chunk.data() + 6), 5);
    EXPECT_EQ(load_be<u32>(chunk.data() + 20), 1U);
    EXPECT_EQ(load_be<u32>(chunk.data() + 24), 4096U);
    EXPECT_EQ(load_be<u32>(chunk.data() + 28), 0U);
    EXPECT_EQ(load_be<u32>(chunk.data() + 32), 8192U);
    EXPECT_EQ(load_be<u32>(chunk.data() + 36), 3U);
}

}  // namespace
}  // namespace corelet::nbd
