// The catalog's record of a stream, as its owner keeps it: every change is conditional on the owner's epoch
// (protocols 3.1).
#pragma once

#include "catalog/catalog.h"
#include "catalog/limits.h"
#include "rt/sync.h"
#include "stream/segment.h"
#include "stream/stream.pb.h"

namespace corelet {

// The record is one value of a catalog that holds little (catalog/limits.h): some 60 bytes a segment and the root.
// Beyond the first bound no further standby is listed until packing has caught up; beyond the second it does not
// grow for any reason.
inline constexpr usize k_stream_record_listing_bytes = 256 * k_kib;
inline constexpr usize k_stream_record_bytes_max = 512 * k_kib;
static_assert(k_stream_record_bytes_max < k_catalog_transaction_bytes_max);

[[nodiscard]] std::string stream_key(SpaceId space);
// There while the catalog is one that was recovered and nobody has agreed to it yet: nothing is deleted
// (protocols 8.3).
inline constexpr const char* k_recovery_key = "recovery";
// Present while the corelet has a session; attached to its lease.
[[nodiscard]] std::string session_key(CoreletId corelet);

[[nodiscard]] LogSegment to_spec(SpaceId space, const pb::Segment& segment);
[[nodiscard]] pb::Segment to_proto(const LogSegment& segment, pb::Segment::State state);
// The session by which its owner took the stream. One that came back to life has another.
[[nodiscard]] bool is_session_of(const pb::Stream& stream, const KeyValue& session);
[[nodiscard]] const pb::Segment* find_segment(const pb::Stream& stream, u64 seq);
[[nodiscard]] pb::Segment* find_segment(pb::Stream& stream, u64 seq);

class StreamRecord {
  public:
    StreamRecord(Catalog& catalog, SpaceId space) : catalog_(catalog), space_(space) {}

    // Takes the stream for `owner` at the next epoch, if it has no owner, the session has ended by which its owner
    // took it, it is the owner's own, or by force. kUnavailable: that session lives. kNotFound: no such stream.
    [[nodiscard]] Task<Result<void>> take(CoreletId owner, LeaseId session, bool force, Instant deadline);
    // Applies `change` to the present record and commits it; repeats against a newer record while this owner still
    // owns it. kFenced: another epoch has it. kOverloaded: the record would outgrow its bound. `change` may be
    // called several times; false from it aborts with kConflict. `alive`: corelets that must hold a session in the
    // same transaction (protocols 5.2); kConflict: one does not.
    [[nodiscard]] Task<Result<void>> update(std::function<bool(pb::Stream&)> change, Instant deadline,
                                            std::vector<CoreletId> alive = {});
    // Whether it still is as it was last read or written here, by a linearizable read. kFenced: another epoch has
    // it.
    [[nodiscard]] Task<Result<void>> confirm(Instant deadline);
    [[nodiscard]] const pb::Stream& value() const { return value_; }
    // At which it was taken here: the record may be another owner's by now.
    [[nodiscard]] Epoch epoch() const { return owned_epoch_; }
    // From whom it was taken; zero: it had none, or was this corelet's own.
    [[nodiscard]] CoreletId former_owner() const { return former_owner_; }
    [[nodiscard]] SpaceId space() const { return space_; }

  private:
    [[nodiscard]] Task<Result<void>> read(Instant deadline);
    [[nodiscard]] Result<void> check_owned() const;
    Catalog& catalog_;
    SpaceId space_;
    Mutex mutex_;
    pb::Stream value_;
    Revision revision_;
    CoreletId owner_;
    CoreletId former_owner_;
    Epoch owned_epoch_;
};

}  // namespace corelet
