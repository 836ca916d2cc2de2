#include "node/catalog_export.h"

#include <algorithm>

#include "base/base64.h"
#include "base/checksum.h"
#include "base/json.h"
#include "node/ids_json.h"

namespace corelet {

namespace {

void add_line(std::string& out, usize& lines, const Json& json) {
    out += json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
    ++lines;
}

std::string encoded(const std::string& bytes) {
    return to_base64(as_bytes(bytes));
}

Json head_of(const CatalogExport& in) {
    return Json{{"corelet_catalog", k_export_version},
                {"mesh", hex64(in.mesh.v)},
                {"source", to_string(in.source)},
                {"live", in.live},
                {"has_catalog", in.has_catalog},
                {"revision", in.catalog.revision()},
                {"next_lease", in.catalog.next_lease()},
                {"level", in.catalog.level()},
                {"log_term", in.position.term.v},
                {"log_index", in.position.index},
                {"term", in.term.v},
                {"voters", ids_json(in.voters)},
                {"space_max", in.space_max}};
}

u64 parse_hex(const Json& text) {
    std::string const digits = text.get<std::string>();
    usize used = 0;
    u64 const value = std::stoull(digits, &used, 16);
    if (used != digits.size() || digits.size() != 16) throw std::invalid_argument("sixteen hex digits");
    return value;
}

std::string parse_base64(const Json& text) {
    auto const bytes = from_base64(text.get<std::string>());
    if (!bytes) throw std::invalid_argument("base64");
    return std::string(bytes->begin(), bytes->end());
}

void take_head(const Json& line, CatalogExport& out) {
    out.mesh = MeshId(parse_hex(line.at("mesh")));
    out.source = CoreletId(parse_hex(line.at("source")));
    out.live = line.at("live").get<bool>();
    out.has_catalog = line.at("has_catalog").get<bool>();
    out.catalog.set_revision(line.at("revision").get<u64>());
    out.catalog.set_next_lease(line.at("next_lease").get<u64>());
    out.catalog.set_level(line.at("level").get<u32>());
    out.position = {raft::Term(line.at("log_term").get<u64>()), line.at("log_index").get<u64>()};
    out.term = raft::Term(line.at("term").get<u64>());
    for (const Json& voter : line.at("voters")) out.voters.push_back(CoreletId(parse_hex(voter)));
    out.space_max = line.at("space_max").get<u64>();
}

void take_line(const Json& line, CatalogExport& out) {
    if (line.contains("key")) {
        auto* const item = out.catalog.add_items();
        item->set_key(parse_base64(line.at("key")));
        item->set_value(parse_base64(line.at("value")));
        item->set_create_revision(line.at("created").get<u64>());
        item->set_mod_revision(line.at("changed").get<u64>());
        item->set_lease(line.at("lease").get<u64>());
    } else if (line.contains("lease")) {
        auto* const lease = out.catalog.add_leases();
        lease->set_id(line.at("lease").get<u64>());
        lease->set_ttl_ns(line.at("ttl_ns").get<u64>());
    } else if (line.contains("segment")) {
        out.segments.push_back({ChunkId{SpaceId(line.at("space").get<u64>()), line.at("segment").get<u64>()},
                                line.at("salt").get<u64>(), Epoch(line.at("epoch").get<u64>()),
                                RecordNumber(line.at("first_record").get<u64>())});
    } else if (line.contains("map")) {
        out.map_note = parse_base64(line.at("map"));
    }
    // Lines of a kind that a later version writes are passed over.
}

// The last line tells what the ones before it are.
Result<std::string_view> verified(std::string_view text) {
    if (text.size() > k_export_bytes_max) return fail(Code::kInvalid, "no export is as long as this file");
    if (!text.ends_with('\n')) return fail(Code::kCorrupt, "the export is cut short");
    usize const before = text.rfind('\n', text.size() - 2);
    if (before == std::string_view::npos) return fail(Code::kCorrupt, "this is no export of a catalog");
    std::string_view const body = text.substr(0, before + 1);
    Json const last = Json::parse(text.substr(before + 1), nullptr, false);
    if (!last.is_object() || !last.contains("crc32c") || !last["crc32c"].is_number_unsigned())
        return fail(Code::kCorrupt, "the export is cut short: its last line is no checksum");
    if (last["crc32c"].get<u64>() != crc32c(as_bytes(body)))
        return fail(Code::kCorrupt, "the export was changed or damaged: its checksum does not match");
    auto const lines = static_cast<u64>(std::ranges::count(body, '\n'));
    if (!last.contains("lines") || last["lines"] != lines)
        return fail(Code::kCorrupt, "the export was changed or damaged: it does not have as many lines as it says");
    return body;
}

}  // namespace

std::string encode_export(const CatalogExport& in) {
    std::string out;
    usize lines = 0;
    add_line(out, lines, head_of(in));
    for (const auto& item : in.catalog.items())
        add_line(out, lines,
                 Json{{"key", encoded(item.key())},
                      {"text", Json(item.key())},
                      {"value", encoded(item.value())},
                      {"created", item.create_revision()},
                      {"changed", item.mod_revision()},
                      {"lease", item.lease()}});
    for (const auto& lease : in.catalog.leases())
        add_line(out, lines, Json{{"lease", lease.id()}, {"ttl_ns", lease.ttl_ns()}});
    for (const HeldSegment& held : in.segments)
        add_line(out, lines,
                 Json{{"segment", held.id.seq},
                      {"space", held.id.space.v},
                      {"salt", held.salt},
                      {"epoch", held.epoch.v},
                      {"first_record", held.first_record.v}});
    if (!in.map_note.empty()) add_line(out, lines, Json{{"map", encoded(in.map_note)}});
    u32 const crc = crc32c(as_bytes(out));
    add_line(out, lines, Json{{"lines", lines}, {"crc32c", crc}});
    return out;
}

Result<CatalogExport> decode_export(std::string_view text) {
    TRY(std::string_view const body, verified(text));
    CatalogExport out;
    usize number = 0;
    for (usize at = 0; at < body.size();) {
        usize const end = body.find('\n', at);
        Json const line = Json::parse(body.substr(at, end - at), nullptr, false);
        at = end + 1;
        ++number;
        std::string const where = "line " + std::to_string(number) + " of the export ";
        if (!line.is_object()) return fail(Code::kCorrupt, where + "is no JSON object", number);
        try {
            if (number == 1 && line.at("corelet_catalog").get<u64>() != k_export_version)
                return fail(Code::kUnsupported, "the export was written by a newer version of corelet");
            if (number == 1)
                take_head(line, out);
            else
                take_line(line, out);
        } catch (const std::exception& error) {
            return fail(Code::kCorrupt, where + "is not as it should be (" + error.what() + ")", number);
        }
    }
    if (number == 0) return fail(Code::kCorrupt, "this is no export of a catalog");
    return out;
}

}  // namespace corelet
