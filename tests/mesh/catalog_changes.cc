#include "tests/mesh/catalog_changes.h"

namespace corelet {

const CatalogState* CatalogChanges::after_turn(usize index, const OnStream& on_stream) {
    if (!mesh_.node(index)) return nullptr;
    auto const& services = mesh_.node(index)->services();
    raft::Index const applied = services.raft->core().applied();
    if (applied == applied_[index]) return nullptr;
    applied_[index] = applied;
    const CatalogState& state = services.raft->state();
    if (state.revision() <= revision_) return nullptr;
    if (auto const changes = state.changes_after(revision_)) {
        for (const CatalogState::Change& change : *changes) look_at(change.event, on_stream);
    } else {
        streams_.clear();
        sessions_.clear();
        for (const KeyValue& item : state.range("").items) look_at(WatchEvent{false, item}, on_stream);
    }
    revision_ = state.revision();
    return &state;
}

void CatalogChanges::look_at(const WatchEvent& event, const OnStream& on_stream) {
    const std::string& key = event.item.key;
    if (key.starts_with("sessions/")) {
        if (event.deleted) {
            sessions_.erase(key);
        } else {
            sessions_.try_emplace(key, Session{{}, mesh_.world().now()}).first->second.lease = event.item.lease;
        }
    } else if (key.starts_with("streams/")) {
        pb::Stream record;
        if (event.deleted || !record.ParseFromString(event.item.value)) {
            streams_.erase(key);
            return;
        }
        auto const [known, fresh] = streams_.try_emplace(key);
        if (!fresh) on_stream(known->second, record, sessions_);
        known->second = std::move(record);
    }
}

}  // namespace corelet
