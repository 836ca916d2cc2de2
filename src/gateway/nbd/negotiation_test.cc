#include "gateway/nbd/negotiation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/prng.h"

namespace corelet::nbd {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using State = Negotiation::State;

class TwoExports : public ExportDirectory {
  public:
    const ExportInfo* find_export(std::string_view name) const override {
        for (const ExportInfo& info : infos) {
            if (info.name == name || (name.empty() && infos.size() == 1)) return &info;
        }
        return nullptr;
    }
    std::vector<std::string> export_names() const override {
        std::vector<std::string> names;
        for (const ExportInfo& info : infos) names.push_back(info.name);
        return names;
    }
    std::vector<ExportInfo> infos{{"disk", "the first disk", 1 * k_mib, false, true},
                                  {"cd", "", 2 * k_mib, true, false}};
};

struct Reply {
    u32 option = 0;
    OptionReply type{};
    std::string data;
};

class NegotiationTest : public testing::Test {
  protected:
    static std::vector<u8> option(u32 number, std::string_view data = {}) {
        std::vector<u8> out;
        BigWriter(out).put(k_option_magic).put(number).put(static_cast<u32>(data.size())).put_text(data);
        return out;
    }
    static std::vector<u8> option(Option number, std::string_view data = {}) {
        return option(static_cast<u32>(number), data);
    }
    static std::string go_data(std::string_view name, std::vector<u16> infos = {}) {
        std::vector<u8> out;
        BigWriter writer(out);
        writer.put(static_cast<u32>(name.size())).put_text(name).put(static_cast<u16>(infos.size()));
        for (u16 info : infos) writer.put(info);
        return std::string(as_text(out));
    }
    static std::string context_data(std::string_view name, std::vector<std::string> queries) {
        std::vector<u8> out;
        BigWriter writer(out);
        writer.put(static_cast<u32>(name.size())).put_text(name).put(static_cast<u32>(queries.size()));
        for (const std::string& query : queries) writer.put(static_cast<u32>(query.size())).put_text(query);
        return std::string(as_text(out));
    }

    void feed(const std::vector<u8>& message) {
        usize const taken = negotiation.step(message, output);
        EXPECT_GT(taken, 0U);
    }
    void flags(u32 value) {
        std::vector<u8> out;
        BigWriter(out).put(value);
        feed(out);
    }
    // Sends an option and takes the replies apart.
    std::vector<Reply> ask(const std::vector<u8>& message) {
        output.clear();
        feed(message);
        std::vector<Reply> replies;
        BigReader reader(output);
        while (reader.remaining() > 0) {
            EXPECT_EQ(reader.get<u64>(), k_option_reply_magic);
            Reply reply;
            reply.option = reader.get<u32>();
            reply.type = static_cast<OptionReply>(reader.get<u32>());
            reply.data = reader.get_text();
            EXPECT_FALSE(reader.failed());
            replies.push_back(reply);
        }
        return replies;
    }
    static std::vector<OptionReply> types(const std::vector<Reply>& replies) {
        std::vector<OptionReply> out;
        for (const Reply& reply : replies) out.push_back(reply.type);
        return out;
    }

    TwoExports exports;
    Negotiation negotiation{exports};
    std::vector<u8> output;
};

TEST_F(NegotiationTest, GreetingSaysFixedNewstyleWithoutZeroes) {
    negotiation.greet(output);
    ASSERT_EQ(output.size(), 18U);
    EXPECT_EQ(std::string(as_text(output)).substr(0, 16), "NBDMAGICIHAVEOPT");
    EXPECT_EQ(load_be<u16>(output.data() + 16), 3);
}

TEST_F(NegotiationTest, UnknownClientFlagCloses) {
    flags(3 | 4);
    EXPECT_EQ(negotiation.state(), State::kClosed);
    EXPECT_THAT(negotiation.close_reason(), HasSubstr("flags"));
    EXPECT_THAT(output, IsEmpty());
}

TEST_F(NegotiationTest, IncompleteMessagesAreLeftAlone) {
    std::vector<u8> message = option(Option::kGo, go_data("disk"));
    flags(3);
    for (usize size = 0; size < message.size(); ++size) {
        EXPECT_EQ(negotiation.step(Bytes(message).first(size), output), 0U);
        EXPECT_GT(negotiation.message_bytes(Bytes(message).first(size)), size);
    }
    EXPECT_THAT(output, IsEmpty());
    EXPECT_EQ(negotiation.step(message, output), message.size());
    EXPECT_EQ(negotiation.state(), State::kTransmission);
}

TEST_F(NegotiationTest, ExportNameWithAndWithoutZeroes) {
    for (u32 client_flags : {0U, 1U, 3U}) {
        Negotiation fresh(exports);
        std::vector<u8> sent;
        std::vector<u8> raw;
        BigWriter(raw).put(client_flags);
        EXPECT_EQ(fresh.step(raw, sent), 4U);
        EXPECT_GT(fresh.step(option(Option::kExportName, "cd"), sent), 0U);
        ASSERT_EQ(fresh.state(), State::kTransmission);
        EXPECT_EQ(sent.size(), client_flags == 3 ? 10U : 134U);
        EXPECT_EQ(load_be<u64>(sent.data()), 2 * k_mib);
        EXPECT_EQ(load_be<u16>(sent.data() + 8), transmission_flags(exports.infos[1], false));
        EXPECT_EQ(fresh.terms().export_name, "cd");
        EXPECT_FALSE(fresh.terms().structured_replies);
    }
}

TEST_F(NegotiationTest, UnknownExportNameCloses) {
    flags(3);
    feed(option(Option::kExportName, "tape"));
    EXPECT_EQ(negotiation.state(), State::kClosed);
    EXPECT_THAT(negotiation.close_reason(), HasSubstr("tape"));
    EXPECT_THAT(output, IsEmpty());
}

TEST_F(NegotiationTest, ClientWithoutFixedNewstyleMayOnlyNameAnExport) {
    flags(0);
    feed(option(Option::kList));
    EXPECT_EQ(negotiation.state(), State::kClosed);
    EXPECT_THAT(output, IsEmpty());
}

TEST_F(NegotiationTest, AbortIsAcknowledged) {
    flags(3);
    EXPECT_THAT(types(ask(option(Option::kAbort))), ElementsAre(OptionReply::kAck));
    EXPECT_EQ(negotiation.state(), State::kClosed);
    EXPECT_EQ(negotiation.close_reason(), "");
}

TEST_F(NegotiationTest, ListNamesAllExports) {
    flags(3);
    std::vector<Reply> const replies = ask(option(Option::kList));
    EXPECT_THAT(types(replies), ElementsAre(OptionReply::kServer, OptionReply::kServer, OptionReply::kAck));
    EXPECT_EQ(replies[0].data, std::string("\0\0\0\4disk", 8));
    EXPECT_EQ(replies[1].data, std::string("\0\0\0\2cd", 6));
    EXPECT_THAT(types(ask(option(Option::kList, "x"))), ElementsAre(OptionReply::kErrorInvalid));
    EXPECT_EQ(negotiation.state(), State::kOptions);
}

TEST_F(NegotiationTest, InfoTellsWhatIsAskedAndStaysInOptions) {
    flags(3);
    std::vector<Reply> const replies = ask(option(Option::kInfo, go_data("disk", {1, 2, 3, 77})));
    EXPECT_THAT(types(replies), ElementsAre(OptionReply::kInfo, OptionReply::kInfo, OptionReply::kInfo,
                                            OptionReply::kInfo, OptionReply::kAck));
    BigReader first(as_bytes(replies[0].data));
    EXPECT_EQ(first.get<u16>(), 0);
    EXPECT_EQ(first.get<u64>(), 1 * k_mib);
    EXPECT_EQ(first.get<u16>(), transmission_flags(exports.infos[0], false));
    EXPECT_TRUE(first.complete());
    BigReader sizes(as_bytes(replies[1].data));
    EXPECT_EQ(sizes.get<u16>(), 3);
    EXPECT_EQ(sizes.get<u32>(), 512U);
    EXPECT_EQ(sizes.get<u32>(), 4096U);
    EXPECT_EQ(sizes.get<u32>(), 32U << 20);
    EXPECT_TRUE(sizes.complete());
    EXPECT_EQ(replies[2].data, std::string("\0\1disk", 6));
    EXPECT_EQ(replies[3].data, std::string("\0\2the first disk", 16));
    EXPECT_EQ(negotiation.state(), State::kOptions);
}

TEST_F(NegotiationTest, GoEntersTransmission) {
    flags(3);
    EXPECT_THAT(types(ask(option(Option::kGo, go_data("cd")))),
                ElementsAre(OptionReply::kInfo, OptionReply::kInfo, OptionReply::kAck));
    EXPECT_EQ(negotiation.state(), State::kTransmission);
    EXPECT_EQ(negotiation.terms().export_name, "cd");
}

TEST_F(NegotiationTest, EmptyNameMeansTheOnlyExport) {
    flags(3);
    EXPECT_THAT(types(ask(option(Option::kGo, go_data("")))), ElementsAre(OptionReply::kErrorUnknown));
    exports.infos.pop_back();
    EXPECT_THAT(types(ask(option(Option::kGo, go_data("", {1})))).back(), OptionReply::kAck);
    EXPECT_EQ(negotiation.terms().export_name, "disk");
}

TEST_F(NegotiationTest, MalformedInfoIsRefusedAndTheSessionGoesOn) {
    flags(3);
    std::string const good = go_data("disk", {1});
    std::vector<std::string> bad{"", "\0\0", good + "x", good.substr(0, good.size() - 1),
                                 go_data(std::string(4097, 'n'))};
    std::string huge_name = good;
    huge_name[0] = '\xff';
    bad.push_back(huge_name);
    for (const std::string& data : bad) {
        for (Option number : {Option::kInfo, Option::kGo}) {
            EXPECT_THAT(types(ask(option(number, data))), ElementsAre(OptionReply::kErrorInvalid)) << data.size();
        }
    }
    EXPECT_THAT(types(ask(option(Option::kGo, go_data("tape")))), ElementsAre(OptionReply::kErrorUnknown));
    EXPECT_EQ(negotiation.state(), State::kOptions);
}

TEST_F(NegotiationTest, OptionsThatAreNotSpokenHere) {
    flags(3);
    for (u32 number : {0U, 4U, 5U, 11U, 12U, 0xFFFFFFFFU}) {
        std::vector<Reply> const replies = ask(option(number, "data"));
        EXPECT_THAT(types(replies), ElementsAre(OptionReply::kErrorUnsupported)) << number;
        EXPECT_EQ(replies[0].option, number);
    }
    EXPECT_EQ(negotiation.state(), State::kOptions);
}

TEST_F(NegotiationTest, OversizedOptionIsToldAndClosed) {
    flags(3);
    std::vector<u8> header;
    BigWriter(header).put(k_option_magic).put(u32{7}).put(static_cast<u32>(k_option_bytes_max + 1));
    EXPECT_THAT(types(ask(header)), ElementsAre(OptionReply::kErrorTooBig));
    EXPECT_EQ(negotiation.state(), State::kClosed);
    EXPECT_THAT(negotiation.close_reason(), HasSubstr("16385"));
}

TEST_F(NegotiationTest, LargestOptionIsTaken) {
    flags(3);
    EXPECT_THAT(types(ask(option(99, std::string(k_option_bytes_max, 'x')))),
                ElementsAre(OptionReply::kErrorUnsupported));
}

TEST_F(NegotiationTest, WrongOptionMagicCloses) {
    flags(3);
    std::vector<u8> message = option(Option::kList);
    message[0] ^= 1;
    feed(message);
    EXPECT_EQ(negotiation.state(), State::kClosed);
    EXPECT_THAT(negotiation.close_reason(), HasSubstr("magic"));
}

TEST_F(NegotiationTest, StructuredRepliesOnce) {
    flags(3);
    EXPECT_THAT(types(ask(option(Option::kStructuredReply, "x"))), ElementsAre(OptionReply::kErrorInvalid));
    EXPECT_THAT(types(ask(option(Option::kStructuredReply))), ElementsAre(OptionReply::kAck));
    EXPECT_THAT(types(ask(option(Option::kStructuredReply))), ElementsAre(OptionReply::kErrorInvalid));
    std::vector<Reply> const replies = ask(option(Option::kGo, go_data("disk")));
    EXPECT_TRUE(negotiation.terms().structured_replies);
    u16 const sent = load_be<u16>(reinterpret_cast<const u8*>(replies[0].data.data()) + 10);
    EXPECT_EQ(sent, transmission_flags(exports.infos[0], true));
}

TEST_F(NegotiationTest, MetaContextsNeedStructuredReplies) {
    flags(3);
    std::string const data = context_data("disk", {"base:allocation"});
    EXPECT_THAT(types(ask(option(Option::kSetMetaContext, data))), ElementsAre(OptionReply::kErrorInvalid));
    EXPECT_THAT(types(ask(option(Option::kListMetaContext, data))), ElementsAre(OptionReply::kErrorInvalid));
}

TEST_F(NegotiationTest, ListsMetaContexts) {
    flags(3);
    (void)ask(option(Option::kStructuredReply));
    for (std::vector<std::string> const& queries :
         {std::vector<std::string>{}, {"base:"}, {"base:allocation"}, {"x-y:z", "base:allocation", "base:"}}) {
        std::vector<Reply> const replies = ask(option(Option::kListMetaContext, context_data("disk", queries)));
        ASSERT_THAT(types(replies), ElementsAre(OptionReply::kMetaContext, OptionReply::kAck));
        EXPECT_EQ(replies[0].data, std::string("\0\0\0\0", 4) + "base:allocation");
    }
    EXPECT_THAT(types(ask(option(Option::kListMetaContext, context_data("disk", {"qemu:dirty"})))),
                ElementsAre(OptionReply::kAck));
    EXPECT_THAT(types(ask(option(Option::kListMetaContext, context_data("tape", {})))),
                ElementsAre(OptionReply::kErrorUnknown));
    // A list selects nothing.
    (void)ask(option(Option::kGo, go_data("disk")));
    EXPECT_FALSE(negotiation.terms().allocation_context);
}

TEST_F(NegotiationTest, SetsMetaContext) {
    flags(3);
    (void)ask(option(Option::kStructuredReply));
    std::vector<Reply> const replies =
        ask(option(Option::kSetMetaContext, context_data("disk", {"x:y", "base:allocation"})));
    ASSERT_THAT(types(replies), ElementsAre(OptionReply::kMetaContext, OptionReply::kAck));
    EXPECT_EQ(replies[0].data, std::string("\0\0\0\1", 4) + "base:allocation");
    (void)ask(option(Option::kGo, go_data("disk")));
    EXPECT_TRUE(negotiation.terms().allocation_context);
}

TEST_F(NegotiationTest, ContextHoldsForItsExportOnly) {
    flags(3);
    (void)ask(option(Option::kStructuredReply));
    (void)ask(option(Option::kSetMetaContext, context_data("disk", {"base:allocation"})));
    (void)ask(option(Option::kGo, go_data("cd")));
    EXPECT_FALSE(negotiation.terms().allocation_context);
}

TEST_F(NegotiationTest, EachSetReplacesTheOneBefore) {
    flags(3);
    (void)ask(option(Option::kStructuredReply));
    std::string const good = context_data("disk", {"base:allocation"});
    for (std::string const& then :
         {context_data("disk", {}), context_data("disk", {"base:"}), context_data("tape", {"base:allocation"}),
          good.substr(0, good.size() - 1), good + "x"}) {
        Negotiation fresh(exports);
        std::vector<u8> sent;
        std::vector<u8> raw;
        BigWriter(raw).put(u32{3});
        (void)fresh.step(raw, sent);
        (void)fresh.step(option(Option::kStructuredReply), sent);
        (void)fresh.step(option(Option::kSetMetaContext, good), sent);
        (void)fresh.step(option(Option::kSetMetaContext, then), sent);
        (void)fresh.step(option(Option::kGo, go_data("disk")), sent);
        ASSERT_EQ(fresh.state(), State::kTransmission);
        EXPECT_FALSE(fresh.terms().allocation_context);
    }
}

TEST_F(NegotiationTest, TransmissionFlagsSayWhatHolds) {
    u16 const writable = transmission_flags(exports.infos[0], true);
    EXPECT_EQ(writable, (1 | 4 | 8 | 32 | 64 | 128 | 256 | 1024 | 2048));
    u16 const read_only = transmission_flags(exports.infos[1], false);
    EXPECT_EQ(read_only, (1 | 2 | 4 | 8 | 256 | 1024));
}

// Whatever arrives, in whatever pieces: it ends, answers stay bounded, and nothing is taken that is not there.
TEST_F(NegotiationTest, RandomBytesNeverBreakIt) {
    Prng dice(7);
    for (int round = 0; round < 2000; ++round) {
        Negotiation fresh(exports);
        std::vector<u8> input;
        BigWriter(input).put(static_cast<u32>(dice.below(4)));
        for (u64 options = dice.below(6); options > 0; --options) {
            std::string data(dice.below(40), '\0');
            for (char& c : data) c = static_cast<char>(dice.chance(1, 2) ? dice.below(4) : dice.below(256));
            std::vector<u8> const message = option(static_cast<u32>(dice.below(13)), data);
            input.insert(input.end(), message.begin(), message.end());
        }
        if (dice.chance(1, 4)) input[dice.below(input.size())] ^= static_cast<u8>(1 + dice.below(255));
        std::vector<u8> sent;
        usize at = 0;
        while (!fresh.is_over()) {
            usize const taken = fresh.step(Bytes(input).subspan(at), sent);
            if (taken == 0) break;
            at += taken;
            ASSERT_LE(at, input.size());
        }
        EXPECT_LE(sent.size(), 6 * 512U);
    }
}

}  // namespace
}  // namespace corelet::nbd
