// The present map at one corelet: followed from the catalog, kept on the device, changed by transactions.
#pragma once

#include "catalog/catalog.h"
#include "device/store.h"
#include "mesh/map_codec.h"
#include "mesh/map_history.h"
#include "mesh/map_source.h"
#include "mesh/transition.h"
#include "node/map_record.h"
#include "rt/env.h"
#include "rt/sync.h"
#include "wire/rpc.h"

namespace corelet {

class MapService final : public mesh::MapSource {
  public:
    static constexpr const char* k_note = "map";  // on the device: the last one that was heard of

    // Starts from the map that the device remembers. `changed` is called after each new map, synchronously.
    MapService(Env& env, Catalog& catalog, Store& store, RpcNode& rpc);
    ~MapService() override;
    void on_change(std::function<void()> listener) { listeners_.push_back(std::move(listener)); }

    [[nodiscard]] std::shared_ptr<const mesh::Map> current() const override { return current_; }
    void heard_of(MapEpoch epoch, CoreletId from) override;
    // A map from a peer or a seed, taken if newer. kCorrupt: its bytes are no map.
    [[nodiscard]] Result<void> offer(Bytes encoded);
    // The present map for a newcomer; empty if it is too large for that: let it be fetched.
    [[nodiscard]] std::string introduction() const;
    // What the asked one's map has beyond the present one. kUnknown: nothing, or it has none.
    [[nodiscard]] Task<Result<void>> fetch_from(Target peer);
    // `from` has the map of this epoch, and sent deltas that may lead there. What they do not bring is fetched.
    void hear_news(MapEpoch epoch, CoreletId from, const std::vector<Bytes>& deltas);
    // How the present map came about.
    [[nodiscard]] const mesh::MapHistory& history() const { return history_; }
    // So many maps came as news, and so many were fetched from others; the rest the catalog told.
    [[nodiscard]] u64 heard() const { return maps_heard_; }
    [[nodiscard]] u64 fetched() const { return maps_fetched_; }

    // The catalog's map as it is now; taken here if it is newer. kUnavailable: there is none yet.
    [[nodiscard]] Task<Result<void>> refresh(Instant deadline);
    // Applies the event to the catalog's map and commits; repeats when somebody else was first. An event that
    // changes nothing is fine. Errors of the transition come through. kFenced: it brings in who was removed.
    [[nodiscard]] Task<Result<void>> change(mesh::MapEvent event, Instant deadline);
    // Makes the first map; kExists if there is one.
    [[nodiscard]] Task<Result<void>> create(MeshId mesh, Instant deadline);
    // Keys of pieces that the map, as this corelet last heard of it, does not consist of; and removes them, if that
    // is so still. What somebody is about to make a map of may be among them: he notices.
    [[nodiscard]] std::vector<std::string> unused_pieces() const;
    [[nodiscard]] Task<Result<void>> remove_unused_pieces(Instant deadline);

  private:
    // What lies in the catalog.
    struct Stored {
        MapRecord record;
        mesh::Map map;
        Revision revision;
    };
    [[nodiscard]] Task<Result<Stored>> read(Instant deadline);
    [[nodiscard]] Task<Result<std::optional<mesh::Map>>> assemble(const MapRecord* record, Instant deadline);
    // False: somebody was first, or pieces went, or there is `missing`, a key (empty: none), after all.
    [[nodiscard]] Task<Result<bool>> commit(MapWrite write, Revision revision, std::string missing,
                                            Instant deadline);
    void look_at_catalog();
    [[nodiscard]] Task<void> follow();
    [[nodiscard]] Task<void> remember();
    [[nodiscard]] Task<void> fetch();
    [[nodiscard]] Task<Result<void>> fetch_beyond(Target peer, MapEpoch known);
    [[nodiscard]] Task<Result<void>> fetch_introduction(Target peer);
    [[nodiscard]] Task<Result<Reply>> on_fetch(Request request);
    [[nodiscard]] std::vector<Bytes> beyond(MapEpoch epoch);
    [[nodiscard]] Result<void> offer_deltas(const std::vector<Bytes>& deltas);
    void take(mesh::Map map, std::vector<u8> delta = {});

    Env& env_;
    Catalog& catalog_;
    Store& store_;
    RpcNode& rpc_;
    std::shared_ptr<const mesh::Map> current_;
    mesh::MapHistory history_;
    std::vector<u8> whole_;  // the present map as a delta from nothing; empty: not asked for yet
    std::vector<std::function<void()>> listeners_;
    Notify remember_wanted_;
    bool dirty_ = false;
    MapEpoch heard_;  // the newest that anybody spoke of
    CoreletId heard_from_;
    u64 maps_heard_ = 0;
    u64 maps_fetched_ = 0;
    Notify fetch_wanted_;
    Scope scope_;
};

}  // namespace corelet
