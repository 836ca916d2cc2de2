// Coming into a mesh that is there: by a token or by a seed, to its key and to where its corelets are.
#pragma once

#include "app/tool/control.h"

namespace corelet::app {

struct JoinedMesh {
    MeshId mesh;
    std::string key;
    std::string catalog;  // where it stands outside the mesh; empty: it does not
    std::vector<Address> seeds;
};

// Spends a use of the token. Where none of the corelets that it names answers, those that answer at `discovery`,
// multicast groups, are asked; what they say of themselves proves nothing, and the token does.
[[nodiscard]] Result<JoinedMesh> join_by_token(const JoinToken& token, const std::vector<Address>& discovery);
// The key lies in the file `admin_key`, or, with none named, beside the seed's own socket on this machine.
[[nodiscard]] Result<JoinedMesh> join_by_seed(Address seed, const std::string& admin_key);

}  // namespace corelet::app
