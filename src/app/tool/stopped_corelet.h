// What is done with the device of a corelet that does not run.
#pragma once

#include "app/tool/corelet_directory.h"
#include "node/device_survey.h"
#include "rt/env.h"

namespace corelet::app {

// What it knows (node/device_survey.h). kConflict: the corelet runs.
[[nodiscard]] Task<Result<CatalogExport>> survey_stopped(Env* env, std::string directory);
// It becomes the only voter of the recovered catalog.
[[nodiscard]] Task<Result<void>> begin_at_stopped(Env* env, std::string directory, RecoveredCatalog recovered);

}  // namespace corelet::app
