// node/admin_arguments.h: the JSON of a command, from whoever reaches the control socket. What is taken makes
// sense.
#include "base/json.h"
#include "node/admin_arguments.h"

#include "base/assert.h"
#include "volume/map_format.h"

using namespace corelet;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
    auto const arguments = parse_arguments(as_text(Bytes(data, size)));
    if (!arguments) return 0;
    if (auto const pool = pool_wish(*arguments)) CORELET_ASSERT(mesh::check_pool_spec(pool->spec).has_value());
    if (auto const volume = volume_wish(*arguments)) {
        CORELET_ASSERT(!volume->name.empty() && volume->name.find('/') == std::string::npos);
        CORELET_ASSERT(volume->size_bytes > 0 && volume->size_bytes <= k_volume_bytes_max);
    }
    if (auto const attach = attach_wish(*arguments)) {
        CORELET_ASSERT(attach->address.has_value() == !attach->listen.empty());
        bool const is_socket = attach->address && attach->address->kind == Address::Kind::kUnix;
        CORELET_ASSERT(!is_socket || attach->address->host.size() <= k_unix_path_bytes_max);
    }
    return 0;
}
