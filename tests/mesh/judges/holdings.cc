#include "tests/mesh/judges/holdings.h"

namespace corelet {

std::vector<FragmentInfo> fragments_of(const Store& store) {
    constexpr usize k_page = 1024;
    std::vector<FragmentInfo> out;
    std::optional<FragmentId> after;
    for (;;) {
        auto const page = store.list_fragments(after, k_page);
        out.insert(out.end(), page.begin(), page.end());
        if (page.size() < k_page) return out;
        after = page.back().id;
    }
}

std::set<ChunkId> live_chunks_of(SimMesh& mesh, const std::vector<std::string>& volumes) {
    std::set<ChunkId> out;
    for (const std::string& name : volumes) {
        auto const servers = mesh.servers_of(name);
        if (servers.size() != 1) continue;
        // One that has been replaced and does not know it refers to what the next one has let go of.
        auto const stream = mesh.stream_status(servers.front(), name);
        if (!stream || stream->epoch.v < mesh.stream_record(name).epoch()) continue;
        for (ChunkId id : mesh.node(servers.front())->services().volumes->live_chunks(name)) out.insert(id);
    }
    return out;
}

}  // namespace corelet
