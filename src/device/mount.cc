// Formatting, mounting: from the bytes of a device to a store that answers, or an error that says why not.
#include <fmt/format.h>

#include "device/journal_recovery.h"
#include "device/store_core.h"

namespace corelet {

namespace {

Task<Result<Superblock>> read_copy(File* file, u64 offset, u32 copy) {
    Result<Buffer> const block = co_await file->read(offset, k_block_bytes);
    if (!block) co_return std::unexpected(with_context(block.error(), "superblock"));
    co_return decode_superblock(*block, copy);
}

}  // namespace

Task<Result<SuperblockChoice>> read_superblocks(File* file) {
    u64 const size = round_down(file->size_bytes(), k_block_bytes);
    if (size < 2 * k_block_bytes) co_return fail(Code::kNotFound, "the device is too short for a superblock");
    Result<Superblock> first = co_await read_copy(file, Layout::k_superblock_a, 0);
    if (first && first->layout.device_bytes > size)
        co_return fail(Code::kCorrupt,
                       fmt::format("the device is truncated: it was formatted with {} bytes and has {}",
                                   first->layout.device_bytes, size));
    // The first one knows where the last one lies, also when the device has grown.
    u64 const last_place = first ? first->layout.superblock_b() : size - k_block_bytes;
    Result<Superblock> last = co_await read_copy(file, last_place, 1);
    co_return choose_superblock(std::move(first), std::move(last));
}

Task<Result<DeviceLabel>> probe_device(File* file) {
    CO_TRY(SuperblockChoice const found, co_await read_superblocks(file));
    co_return label_of(found.superblock);
}

namespace {

Task<Result<void>> check_unformatted(File* file, bool force) {
    Result<SuperblockChoice> const found = co_await read_superblocks(file);
    bool const is_empty = !found && found.error().code == Code::kNotFound;
    if (is_empty || force) co_return Result<void>{};
    if (!found && found.error().code == Code::kIo) co_return std::unexpected(found.error());
    if (!found)
        co_return fail(Code::kExists, "the device holds something of Corelet that does not read (" +
                                          found.error().to_string() + "); formatting it needs force");
    const Superblock& super = found->superblock;
    co_return fail(Code::kExists,
                   fmt::format("the device is formatted already: corelet {} of mesh {}; formatting it "
                               "again needs force and destroys it",
                               to_string(super.identity), hex64(super.mesh.v)));
}

// Two zeroed blocks where superblocks lie, so that a format cut off half way is no device at all.
Task<Result<void>> wipe_superblocks(DeviceIo* io, u64 last_place) {
    Buffer const zeros = Buffer::zeroed(k_block_bytes);
    CO_TRY_VOID(co_await io->write_journal(Layout::k_superblock_a, zeros, Durability::kDurable));
    co_return co_await io->write_journal(last_place, zeros, Durability::kDurable);
}

// A File that belongs to somebody else, for the time of formatting.
class BorrowedFile final : public File {
  public:
    explicit BorrowedFile(File* file) : file_(file) {}
    Task<Result<Buffer>> read(u64 offset, usize size) override { return file_->read(offset, size); }
    Task<Result<void>> write(u64 offset, BufferChain data, Durability durability) override {
        return file_->write(offset, std::move(data), durability);
    }
    Task<Result<void>> flush() override { return file_->flush(); }
    Task<Result<void>> discard(u64 offset, u64 size) override { return file_->discard(offset, size); }
    [[nodiscard]] u64 size_bytes() const override { return file_->size_bytes(); }

  private:
    File* file_;
};

}  // namespace

Task<Result<void>> format_device(File* file, StoreEnv env, FormatOptions options) {
    if (options.identity.is_zero() || options.mesh.is_zero())
        co_return fail(Code::kInvalid, "a device is formatted with a mesh and an identity");
    if (options.location.size() > k_location_bytes_max)
        co_return fail(Code::kInvalid, "the location is longer than 256 bytes");
    LayoutRequest request;
    request.device_bytes = file->size_bytes();
    request.witness = options.witness;
    request.metadata_half_bytes = options.metadata_half_bytes;
    request.consensus_half_bytes = options.consensus_half_bytes;
    CO_TRY(Layout const layout, plan_layout(request));
    CO_TRY_VOID(co_await check_unformatted(file, options.force));
    Superblock super;
    super.generation = 1;
    super.mesh = options.mesh;
    super.identity = options.identity;
    super.format_key = env.random.next() | 1;
    super.layout = layout;
    super.location = options.location;
    DeviceIo io(std::make_unique<BorrowedFile>(file), env.clock, 1);
    CO_TRY_VOID(co_await wipe_superblocks(&io, layout.superblock_b()));
    CO_TRY_VOID(co_await format_journal(&io, layout.metadata_area(super.format_key)));
    CO_TRY_VOID(co_await format_journal(&io, layout.consensus_area(super.format_key)));
    CO_TRY_VOID(
        co_await io.write_journal(layout.superblock_b(), encode_superblock(super, 1), Durability::kDurable));
    co_return co_await io.write_journal(Layout::k_superblock_a, encode_superblock(super, 0), Durability::kDurable);
}

// The fold of the metadata journal. Returns why the metadata cannot be relied upon, or an empty text.
Task<Result<std::string>> StoreCore::recover_metadata() {
    std::optional<Error> error;
    JournalVisitor visitor;
    visitor.on_state = [this, &error](u64, Bytes state) {
        Result<Metadata> decoded = Metadata::decode(state);
        if (decoded)
            meta_ = *std::move(decoded);
        else
            error = decoded.error();
    };
    visitor.on_record = [this, &error](u64 number, Bytes record) {
        if (error) return;
        Result<MetadataChange> const change = meta_.apply(record);
        if (!change) error = with_context(change.error(), "record " + std::to_string(number));
    };
    co_await metadata_journal_->recover(std::move(visitor), false);
    if (error && error->code == Code::kUnsupported) co_return std::unexpected(*std::move(error));
    if (metadata_journal_->is_rotten())
        co_return "the metadata journal has rotted: " + metadata_journal_->report().what;
    if (error) co_return "the metadata makes no sense: " + error->to_string();
    if (meta_.mounted() > super_.incarnation) co_return std::string("the superblock is older than the metadata");
    co_return check_space();
}

// Builds the allocator. Returns what two things claim, or what lies beyond the end.
Result<std::string> StoreCore::check_space() {
    u64 const units = super_.layout.data_units();
    auto space = std::make_unique<Allocator>(units);
    std::string wrong;
    auto claim = [&](const std::vector<UnitExtent>& extents, const std::string& who) {
        for (const UnitExtent& extent : extents)
            if (wrong.empty() && !space->claim(extent)) wrong = who + " lies where something else does";
    };
    meta_.fragments().for_each_after(std::nullopt, [&](const FragmentEntry& entry) {
        claim(meta_.fragments().extents_of(entry), "fragment " + to_string(entry.id().chunk));
        return wrong.empty();
    });
    for (const auto& [id, segment] : meta_.segments()) claim(segment.extents, "segment " + to_string(id));
    space->raise_frontier(std::min(meta_.frontier(), units));
    space_ = std::move(space);
    return wrong;
}

Task<Result<void>> StoreCore::mount() {
    // A process that was killed leaves writes that read back and are not yet on media. What is built on here,
    // batches without an identifier above all, must outlive the power that goes later.
    static_cast<void>(co_await io_.flush());
    CO_TRY(SuperblockChoice const found, co_await read_superblocks(&io_.file()));
    super_ = found.superblock;
    sound_copy_ = found.copy;
    refresh_label();
    metadata_journal_ =
        std::make_unique<JournalCore>(io_, super_.layout.metadata_area(super_.format_key), env_.executor);
    consensus_journal_ = std::make_unique<Journal>(
        std::make_unique<JournalCore>(io_, super_.layout.consensus_area(super_.format_key), env_.executor));
    metadata_journal_->set_listener([this](u64 number, Bytes record) { on_durable(number, record); });
    CO_TRY(std::string const wrong, co_await recover_metadata());
    co_await consensus_journal_->core().recover({}, true);
    if (super_.failed) io_.fail_device("it failed in an earlier mount");
    if (!wrong.empty()) co_await scan_fragments();
    Superblock next = super_;
    next.incarnation = std::max(super_.incarnation, meta_.mounted()).next();
    next.boot_nonce = env_.random.next();
    if (!wrong.empty() && !next.forgotten) {
        next.forgotten = true;
        next.forgotten_reason = wrong.substr(0, k_reason_bytes_max);
        log_warning(env_.log, "device.forgotten", [&] { return wrong; });
    }
    // A device that cannot be written is mounted all the same: what it holds may still be read.
    static_cast<void>(co_await write_superblocks(std::move(next)));
    co_await start_journals();
    for (const auto& [id, segment] : meta_.segments()) {
        runtimes_[id].reserved_units = segment.reserved_units;
        reserved_units_ += segment.reserved_units;
    }
    background_.spawn(last_words());
    background_.spawn(snapshot_loop());
    if (!io_.is_failing() && !has_forgotten())
        static_cast<void>(co_await commit(records::mount(super_.incarnation, super_.boot_nonce)));
    if (!has_forgotten()) background_.spawn(zero_ahead_loop());
    co_return Result<void>{};
}

Task<void> StoreCore::start_journals() {
    // What fails here has made the device failing, which each journal then says of itself.
    static_cast<void>(co_await metadata_journal_->start(super_.boot_nonce));
    static_cast<void>(co_await consensus_journal_->core().start(super_.boot_nonce));
}

// The copy that may be torn from before goes first: else a crash could tear the good one beside it.
Task<Result<void>> StoreCore::write_superblocks(Superblock next) {
    next.generation = super_.generation + 1;
    u32 const first = 1 - sound_copy_;
    Result<void> done =
        co_await io_.write_journal(superblock_place(first), encode_superblock(next, first), Durability::kDurable);
    if (done) {
        sound_copy_ = first;
        done = co_await io_.write_journal(superblock_place(1 - first), encode_superblock(next, 1 - first),
                                          Durability::kDurable);
    }
    // What a forgetful device must not do binds even if it could not be written down. A nonce that stands nowhere
    // keeps a device that takes no writes from passing for its former mount.
    if (done || next.forgotten) {
        // Of the consensus journal also what was promised and has rotted: its owner repairs it, or forgets for
        // that.
        const JournalCore& consensus = consensus_journal_->core();
        if (next.incarnation != super_.incarnation)
            began_seq_ = metadata_journal_->durable_number() +
                         std::max(consensus.durable_number(), consensus.report().promised);
        super_ = std::move(next);
    } else {
        super_.boot_nonce = next.boot_nonce;
    }
    refresh_label();
    co_return done;
}

}  // namespace corelet
