// Join tokens at a corelet: made by an operator's command, redeemed by whoever proves to have one.
#pragma once

#include "node/join_token.h"
#include "node/node_services.h"

namespace corelet {

[[nodiscard]] std::string token_key(u64 id);

// Why a token does not let anybody in now; pure. `record`: what the catalog has of it.
[[nodiscard]] Result<void> check_redeemable(const pb::TokenRecord& record, const MacTag& proof,
                                            const TokenNonce& client, WallTime now);

// Answers node_method::k_redeem: the mesh's key, sealed under the token, and one use less. kNotFound, kDenied (not
// this mesh's, not proven, expired, used up): the message says which, and what to do.
[[nodiscard]] Task<Result<Reply>> redeem_token(NodeServices& node, Request request);

}  // namespace corelet
