#include "node/device_survey.h"

#include "catalog/raft_media.h"
#include "node/map_service.h"
#include "raft/codec.h"
#include "raft/generation.h"
#include "stream/record.h"

namespace corelet {

namespace {

constexpr usize k_batch = 4096;

raft::Configuration configuration_of(const raft::Restored& log) {
    raft::Configuration out;
    if (log.snapshot) out = log.snapshot->configuration;
    for (const raft::Entry& entry : log.entries)
        if (entry.kind == raft::EntryKind::kConfiguration)
            if (auto decoded = raft::decode_configuration(entry.data)) out = *std::move(decoded);
    return out;
}

// With all entries, committed or not: what may have been acknowledged is kept.
Result<void> add_catalog(const raft::Restored& log, CatalogExport& out) {
    CatalogState state;
    raft::Position at;
    if (log.snapshot) {
        TRY_VOID(state.restore_snapshot(log.snapshot->state.bytes()));
        at = log.snapshot->last;
    }
    for (const raft::Entry& entry : log.entries) {
        if (entry.at.index <= at.index) continue;
        if (!entry.verifies() || (at.index != 0 && entry.at.index != at.index + 1))
            return fail(Code::kCorrupt, "the consensus log of this device does not hang together", entry.at.index);
        at = entry.at;
        if (entry.kind == raft::EntryKind::kCommand) (void)state.apply(entry.data.bytes());
    }
    std::string const snapshot = state.encode_snapshot();
    if (!out.catalog.ParseFromString(snapshot))
        return fail(Code::kCorrupt, "the catalog of this device does not parse");
    out.catalog.clear_done();
    out.position = at;
    out.has_catalog = at.index != 0 && state.find(k_map_key) != nullptr;
    out.voters = configuration_of(log).voters;
    return {};
}

Task<HeldSegment> look_at_segment(Store* store, SegmentInfo info) {
    HeldSegment held{info.id, info.salt, std::max(info.opened_epoch, info.epoch), {}};
    auto const bytes = co_await store->read_segment(info.id, 0, k_block_bytes, IoClass::kHeal);
    if (!bytes) co_return held;
    Buffer whole = bytes->flatten();
    auto header = decode_header(whole.bytes(), info.id, info.salt, 0);
    if (!header && header.error().code == Code::kInvalid && header.error().detail > whole.size()) {
        auto const more = co_await store->read_segment(info.id, 0, header.error().detail, IoClass::kHeal);
        if (more) whole = more->flatten();
        header = decode_header(whole.bytes(), info.id, info.salt, 0);
    }
    if (header) held.first_record = header->number;
    co_return held;
}

u64 highest_space(const Store& store) {
    u64 highest = 0;
    std::optional<FragmentId> after;
    for (bool more = true; more;) {
        auto const batch = store.list_fragments(after, k_batch);
        more = batch.size() == k_batch;
        if (!batch.empty()) after = batch.back().id;
    }
    if (after) highest = after->chunk.space.v;
    for (const SegmentInfo& segment : store.list_segments()) highest = std::max(highest, segment.id.space.v);
    return highest;
}

}  // namespace

Task<Result<CatalogExport>> survey_device(Store* store) {
    CatalogExport out;
    out.mesh = store->label().mesh;
    out.source = store->identity();
    CO_TRY(RaftMedia::Opened const opened,
           co_await RaftMedia::open(&store->consensus_journal(), store->identity(), false));
    out.term = opened.restored.hard_state.term;
    if (opened.forgotten.empty() && !store->has_forgotten()) CO_TRY_VOID(add_catalog(opened.restored, out));
    if (auto const note = store->note(MapService::k_note)) out.map_note.assign(note->begin(), note->end());
    for (const SegmentInfo& info : store->list_segments()) {
        HeldSegment held = co_await look_at_segment(store, info);
        out.segments.push_back(std::move(held));
    }
    out.space_max = highest_space(*store);
    co_return out;
}

Task<Result<void>> begin_catalog_anew(Store* store, RecoveredCatalog recovered) {
    if (store->has_forgotten())
        co_return fail(Code::kForgotten, "this device has forgotten promises (" + store->forgotten_reason() +
                                             "); begin at another corelet");
    CO_TRY(raft::Restored start,
           raft::begin_generation(store->identity(), recovered.beyond, raft::Payload(std::move(recovered.state))));
    co_return co_await RaftMedia::replace(&store->consensus_journal(), std::move(start));
}

}  // namespace corelet
