// A catalog whose majority of voters is gone for good, begun anew from what the others have (docs/adr/0018). Pure.
#pragma once

#include "node/catalog_export.h"

namespace corelet {

struct RecoveredCatalog {
    CoreletId newest;               // whose log it goes on from
    raft::Position beyond;          // the furthest term and index that any of the sources knows
    u64 generation = 0;             // of the new group
    std::string state;              // the state machine, as a snapshot of the new group's log
    std::vector<std::string> said;  // what was put together from others, and what is not certain; for people
};

struct RecoveryWish {
    CoreletId self;                      // begins the new group
    std::vector<CatalogExport> sources;  // what the devices that are left tell, of voters and of all others
    std::vector<CoreletId> lost;         // gone for good, by an operator's word
};

// Everybody in the map must be one of the two, and the lost a majority of the voters: kConflict says who or what is
// not so, and what to do. Of two logs the one that an election would prefer is taken, with all its entries: those
// that only the lost majority had are lost. Protocols 8.3: streams go on above every epoch, spaces above every
// number that any source reports; segments reported and not listed are listed. kNotFound: no source has a catalog.
// kInvalid: sources of different meshes, or one that is live. kCorrupt: the newest one does not make sense.
[[nodiscard]] Result<RecoveredCatalog> recover_catalog(const RecoveryWish& wish);

}  // namespace corelet
