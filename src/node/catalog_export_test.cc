#include "node/catalog_export.h"

#include <gtest/gtest.h>

#include "base/checksum.h"

namespace corelet {
namespace {

CatalogExport some_export() {
    CatalogExport out;
    out.mesh = MeshId(0x11);
    out.source = CoreletId(0x22);
    out.has_catalog = true;
    out.position = {raft::Term(4), 77};
    out.term = raft::Term(6);
    out.voters = {CoreletId(0x22), CoreletId(0x33)};
    out.catalog.set_revision(9);
    out.catalog.set_next_lease(5);
    out.catalog.set_level(1);
    auto* const item = out.catalog.add_items();
    item->set_key("map");
    item->set_value(std::string("\0\xFF\n", 3));
    item->set_create_revision(2);
    item->set_mod_revision(8);
    auto* const held = out.catalog.add_items();
    held->set_key("sessions/x");
    held->set_lease(4);
    auto* const lease = out.catalog.add_leases();
    lease->set_id(4);
    lease->set_ttl_ns(4'000'000'000);
    out.map_note = "a map";
    out.segments = {{ChunkId{SpaceId(3), 70}, ~u64{0}, Epoch(2), RecordNumber(12)}};
    out.space_max = 3;
    return out;
}

TEST(CatalogExport, ReadsBack) {
    CatalogExport const in = some_export();
    auto const out = decode_export(encode_export(in));
    ASSERT_TRUE(out) << out.error().to_string();
    EXPECT_EQ(out->mesh, in.mesh);
    EXPECT_EQ(out->source, in.source);
    EXPECT_EQ(out->live, false);
    EXPECT_EQ(out->has_catalog, true);
    EXPECT_EQ(out->position, in.position);
    EXPECT_EQ(out->term, in.term);
    EXPECT_EQ(out->voters, in.voters);
    EXPECT_EQ(out->catalog.SerializeAsString(), in.catalog.SerializeAsString());
    EXPECT_EQ(out->map_note, in.map_note);
    EXPECT_EQ(out->segments, in.segments);
    EXPECT_EQ(out->space_max, in.space_max);
}

TEST(CatalogExport, TheBytesOfTheFirstVersion) {
    CatalogExport small;
    small.mesh = MeshId(1);
    small.source = CoreletId(2);
    small.catalog.set_revision(3);
    auto* const item = small.catalog.add_items();
    item->set_key("k");
    item->set_value("v");
    item->set_create_revision(1);
    item->set_mod_revision(2);
    EXPECT_EQ(
        encode_export(small),
        "{\"corelet_catalog\":1,\"has_catalog\":false,\"level\":0,\"live\":false,\"log_index\":0,\"log_term\":0,"
        "\"mesh\":\"0000000000000001\",\"next_lease\":0,\"revision\":3,\"source\":\"0000000000000002\","
        "\"space_max\":0,\"term\":0,\"voters\":[]}\n"
        "{\"changed\":2,\"created\":1,\"key\":\"aw\",\"lease\":0,\"text\":\"k\",\"value\":\"dg\"}\n"
        "{\"crc32c\":3958581708,\"lines\":2}\n");
}

TEST(CatalogExport, AnyChangeIsNoticed) {
    std::string const text = encode_export(some_export());
    for (usize at = 0; at < text.size(); at += 7) {
        std::string changed = text;
        changed[at] = static_cast<char>(changed[at] ^ 1);
        EXPECT_FALSE(decode_export(changed)) << at;
        EXPECT_FALSE(decode_export(std::string_view(text).substr(0, at))) << at;
    }
    EXPECT_FALSE(decode_export(""));
    EXPECT_FALSE(decode_export("\n"));
    EXPECT_FALSE(decode_export("{}\n"));
}

TEST(CatalogExport, ANewerVersionIsRefusedAsSuch) {
    auto const lines_and_sum = [](std::string body) {
        return body + "{\"crc32c\":" + std::to_string(crc32c(as_bytes(body))) + ",\"lines\":1}\n";
    };
    EXPECT_EQ(decode_export(lines_and_sum("{\"corelet_catalog\":2}\n")).error().code, Code::kUnsupported);
    EXPECT_EQ(decode_export(lines_and_sum("{\"corelet_catalog\":1}\n")).error().code, Code::kCorrupt);
    EXPECT_EQ(decode_export(lines_and_sum("[]\n")).error().code, Code::kCorrupt);
    EXPECT_EQ(decode_export(lines_and_sum("")).error().code, Code::kCorrupt);
}

}  // namespace
}  // namespace corelet
