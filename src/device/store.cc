#include "device/store.h"

#include "device/store_core.h"

namespace corelet {

namespace {
FragmentInfo info_of(const FragmentEntry& entry) {
    FragmentInfo info;
    info.id = entry.id();
    info.bytes = entry.bytes();
    info.k = entry.k;
    info.m = entry.m;
    info.quarantined = entry.is(FragmentEntry::k_quarantined);
    info.adopted = entry.is(FragmentEntry::k_adopted);
    info.content_tag = entry.content_tag;
    return info;
}
constexpr usize k_note_key_bytes_max = 64;
constexpr usize k_note_value_bytes_max = 1 * k_mib;
}  // namespace

Store::Store(std::unique_ptr<StoreCore> core) : core_(std::move(core)) {}
Store::~Store() = default;

Task<Result<std::unique_ptr<Store>>> Store::mount(std::unique_ptr<File> file, StoreEnv env, StoreOptions options) {
    auto core = std::make_unique<StoreCore>(env, options, std::move(file));
    CO_TRY_VOID(co_await core->mount());
    co_return std::unique_ptr<Store>(new Store(std::move(core)));
}
Task<void> Store::close() {
    return core_->close();
}

const DeviceLabel& Store::label() const {
    return core_->label();
}
u64 Store::durable_seq() const {
    return core_->durable_seq();
}

u64 Store::began_seq() const {
    return core_->began_seq();
}
Task<Result<void>> Store::raise_incarnation() {
    CO_TRY_VOID(core_->may_change());
    co_return co_await core_->update_superblock(
        [](Superblock& super) { super.incarnation = super.incarnation.next(); });
}
Task<Result<void>> Store::set_location(std::string location) {
    CO_TRY_VOID(core_->may_change());
    if (location.size() > k_location_bytes_max) co_return fail(Code::kInvalid, "the location is above 256 bytes");
    co_return co_await core_->update_superblock(
        [text = std::move(location)](Superblock& super) { super.location = text; });
}

bool Store::is_failing() const {
    return core_->io().is_failing();
}
Event& Store::failed() {
    return core_->io().failed();
}
std::string Store::failure() const {
    return core_->io().failure();
}
bool Store::has_forgotten() const {
    return core_->has_forgotten();
}
std::string Store::forgotten_reason() const {
    return core_->superblock().forgotten_reason;
}
Task<Result<void>> Store::mark_forgotten(std::string reason) {
    return core_->mark_forgotten(std::move(reason));
}
Task<Result<void>> Store::take_identity(CoreletId fresh) {
    return core_->take_identity(fresh);
}
const JournalReport& Store::metadata_report() const {
    return core_->metadata_journal().report();
}
Telemetry& Store::telemetry() {
    return core_->io().telemetry();
}
void Store::limit_healing(u32 at_once) {
    core_->io().scheduler().limit_healing(at_once);
}
u32 Store::healing_most() const {
    return core_->io().scheduler().healing_most();
}

Journal& Store::consensus_journal() {
    return core_->consensus_journal();
}

Task<Result<void>> Store::put_note(std::string key, std::vector<u8> value) {
    CO_TRY_VOID(core_->may_change());
    if (key.empty() || key.size() > k_note_key_bytes_max || value.size() > k_note_value_bytes_max)
        co_return fail(Code::kInvalid, "a note has a key of up to 64 bytes and at most 1 MiB");
    const auto& notes = core_->metadata().notes();
    auto const old = notes.find(key);
    if (old == notes.end() ? value.empty() : old->second == value) co_return Result<void>{};
    u64 const freed = old == notes.end() ? 0 : old->first.size() + old->second.size() + 8;
    u64 const added = key.size() + value.size() + 8;
    u64 const more = added > freed ? added - freed : 0;
    bool const fits = core_->metadata().notes_bytes() + more <= core_->notes_bytes_max();
    if (!value.empty() && !fits) co_return fail(Code::kNoSpace, "the notes are full");
    if (!value.empty()) CO_TRY_VOID(core_->may_add_metadata(more, SpaceClass::kCheckpoint));
    co_return co_await core_->detached(core_->commit(records::note(key, value)));
}
std::optional<std::vector<u8>> Store::note(const std::string& key) const {
    const auto& notes = core_->metadata().notes();
    auto const at = notes.find(key);
    return at == notes.end() ? std::nullopt : std::optional(at->second);
}

SpaceUse Store::space() const {
    return core_->space_use();
}
Result<Reservation> Store::reserve(u64 bytes, SpaceClass space) {
    return core_->reserve(bytes, space);
}

u64 Store::available_bytes(SpaceClass space) const {
    return core_->available_bytes(space);
}

Task<Result<void>> Store::put_fragment(FragmentId id, FragmentHeader header, BufferChain data,
                                       std::vector<u32> block_crcs, PutOptions options) {
    return core_->put_fragment(id, std::move(header), std::move(data), std::move(block_crcs), options);
}
Task<Result<FragmentData>> Store::read_fragment(FragmentId id, u64 offset, u64 length, ReadOptions options) {
    return core_->read_fragment(id, offset, length, options);
}
std::optional<FragmentInfo> Store::fragment_info(FragmentId id) const {
    const FragmentEntry* const entry = core_->metadata().fragments().find(id);
    return entry ? std::optional(info_of(*entry)) : std::nullopt;
}
Task<Result<FragmentHeader>> Store::read_fragment_header(FragmentId id, IoClass io) {
    CO_TRY(HeaderCache::Header const header, co_await core_->header_of(id, io));
    co_return header->fields;
}
Task<Result<void>> Store::remove_fragment(FragmentId id) {
    return core_->remove_fragment(id);
}
Task<Result<void>> Store::set_quarantine(FragmentId id, bool quarantined) {
    return core_->set_quarantine(id, quarantined);
}
Task<Result<void>> Store::verify_fragment(FragmentId id, IoClass io) {
    return core_->verify_fragment(id, io);
}

std::vector<FragmentInfo> Store::list_fragments(std::optional<FragmentId> after, usize limit) const {
    std::vector<FragmentInfo> out;
    if (limit == 0) return out;
    core_->metadata().fragments().for_each_after(after, [&](const FragmentEntry& entry) {
        out.push_back(info_of(entry));
        return out.size() < limit;
    });
    return out;
}
void Store::on_fragment_change(std::function<void(const FragmentId&, bool here)> listener) {
    core_->on_fragment_change(std::move(listener));
}
u64 Store::fragment_count() const {
    return core_->metadata().fragments().size();
}
usize Store::digest_bucket_of(ChunkId id) {
    return FragmentIndex::bucket_of(id);
}
FragmentDigest Store::digest_bucket(usize bucket) const {
    CORELET_ASSERT(bucket < k_digest_buckets);
    return core_->metadata().fragments().digest_bucket(bucket);
}
FragmentDigest Store::digest_if(const std::function<bool(const FragmentId&)>& predicate) const {
    FragmentDigest digest;
    core_->metadata().fragments().for_each_after(std::nullopt, [&](const FragmentEntry& entry) {
        if (!predicate(entry.id())) return true;
        ++digest.count;
        digest.sum += FragmentIndex::digest_hash(entry.id().chunk);
        return true;
    });
    return digest;
}
usize Store::index_memory_bytes() const {
    return core_->metadata().fragments().memory_bytes();
}

Task<Result<void>> Store::prepare_segment(SegmentId id, SegmentSpec spec) {
    return core_->prepare_segment(id, std::move(spec));
}
Task<Result<SegmentInfo>> Store::grow_segment(SegmentId id, Epoch epoch, CoreletId owner, u64 bytes,
                                              SpaceClass space) {
    return core_->grow_segment(id, epoch, owner, bytes, space);
}
Task<Result<void>> Store::write_segment(SegmentId id, Epoch epoch, CoreletId owner, u64 offset, BufferChain data) {
    return core_->write_segment(id, epoch, owner, offset, std::move(data));
}
Task<Result<SegmentInfo>> Store::fence_segment(SegmentId id, Epoch epoch, CoreletId owner) {
    return core_->fence_segment(id, epoch, owner);
}
Task<Result<SegmentInfo>> Store::seal_segment(SegmentId id, u64 end) {
    return core_->seal_segment(id, end);
}
Task<Result<BufferChain>> Store::read_segment(SegmentId id, u64 offset, u64 length, IoClass io) {
    return core_->read_segment(id, offset, length, io);
}
Result<SegmentInfo> Store::segment_info(SegmentId id) const {
    TRY_VOID(core_->may_answer());
    const SegmentEntry* const entry = core_->metadata().segment(id);
    if (!entry) return no_such_segment();
    return entry->info();
}
std::vector<SegmentInfo> Store::list_segments() const {
    std::vector<SegmentInfo> out;
    if (core_->has_forgotten()) return out;
    for (const auto& [id, entry] : core_->metadata().segments()) out.push_back(entry.info());
    return out;
}
static std::vector<std::pair<u64, u64>> places_of(const std::vector<DevicePiece>& pieces) {
    std::vector<std::pair<u64, u64>> out;
    for (const DevicePiece& piece : pieces) out.emplace_back(piece.offset, piece.bytes);
    return out;
}
std::vector<std::pair<u64, u64>> Store::fragment_places(FragmentId id, u64 offset, u64 bytes) const {
    const FragmentIndex& fragments = core_->metadata().fragments();
    const FragmentEntry* const entry = fragments.find(id);
    if (!entry || offset + bytes > entry->bytes()) return {};
    std::vector<UnitExtent> const extents = fragments.extents_of(*entry);
    FragmentShape const shape = fragment_shape(entry->blocks, extents.size(), entry->is(FragmentEntry::k_adopted));
    u64 const start = shape.data_start_block * k_block_bytes + offset;
    return places_of(core_->pieces_of(extents, start, bytes));
}
std::vector<std::pair<u64, u64>> Store::segment_places(SegmentId id, u64 offset, u64 bytes) const {
    const SegmentEntry* const entry = core_->has_forgotten() ? nullptr : core_->metadata().segment(id);
    if (!entry || offset + bytes > entry->capacity_bytes()) return {};
    return places_of(core_->pieces_of(entry->extents, offset, bytes));
}
Task<Result<void>> Store::drop_segment(SegmentId id) {
    return core_->drop_segment(id);
}
Task<Result<void>> Store::adopt_segment(SegmentId segment, FragmentId id, FragmentHeader header,
                                        std::vector<u32> block_crcs, bool verified) {
    return core_->adopt_segment(segment, id, std::move(header), std::move(block_crcs), verified);
}

}  // namespace corelet
