// Where a volume's blocks lie: its block map, then slots and their members, or the log's replicas; and who of them
// is there and has it.
#include <algorithm>

#include "ec/geometry.h"
#include "node/admin_arguments.h"
#include "node/volume_care.h"
#include "stream/stream_record.h"

namespace corelet {

namespace {

constexpr u64 k_rows_a_reply = 512;

std::optional<ContainerKind> kind_of(const std::string& name) {
    if (name == "log") return ContainerKind::kSegment;
    if (name == "chunk") return ContainerKind::kChunk;
    return std::nullopt;
}

std::vector<MappedRun> parse_runs(const Json& answer) {
    std::vector<MappedRun> out;
    for (const Json& each : answer.value("runs", Json::array())) {
        MappedRun run;
        run.lba = each.value("lba", u64{0});
        run.blocks = each.value("blocks", u64{0});
        run.first = BlockEntry{each.value("container", u64{0}), each.value("block", 0U), 0};
        run.kind = kind_of(each.value("kind", std::string()));
        run.container_blocks = each.value("container_blocks", 0U);
        out.push_back(run);
    }
    return out;
}

MapRow row_of(const MappedRun& run) {
    MapRow row;
    row.offset = run.lba * k_block_bytes;
    row.length = run.blocks * k_block_bytes;
    row.container = run.first.container;
    row.kind = !run.first.has_data() ? (run.first.is_hole() ? "hole" : "zero") : "moving";
    return row;
}

void add_chunk_rows(const mesh::Pool& pool, SpaceId space, const MappedRun& run, std::vector<MapRow>& rows) {
    MapRow row = row_of(run);
    row.kind = "chunk";
    row.slot = pool.slot(ChunkId{space, run.first.container});
    row.places = pool.current().row(row.slot);
    row.copies_wanted = pool.spec.redundancy.width();
    auto const geometry =
        ec::ChunkGeometry::make(u64{run.container_blocks} * k_block_bytes, pool.spec.redundancy.k);
    auto const parts = geometry ? geometry->locate(u64{run.first.block} * k_block_bytes, row.length)
                                : Result<std::vector<ec::FragmentRange>>(std::unexpected(geometry.error()));
    if (!parts) {
        rows.push_back(std::move(row));
        return;
    }
    u64 const begin = row.offset;
    for (const ec::FragmentRange& part : *parts) {
        row.offset = begin + part.range_offset;
        row.length = part.length;
        row.fragment = part.position;
        rows.push_back(row);
    }
}

Json place_json(const mesh::Map& map, const MapRow& row, usize position,
                const std::map<CoreletId, ChunkSight>& sights) {
    CoreletId const id = row.places[position];
    auto const sight = sights.find(id);
    bool const answered = sight != sights.end();
    bool has = false, damaged = false;
    if (answered && row.kind == "log") {
        has = sight->second.segment || sight->second.positions != 0;
    } else if (answered) {
        has = ((sight->second.positions >> position) & 1U) != 0;
        damaged = ((sight->second.damaged >> position) & 1U) != 0;
    }
    return Json{{"corelet", id.is_zero() ? Json() : Json(to_string(id))},
                {"up", !id.is_zero() && map.is_up(id)},
                {"answers", answered},
                {"has", has && !damaged},
                {"damaged", damaged}};
}

Json row_json(const mesh::Map& map, const MapRow& row, const std::map<CoreletId, ChunkSight>& sights) {
    Json out{{"offset", row.offset}, {"length", row.length}, {"kind", row.kind}};
    if (row.places.empty() && row.copies_wanted == 0) return out;
    Json places = Json::array();
    u64 alive = 0;
    for (usize p = 0; p < row.places.size(); ++p) {
        places.push_back(place_json(map, row, p, sights));
        alive += places.back()["has"].get<bool>() ? 1 : 0;
    }
    out["container"] = row.container;
    if (row.kind == "chunk") {
        out["slot"] = row.slot;
        out["fragment"] = row.fragment;
    }
    out["copies_wanted"] = row.copies_wanted;
    out["copies_alive"] = alive;
    out["places"] = std::move(places);
    return out;
}

// Who is there is asked, not only the map: a member that is up may lack its fragment.
Task<std::map<u64, std::map<CoreletId, ChunkSight>>> sights_of(NodeServices& node, OwnedVolume volume,
                                                               std::vector<MapRow> rows) {
    std::map<CoreletId, std::vector<u64>> asked;
    auto const map = node.maps->current();
    for (const MapRow& row : rows)
        for (CoreletId id : row.places)
            if (!id.is_zero() && map->is_up(id)) {
                auto& seqs = asked[id];
                if (std::ranges::find(seqs, row.container) == seqs.end()) seqs.push_back(row.container);
            }
    ChunkCare care(node.env, *node.rpc, *node.maps);
    ChunkCare::Request const request{PoolId(volume.record.pool()), SpaceId(volume.record.space()), false, false};
    co_return co_await care.sights(request, std::move(asked));
}

}  // namespace

std::vector<MapRow> map_rows(const mesh::Pool& pool, const pb::Stream& stream, const std::vector<MappedRun>& runs) {
    std::vector<MapRow> rows;
    for (const MappedRun& run : runs) {
        if (run.kind == ContainerKind::kChunk) {
            add_chunk_rows(pool, SpaceId(stream.space()), run, rows);
            continue;
        }
        MapRow row = row_of(run);
        if (run.kind == ContainerKind::kSegment) {
            row.kind = "log";
            row.copies_wanted = pool.spec.redundancy.m + 1U;
            if (const pb::Segment* const segment = find_segment(stream, run.first.container))
                for (u64 id : segment->replicas()) row.places.push_back(CoreletId(id));
        }
        rows.push_back(std::move(row));
    }
    return rows;
}

Task<Result<Json>> volume_map(NodeServices& node, Json arguments) {
    std::string const name = text_argument(arguments, "name");
    CO_TRY(OwnedVolume const volume, co_await find_owned_volume(node, name));
    auto const map = node.maps->current();
    const mesh::Pool* const pool = map->find(PoolId(volume.record.pool()));
    if (!pool) co_return fail(Code::kUnavailable, "the pool of volume '" + name + "' is not in the map here");
    u64 const size = volume.record.size_bytes(), offset = number_argument(arguments, "offset");
    u64 const length = arguments.contains("length") ? number_argument(arguments, "length") : size;
    if (offset >= size || length == 0)
        co_return fail(Code::kInvalid, "volume '" + name + "' has " + std::to_string(size) +
                                           " bytes; name an --offset below that, and a --length that is not 0");
    u64 const end = offset + std::min(length, size - offset);
    Json request{{"name", name},
                 {"lba", offset / k_block_bytes},
                 {"end", div_ceil(end, k_block_bytes)},
                 {"limit", k_rows_a_reply}};
    CO_TRY(Json const answer, co_await ask_owner(node, volume.owner, "volume.runs.own", std::move(request)));
    auto const runs = parse_runs(answer);
    if (runs.empty()) co_return fail(Code::kCorrupt, "the owner's answer names no blocks");
    auto const rows = map_rows(*pool, volume.stream, runs);
    auto const sights = co_await sights_of(node, volume, rows);
    Json out = Json::array();
    static const std::map<CoreletId, ChunkSight> nobody;  // global: immutable
    for (const MapRow& row : rows) {
        auto const seen = sights.find(row.container);
        out.push_back(row_json(*map, row, seen == sights.end() ? nobody : seen->second));
    }
    u64 const next = (runs.back().lba + runs.back().blocks) * k_block_bytes;
    co_return Json{{"name", name},
                   {"pool", pool->spec.name},
                   {"redundancy", pool->spec.redundancy.to_string()},
                   {"owner", to_string(volume.owner)},
                   {"size_bytes", size},
                   {"rows", std::move(out)},
                   {"next", next < end ? Json(next) : Json()}};
}

}  // namespace corelet
