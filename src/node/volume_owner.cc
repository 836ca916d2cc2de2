// What only a volume's owner knows of it, and how others ask.
#include <algorithm>

#include "node/admin_arguments.h"
#include "node/admin_commands.h"
#include "node/mesh_view.h"
#include "node/volume_care.h"
#include "stream/stream_record.h"

namespace corelet {

namespace {

constexpr u64 k_runs_max = 1024;
constexpr u64 k_chunks_max = 4096;
constexpr Duration k_owner_patience = 8_s;

const char* kind_name(const MappedRun& run) {
    if (!run.first.has_data()) return run.first.is_hole() ? "hole" : "zero";
    if (!run.kind) return "moving";
    return *run.kind == ContainerKind::kSegment || *run.kind == ContainerKind::kEnded ? "log" : "chunk";
}

// A volume changes hands in moments: whoever does not answer for it now is no reason to give up.
Error of_owner(CoreletId owner, Error error) {
    switch (error.code) {
        case Code::kInvalid:
        case Code::kCorrupt:
        case Code::kLost:
        case Code::kUnsupported:
        case Code::kDenied:
            return error;
        default:
            return Error{Code::kUnavailable, true, 0,
                         "the volume's owner, corelet " + to_string(owner) +
                             ", gives no answer for it now: " + error.to_string()};
    }
}

}  // namespace

Task<Result<OwnedVolume>> find_owned_volume(NodeServices& node, std::string name) {
    CO_TRY(StoredVolume stored, co_await read_volume(node, name));
    OwnedVolume out;
    out.record = std::move(stored.record);
    auto const record = co_await node.catalog->get(stream_key(SpaceId(out.record.space())), admin_patience(node));
    if (!record) co_return std::unexpected(no_quorum(record.error()));
    if (!*record || !out.stream.ParseFromString((*record)->value))
        co_return fail(Code::kCorrupt, "the stream of volume '" + name + "' is not in the catalog");
    out.owner = CoreletId(out.stream.owner());
    if (out.record.attached_to() == 0)
        co_return fail(Code::kConflict,
                       "volume '" + name +
                           "' is detached, and only an owner knows where its blocks lie; attach it: "
                           "corelet volume attach " +
                           name);
    if (out.owner.is_zero())
        co_return fail(Code::kUnavailable, "nobody owns volume '" + name + "' just now; try again in a moment");
    co_return out;
}

Task<Result<Json>> ask_owner(NodeServices& node, CoreletId owner, std::string command, Json arguments) {
    auto answer = co_await ask_corelet(node, owner, std::move(command), std::move(arguments), k_owner_patience);
    if (!answer) co_return std::unexpected(of_owner(owner, answer.error()));
    co_return answer;
}

Task<Result<Json>> own_volume_runs(NodeServices& node, Json arguments) {
    std::string const name = text_argument(arguments, "name");
    auto const volume = node.volumes ? node.volumes->volume(name) : nullptr;
    if (!volume) co_return fail(Code::kUnavailable, "volume '" + name + "' is not served here now; try again");
    u64 const lba = number_argument(arguments, "lba");
    u64 const end = std::min(number_argument(arguments, "end"), volume->size_bytes() / k_block_bytes);
    if (lba >= end) co_return fail(Code::kInvalid, "that is beyond the volume's end");
    u64 const limit = std::clamp<u64>(number_argument(arguments, "limit"), 1, k_runs_max);
    CO_TRY(auto const runs, co_await volume->runs(lba, end, limit));
    Json out = Json::array();
    for (const MappedRun& run : runs)
        out.push_back(Json{{"lba", run.lba},
                           {"blocks", run.blocks},
                           {"container", run.first.container},
                           {"block", run.first.block},
                           {"kind", kind_name(run)},
                           {"container_blocks", run.container_blocks}});
    co_return Json{{"runs", std::move(out)}};
}

Result<Json> own_volume_chunks(NodeServices& node, const Json& arguments) {
    std::string const name = text_argument(arguments, "name");
    if (!node.volumes || !node.volumes->volume(name))
        return fail(Code::kUnavailable, "volume '" + name + "' is not served here now; try again");
    std::vector<u64> live;
    for (ChunkId chunk : node.volumes->live_chunks(name)) live.push_back(chunk.seq);
    std::ranges::sort(live);
    usize const limit = static_cast<usize>(std::clamp<u64>(number_argument(arguments, "limit"), 1, k_chunks_max));
    auto const first = std::ranges::upper_bound(live, number_argument(arguments, "after"));
    auto const left = static_cast<usize>(live.end() - first);
    Json chunks = Json::array();
    for (auto at = first; at != live.end() && chunks.size() < limit; ++at) chunks.push_back(*at);
    usize const more = left - chunks.size();
    return Json{{"chunks", std::move(chunks)}, {"total", live.size()}, {"left", more}};
}

}  // namespace corelet
