#include "node/catalog_check.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/codec.h"
#include "mesh/map_codec.h"
#include "node/catalog_keys.h"
#include "node/healing_limit.h"
#include "node/healing_pause.h"
#include "node/map_service.h"
#include "node/node.pb.h"
#include "node/session_keeper.h"
#include "node/volume_host.h"
#include "stream/stream_record.h"

namespace corelet {

namespace {

constexpr const char* k_report =
    "export it (corelet catalog export FILE) and report it: no command of corelet does this";

std::optional<u64> id_in(std::string_view key) {
    std::string_view const digits = key.substr(key.find('/') + 1);
    u64 value = 0;
    if (digits.size() != 16) return std::nullopt;
    for (char c : digits) {
        bool const decimal = c >= '0' && c <= '9', letter = c >= 'a' && c <= 'f';
        if (!decimal && !letter) return std::nullopt;
        value = value << 4 | static_cast<u64>(decimal ? c - '0' : c - 'a' + 10);
    }
    return value;
}

class Checker {
  public:
    explicit Checker(const CatalogView& view) : view_(view) {
        for (const KeyValue& item : view.items) by_key_[item.key] = &item;
    }

    std::vector<CatalogFinding> run() {
        check_map();
        check_counter();
        for (const KeyValue& item : view_.items) check_record(item);
        check_voters();
        return std::move(found_);
    }

  private:
    void error(const std::string& key, std::string what, std::string next = k_report) {
        found_.push_back({CatalogFinding::Grade::kError, key, std::move(what), std::move(next)});
    }
    void note(const std::string& key, std::string what, std::string next) {
        found_.push_back({CatalogFinding::Grade::kNote, key, std::move(what), std::move(next)});
    }
    [[nodiscard]] const KeyValue* find(const std::string& key) const {
        auto const found = by_key_.find(key);
        return found == by_key_.end() ? nullptr : found->second;
    }
    template <class Message>
    std::optional<Message> parse(const KeyValue& item) {
        Message message;
        if (message.ParseFromString(item.value)) return message;
        error(item.key, "the record does not parse");
        return std::nullopt;
    }

    [[nodiscard]] Result<mesh::Map> read_map(std::string_view value) const {
        return read_map_record(value, mesh::Map{}, [this](const std::string& key) -> const std::string* {
            const KeyValue* const piece = find(key);
            return piece ? &piece->value : nullptr;
        });
    }

    // Decoding also compares each table with its hash.
    void check_map() {
        const KeyValue* const item = find(k_map_key);
        if (!item) return error(k_map_key, "the catalog has no map of the mesh");
        auto map = read_map(item->value);
        if (!map) return error(k_map_key, "the map is not valid: " + map.error().message);
        if (!view_.mesh.is_zero() && map->mesh != view_.mesh)
            error(k_map_key, "the map is of mesh " + hex64(map->mesh.v) + ", not of " + hex64(view_.mesh.v));
        map_ = *std::move(map);
    }

    void check_counter() {
        const KeyValue* const item = find(k_space_counter_key);
        if (!item) return;
        if (item->value.size() != 8) return error(item->key, "the counter of spaces is no number");
        counter_ = Reader(as_bytes(item->value)).get<u64>();
    }

    void check_space(const std::string& key, u64 space) {
        if (space > counter_)
            error(key, "space " + std::to_string(space) + " was never given out: the counter stands at " +
                           std::to_string(counter_));
    }

    void check_record(const KeyValue& item) {
        std::string_view const key = item.key;
        if (key == k_map_key || key.starts_with(k_map_pieces_prefix) || key == k_space_counter_key) return;
        if (key.starts_with("volumes/")) return check_volume(item);
        if (key.starts_with("streams/")) return check_stream(item);
        if (key.starts_with("sessions/")) return check_session(item);
        if (key.starts_with("corelets/")) return check_life(item);
        if (key.starts_with("deleted/")) return check_deleted(item);
        if (key.starts_with("removed/")) return check_removed(item);
        if (key == k_recovery_key)
            return note(item.key, "the catalog was recovered, and nothing is deleted for good yet",
                        "when the volumes are as they should be: corelet catalog accept");
        if (key == k_limit_key) {
            if (!decode_limit(item.value)) error(item.key, "the record does not parse", "corelet heal limit");
            return;
        }
        if (key == k_pause_key) {
            if (!decode_pause(item.value)) error(item.key, "the record does not parse", "corelet resume");
            return;
        }
        if (key.starts_with("tokens/")) {
            (void)parse<pb::TokenRecord>(item);
            return;
        }
        note(item.key, "no record that this version knows", "nothing, if a newer version runs in this mesh");
    }

    void check_pool(const std::string& key, u32 pool) {
        if (map_ && !map_->find(PoolId(pool)))
            error(key, "it lies in pool " + std::to_string(pool) + ", which the map does not have");
    }

    void check_volume(const KeyValue& item) {
        auto const volume = parse<pb::Volume>(item);
        if (!volume) return;
        if (volume_key(volume->name()) != item.key)
            error(item.key, "the record is of volume '" + volume->name() + "'");
        check_pool(item.key, volume->pool());
        check_space(item.key, volume->space());
        if (!find(stream_key(SpaceId(volume->space()))))
            error(item.key, "its stream, space " + std::to_string(volume->space()) + ", has no record");
        if (!volumes_.insert(volume->space()).second)
            error(item.key, "another volume has the same space " + std::to_string(volume->space()));
        CoreletId const attached(volume->attached_to());
        if (map_ && !attached.is_zero() && !map_->find(attached))
            note(item.key,
                 "it is attached to " + to_string(attached) + ", which is no part of the mesh; others serve it",
                 "name another place: corelet volume attach " + volume->name() + " --at CORELET");
    }

    void check_stream(const KeyValue& item) {
        auto const stream = parse<pb::Stream>(item);
        if (!stream) return;
        if (stream_key(SpaceId(stream->space())) != item.key)
            error(item.key, "the record is of space " + std::to_string(stream->space()));
        check_pool(item.key, stream->pool());
        check_space(item.key, stream->space());
        check_owner(item.key, *stream);
        std::set<u64> seen;
        for (const pb::Segment& segment : stream->segments()) {
            if (!seen.insert(segment.seq()).second) error(item.key, name_of(segment) + " is listed twice");
            check_segment(item.key, *stream, segment);
        }
    }

    void check_owner(const std::string& key, const pb::Stream& stream) {
        CoreletId const owner(stream.owner());
        if (owner.is_zero()) return;
        if (map_ && !map_->find(owner))
            note(key, "its owner " + to_string(owner) + " is no part of the mesh", "nothing: another takes it");
        if (!find(session_key(owner)))
            note(key, "its owner " + to_string(owner) + " has no session",
                 "nothing: it comes back, or another takes it");
    }

    static std::string name_of(const pb::Segment& segment) { return "segment " + hex64(segment.seq()); }

    void check_segment(const std::string& key, const pb::Stream& stream, const pb::Segment& segment) {
        if (segment.replicas_size() == 0) return error(key, name_of(segment) + " has no replicas");
        if (seq_epoch(segment.seq()) > Epoch(stream.epoch()))
            error(key, name_of(segment) + " was made at epoch " + std::to_string(seq_epoch(segment.seq()).v) +
                           ", the stream is at " + std::to_string(stream.epoch()));
        if (!map_) return;
        auto const has_home = [&](u64 id) {
            const mesh::Corelet* const corelet = map_->find(CoreletId(id));
            return corelet && corelet->presence != mesh::Presence::kOut && mesh::may_store(corelet->role);
        };
        auto const homes = std::ranges::count_if(segment.replicas(), has_home);
        if (homes == 0)
            error(key, name_of(segment) + " has no replica that is in the mesh",
                  "bring back a corelet that holds one; without it what was written last is lost");
        else if (homes < segment.replicas_size())
            note(key,
                 name_of(segment) + " has lost " + std::to_string(segment.replicas_size() - homes) + " of " +
                     std::to_string(segment.replicas_size()) + " replicas",
                 "nothing: its owner replaces it, or packs what it holds");
    }

    void check_session(const KeyValue& item) {
        auto const id = id_in(item.key);
        if (!id) return error(item.key, "the key names no corelet");
        if (item.lease.is_zero())
            error(item.key, "the session has no lease, so it never ends",
                  "stop that corelet and recover the catalog without it: docs/guide/most-voters-gone.md");
        if (map_ && !map_->find(CoreletId(*id)))
            note(item.key, "a session of a corelet that is no part of the mesh",
                 "nothing: it joins, or its session ends");
    }

    void check_life(const KeyValue& item) {
        auto const life = parse<pb::IdentityRecord>(item);
        auto const id = id_in(item.key);
        if (!id) return error(item.key, "the key names no corelet");
        const mesh::Corelet* const corelet = map_ && life ? map_->find(CoreletId(*id)) : nullptr;
        if (corelet && life->incarnation() < corelet->incarnation.v)
            error(item.key,
                  "it has recorded incarnation " + std::to_string(life->incarnation()) +
                      ", and the map has it at " + std::to_string(corelet->incarnation.v),
                  "restart that corelet: it records its present one");
    }

    void check_deleted(const KeyValue& item) {
        auto const id = id_in(item.key);
        if (!id || item.value.size() != 8 || Reader(as_bytes(item.value)).get<u64>() != *id)
            return error(item.key, "the mark of a deleted space is not of the space that its key names");
        check_space(item.key, *id);
        if (find(stream_key(SpaceId(*id))))
            error(item.key, "the space is marked as deleted, and its stream is there");
    }

    void check_removed(const KeyValue& item) {
        (void)parse<pb::RemovedCorelet>(item);
        auto const id = id_in(item.key);
        if (!id) return error(item.key, "the key names no corelet");
        if (map_ && map_->find(CoreletId(*id)))
            note(item.key, "a corelet that is being removed is still in the map",
                 "say it again: corelet remove " + hex64(*id));
    }

    void check_voters() {
        if (!view_.voters || !map_) return;
        if (view_.voters->empty()) error("", "no voters are known", "start the corelets that are down");
        for (CoreletId voter : *view_.voters) {
            const mesh::Corelet* const corelet = map_->find(voter);
            if (!corelet)
                note("", "voter " + to_string(voter) + " is not in the map", "nothing: it is replaced");
            else if (!corelet->has_media())
                error("", "voter " + to_string(voter) + " has no media of its own");
            else if (corelet->presence == mesh::Presence::kOut)
                note("", "voter " + to_string(voter) + " is out", "nothing: it is replaced");
        }
        for (const KeyValue& item : view_.items) check_orphan(item);
    }

    void check_orphan(const KeyValue& item) {
        pb::Stream stream;
        if (!item.key.starts_with("streams/") || !stream.ParseFromString(item.value)) return;
        if (!volumes_.contains(stream.space()))
            note(item.key, "no volume has this stream", "nothing, if a newer version runs in this mesh");
    }

    const CatalogView& view_;
    std::map<std::string, const KeyValue*> by_key_;
    std::optional<mesh::Map> map_;
    u64 counter_ = 0;
    std::set<u64> volumes_;
    std::vector<CatalogFinding> found_;
};

}  // namespace

std::vector<CatalogFinding> check_catalog(const CatalogView& view) {
    return Checker(view).run();
}

}  // namespace corelet
