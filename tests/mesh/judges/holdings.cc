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

std::string name_of(const FragmentId& id) {
    return "fragment " + std::to_string(id.position) + " of " + to_string(id.chunk);
}

std::optional<std::pair<usize, FragmentInfo>> find_fragment(SimMesh& mesh, const FragmentId& id) {
    for (usize i = 0; i < mesh.size(); ++i)
        if (mesh.node(i))
            if (auto const info = mesh.node(i)->services().store->fragment_info(id)) return std::pair{i, *info};
    return std::nullopt;
}

std::set<ChunkId> live_chunks_of(SimMesh& mesh, const std::vector<std::string>& volumes) {
    std::set<ChunkId> out;
    for (const std::string& name : volumes) {
        auto const sole = mesh.sole_server_of(name);
        // One that has been replaced and does not know it refers to what the next one has let go of.
        if (!sole || sole->second.epoch.v < mesh.stream_record(name).epoch()) continue;
        for (ChunkId id : mesh.node(sole->first)->services().volumes->live_chunks(name)) out.insert(id);
    }
    return out;
}

}  // namespace corelet
