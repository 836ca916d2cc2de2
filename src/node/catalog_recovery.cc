#include "node/catalog_recovery.h"

#include <algorithm>
#include <map>

#include "base/codec.h"
#include "mesh/map_codec.h"
#include "node/catalog_keys.h"
#include "node/map_service.h"
#include "node/node.pb.h"
#include "raft/generation.h"
#include "stream/stream_record.h"

namespace corelet {

namespace {

// Whatever was given out since by those who are gone lies below.
constexpr u64 k_gap = u64{1} << 32;
constexpr u64 k_map_gap = u64{1} << 20;
constexpr u64 k_space_gap = 1024;

class Recovery {
  public:
    explicit Recovery(const RecoveryWish& wish) : sources_(wish.sources), lost_(wish.lost), self_(wish.self) {}

    Result<RecoveredCatalog> run() {
        TRY_VOID(choose_newest());
        find_what_is_beyond();
        take_items();
        TRY_VOID(go_on_from_the_newest_map());
        TRY_VOID(check_who_is_lost());
        TRY_VOID(go_on_above_all_epochs());
        go_on_above_all_spaces();
        mark();
        return finish();
    }

  private:
    Result<void> choose_newest() {
        for (const CatalogExport& source : sources_) {
            if (source.mesh != sources_.front().mesh)
                return fail(Code::kInvalid, "the catalogs are of two meshes, " + hex64(sources_.front().mesh.v) +
                                                " and " + hex64(source.mesh.v));
            if (source.live)
                return fail(Code::kInvalid,
                            "an export of a running catalog does not tell what the devices hold; stop "
                            "the corelets and export with --from-device");
            if (!source.has_catalog) continue;
            if (!newest_ || source.position > newest_->position) newest_ = &source;
        }
        if (!newest_)
            return fail(Code::kNotFound,
                        "none of these corelets ever held the catalog: name the others that are left");
        return {};
    }

    void find_what_is_beyond() {
        for (const CatalogExport& source : sources_) {
            out_.beyond.term = std::max({out_.beyond.term, source.position.term, source.term});
            out_.beyond.index = std::max(out_.beyond.index, source.position.index);
            revision_ = std::max(revision_, source.catalog.revision());
            next_lease_ = std::max(next_lease_, source.catalog.next_lease());
        }
        out_.newest = newest_->source;
        out_.generation = raft::generation_of(out_.beyond.term) + 1;
        revision_ += k_gap;
        next_lease_ += k_gap;
    }

    // All sessions have ended: whoever serves without one is fenced by the next owner.
    void take_items() {
        for (const auto& item : newest_->catalog.items())
            if (item.lease() == 0) items_[item.key()] = item;
    }

    void put(const std::string& key, std::string value) {
        pb::CatalogItem& item = items_[key];
        if (item.key().empty()) item.set_create_revision(revision_);
        item.set_key(key);
        item.set_value(std::move(value));
        item.set_mod_revision(revision_);
    }

    // What a corelet remembers was committed: nobody takes a map before.
    Result<void> go_on_from_the_newest_map() {
        auto const own = items_.find(k_map_key);
        if (own == items_.end()) return fail(Code::kCorrupt, "the newest catalog has no map of the mesh");
        auto const find = [this](const std::string& key) -> const std::string* {
            auto const piece = items_.find(key);
            return piece == items_.end() ? nullptr : &piece->second.value();
        };
        TRY(mesh::Map map, read_map_record(own->second.value(), mesh::Map{}, find));
        for (const CatalogExport& source : sources_) {
            if (source.map_note.empty()) continue;
            auto remembered = remembered_map(source.map_note);
            if (!remembered || remembered->epoch <= map.epoch) continue;
            map = *std::move(remembered);
            out_.said.push_back("the map of epoch " + std::to_string(map.epoch.v) + " is that which " +
                                to_string(source.source) + " remembers; the catalog's was older");
        }
        if (map.find(self_) == nullptr)
            return fail(Code::kInvalid,
                        "corelet " + to_string(self_) + " is no part of this mesh; begin at another");
        map_ = map;
        map.epoch = MapEpoch(map.epoch.v + k_map_gap);
        for (mesh::Corelet& corelet : map.corelets)
            if (is_lost(corelet.id) && corelet.is_up()) corelet.presence = mesh::Presence::kDown;
        auto const bytes = mesh::encode_map(map);
        put(k_map_key, std::string(bytes.begin(), bytes.end()));
        std::erase_if(items_, [](const auto& item) { return item.first.starts_with(k_map_pieces_prefix); });
        return {};
    }

    [[nodiscard]] bool is_lost(CoreletId id) const { return std::ranges::find(lost_, id) != lost_.end(); }
    [[nodiscard]] bool is_source(CoreletId id) const {
        return std::ranges::any_of(sources_, [&](const CatalogExport& source) { return source.source == id; });
    }

    // Who is left and does not tell may know of an owner, or hold what was written, that nobody else does.
    Result<void> check_who_is_lost() {
        for (const mesh::Corelet& corelet : map_.corelets) {
            bool const counts = corelet.has_media() && corelet.presence != mesh::Presence::kOut;
            if (!counts || is_lost(corelet.id) || is_source(corelet.id)) continue;
            return fail(Code::kConflict,
                        "corelet " + to_string(corelet.id) + " at " + corelet.location.to_string() +
                            " is in the mesh and was not asked: stop it and name its directory or its export with "
                            "--from, or, if it is gone for good, say so: --lost " +
                            to_string(corelet.id));
        }
        for (CoreletId id : lost_)
            if (is_source(id))
                return fail(Code::kConflict, "corelet " + to_string(id) + " is named as lost and is there");
        auto const& voters = newest_->voters;
        auto const gone =
            static_cast<usize>(std::ranges::count_if(voters, [&](CoreletId id) { return is_lost(id); }));
        if (!voters.empty() && voters.size() - gone >= voters.size() / 2 + 1)
            return fail(Code::kConflict,
                        "of " + std::to_string(voters.size()) + " voters " + std::to_string(gone) +
                            " are lost: the others are a majority and need no recovery; start them");
        return {};
    }

    Result<void> go_on_above_all_epochs() {
        std::map<u64, std::map<u64, pb::Segment>> reported;  // by space and number
        std::map<u64, u64> epochs;
        std::map<u64, std::map<u64, u64>> firsts;  // the same: the number of its first record
        for (const CatalogExport& source : sources_) {
            for (const HeldSegment& held : source.segments) {
                pb::Segment& segment = reported[held.id.space.v][held.id.seq];
                segment.set_seq(held.id.seq);
                segment.set_salt(held.salt);
                segment.set_state(pb::Segment::LISTED);
                segment.add_replicas(source.source.v);
                u64& epoch = epochs[held.id.space.v];
                epoch = std::max({epoch, held.epoch.v, seq_epoch(held.id.seq).v});
                u64& first = firsts[held.id.space.v][held.id.seq];
                first = std::max(first, held.first_record.v);
            }
        }
        for (const auto& [space, segments] : reported) {
            std::string const key = stream_key(SpaceId(space));
            auto const found = items_.find(key);
            if (found == items_.end()) {
                tell_of_unknown(space);
                continue;
            }
            pb::Stream stream;
            if (!stream.ParseFromString(found->second.value()))
                return fail(Code::kCorrupt, "the record '" + key + "' does not parse");
            if (take_up(stream, epochs[space], segments, firsts[space])) put(key, stream.SerializeAsString());
        }
        return {};
    }

    void tell_of_unknown(u64 space) {
        if (items_.contains("deleted/" + hex64(space))) return;
        out_.said.push_back("space " + std::to_string(space) +
                            " has data and no record: a volume that was made last, and is lost with the voters");
    }

    // A segment that goes on after all that is known to have ended may hold what was acknowledged; an unused one
    // may be written to until it is fenced. What began earlier had ended and was let go of.
    bool take_up(pb::Stream& stream, u64 epoch, const std::map<u64, pb::Segment>& segments,
                 const std::map<u64, u64>& firsts) {
        bool changed = epoch > stream.epoch();
        if (changed) {
            out_.said.push_back("space " + std::to_string(stream.space()) +
                                " had another owner since: it goes on above "
                                "epoch " +
                                std::to_string(epoch));
            stream.set_epoch(epoch);
        }
        for (const auto& [seq, segment] : segments) {
            u64 const first = firsts.at(seq);
            bool const dead = seq < stream.horizon() || (first != 0 && first <= stream.ended_record());
            if (dead || find_segment(stream, seq)) continue;
            *stream.add_segments() = segment;
            changed = true;
            if (first != 0)
                out_.said.push_back("space " + std::to_string(stream.space()) + ": segment " + hex64(seq) +
                                    " was written and not listed; it is now");
        }
        return changed;
    }

    void go_on_above_all_spaces() {
        u64 highest = 0;
        if (auto const counter = items_.find(k_space_counter_key); counter != items_.end())
            highest = Reader(as_bytes(counter->second.value())).get<u64>();
        for (const CatalogExport& source : sources_) highest = std::max(highest, source.space_max);
        Writer encoded;
        encoded.put(highest + k_space_gap);
        put(k_space_counter_key, std::string(as_text(encoded.bytes())));
    }

    // Nothing is deleted until an operator agrees (protocols 8.3).
    void mark() {
        pb::CatalogRecovery recovery;
        recovery.set_generation(out_.generation);
        recovery.set_begun_at(self_.v);
        recovery.set_newest(out_.newest.v);
        put(k_recovery_key, recovery.SerializeAsString());
    }

    Result<RecoveredCatalog> finish() {
        pb::CatalogSnapshot snapshot;
        snapshot.set_revision(revision_);
        snapshot.set_next_lease(next_lease_);
        snapshot.set_level(newest_->catalog.level());
        for (auto& [key, item] : items_) *snapshot.add_items() = item;
        out_.state = snapshot.SerializeAsString();
        if (out_.state.size() > k_catalog_snapshot_bytes_max)
            return fail(Code::kNoSpace, "the recovered catalog would not fit a voter's journal");
        return std::move(out_);
    }

    const std::vector<CatalogExport>& sources_;
    const std::vector<CoreletId>& lost_;
    CoreletId self_;
    const CatalogExport* newest_ = nullptr;
    u64 revision_ = 0;
    u64 next_lease_ = 0;
    std::map<std::string, pb::CatalogItem> items_;
    mesh::Map map_;
    RecoveredCatalog out_;
};

}  // namespace

Result<RecoveredCatalog> recover_catalog(const RecoveryWish& wish) {
    if (wish.sources.empty()) return fail(Code::kNotFound, "no corelet's device was named");
    return Recovery(wish).run();
}

}  // namespace corelet
