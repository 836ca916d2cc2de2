#include "stream/stream_record.h"

#include <utility>

#include "catalog/state.h"

namespace corelet {

std::string stream_key(SpaceId space) {
    return "streams/" + hex64(space.v);
}
std::string session_key(CoreletId corelet) {
    return "sessions/" + to_string(corelet);
}

LogSegment to_spec(SpaceId space, const pb::Segment& segment) {
    LogSegment spec{SegmentId{space, segment.seq()}, segment.salt(), {}};
    for (u64 replica : segment.replicas()) spec.replicas.push_back(CoreletId(replica));
    return spec;
}

pb::Segment to_proto(const LogSegment& segment, pb::Segment::State state) {
    pb::Segment out;
    out.set_seq(segment.id.seq);
    out.set_salt(segment.salt);
    for (CoreletId replica : segment.replicas) out.add_replicas(replica.v);
    out.set_state(state);
    return out;
}

const pb::Segment* find_segment(const pb::Stream& stream, u64 seq) {
    for (const pb::Segment& segment : stream.segments())
        if (segment.seq() == seq) return &segment;
    return nullptr;
}

pb::Segment* find_segment(pb::Stream& stream, u64 seq) {
    return const_cast<pb::Segment*>(find_segment(std::as_const(stream), seq));
}

bool is_session_of(const pb::Stream& stream, const KeyValue& session) {
    return session.key == session_key(CoreletId(stream.owner())) && session.lease.v == stream.owner_lease();
}

Task<Result<void>> StreamRecord::read(Instant deadline) {
    CO_TRY(auto found, co_await catalog_.get(stream_key(space_), deadline));
    if (!found) co_return fail(Code::kNotFound, "stream " + std::to_string(space_.v) + " does not exist");
    pb::Stream parsed;
    if (!parsed.ParseFromString(found->value))
        co_return fail(Code::kCorrupt, "the catalog's record of the stream does not parse");
    value_ = std::move(parsed);
    revision_ = found->mod_revision;
    co_return {};
}

Task<Result<void>> StreamRecord::take(CoreletId owner, LeaseId session, bool force, Instant deadline) {
    CORELET_ASSERT(!owner.is_zero());
    Permit const lock = co_await mutex_.lock();
    for (;;) {
        CO_TRY_VOID(co_await read(deadline));
        pb::Stream next = value_;
        CoreletId const former(next.owner());
        next.set_epoch(next.epoch() + 1);
        next.set_owner(owner.v);
        next.set_owner_lease(session.v);
        next.set_ended_by_caretaker(false);
        Transaction transaction;
        transaction.require_revision(stream_key(space_), revision_).require_exists(session_key(owner));
        if (!former.is_zero() && former != owner && !force) {
            const KeyValue* const known = catalog_.local().find(session_key(former));
            if (known && !is_session_of(value_, *known)) {
                transaction.require_revision(session_key(former), known->mod_revision);
            } else {
                transaction.require_missing(session_key(former));
            }
        }
        transaction.put(stream_key(space_), next.SerializeAsString())
            .read(stream_key(space_))
            .read(session_key(former))
            .read(session_key(owner));
        CO_TRY(auto result, co_await catalog_.commit(std::move(transaction), deadline));
        if (result.succeeded) {
            value_ = std::move(next);
            revision_ = result.revision;
            owner_ = owner;
            former_owner_ = former == owner ? CoreletId() : former;
            owned_epoch_ = Epoch(value_.epoch());
            co_return {};
        }
        if (!result.find(session_key(owner)))
            co_return fail(Code::kUnavailable, "this corelet has no session in the catalog");
        const KeyValue* const present = result.find(stream_key(space_));
        if (present && present->mod_revision == revision_)
            co_return fail(Code::kUnavailable, "its owner " + to_string(former) + " has a live session");
    }
}

Result<void> StreamRecord::check_owned() const {
    if (CoreletId(value_.owner()) == owner_ && Epoch(value_.epoch()) == owned_epoch_) return {};
    return fail(Code::kFenced, "the stream is owned at epoch " + std::to_string(value_.epoch()), value_.epoch());
}

Task<Result<void>> StreamRecord::confirm(Instant deadline) {
    Permit const lock = co_await mutex_.lock();
    CO_TRY_VOID(co_await read(deadline));
    co_return check_owned();
}

Task<Result<void>> StreamRecord::update(std::function<bool(pb::Stream&)> change, Instant deadline,
                                        std::vector<CoreletId> alive) {
    Permit const lock = co_await mutex_.lock();
    for (;;) {
        CO_TRY_VOID(check_owned());
        pb::Stream next = value_;
        if (!change(next)) co_return fail(Code::kConflict, "the change no longer applies");
        if (usize const bytes = next.ByteSizeLong();
            bytes > k_stream_record_bytes_max && bytes > value_.ByteSizeLong())
            co_return fail(Code::kOverloaded, "the catalog's record of the stream would have " +
                                                  std::to_string(bytes) + " bytes, for " +
                                                  std::to_string(next.segments_size()) +
                                                  " segments: packing must catch up first");
        Transaction transaction;
        transaction.require_revision(stream_key(space_), revision_)
            .put(stream_key(space_), next.SerializeAsString());
        for (CoreletId corelet : alive) transaction.require_exists(session_key(corelet));
        CO_TRY(auto result, co_await catalog_.commit(std::move(transaction), deadline));
        if (result.succeeded) {
            value_ = std::move(next);
            revision_ = result.revision;
            co_return {};
        }
        Revision const expected = revision_;
        CO_TRY_VOID(co_await read(deadline));
        if (revision_ == expected)
            co_return fail(Code::kConflict, "the catalog does not hold all of the segment's replicas to be up");
    }
}

}  // namespace corelet
