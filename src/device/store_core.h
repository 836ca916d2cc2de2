// Inside of a Store: its state and its operations, one .cc a subject. Not for other folders.
#pragma once

#include <map>
#include <memory>

#include "device/allocator.h"
#include "device/detached.h"
#include "device/device_io.h"
#include "device/header_cache.h"
#include "device/journal_core.h"
#include "device/keyed_mutex.h"
#include "device/metadata.h"
#include "device/metadata_records.h"
#include "device/store.h"
#include "device/superblock.h"

namespace corelet {

// The answers to who names what this device does not hold.
inline std::unexpected<Error> no_such_segment() {
    return fail(Code::kUnknown, "no such segment here");
}
inline std::unexpected<Error> no_such_fragment() {
    return fail(Code::kUnknown, "no such fragment here");
}

// A contiguous piece on the device.
struct DevicePiece {
    u64 offset = 0;
    u64 bytes = 0;
};

// What a segment has beside its durable entry.
struct SegmentRuntime {
    u32 writes = 0;          // under way
    bool closing = false;    // being sealed or dropped: takes no more
    Epoch fencing;           // highest epoch a fence asked for; older ones are refused from then on
    u64 reserved_units = 0;  // left of its reservation
    Notify drained;
};

class StoreCore {
  public:
    StoreCore(StoreEnv env, StoreOptions options, std::unique_ptr<File> file);
    StoreCore(const StoreCore&) = delete;
    StoreCore& operator=(const StoreCore&) = delete;

    // --- mount.cc, identity.cc
    [[nodiscard]] Task<Result<void>> mount();
    [[nodiscard]] Task<void> close();
    [[nodiscard]] Task<Result<void>> update_superblock(std::function<void(Superblock&)> change);
    [[nodiscard]] Task<Result<void>> mark_forgotten(std::string reason);
    [[nodiscard]] Task<Result<void>> take_identity(CoreletId fresh);
    [[nodiscard]] bool has_forgotten() const { return super_.forgotten; }
    [[nodiscard]] u64 durable_seq() const {
        return metadata_journal_->durable_number() + consensus_journal_->core().durable_number();
    }
    [[nodiscard]] u64 began_seq() const { return began_seq_; }

    // --- space.cc
    [[nodiscard]] SpaceUse space_use() const;
    [[nodiscard]] Result<Reservation> reserve(u64 bytes, SpaceClass space);
    [[nodiscard]] u64 available_bytes(SpaceClass space) const { return available_units(space) * k_unit_bytes; }
    void give_back(u64 units);

    // --- fragment_write.cc
    [[nodiscard]] Task<Result<void>> put_fragment(FragmentId id, FragmentHeader header, BufferChain data,
                                                  std::vector<u32> block_crcs, PutOptions options);
    [[nodiscard]] Task<Result<void>> remove_fragment(FragmentId id);
    [[nodiscard]] Task<Result<void>> set_quarantine(FragmentId id, bool quarantined);
    // --- fragment_read.cc
    [[nodiscard]] Task<Result<FragmentData>> read_fragment(FragmentId id, u64 offset, u64 length,
                                                           ReadOptions options);
    [[nodiscard]] Task<Result<HeaderCache::Header>> header_of(FragmentId id, IoClass io);
    [[nodiscard]] Task<Result<void>> verify_fragment(FragmentId id, IoClass io);

    void on_fragment_change(std::function<void(const FragmentId&, bool here)> listener) {
        fragment_listener_ = std::move(listener);
    }

    // --- segment_write.cc, segment_change.cc, adopt.cc
    [[nodiscard]] Task<Result<void>> prepare_segment(SegmentId id, SegmentSpec spec);
    [[nodiscard]] Task<Result<SegmentInfo>> grow_segment(SegmentId id, Epoch epoch, CoreletId owner, u64 bytes,
                                                         SpaceClass space);
    [[nodiscard]] Task<Result<void>> write_segment(SegmentId id, Epoch epoch, CoreletId owner, u64 offset,
                                                   BufferChain data);
    [[nodiscard]] Task<Result<SegmentInfo>> fence_segment(SegmentId id, Epoch epoch, CoreletId owner);
    [[nodiscard]] Task<Result<SegmentInfo>> seal_segment(SegmentId id, u64 end);
    [[nodiscard]] Task<Result<BufferChain>> read_segment(SegmentId id, u64 offset, u64 length, IoClass io);
    [[nodiscard]] Task<Result<void>> drop_segment(SegmentId id);
    [[nodiscard]] Task<Result<void>> adopt_segment(SegmentId segment, FragmentId id, FragmentHeader header,
                                                   std::vector<u32> block_crcs, bool verified);

    // --- store_core.cc
    // Runs an operation to its end whatever becomes of the caller.
    template <class T>
    [[nodiscard]] Task<T> detached(Task<T> operation) {
        return run_detached(&operations_, std::move(operation));
    }
    // Why nothing may be changed now, if so.
    [[nodiscard]] Result<void> may_change() const;
    [[nodiscard]] Result<void> may_answer() const;  // for what rests on a promise, without changing anything
    // Makes one record durable and applied; waits for a snapshot when the journal is full.
    [[nodiscard]] Task<Result<void>> commit(records::Record record);

    [[nodiscard]] const Metadata& metadata() const { return meta_; }
    [[nodiscard]] DeviceIo& io() { return io_; }
    [[nodiscard]] const DeviceLabel& label() const { return label_; }
    [[nodiscard]] const Superblock& superblock() const { return super_; }
    [[nodiscard]] JournalCore& metadata_journal() { return *metadata_journal_; }
    [[nodiscard]] Journal& consensus_journal() { return *consensus_journal_; }
    [[nodiscard]] u64 notes_bytes_max() const { return metadata_journal_->state_bytes_max() / 2; }
    // Whether a record that adds `bytes` to the snapshot leaves it within its bound.
    [[nodiscard]] Result<void> may_add_metadata(u64 bytes, SpaceClass space) const;
    [[nodiscard]] std::vector<DevicePiece> pieces_of(const std::vector<UnitExtent>& extents, u64 offset,
                                                     u64 bytes) const;

  private:
    friend class Reservation;

    // Metadata bytes that operations under way will add.
    class MetadataClaim {
      public:
        MetadataClaim(StoreCore& core, u64 bytes) : core_(core), bytes_(bytes) { core.claimed_metadata_ += bytes; }
        MetadataClaim(const MetadataClaim&) = delete;
        MetadataClaim& operator=(const MetadataClaim&) = delete;
        ~MetadataClaim() { core_.claimed_metadata_ -= bytes_; }

      private:
        StoreCore& core_;
        u64 bytes_;
    };

    // --- store_core.cc
    void on_durable(u64 number, Bytes record);
    [[nodiscard]] Task<void> snapshot_loop();
    [[nodiscard]] Task<void> last_words();
    [[nodiscard]] u64 superblock_place(u32 copy) const;
    void refresh_label();
    [[nodiscard]] Task<Result<void>> write_pieces(std::vector<DevicePiece> pieces, BufferChain data, IoClass io);
    [[nodiscard]] Task<Result<BufferChain>> read_pieces(std::vector<DevicePiece> pieces, IoClass io);

    // --- mount.cc, scan.cc
    [[nodiscard]] Task<Result<std::string>> recover_metadata();
    [[nodiscard]] Result<std::string> check_space();
    [[nodiscard]] Task<void> scan_fragments();
    [[nodiscard]] Task<Result<HeaderCache::Header>> read_header_at(u64 first_unit, u64 header_blocks, IoClass io);
    [[nodiscard]] Task<void> start_journals();
    [[nodiscard]] Task<Result<void>> write_superblocks(Superblock next);

    // --- space.cc
    static constexpr u64 k_system_reserve_min = 6 * k_mib;
    [[nodiscard]] u64 system_reserve_units() const;
    // Units that are not for this class.
    [[nodiscard]] u64 kept_from(SpaceClass space) const;
    [[nodiscard]] u64 available_units(SpaceClass space) const;
    [[nodiscard]] Result<Reservation> reserve_units(u64 units, SpaceClass space);
    // Takes space for a fragment; what `promised` holds is used first and the rest of it given back.
    [[nodiscard]] Result<std::vector<UnitExtent>> take_fragment_space(u64 blocks, SpaceClass space,
                                                                      Reservation& promised);
    [[nodiscard]] Task<Result<std::vector<UnitExtent>>> take_log_space(u64 units, SpaceClass space);
    [[nodiscard]] Task<Result<void>> zero(UnitExtent extent, IoClass io);
    [[nodiscard]] Task<void> zero_ahead_loop();

    // --- fragment_write.cc
    [[nodiscard]] Task<Result<void>> do_put(FragmentId id, FragmentHeader header, BufferChain data,
                                            std::vector<u32> block_crcs, PutOptions options, Reservation promised);
    [[nodiscard]] Task<Result<void>> put_locked(FragmentId id, FragmentHeader header, BufferChain data,
                                                std::vector<u32> block_crcs, PutOptions options,
                                                Reservation* promised);
    // True: the same is here already. False: nothing is, or it may be replaced. kExists otherwise.
    [[nodiscard]] Task<Result<bool>> is_here(FragmentId id, const FragmentEntry* wanted,
                                             const std::vector<u32>* block_crcs, bool repair);
    [[nodiscard]] Task<Result<void>> do_remove(FragmentId id);
    [[nodiscard]] Task<Result<void>> do_quarantine(FragmentId id, bool quarantined);
    [[nodiscard]] u64 next_written_seq() { return super_.generation << 40 | ++written_counter_; }

    // --- segments
    [[nodiscard]] Result<void> check_writer(const SegmentEntry& entry, const SegmentRuntime& runtime, Epoch epoch,
                                            CoreletId owner);
    [[nodiscard]] Task<void> wait_drained(SegmentId id);
    [[nodiscard]] Task<Result<void>> do_prepare(SegmentId id, SegmentSpec spec);
    [[nodiscard]] Task<Result<SegmentInfo>> do_grow(SegmentId id, Epoch epoch, CoreletId owner, u64 units,
                                                    SpaceClass space);
    [[nodiscard]] Task<Result<void>> do_write(SegmentId id, Epoch epoch, std::vector<DevicePiece> pieces,
                                              BufferChain data);
    [[nodiscard]] Task<Result<SegmentInfo>> do_fence(SegmentId id, Epoch epoch, CoreletId owner);
    [[nodiscard]] Task<Result<SegmentInfo>> do_seal(SegmentId id, u64 end);
    [[nodiscard]] Task<Result<void>> do_drop(SegmentId id);
    [[nodiscard]] Task<Result<void>> do_adopt(SegmentId segment, FragmentId id, FragmentHeader header,
                                              std::vector<u32> block_crcs, bool verified);
    [[nodiscard]] Task<Result<std::vector<u32>>> crcs_of_segment(SegmentId id, u64 end);
    void forget_runtime(SegmentId id);

    StoreEnv env_;
    StoreOptions options_;
    DeviceIo io_;
    Superblock super_;
    u64 began_seq_ = 0;
    u32 sound_copy_ = 0;  // the superblock that is known to be whole: never the first to be overwritten
    DeviceLabel label_;
    Metadata meta_;
    std::unique_ptr<Allocator> space_;
    std::unique_ptr<JournalCore> metadata_journal_;
    std::unique_ptr<Journal> consensus_journal_;
    HeaderCache headers_;
    Buffer zeros_;  // one unit, from the first time that space is zeroed
    std::function<void(const FragmentId&, bool here)> fragment_listener_;
    KeyedMutex<FragmentId> fragment_locks_;
    KeyedMutex<SegmentId> segment_locks_;
    std::map<SegmentId, SegmentRuntime> runtimes_;
    Mutex superblock_mutex_;
    u64 reserved_units_ = 0;  // by reservations and segments together
    u64 claimed_metadata_ = 0;
    u64 written_counter_ = 0;
    bool closing_ = false;
    bool snapshot_needed_ = false;  // somebody waits for room
    Notify snapshot_wanted_;
    Notify space_taken_;
    Scope operations_;
    Scope background_;
};

// Both superblocks of a device and which one counts; also checks that the device is as long as it was.
[[nodiscard]] Task<Result<SuperblockChoice>> read_superblocks(File* file);
[[nodiscard]] DeviceLabel label_of(const Superblock& super);

}  // namespace corelet
