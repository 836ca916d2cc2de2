// A hand-driven NBD client on a hand-driven connection: handshake, requests, replies taken apart.
#pragma once

#include <gtest/gtest.h>
#include <algorithm>

#include "base/prng.h"
#include "gateway/nbd/memory_block_device_testing.h"
#include "gateway/nbd/server.h"
#include "gateway/nbd/transmission.h"
#include "gateway/nbd/world_testing.h"

namespace corelet::nbd {

struct Reply {
    bool structured = false;
    u16 flags = 0;
    ChunkType type = ChunkType::kNone;
    u64 cookie = 0;
    ErrorNumber error = ErrorNumber::kNone;
    u64 offset = 0;
    std::vector<u8> data;  // read data, or the status descriptors

    [[nodiscard]] bool done() const { return !structured || (flags & k_chunk_done) != 0; }
};

// What a client asks for in its handshake.
struct Wishes {
    std::string name = "disk";
    bool structured = true;
    bool allocation = true;
};

class NbdClient {
  public:
    NbdClient(World& world, const Address& address) : raw(world, world.network.dial(address)) {}
    // Through the handshake into transmission; false if the server does not go along.
    bool attach(const Wishes& wishes = {}) {
        structured_ = wishes.structured;
        if (raw.receive(18).size() != 18) return false;
        std::vector<u8> out;
        BigWriter writer(out);
        writer.put(u32{3});
        if (wishes.structured) put_option(writer, Option::kStructuredReply, {});
        std::vector<u8> name;
        BigWriter(name).put(static_cast<u32>(wishes.name.size())).put_text(wishes.name);
        if (wishes.allocation && wishes.structured) {
            std::vector<u8> query = name;
            BigWriter(query)
                .put(u32{1})
                .put(static_cast<u32>(k_allocation_context.size()))
                .put_text(k_allocation_context);
            put_option(writer, Option::kSetMetaContext, query);
        }
        BigWriter(name).put(u16{0});
        put_option(writer, Option::kGo, name);
        raw.send(out);
        return read_option_replies();
    }
    void send(Command command, u64 cookie, u64 offset, u32 length, u16 flags = 0, Bytes payload = {}) {
        std::vector<u8> out;
        BigWriter(out)
            .put(k_request_magic)
            .put(flags)
            .put(static_cast<u16>(command))
            .put(cookie)
            .put(offset)
            .put(length);
        out.insert(out.end(), payload.begin(), payload.end());
        raw.send(out);
    }
    void write(u64 cookie, u64 offset, Bytes payload, u16 flags = 0) {
        send(Command::kWrite, cookie, offset, static_cast<u32>(payload.size()), flags, payload);
    }
    // The next message from the server; `data_bytes` is what a successful simple reply carries.
    std::optional<Reply> receive(usize data_bytes = 0) {
        std::vector<u8> const head = raw.receive(k_simple_reply_bytes);
        if (head.size() != k_simple_reply_bytes) return std::nullopt;
        Reply reply;
        if (load_be<u32>(head.data()) == k_simple_reply_magic) {
            reply.error = static_cast<ErrorNumber>(load_be<u32>(head.data() + 4));
            reply.cookie = load_be<u64>(head.data() + 8);
            if (reply.error == ErrorNumber::kNone) reply.data = raw.receive(data_bytes);
            return reply;
        }
        EXPECT_EQ(load_be<u32>(head.data()), k_chunk_magic);
        reply.structured = true;
        reply.flags = load_be<u16>(head.data() + 4);
        reply.type = static_cast<ChunkType>(load_be<u16>(head.data() + 6));
        reply.cookie = load_be<u64>(head.data() + 8);
        std::vector<u8> const size = raw.receive(4);
        EXPECT_EQ(size.size(), 4U);
        take_payload(reply, raw.receive(load_be<u32>(size.data())));
        return reply;
    }
    // The whole answer to a read, put together from its chunks; the error if there was one.
    Reply receive_read(u64 cookie, u64 offset, u32 length) {
        Reply whole;
        whole.data.resize(length);
        while (true) {
            std::optional<Reply> const part = receive(length);
            if (!part) {
                ADD_FAILURE() << "the server said nothing";
                return whole;
            }
            EXPECT_EQ(part->cookie, cookie);
            if (part->error != ErrorNumber::kNone) whole.error = part->error;
            if (!part->structured) {
                whole.data = part->data;
            } else if (part->type == ChunkType::kOffsetData) {
                EXPECT_LE(part->offset + part->data.size(), offset + length);
                std::copy(part->data.begin(), part->data.end(),
                          whole.data.begin() + static_cast<std::ptrdiff_t>(part->offset - offset));
            }
            if (part->done()) return whole;
        }
    }

    Client raw;

  private:
    static void put_option(BigWriter& writer, Option option, const std::vector<u8>& data) {
        writer.put(k_option_magic)
            .put(static_cast<u32>(option))
            .put(static_cast<u32>(data.size()))
            .put_text(as_text(data));
    }
    bool read_option_replies() {
        while (true) {
            std::vector<u8> const head = raw.receive(20);
            if (head.size() != 20) return false;
            auto const option = static_cast<Option>(load_be<u32>(head.data() + 8));
            auto const type = static_cast<OptionReply>(load_be<u32>(head.data() + 12));
            (void)raw.receive(load_be<u32>(head.data() + 16));
            if (option == Option::kGo && type == OptionReply::kAck) return true;
            if ((static_cast<u32>(type) & 0x80000000U) != 0) return false;
        }
    }
    static void take_payload(Reply& reply, std::vector<u8> payload) {
        BigReader reader(payload);
        switch (reply.type) {
            case ChunkType::kNone:
                break;
            case ChunkType::kOffsetData:
                reply.offset = reader.get<u64>();
                reply.data.assign(payload.begin() + 8, payload.end());
                break;
            case ChunkType::kBlockStatus:
                EXPECT_EQ(reader.get<u32>(), k_allocation_context_id);
                reply.data.assign(payload.begin() + 4, payload.end());
                break;
            case ChunkType::kError:
            case ChunkType::kErrorOffset:
                reply.error = static_cast<ErrorNumber>(reader.get<u32>());
                (void)reader.get_raw(reader.get<u16>());
                if (reply.type == ChunkType::kErrorOffset) reply.offset = reader.get<u64>();
                EXPECT_TRUE(reader.complete());
                break;
            default:
                ADD_FAILURE() << "unexpected chunk type";
        }
    }
    bool structured_ = false;
};

[[nodiscard]] inline std::vector<u8> pattern(usize size, u64 seed) {
    Prng dice(seed);
    std::vector<u8> out(size);
    for (u8& byte : out) byte = static_cast<u8>(dice.next());
    return out;
}

// A server with one export, "disk".
class NbdServerTest : public testing::Test {
  protected:
    NbdServerTest() {
        EXPECT_TRUE(server->add_export("disk", device));
        EXPECT_TRUE(server->listen(address));
        world.settle();
    }
    std::unique_ptr<NbdClient> attached(const Wishes& wishes = {}) {
        auto client = std::make_unique<NbdClient>(world, address);
        EXPECT_TRUE(client->attach(wishes));
        return client;
    }
    NbdExportStats stats() { return *server->export_stats("disk"); }

    World world;
    Address address = Address::unix_path("/nbd");
    std::shared_ptr<MemoryBlockDevice> device = std::make_shared<MemoryBlockDevice>(64 * k_mib);
    std::optional<NbdServer> server{std::in_place, world.env};
    Scope scope{world.executor};
};

}  // namespace corelet::nbd
