// Commands that look after one volume: where its blocks lie, whether all that it refers to is whole and at home,
// and making it so now. Each call does a bounded part and says where to go on; whoever asks keeps the rest.
#pragma once

#include "base/json.h"
#include "heal/chunk_care.h"
#include "node/node_services.h"

namespace corelet {

// A volume's record, and who owns it now.
struct OwnedVolume {
    pb::Volume record;
    pb::Stream stream;
    CoreletId owner;
};
// kNotFound: there is none of that name. kUnavailable: nobody owns it, so nobody knows what it refers to.
[[nodiscard]] Task<Result<OwnedVolume>> find_owned_volume(NodeServices& node, std::string name);
// What the owner answers to one of its own commands (below).
[[nodiscard]] Task<Result<Json>> ask_owner(NodeServices& node, CoreletId owner, std::string command,
                                           Json arguments);

// Answered by the owner alone; they change nothing.
// {"name", "lba", "end", "limit"}: {"runs": [{"lba", "blocks", "container", "block", "kind", "container_blocks"}]}
[[nodiscard]] Task<Result<Json>> own_volume_runs(NodeServices& node, Json arguments);
// {"name", "after", "limit"}: {"chunks": [seq, ...], "total", "left"}; ascending
[[nodiscard]] Result<Json> own_volume_chunks(NodeServices& node, const Json& arguments);

// {"name"}: {"open": number of the open segment, or 0, "acknowledged": its bytes}
[[nodiscard]] Task<Result<Json>> own_volume_log(NodeServices& node, Json arguments);

// {"name", "offset", "length"}: {"rows": [...], "next": offset to go on at, or null}
[[nodiscard]] Task<Result<Json>> volume_map(NodeServices& node, Json arguments);
// {"name", "after", "verify", "everywhere"}: {"checked", "total", "next": seq to go on after, or null, "found":
// [...]}
[[nodiscard]] Task<Result<Json>> volume_check(NodeServices& node, Json arguments);
// {"name", "chunks": [seq, ...], "strays": bool}: {"done": n, "bytes": n, "not_done": [{"chunk", "corelet",
// "why"}]}. Members make what they lack; with `strays` also whoever holds a fragment elsewhere hands it on.
[[nodiscard]] Task<Result<Json>> volume_mend(NodeServices& node, Json arguments);

// volume_log.cc. {"name", "verify"}: {"segments", "copies", "found": [{"segment", "use", "survivors", "missing":
// [id], "damaged", "unseen", "narrow": copies that nobody keeps}]}
[[nodiscard]] Task<Result<Json>> volume_log_check(NodeServices& node, Json arguments);
// {"name", "segments": [seq, ...], "verify"}: {"not_done": [{"segment", "corelet", "why"}]}, one a copy. The owner
// lets go of them.
[[nodiscard]] Task<Result<Json>> volume_log_mend(NodeServices& node, Json arguments);
// By the corelet that carries out volume_log_mend, to the owner.
[[nodiscard]] Task<Result<Reply>> on_mend_log(NodeServices& node, Request request);

// A row of the map: one run of blocks and where it is, by what its owner, the catalog and the map say.
struct MapRow {
    u64 offset = 0, length = 0;
    std::string kind;  // "hole", "zero", "log", "chunk", "moving"
    u64 container = 0;
    u32 fragment = 0;  // of a chunk: which one has these bytes
    u32 slot = 0;      // of a chunk
    unsigned copies_wanted = 0;
    std::vector<CoreletId> places;  // members of the slot, or replicas of the segment
};
// Cut where a run of a chunk goes from one fragment to the next.
[[nodiscard]] std::vector<MapRow> map_rows(const mesh::Pool& pool, const pb::Stream& stream,
                                           const std::vector<MappedRun>& runs);

}  // namespace corelet
