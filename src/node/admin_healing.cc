// heal limit: how fast healing may rebuild at most.
#include "base/json.h"
#include "node/admin_arguments.h"
#include "node/admin_commands.h"
#include "node/healing_limit.h"

namespace corelet {

namespace {
Json described(const HealingLimit& limit) {
    return Json{{"corelet_bytes_per_second", limit.corelet}, {"mesh_bytes_per_second", limit.mesh}};
}

// What is not named stays.
Result<HealingLimit> changed_limit(HealingLimit limit, const Json& arguments) {
    for (const char* key : {"corelet_bytes_per_second", "mesh_bytes_per_second"}) {
        auto const found = arguments.find(key);
        if (found == arguments.end()) continue;
        if (!found->is_number_unsigned())
            return fail(Code::kInvalid, std::string(key) + " is a number of bytes, 0 for no limit");
        (std::string_view(key).starts_with("mesh") ? limit.mesh : limit.corelet) = found->get<u64>();
    }
    return limit;
}
}  // namespace

Task<Result<Json>> healing_limit(NodeServices& node, Json arguments) {
    for (;;) {
        auto const item = co_await node.catalog->get(k_limit_key, admin_patience(node));
        if (!item) co_return std::unexpected(no_quorum(item.error()));
        HealingLimit before;
        if (*item) before = decode_limit((*item)->value).value_or(HealingLimit{});
        CO_TRY(HealingLimit const after, changed_limit(before, arguments));
        if (after == before) co_return described(after);
        Transaction transaction;
        transaction.require_revision(k_limit_key, *item ? (*item)->mod_revision : Revision{})
            .put(k_limit_key, encode_limit(after));
        auto const done = co_await node.catalog->commit(std::move(transaction), admin_patience(node));
        if (!done) co_return std::unexpected(no_quorum(done.error()));
        if (done->succeeded) co_return described(after);
    }
}

}  // namespace corelet
