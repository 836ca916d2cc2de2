// NodeServices: the catalog, which the corelets of the mesh keep among themselves, or which stands outside it.
#include "base/codec.h"
#include "catalog/etcd/etcd_catalog.h"
#include "node/node_services.h"
#include "node/outside_catalog.h"

namespace corelet {

Task<Result<void>> NodeServices::start_catalog() {
    if (!config.catalog.empty()) {
        CO_TRY(auto endpoints, parse_outside_catalog(config.catalog, config.insecure));
        catalog = std::make_unique<EtcdCatalog>(env, std::move(endpoints), config.mesh);
        co_return {};
    }
    Journal& journal = store->consensus_journal();
    CO_TRY(raft, co_await RaftNode::start(env, *rpc, journal, *policy, catalog_raft_options(), config.bootstrap));
    auto own = std::make_unique<RaftCatalog>(env, *rpc, raft.get());
    own_catalog_ = own.get();
    catalog = std::move(own);
    own_catalog_->set_acquaintances([this] {
        std::vector<CoreletId> up;
        const auto map = maps->current();
        for (const mesh::Corelet& corelet : map->corelets)
            if (corelet.is_up()) up.push_back(corelet.id);
        return up;
    });
    if (auto const note = store->note(k_voters_note)) {
        Reader r(*note);
        std::vector<CoreletId> voters;
        while (r.remaining() >= 8) voters.push_back(r.get<CoreletId>());
        hint_voters(std::move(voters));
    }
    co_return {};
}

void NodeServices::hint_voters(std::vector<CoreletId> voters) {
    if (own_catalog_) own_catalog_->set_voter_hints(std::move(voters));
}

void NodeServices::vote_no_more(raft::Bar reason) {
    if (raft) raft->bar(reason);
}

}  // namespace corelet
