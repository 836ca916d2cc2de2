// Conversions between the core's values and the generated messages; shared by the two codecs of this folder.
#pragma once

#include "raft/raft.pb.h"
#include "raft/types.h"

namespace corelet::raft {

inline void put(pb::Position* out, const Position& in) {
    out->set_term(in.term.v);
    out->set_index(in.index);
}
inline Position get(const pb::Position& in) {
    return {Term(in.term()), in.index()};
}

inline void put(pb::Configuration* out, const Configuration& in) {
    for (CoreletId id : in.voters) out->add_voters(id.v);
    for (CoreletId id : in.learners) out->add_learners(id.v);
}
inline Configuration get(const pb::Configuration& in) {
    Configuration out;
    for (u64 id : in.voters()) out.voters.emplace_back(id);
    for (u64 id : in.learners()) out.learners.emplace_back(id);
    return out;
}

inline void put(pb::Entry* out, const Entry& in) {
    out->set_term(in.at.term.v);
    out->set_index(in.at.index);
    out->set_kind(static_cast<u32>(in.kind));
    out->set_data(in.data.text().data(), in.data.size());
    out->set_crc(in.crc);
}
// The kind is checked by whoever checks the entry's checksum, which covers it.
inline Entry get(const pb::Entry& in) {
    return {{Term(in.term()), in.index()}, static_cast<EntryKind>(in.kind()), Payload(in.data()), in.crc()};
}
template <class Repeated>
std::vector<Entry> get_entries(const Repeated& in) {
    std::vector<Entry> out;
    out.reserve(static_cast<usize>(in.size()));
    for (const pb::Entry& entry : in) out.push_back(get(entry));
    return out;
}

inline void put(pb::HardState* out, const HardState& in) {
    out->set_term(in.term.v);
    out->set_vote(in.vote.v);
    out->set_commit(in.commit);
    put(out->mutable_repairing(), in.repairing);
}
inline HardState get(const pb::HardState& in) {
    return {Term(in.term()), CoreletId(in.vote()), in.commit(), get(in.repairing())};
}

inline void put(pb::Snapshot* out, const Snapshot& in) {
    put(out->mutable_last(), in.last);
    put(out->mutable_configuration(), in.configuration);
    out->set_state(in.state.text().data(), in.state.size());
    out->set_crc(in.crc);
}
inline Snapshot get(const pb::Snapshot& in) {
    return {get(in.last()), get(in.configuration()), Payload(in.state()), in.crc()};
}

}  // namespace corelet::raft
