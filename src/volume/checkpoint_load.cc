// From a committed root back to the state that it stands for.
#include "base/checksum.h"
#include "rt/combine.h"
#include "volume/checkpointer.h"

namespace corelet {

namespace {
constexpr usize k_pages_at_once = 16;
}

Task<Result<Buffer>> Checkpointer::read_table(std::vector<TableExtent> extents) {
    BufferChain bytes;
    for (const TableExtent& extent : extents) {
        CO_TRY(BufferChain const part,
               co_await core_.chunks.get(extent.chunk, extent.chunk_blocks, extent.first_block, extent.blocks, {},
                                         TrafficClass::kClient));
        bytes.append(part);
    }
    co_return bytes.flatten();
}

Task<Result<void>> Checkpointer::load(std::string root_bytes, RecordNumber position) {
    CO_TRY(CheckpointRoot const root, decode_root(root_bytes));
    if (root.position != position)
        co_return fail(Code::kCorrupt, "volume checkpoint: the catalog names another record", position.v);
    auto const table_bytes = co_await read_table(root.table);
    if (!table_bytes) co_return std::unexpected(with_context(table_bytes.error(), "volume checkpoint's table"));
    if (root.table_bytes > table_bytes->size())
        co_return fail(Code::kCorrupt, "volume checkpoint: table too short");
    Bytes const table_used = table_bytes->bytes().first(static_cast<usize>(root.table_bytes));
    if (crc32c(table_used) != root.table_crc) co_return fail(Code::kCorrupt, "volume checkpoint: table's checksum");
    CO_TRY(CheckpointTable table, decode_table(table_used));

    VolumeState& state = core_.state;
    for (const auto& chunk : table.map_chunks) {
        if (state.containers.find(chunk.seq))
            co_return fail(Code::kCorrupt, "volume checkpoint: map chunk twice", chunk.seq);
        Container& container = state.containers.add(chunk.seq, ContainerKind::kMap, chunk.blocks);
        state.containers.set_live(container, chunk.live);
        if (chunk.condemned) state.containers.condemn(chunk.seq, {});
        container.is_leftover = chunk.condemned;
    }
    CO_TRY_VOID(co_await load_containers(std::move(table)));
    state.size_bytes = root.size_bytes;
    state.mapped_blocks = root.mapped_blocks;
    state.applied = root.position;
    state.map.set_root(root.pages);
    table_ = root.table;
    if (state.containers.live_blocks() != state.mapped_blocks)
        co_return fail(Code::kCorrupt, "volume checkpoint: live blocks do not add up", state.mapped_blocks);
    co_return Result<void>{};
}

Task<Result<void>> Checkpointer::load_containers(CheckpointTable table) {
    container_refs_ = table.container_pages;
    for (usize at = 0; at < container_refs_.size(); at += k_pages_at_once) {
        std::vector<Task<Result<BufferChain>>> reads;
        for (usize i = at; i < std::min(container_refs_.size(), at + k_pages_at_once); ++i) {
            const PageRef& ref = container_refs_[i];
            if (ref.is_null()) co_return fail(Code::kCorrupt, "volume checkpoint: container page missing", i);
            reads.push_back(core_.chunks.get(ref.chunk, ref.chunk_blocks, ref.first_block, k_page_blocks,
                                             {ref.crcs.begin(), ref.crcs.end()}, TrafficClass::kClient));
        }
        auto const pages = co_await join_all<Result<BufferChain>>(std::move(reads));
        for (usize i = 0; i < pages.size(); ++i) {
            if (!pages[i])
                co_return std::unexpected(with_context(pages[i].error(), "volume checkpoint's containers"));
            auto data = std::make_shared<PageData>();
            std::memcpy(data->bytes.data(), pages[i]->flatten().data(), k_page_bytes);
            CO_TRY_VOID(core_.state.containers.restore_page(static_cast<u32>(at + i), *data));
        }
    }
    std::set<u64> listed;
    for (const auto& segment : table.segments) {
        listed.insert(segment.seq);
        CO_TRY_VOID(core_.state.containers.restore_index(segment.seq, segment.live));
    }
    for (const auto& [seq, segment] : core_.state.containers.segments())
        if (segment->live > 0 && !listed.contains(seq))
            co_return fail(Code::kCorrupt, "volume checkpoint: segment not listed", seq);
    co_return Result<void>{};
}

}  // namespace corelet
