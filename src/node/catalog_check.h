// Whether what a catalog holds makes sense: every record parses, the map is valid, and whatever a record refers to
// is there. Pure: over keys and values, of the live catalog or of an export.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "catalog/catalog.h"

namespace corelet {

struct CatalogFinding {
    // kError: something is wrong that will not mend itself. kNote: passing, or worth a look.
    enum class Grade : u8 { kError, kNote };
    Grade grade = Grade::kError;
    std::string key;   // of the record; empty: of the catalog as a whole
    std::string what;  // in words
    std::string next;  // what to do about it
};

struct CatalogView {
    MeshId mesh;  // whose it should be; zero: not known
    std::vector<KeyValue> items;
    std::optional<std::vector<CoreletId>> voters;  // not known of some exports
};

// In the order of keys, errors and notes as they come.
[[nodiscard]] std::vector<CatalogFinding> check_catalog(const CatalogView& view);

}  // namespace corelet
