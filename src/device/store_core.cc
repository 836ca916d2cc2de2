#include "device/store_core.h"

namespace corelet {

StoreCore::StoreCore(StoreEnv env, StoreOptions options, std::unique_ptr<File> file)
    : env_(env),
      options_(options),
      io_(std::move(file), env.clock, options.io_depth),
      headers_(options.header_cache_bytes),
      operations_(env.executor),
      background_(env.executor) {}

void StoreCore::refresh_label() {
    label_ = label_of(super_);
}

DeviceLabel label_of(const Superblock& super) {
    DeviceLabel label;
    label.mesh = super.mesh;
    label.identity = super.identity;
    label.incarnation = super.incarnation;
    label.boot_nonce = super.boot_nonce;
    label.location = super.location;
    label.witness = super.layout.witness;
    label.failed = super.failed;
    label.forgotten = super.forgotten;
    label.device_bytes = super.layout.device_bytes;
    label.version = super.version;
    return label;
}

Result<void> StoreCore::may_answer() const {
    if (closing_) return fail(Code::kShutdown, "the store is closing");
    if (has_forgotten())
        return fail(Code::kForgotten, "this device has forgotten promises: " + super_.forgotten_reason);
    return {};
}

Result<void> StoreCore::may_change() const {
    TRY_VOID(may_answer());
    if (io_.is_failing()) return std::unexpected(io_.failing_error());
    return {};
}

Result<void> StoreCore::may_add_metadata(u64 bytes, SpaceClass space) const {
    u64 const all = metadata_journal_->state_bytes_max();
    u64 const limit = space == SpaceClass::kClient ? all / 8 * 7 : all / 16 * 15;
    if (meta_.encoded_bytes() + claimed_metadata_ + bytes <= limit) return {};
    return fail(Code::kNoSpace, "the metadata area is full");
}

void StoreCore::on_durable(u64 number, Bytes record) {
    Result<MetadataChange> const change = meta_.apply(record);
    CORELET_ASSERT(change.has_value(), "a record of our own making does not apply");
    static_cast<void>(number);
    if (!change->freed.empty()) space_->release(change->freed);
    if (fragment_listener_ && change->came) fragment_listener_(*change->came, true);
    if (fragment_listener_ && change->went) fragment_listener_(*change->went, false);
    if (metadata_journal_->wants_snapshot()) snapshot_wanted_.notify_all();
}

Task<Result<void>> StoreCore::commit(records::Record record) {
    for (;;) {
        std::vector<records::Record> one;
        one.push_back(record);
        Result<u64> const number = metadata_journal_->submit(std::move(one));
        if (number) co_return co_await metadata_journal_->wait_durable(*number);
        if (number.error().code != Code::kNoSpace && number.error().code != Code::kOverloaded)
            co_return std::unexpected(number.error());
        // The bound on the metadata guarantees that a snapshot makes room.
        snapshot_needed_ = true;
        snapshot_wanted_.notify_all();
        co_await metadata_journal_->progress().wait();
    }
}

Task<void> StoreCore::snapshot_loop() {
    while (!io_.is_failing()) {
        if (!metadata_journal_->wants_snapshot() && !snapshot_needed_) {
            co_await snapshot_wanted_.wait();
            continue;
        }
        snapshot_needed_ = false;
        // The listener has applied exactly what is durable.
        u64 const through = metadata_journal_->durable_number();
        Result<void> const done = co_await metadata_journal_->snapshot(through, meta_.encode());
        if (done) continue;
        if (done.error().code == Code::kCorrupt)
            io_.fail_device("the metadata journal does not read back: " + done.error().to_string());
        if (io_.is_failing()) co_return;
        log_error(env_.log, "device.snapshot_failed", [&] { return done.error().to_string(); });
        co_await metadata_journal_->progress().wait();
    }
}

u64 StoreCore::superblock_place(u32 copy) const {
    return copy == 0 ? Layout::k_superblock_a : super_.layout.superblock_b();
}

// Leaves word for the next mount, on both superblocks: that much is tried once. The one known to be whole comes
// second, and only if the first could be written.
Task<void> StoreCore::last_words() {
    co_await io_.failed().wait();
    log_warning(env_.log, "device.failing", [&] { return io_.failure(); });
    Permit const lock = co_await superblock_mutex_.lock();
    if (super_.failed) co_return;
    super_.failed = true;
    super_.generation += 1;
    refresh_label();
    u32 const first = 1 - sound_copy_;
    bool const written = co_await io_.write_last_words(superblock_place(first), encode_superblock(super_, first));
    if (!written) co_return;
    co_await io_.write_last_words(superblock_place(1 - first), encode_superblock(super_, 1 - first));
}

std::vector<DevicePiece> StoreCore::pieces_of(const std::vector<UnitExtent>& extents, u64 offset, u64 bytes) const {
    std::vector<DevicePiece> pieces;
    for (const UnitExtent& extent : extents) {
        u64 const extent_bytes = extent.units * k_unit_bytes;
        if (bytes == 0) break;
        if (offset >= extent_bytes) {
            offset -= extent_bytes;
            continue;
        }
        u64 const part = std::min(bytes, extent_bytes - offset);
        pieces.push_back({super_.layout.device_offset(extent.start) + offset, part});
        offset = 0;
        bytes -= part;
    }
    CORELET_ASSERT(bytes == 0, "beyond the extents");
    return pieces;
}

Task<Result<void>> StoreCore::write_pieces(std::vector<DevicePiece> pieces, BufferChain data, IoClass io) {
    if (pieces.size() == 1)
        co_return co_await io_.write(pieces[0].offset, std::move(data), Durability::kDurable, io);
    u64 at = 0;
    for (const DevicePiece& piece : pieces) {
        BufferChain part = data.slice(at, piece.bytes);
        CO_TRY_VOID(co_await io_.write(piece.offset, std::move(part), Durability::kDurable, io));
        at += piece.bytes;
    }
    CORELET_ASSERT(at == data.size());
    co_return Result<void>{};
}

Task<Result<BufferChain>> StoreCore::read_pieces(std::vector<DevicePiece> pieces, IoClass io) {
    BufferChain data;
    for (const DevicePiece& piece : pieces) {
        CO_TRY(Buffer part, co_await io_.read(piece.offset, piece.bytes, io));
        data.append(std::move(part));
    }
    co_return data;
}

Task<void> StoreCore::close() {
    closing_ = true;
    co_await operations_.join();
    while (!io_.is_failing() && !(metadata_journal_->is_idle() && consensus_journal_->core().is_idle()))
        co_await (metadata_journal_->is_idle() ? consensus_journal_->core() : *metadata_journal_).progress().wait();
    background_.cancel();
}

}  // namespace corelet
