#include "node/token_service.h"

#include <algorithm>

#include "base/base64.h"
#include "base/json.h"
#include "node/admin_arguments.h"
#include "node/admin_commands.h"
#include "wire/message.h"

namespace corelet {

namespace {

constexpr const char* k_another = "; make another in the mesh: corelet token create";
constexpr u32 k_uses_max = 10'000;
constexpr usize k_tokens_max = 256;

template <class Array>
bool take(const std::string& bytes, Array& out) {
    if (bytes.size() != out.size()) return false;
    std::ranges::copy(as_bytes(bytes), out.begin());
    return true;
}

// What has ended or was used up a day ago has said so long enough.
void drop_old(const std::vector<KeyValue>& records, WallTime now, Transaction& transaction) {
    constexpr i64 k_day_ms = 24LL * 3600 * 1000;
    for (const KeyValue& item : records) {
        pb::TokenRecord record;
        bool const parsed = record.ParseFromString(item.value);
        if (!parsed || record.expires_wall_ms() + k_day_ms < now.unix_ns / 1'000'000) transaction.remove(item.key);
    }
}

std::vector<std::string> addresses_of(const NodeServices& node) {
    std::vector<std::string> out;
    const auto map = node.maps->current();
    for (const mesh::Corelet& corelet : map->corelets)
        if (corelet.is_up() && !corelet.addresses.empty() && out.size() < k_token_addresses_max)
            out.push_back(corelet.addresses.front());
    return out;
}

}  // namespace

std::string token_key(u64 id) {
    return "tokens/" + hex64(id);
}

Result<void> check_redeemable(const pb::TokenRecord& record, const MacTag& proof, const TokenNonce& client,
                              WallTime now) {
    MacTag verifier{};
    if (!take(record.verifier(), verifier)) return fail(Code::kCorrupt, "the record of the token does not parse");
    if (!same_secret(proof, token_proof(verifier, client)))
        return fail(Code::kDenied,
                    "the token's secret is not the one that the mesh gave out" + std::string(k_another));
    if (now.unix_ns / 1'000'000 >= record.expires_wall_ms())
        return fail(Code::kDenied, "the token has expired, by this mesh's clock" + std::string(k_another));
    if (record.uses_left() == 0)
        return fail(Code::kDenied, "the token was used as often as it may be" + std::string(k_another));
    return {};
}

Task<Result<Reply>> redeem_token(NodeServices& node, Request request) {
    CO_TRY(auto const message, decode_message<pb::RedeemToken>(request.body));
    MacTag proof{}, verifier{};
    TokenNonce client{}, server{};
    if (!take(message.proof(), proof) || !take(message.nonce(), client))
        co_return fail(Code::kInvalid, "malformed request");
    if (MeshId(message.mesh()) != node.config.mesh)
        co_return fail(Code::kDenied, "the token is of mesh " + hex64(message.mesh()) +
                                          ", and this corelet of mesh " + hex64(node.config.mesh.v) +
                                          "; use a token of the mesh that is to be joined");
    std::string const key = token_key(message.token());
    for (;;) {
        CO_TRY(auto const item, co_await node.catalog->get(key, request.deadline));
        pb::TokenRecord record;
        if (!item || !record.ParseFromString(item->value))
            co_return fail(Code::kNotFound,
                           "the mesh does not know this token, or no longer" + std::string(k_another));
        CO_TRY_VOID(check_redeemable(record, proof, client, node.env.clock.wall_now()));
        (void)take(record.verifier(), verifier);
        record.set_uses_left(record.uses_left() - 1);
        Transaction transaction;
        transaction.require_revision(key, item->mod_revision).put(key, record.SerializeAsString());
        CO_TRY(auto const result, co_await node.catalog->commit(std::move(transaction), request.deadline));
        if (result.succeeded) break;
    }
    for (u8& byte : server) byte = static_cast<u8>(node.env.random.below(256));
    SealedKey const sealed = seal_key(verifier, client, server, node.config.admin_key);
    pb::RedeemTokenReply reply;
    reply.set_nonce(std::string(as_text(server)));
    reply.set_sealed(sealed.bytes);
    reply.set_check(std::string(as_text(sealed.check)));
    log_info(node.env.log, "node.token_redeemed", hex64(message.token()));
    co_return Reply{encode_message(reply), {}};
}

Task<Result<Json>> token_create(NodeServices& node, Json arguments) {
    if (node.config.admin_key.empty()) co_return fail(Code::kUnsupported, "this mesh has no key to give out");
    auto const verifier = from_base64(text_argument(arguments, "verifier"));
    u64 const id = number_argument(arguments, "id"), length_ms = number_argument(arguments, "length_ms");
    u64 const uses = number_argument(arguments, "uses");
    if (!verifier || verifier->size() != sizeof(MacTag) || id == 0)
        co_return fail(Code::kInvalid, "malformed token");
    if (length_ms == 0 || length_ms > static_cast<u64>(k_token_life_max.ms()))
        co_return fail(Code::kInvalid, "a token expires, within a year; write, for example, --expires 24h");
    if (uses == 0 || uses > k_uses_max)
        co_return fail(Code::kInvalid, "a token lets in between 1 and " + std::to_string(k_uses_max) + " corelets");
    auto const known = co_await node.catalog->range("tokens/", admin_patience(node));
    if (!known) co_return std::unexpected(no_quorum(known.error()));
    if (known->items.size() >= k_tokens_max)
        co_return fail(Code::kOverloaded,
                       "there are " + std::to_string(k_tokens_max) + " tokens; wait until some expire");
    WallTime const now = node.env.clock.wall_now();
    pb::TokenRecord record;
    record.set_verifier(std::string(verifier->begin(), verifier->end()));
    record.set_expires_wall_ms(now.unix_ns / 1'000'000 + static_cast<i64>(length_ms));
    record.set_uses_left(static_cast<u32>(uses));
    Transaction transaction;
    drop_old(known->items, now, transaction);
    transaction.require_missing(token_key(id)).put(token_key(id), record.SerializeAsString());
    auto const made = co_await node.catalog->commit(std::move(transaction), admin_patience(node));
    if (!made) co_return std::unexpected(no_quorum(made.error()));
    if (!made->succeeded) co_return fail(Code::kExists, "a token of this number exists; try again");
    co_return Json{{"mesh", hex64(node.config.mesh.v)},
                   {"expires_unix", record.expires_wall_ms() / 1000},
                   {"fingerprint", to_base64(mesh_fingerprint(node.config.mesh, node.config.admin_key))},
                   {"addresses", addresses_of(node)}};
}

}  // namespace corelet
