// The present map at one corelet: followed from the catalog, kept on the device, changed by transactions.
#pragma once

#include "catalog/catalog.h"
#include "device/store.h"
#include "mesh/map_codec.h"
#include "mesh/map_source.h"
#include "mesh/transition.h"
#include "rt/env.h"
#include "rt/sync.h"
#include "wire/rpc.h"

namespace corelet {

class MapService final : public mesh::MapSource {
  public:
    static constexpr const char* k_key = "map";

    // Starts from the map that the device remembers. `changed` is called after each new map, synchronously.
    MapService(Env& env, Catalog& catalog, Store& store, RpcNode& rpc);
    void on_change(std::function<void()> listener) { listeners_.push_back(std::move(listener)); }

    [[nodiscard]] std::shared_ptr<const mesh::Map> current() const override { return current_; }
    void heard_of(MapEpoch epoch, CoreletId from) override;
    // A map from a peer or a seed, taken if newer. kCorrupt: its bytes are no map.
    [[nodiscard]] Result<void> offer(Bytes encoded);
    [[nodiscard]] std::string encoded() const;

    // Applies the event to the catalog's map and commits; repeats when somebody else was first. An event that
    // changes nothing is fine. Errors of the transition come through.
    [[nodiscard]] Task<Result<void>> change(mesh::MapEvent event, Instant deadline);
    // Makes the first map; kExists if there is one.
    [[nodiscard]] Task<Result<void>> create(MeshId mesh, Instant deadline);

  private:
    [[nodiscard]] Task<void> follow();
    [[nodiscard]] Task<void> remember();
    [[nodiscard]] Task<void> fetch();
    [[nodiscard]] Task<Result<void>> fetch_from(CoreletId peer);
    void take(mesh::Map map);
    [[nodiscard]] Result<mesh::Map> decode(std::string_view bytes) const;

    Env& env_;
    Catalog& catalog_;
    Store& store_;
    RpcNode& rpc_;
    std::shared_ptr<const mesh::Map> current_;
    std::vector<std::function<void()>> listeners_;
    Notify remember_wanted_;
    bool dirty_ = false;
    MapEpoch heard_;  // the newest that anybody spoke of
    CoreletId heard_from_;
    Notify fetch_wanted_;
    Scope scope_;
};

}  // namespace corelet
