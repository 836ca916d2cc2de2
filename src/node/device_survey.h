// What the device of a corelet that does not run tells of the catalog and of the log, and how its corelet becomes
// the first voter of a catalog that is begun anew.
#pragma once

#include "device/store.h"
#include "node/catalog_recovery.h"

namespace corelet {

// kIo; kCorrupt: the consensus log contradicts itself. A device that has forgotten promises has no catalog that
// counts.
[[nodiscard]] Task<Result<CatalogExport>> survey_device(Store* store);

// Its consensus journal becomes the recovered catalog, durably, with the corelet as the only voter.
[[nodiscard]] Task<Result<void>> begin_catalog_anew(Store* store, RecoveredCatalog recovered);

}  // namespace corelet
