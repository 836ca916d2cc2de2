// What carries out the commands of the command line (admin.cc dispatches), and what they share. Results and
// arguments are JSON; errors say what, why and the next command.
#pragma once

#include "base/json.h"
#include "node/catalog_check.h"
#include "node/node_services.h"

namespace corelet {

// A command that needs the catalog ends within 10 s without quorum.
[[nodiscard]] Instant admin_patience(const NodeServices& node);
// The same error, said as what it means for a command.
[[nodiscard]] Error no_quorum(Error error);

// A volume's record as the catalog has it, and the revision to require when it is changed.
struct StoredVolume {
    pb::Volume record;
    Revision revision;
};
// Within admin_patience. kNotFound: there is none of that name. kCorrupt: its record does not parse.
[[nodiscard]] Task<Result<StoredVolume>> read_volume(NodeServices& node, std::string name);

// How a command's result travels, and back. A long one is the reply's payload, a short one its body. kCorrupt:
// what came is no JSON object.
[[nodiscard]] Reply admin_reply(std::string result);
[[nodiscard]] Result<Json> parse_admin_reply(const Reply& reply);

// admin_corelets.cc: {"id": "<16 hex digits>"} of a corelet in the map.
[[nodiscard]] Task<Result<Json>> corelet_drain(NodeServices& node, Json arguments);
[[nodiscard]] Task<Result<Json>> corelet_undrain(NodeServices& node, Json arguments);
// {"safe_to_remove": bool, "left": ["fragments of pool 'p'"], "next": "..."}
[[nodiscard]] Task<Result<Json>> corelet_departure(NodeServices& node, Json arguments);
// {"force": true} for one that is gone for good.
[[nodiscard]] Task<Result<Json>> corelet_remove(NodeServices& node, Json arguments);
[[nodiscard]] Task<Result<Json>> corelet_cordon(NodeServices& node, Json arguments, bool cordoned);
// {"length_ms": 7200000}
[[nodiscard]] Task<Result<Json>> healing_pause(NodeServices& node, Json arguments);
[[nodiscard]] Task<Result<Json>> healing_resume(NodeServices& node);

// admin_healing.cc: {"corelet_bytes_per_second", "mesh_bytes_per_second"}: what is not named stays, 0 is no limit;
// gives both.
[[nodiscard]] Task<Result<Json>> healing_limit(NodeServices& node, Json arguments);

// admin_catalog.cc
// {"text": the export, "keys", "revision"}
[[nodiscard]] Task<Result<Json>> catalog_export(NodeServices& node);
// {"findings": [{"grade": "error"|"note", "key", "what", "next"}]}
[[nodiscard]] Task<Result<Json>> catalog_check(NodeServices& node);
[[nodiscard]] Json to_json(const std::vector<CatalogFinding>& findings);
// Of a recovered one: what is proven dead may be deleted again.
[[nodiscard]] Task<Result<Json>> catalog_accept(NodeServices& node);

// token_service.cc: {"id", "verifier" (base64), "length_ms", "uses"}; gives what else a token says.
[[nodiscard]] Task<Result<Json>> token_create(NodeServices& node, Json arguments);

}  // namespace corelet
