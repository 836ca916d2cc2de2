// The chunk store on one device: fragments, log segments, two journals and small notes on one File.
//
// One executor, no locks. All calls may run beside each other; those on one id are done one after the other. What
// changes the device runs in the store's own scope: dropping the caller does not stop it half way. Durable on
// return unless said otherwise.
//
// After a failed write or flush the device is `failing` (design rule 2): each later call that writes answers kIo at
// once and touches nothing; reads go on. A device that `has_forgotten()` answers kForgotten to everything that
// rests on a promise of its former self (segments, fences, notes); fragments are readable, as strays. kUnknown
// always means "I do not know". Bytes on the device: docs/format/device.md.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "device/journal.h"
#include "device/telemetry.h"
#include "device/types.h"
#include "rt/clock.h"
#include "rt/disk.h"
#include "rt/env.h"
#include "rt/sync.h"

namespace corelet {

struct StoreEnv {
    Executor& executor;
    Clock& clock;
    Prng& random;
    Log& log;
    [[nodiscard]] static StoreEnv of(Env& env) { return {env.executor, env.clock, env.random, env.log}; }
};

struct FormatOptions {
    MeshId mesh;
    CoreletId identity;
    std::string location;  // zone/rack/chassis; at most 256 bytes
    bool witness = false;  // no data area
    bool force = false;    // also over a device that is formatted already
    // 0: chosen by the size. Of each half of a journal.
    u64 metadata_half_bytes = 0;
    u64 consensus_half_bytes = 0;
};
// The smallest devices that format() takes with default options.
inline constexpr u64 k_device_bytes_min = 64 * k_mib;
inline constexpr u64 k_witness_bytes_min = 32 * k_mib;

// What the superblock says, without mounting.
struct DeviceLabel {
    MeshId mesh;
    CoreletId identity;
    Incarnation incarnation;
    u64 boot_nonce = 0;
    std::string location;
    bool witness = false;
    bool failed = false;
    bool forgotten = false;
    u64 device_bytes = 0;
    u32 version = 0;
};

// kExists: formatted already (says for which mesh). kNoSpace: too small (says how much is needed). kInvalid:
// options.
[[nodiscard]] Task<Result<void>> format_device(File* file, StoreEnv env, FormatOptions options);
// kNotFound: no Corelet device. kCorrupt: both superblocks are bad, or the device is shorter than it was.
// kUnsupported: of a newer version.
[[nodiscard]] Task<Result<DeviceLabel>> probe_device(File* file);

struct StoreOptions {
    u32 io_depth = 64;                   // operations at the device at once
    u64 header_cache_bytes = 8 * k_mib;  // fragment headers kept in memory
    u64 log_ahead_bytes = 16 * k_mib;    // written-once space kept ready for log segments
};

// Of an error that reading or verifying a fragment ended with: the bytes are here and are bad, or the device cannot
// read them. False for what says nothing of the bytes: not here, a bad question, no answer.
[[nodiscard]] inline bool tells_of_damage(const Error& error) {
    return error.code == Code::kCorrupt || error.code == Code::kIo;
}

class Reservation;
class StoreCore;

struct PutOptions {
    SpaceClass space = SpaceClass::kClient;
    IoClass io = IoClass::kClient;
    // Space promised earlier; what the fragment needs is taken out of it first.
    Reservation* reservation = nullptr;
    // Takes it out of what this segment, if it is here, reserved for its packed form.
    std::optional<SegmentId> reserved_by;
    // The fragment is here and damaged: write the same bytes to a new place. Refused (kExists) when what is here
    // has a readable header that names other bytes.
    bool repair = false;
    // The checksums were made of this very memory just now: the data are not passed over again before they are
    // written.
    bool verified = false;
};

class Store {
  public:
    // Raises the incarnation, durably, before it returns. Errors as probe_device().
    [[nodiscard]] static Task<Result<std::unique_ptr<Store>>> mount(std::unique_ptr<File> file, StoreEnv env,
                                                                    StoreOptions options);
    ~Store();
    Store(const Store&) = delete;
    Store& operator=(const Store&) = delete;
    // Waits for what is under way; the store takes no more. Destroying without it is a crash, and safe.
    [[nodiscard]] Task<void> close();

    // --- who it is -------------------------------------------------------------------------------------------
    [[nodiscard]] const DeviceLabel& label() const;
    [[nodiscard]] CoreletId identity() const { return label().identity; }
    [[nodiscard]] Incarnation incarnation() const { return label().incarnation; }
    [[nodiscard]] u64 boot_nonce() const { return label().boot_nonce; }
    // Grows with each durable record of either journal; what the catalog and the peers compare (protocols 1.1).
    [[nodiscard]] u64 durable_seq() const;
    // What it was when this incarnation began, or had been promised by then. Whoever has seen an earlier
    // incarnation with more has seen what this device lost; what is written since does not make up for it.
    [[nodiscard]] u64 began_seq() const;
    // Raises the incarnation again without a new mount (protocols 1.5).
    [[nodiscard]] Task<Result<void>> raise_incarnation();
    [[nodiscard]] Task<Result<void>> set_location(std::string location);

    // --- what is wrong ---------------------------------------------------------------------------------------
    [[nodiscard]] bool is_failing() const;
    // Set when the device became failing; never reset.
    [[nodiscard]] Event& failed();
    [[nodiscard]] std::string failure() const;
    // Promises of this identity are void (protocols 1.3), and why.
    [[nodiscard]] bool has_forgotten() const;
    [[nodiscard]] std::string forgotten_reason() const;
    // The catalog or a peer has seen more of this identity than the device knows: durable.
    [[nodiscard]] Task<Result<void>> mark_forgotten(std::string reason);
    // A forgotten device takes a new identity: fragments stay, as strays; segments, notes and the consensus journal
    // are gone; incarnation 1. kInvalid when nothing was forgotten.
    [[nodiscard]] Task<Result<void>> take_identity(CoreletId fresh);
    // What mounting found in the metadata journal.
    [[nodiscard]] const JournalReport& metadata_report() const;
    [[nodiscard]] Telemetry& telemetry();
    // Operations of healing at the device at once: at most healing_most(), at least one.
    void limit_healing(u32 at_once);
    [[nodiscard]] u32 healing_most() const;

    // --- journals and notes -----------------------------------------------------------------------------------
    // The consensus core's own log; nobody else uses it.
    [[nodiscard]] Journal& consensus_journal();
    // Small durable values: the last map, what was seen of peers, the voters' addresses. A key of at most 64 bytes,
    // a value of at most 1 MiB; empty erases. kNoSpace at the bound of all notes together.
    [[nodiscard]] Task<Result<void>> put_note(std::string key, std::vector<u8> value);
    [[nodiscard]] std::optional<std::vector<u8>> note(const std::string& key) const;

    // --- space -----------------------------------------------------------------------------------------------
    [[nodiscard]] SpaceUse space() const;
    // Promises space until the Reservation is destroyed or used up. kNoSpace.
    [[nodiscard]] Result<Reservation> reserve(u64 bytes, SpaceClass space);
    // What reserve() would give such space now, at most.
    [[nodiscard]] u64 available_bytes(SpaceClass space) const;

    // --- fragments -------------------------------------------------------------------------------------------
    // `data` is a multiple of 4 KiB, `block_crcs` the plain CRC32C of each block, made where the data entered; they
    // are checked against the data first (kCorrupt). Again with the same bytes: nothing. With others: kExists.
    // kNoSpace.
    [[nodiscard]] Task<Result<void>> put_fragment(FragmentId id, FragmentHeader header, BufferChain data,
                                                  std::vector<u32> block_crcs, PutOptions options);
    // [offset, offset + length) in multiples of 4 KiB. kUnknown, kInvalid (beyond the end), kCorrupt (`detail` is
    // the first bad block), kIo.
    [[nodiscard]] Task<Result<FragmentData>> read_fragment(FragmentId id, u64 offset, u64 length,
                                                           ReadOptions options);
    [[nodiscard]] std::optional<FragmentInfo> fragment_info(FragmentId id) const;
    // From the device, or the cache of headers. kUnknown, kCorrupt, kIo.
    [[nodiscard]] Task<Result<FragmentHeader>> read_fragment_header(FragmentId id, IoClass io);
    // kUnknown if it is not here.
    [[nodiscard]] Task<Result<void>> remove_fragment(FragmentId id);
    [[nodiscard]] Task<Result<void>> set_quarantine(FragmentId id, bool quarantined);
    // Reads all of it and checks it: kCorrupt with the first bad block in `detail`, counted in the telemetry.
    [[nodiscard]] Task<Result<void>> verify_fragment(FragmentId id, IoClass io);
    // Up to `limit` fragments in id order from the first one after (`after` given) or from the very first.
    [[nodiscard]] std::vector<FragmentInfo> list_fragments(std::optional<FragmentId> after, usize limit) const;
    [[nodiscard]] u64 fragment_count() const;
    // Called after a fragment has come (true) or gone (false), durably; it may ask the store, not change it. One
    // listener; empty ends it.
    void on_fragment_change(std::function<void(const FragmentId&, bool here)> listener);
    // Digests over (space, seq), each fragment counted once. Buckets are by pinned hash(space, seq) and cost
    // nothing to ask; `if` looks at all.
    static constexpr usize k_digest_buckets = 1024;
    [[nodiscard]] static usize digest_bucket_of(ChunkId id);
    [[nodiscard]] FragmentDigest digest_bucket(usize bucket) const;
    [[nodiscard]] FragmentDigest digest_if(const std::function<bool(const FragmentId&)>& predicate) const;
    [[nodiscard]] usize index_memory_bytes() const;
    // Where on the device a part of the fragment's data lies, as (offset, bytes), in order; empty if it is not here
    // or not as long. For judges and for the faults of tests.
    [[nodiscard]] std::vector<std::pair<u64, u64>> fragment_places(FragmentId id, u64 offset, u64 bytes) const;

    // --- log segments ----------------------------------------------------------------------------------------
    // Once per id: kExists also after it was dropped. kNoSpace without room for it and its packed form.
    [[nodiscard]] Task<Result<void>> prepare_segment(SegmentId id, SegmentSpec spec);
    // Adds at least `bytes` of room. kFenced, kNoSpace.
    [[nodiscard]] Task<Result<SegmentInfo>> grow_segment(SegmentId id, Epoch epoch, CoreletId owner, u64 bytes,
                                                         SpaceClass space);
    // One durable write of multiples of 4 KiB. kFenced when (epoch, owner) is not who opened it or when a newer
    // epoch is stored here (`detail`), also if that came while the write was under way. kInvalid beyond the
    // capacity.
    [[nodiscard]] Task<Result<void>> write_segment(SegmentId id, Epoch epoch, CoreletId owner, u64 offset,
                                                   BufferChain data);
    // Stores the epoch; returns when it is durable and no write of an older one is under way any more. kFenced
    // (`detail`: the epoch stored here) for an older epoch, or another owner's equal one.
    [[nodiscard]] Task<Result<SegmentInfo>> fence_segment(SegmentId id, Epoch epoch, CoreletId owner);
    // Cuts what lies beyond `end` (a multiple of 4 KiB) and gives its space back. Again with the same end: nothing;
    // with another: kConflict. The end may lie beyond the capacity (a replica that is shorter): it is cut to that.
    [[nodiscard]] Task<Result<SegmentInfo>> seal_segment(SegmentId id, u64 end);
    // Raw bytes, whatever was last written there by anybody: the records' checksums decide. Multiples of 4 KiB.
    [[nodiscard]] Task<Result<BufferChain>> read_segment(SegmentId id, u64 offset, u64 length, IoClass io);
    [[nodiscard]] Result<SegmentInfo> segment_info(SegmentId id) const;
    [[nodiscard]] std::vector<SegmentInfo> list_segments() const;
    // Where on the device a part of the segment lies, as (offset, bytes), in order; empty if it is not here or not
    // as long. For judges, who look at the media.
    [[nodiscard]] std::vector<std::pair<u64, u64>> segment_places(SegmentId id, u64 offset, u64 bytes) const;
    [[nodiscard]] Task<Result<void>> drop_segment(SegmentId id);
    // A sealed segment becomes the fragment `id` in place. Its bytes are read once for their checksums;
    // `block_crcs`, unless empty, must equal them (kCorrupt). With `verified` the caller has compared all of it
    // with `block_crcs` when it was written, in this mount, and nothing is read. kInvalid if not sealed, kExists if
    // the fragment is here.
    [[nodiscard]] Task<Result<void>> adopt_segment(SegmentId segment, FragmentId id, FragmentHeader header,
                                                   std::vector<u32> block_crcs, bool verified = false);

  private:
    explicit Store(std::unique_ptr<StoreCore> core);
    std::unique_ptr<StoreCore> core_;
};

// Space promised and not yet used. Move-only; given back when destroyed. Must not outlive the store.
class Reservation {
  public:
    Reservation() = default;
    Reservation(Reservation&& other) noexcept;
    Reservation& operator=(Reservation&& other) noexcept;
    ~Reservation();
    [[nodiscard]] u64 bytes() const { return units_ * k_unit_bytes; }

  private:
    friend class StoreCore;
    Reservation(StoreCore* core, u64 units) : core_(core), units_(units) {}
    [[nodiscard]] Reservation split(u64 units);
    StoreCore* core_ = nullptr;
    u64 units_ = 0;
};

}  // namespace corelet
