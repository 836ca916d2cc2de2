// Where a mesh's keys lie in an etcd that others use too: all under one prefix that names the mesh. Below it are
// the catalog's own keys, and the slots by which a repeated transaction finds its own success (request_slots.h).
#pragma once

#include <optional>
#include <string>

#include "base/types.h"

namespace corelet::etcd {

class KeySpace {
  public:
    explicit KeySpace(MeshId mesh) : root_("corelet/" + hex64(mesh.v) + "/") {}
    // Everything of the mesh.
    [[nodiscard]] const std::string& root() const { return root_; }
    [[nodiscard]] std::string data(std::string_view key) const { return root_ + "d/" + std::string(key); }
    [[nodiscard]] std::string slot(u64 client, u64 number) const {
        return root_ + "r/" + hex64(client) + "/" + std::to_string(number);
    }
    // The catalog's key, if it is one of its keys.
    [[nodiscard]] std::optional<std::string> own(std::string_view key) const {
        std::string const front = data({});
        if (!key.starts_with(front)) return std::nullopt;
        return std::string(key.substr(front.size()));
    }

  private:
    std::string root_;
};

// The first key behind all that begin with `prefix`, which is not empty and does not end in 0xff.
[[nodiscard]] inline std::string end_of_prefix(std::string prefix) {
    prefix.back() = static_cast<char>(prefix.back() + 1);
    return prefix;
}

}  // namespace corelet::etcd
