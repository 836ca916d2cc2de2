// What the command line asks of a corelet: JSON from whoever reaches its control socket, taken apart and judged.
// Pure. Errors are kInvalid, if nothing else is said, and say what would do.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/json_forward.h"
#include "mesh/map.h"
#include "rt/network.h"

namespace corelet {

inline constexpr usize k_admin_arguments_bytes_max = 64 * k_kib;

// An object; nothing at all counts as an empty one.
[[nodiscard]] Result<Json> parse_arguments(std::string_view encoded);
// Empty, or 0, where the argument is missing or of another kind.
[[nodiscard]] std::string text_argument(const Json& arguments, const char* key);
[[nodiscard]] u64 number_argument(const Json& arguments, const char* key);
// The corelet of the map whose id (16 hex digits) the argument is. kNotFound: there is none.
[[nodiscard]] Result<CoreletId> corelet_argument(const mesh::Map& map, const Json& arguments, const char* key);
// The pool of the map whose name the argument is. kNotFound: there is none.
[[nodiscard]] Result<const mesh::Pool*> pool_argument(const mesh::Map& map, const Json& arguments,
                                                      const char* key = "name");

struct PoolWish {
    mesh::PoolSpec spec;
    std::optional<mesh::Level> survive;
};
// Of `pool create`; whether the mesh can hold it is not asked here.
[[nodiscard]] Result<PoolWish> pool_wish(const Json& arguments);
// Of `pool change`: the pool as it shall be. What is not named stays; 0 is the default again, and so is a device
// class that is empty.
[[nodiscard]] Result<PoolWish> pool_change_wish(const mesh::Pool& pool, const Json& arguments);
// {"zone": 2}: of each level that has one.
[[nodiscard]] Json caps_of(const mesh::PoolSpec& spec);

struct VolumeWish {
    std::string name;
    std::string pool;
    u64 size_bytes = 0;
};
[[nodiscard]] Result<VolumeWish> volume_wish(const Json& arguments);

struct AttachWish {
    std::string name;
    std::string listen;              // as asked for; empty: wherever it was
    std::optional<Address> address;  // the same
};
[[nodiscard]] Result<AttachWish> attach_wish(const Json& arguments);

}  // namespace corelet
