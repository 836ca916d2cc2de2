// node/join_token.h: what somebody pastes behind `corelet join`. What is taken is written again as it was.
#include "node/join_token.h"

#include "base/assert.h"

using namespace corelet;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
    std::string_view const text = as_text(Bytes(data, size));
    auto const token = decode_token(text);
    if (!token) return 0;
    CORELET_ASSERT(!token->mesh.is_zero() && !token->addresses.empty());
    CORELET_ASSERT(token->addresses.size() <= k_token_addresses_max && token->ca_pin.size() <= k_token_pin_max);
    // An address has several spellings; a token that was written here has the one.
    CORELET_ASSERT(decode_token(encode_token(*token)).value() == *token);
    return 0;
}
